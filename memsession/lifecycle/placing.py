"""The pool in use, which may be replaced while requests are under way."""

from memsession.errors import ConfigurationError
from memsession.pool import Pool


class Placing:
    """Where sessions lie now. `pool` is replaced as a whole, so each question is answered by one of the two."""

    __slots__ = ("pool",)

    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    def homes(self, key: bytes) -> tuple[str, ...]:
        """`Pool.homes`."""
        return self.pool.homes(key)

    def home_sets(self, key: bytes) -> tuple[tuple[str, ...], ...]:
        """`Pool.home_sets`."""
        return self.pool.home_sets(key)

    def successor(self, pool: Pool, *, moved: bool) -> Pool:
        """The pool that takes the place of the one in use: `pool`, and before it all that may still hold sessions.

        That is what `pool` itself names as `previous`, then the one in use, and what was before that unless `moved`:
        unless all sessions have moved to the one in use.

        Raises:
            ConfigurationError: the two cannot follow each other.
        """
        current = self.pool.following(None) if moved else self.pool
        if pool.in_process or current.in_process:
            raise ConfigurationError(
                "reload(pool): a memory:// pool cannot be replaced, nor take another one's place"
            )
        # A name is an identity: a node that has another address now has it for those pools, too.
        current = current.relocated(pool.all_nodes)
        given = _chain(pool)
        known = [_layout(one) for one in given]
        former = [one for one in _chain(current) if _layout(one) not in known]
        succeeding: Pool | None = None
        for one in reversed([*given, *former]):
            succeeding = one.following(succeeding)
        assert succeeding is not None  # noqa: S101 - for the type checker
        return succeeding


def _chain(pool: Pool) -> list[Pool]:
    pools = [pool]
    while (before := pools[-1].previous) is not None:
        pools.append(before)
    return pools


def _layout(pool: Pool) -> object:
    """What decides where sessions lie: not the addresses, under names of their own."""
    return {(node.name, node.weight) for node in pool.nodes}, pool.copies, pool.zones, pool.consistency, pool.prefix
