"""A memcached process as the simulator knows it: items with numbers that begin again at 1, and many ways to fail."""

from collections.abc import Callable
from typing import Any

from memsession.commands import Add, Bury, Cas, Command, Conflict, Get, Hit, Miss, NotFound, Reply, Stored, Token

MISS, STORED, CONFLICT, NOT_FOUND = Miss(), Stored(), Conflict(), NotFound()

ANY_CONNECTION = 0
"""No connection has this serial; a token that carries it (only mutants make some) is honoured on every connection."""


class Node:
    """`items`: key -> (value, cas, expiry). `process` counts restarts, `epoch` everything that empties the node."""

    __slots__ = ("cas", "down", "epoch", "evicted", "items", "name", "process", "queue", "stopped", "unlisted")

    def __init__(self, name: str) -> None:
        self.name = name
        self.items: dict[bytes, tuple[Any, int, float]] = {}
        self.cas = 0
        self.process = 1
        self.epoch = 0
        self.evicted: dict[bytes, int] = {}
        self.down = self.stopped = False
        self.queue: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self.unlisted: set[bytes] = set()

    def memory(self, key: bytes) -> tuple[int, int]:
        """Changes whenever the node has forgotten what it held under `key`."""
        return self.epoch, self.evicted.get(key, 0)

    def item(self, key: bytes, now: float) -> tuple[Any, int, float] | None:
        """What is stored and not past memcached's own expiry."""
        item = self.items.get(key)
        if item is not None and item[2] <= now:
            del self.items[key]
            return None
        return item

    def apply(self, command: Command, connection: int, now: float) -> Reply:
        """Execute one command that came over `connection`."""
        key = command.key
        item = self.item(key, now)
        kind = type(command)
        if kind is Get:
            return MISS if item is None else Hit(item[0], Token(item[1], connection))
        assert isinstance(command, Add | Cas | Bury)
        if kind is Add:
            if item is not None:
                return CONFLICT
        elif isinstance(command, Cas):
            if item is None:
                return NOT_FOUND
            if item[1] != command.token.cas:
                return CONFLICT
        self.put(key, command.value, now + command.ttl)
        return STORED

    def put(self, key: bytes, value: Any, expiry: float) -> None:
        """Store unconditionally."""
        self.cas += 1
        self.items[key] = (value, self.cas, expiry)

    def restart(self) -> None:
        """A new process: empty, numbers from 1, all connections gone."""
        self.items.clear()
        self.cas = 0
        self.process += 1
        self.epoch += 1
        self.queue.clear()
        self.down = self.stopped = False

    def flush(self) -> None:
        """Forget everything, but go on with the numbers."""
        self.items.clear()
        self.epoch += 1

    def evict(self, key: bytes) -> None:
        """Forget one item, for want of memory."""
        if self.items.pop(key, None) is not None:
            self.evicted[key] = self.evicted.get(key, 0) + 1

    def corrupt(self, key: bytes, garbage: Any) -> None:
        """What is stored becomes unreadable; that is forgetting as well."""
        item = self.items.get(key)
        if item is not None:
            self.evicted[key] = self.evicted.get(key, 0) + 1
            self.put(key, garbage, item[2])
