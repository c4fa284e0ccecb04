"""Birth: a new session is put where its nodes are healthy.

Placement follows from the ID, and the ID is ours to choose: IDs are drawn until all homes of one are up (with one
node of three down and two copies, a third of the draws do). So logins go on while nodes are down, and no session
is placed on a node that is known to be dead. A home that turns out dead only now is known from then on: the next
draw avoids it, and what was stored under the first draw, which nobody has ever seen, is ended. So it is with a birth
that nobody confirmed, though all its homes may be sound: their answers were lost, and another ID costs nothing.
"""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from memsession.commands import Bury
from memsession.plans.outcomes import Saved, Unconfirmed
from memsession.plans.save import create
from memsession.plans.world import Plan, World
from memsession.record import Dead, Live, Reason

DRAWS_MAX = 64
"""With 64 draws all fail only if nearly every node is down; then the best one is taken."""

BIRTHS_MAX = 3
"""Tries to store before the session is left with the copies it has."""


class Keyed(Protocol):
    """An ID that knows its storage key."""

    @property
    def key(self) -> bytes:
        """The storage key."""
        ...


K = TypeVar("K", bound=Keyed)


def draw(world: World, new: Callable[[], K]) -> K:
    """An ID whose homes are all up, or the best of 64."""
    best, most = new(), -1
    for _ in range(DRAWS_MAX):
        drawn = new()
        homes = world.homes(drawn.key)
        up = sum(1 for node in homes if world.is_up(node))
        if up == len(homes):
            return drawn
        if up > most:
            best, most = drawn, up
    return best


def bear(
    world: World, new: Callable[[], K], wanted: Live, deadline: float, seal: Callable[[bytes], Any] | None = None
) -> Plan[tuple[K, Saved | Unconfirmed]]:
    """Store a new session under an ID drawn for it. `seal` may check the size of what is stored under a key."""
    for births in range(1, BIRTHS_MAX + 1):
        drawn = draw(world, new)
        outcome = yield from create(world, drawn.key, wanted, seal(drawn.key) if seal else None)
        homes = world.homes(drawn.key)
        copies = len(outcome.confirmed) if isinstance(outcome, Saved) else 0
        again = not copies or (copies < len(homes) and _better(world, homes, new))
        if not again or births == BIRTHS_MAX or world.monotonic() >= deadline:
            return drawn, outcome
        yield from _abandon(world, drawn.key, world.ttl_s(wanted))
    raise AssertionError("unreachable")


def _better(world: World, homes: tuple[str, ...], new: Callable[[], K]) -> bool:
    """Whether some home failed that another draw would avoid."""
    drawn = world.homes(draw(world, new).key)
    return sum(map(world.is_up, drawn)) > sum(map(world.is_up, homes))


def _abandon(world: World, key: bytes, ttl: int) -> Plan[None]:
    """End what was stored under an ID that nobody has: kept only as long as a late `add` could live."""
    value = world.codec.seal(key, Dead(Reason.INVALIDATED))
    nodes = [node for node in world.homes(key) if world.is_up(node)]
    if nodes:
        yield [Bury(node, key, value, ttl) for node in nodes]
