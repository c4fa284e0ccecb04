"""Quorum: how many homes have to agree. Normally one is enough; in strict mode it takes a majority.

A miss is no vote, for a home may have forgotten. So in strict mode

- a write, a tombstone included, is confirmed by a majority of the homes;
- a live session is proven by records from a majority of them, in requests, repairs and refills alike;
- one tombstone is enough to end it, and only misses from all homes are absence.

Two majorities share a home: whoever finds a session alive has asked one that took its last confirmed change, or its
end. If that home has forgotten meanwhile it has no vote until it is repaired, and it is repaired from the others,
of which one remembers.

While the pool changes, each pool of the chain has homes of its own, and some web servers know the older pool only, or
the newer one only. So a write needs a majority in every pool. A read needs it in one, for a session may not have
moved yet, or may have been born after the move; and every other pool must be known not to object. That is so if all
its homes have answered, or if a majority of them has nothing and none has anything: a session that was there has not
been forgotten by so many at once.
"""

from collections.abc import Collection

from memsession.plans.world import World


def enough(world: World, key: bytes, nodes: Collection[str]) -> bool:
    """Whether these homes of `key` are as many as must acknowledge a write, or answer a question."""
    if world.home_sets is None:
        return bool(nodes)
    return all(_most(homes, nodes) for homes in world.home_sets(key))


def proven(world: World, key: bytes, having: Collection[str], empty: Collection[str]) -> bool:
    """Whether a live record is to be believed that `having` hold; `empty` answered that they have nothing."""
    if world.home_sets is None:
        return bool(having)
    sets = world.home_sets(key)
    believing = [_most(homes, having) for homes in sets]
    return any(believing) and all(
        believes or _agrees(homes, having, empty) for homes, believes in zip(sets, believing, strict=True)
    )


def _agrees(homes: tuple[str, ...], having: Collection[str], empty: Collection[str]) -> bool:
    """Whether the homes of a pool do not object to a record that most of them do not have."""
    if all(node in having or node in empty for node in homes):
        return True
    return _most(homes, empty) and not any(node in having for node in homes)


def _most(homes: tuple[str, ...], nodes: Collection[str]) -> bool:
    return 2 * sum(node in nodes for node in homes) > len(homes)
