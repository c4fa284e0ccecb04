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
        """The pool that takes the place of the one in use: `pool`, with that one as its `previous` unless it has one.

        `moved`: all sessions have moved to the one in use, so what was before that does not count any more.

        Raises:
            ConfigurationError: the two cannot follow each other.
        """
        current = self.pool.following(None) if moved else self.pool
        if pool.in_process or current.in_process:
            raise ConfigurationError(
                "reload(pool): a memory:// pool cannot be replaced, nor take another one's place"
            )
        if pool.previous is not None:
            return pool
        if _layout(pool) == _layout(current):
            return pool.following(current.previous)
        return pool.following(current)


def _layout(pool: Pool) -> object:
    """What decides where sessions lie: not the addresses, under names of their own."""
    return {(node.name, node.weight) for node in pool.nodes}, pool.copies, pool.zones, pool.consistency, pool.prefix
