"""What this process has counted: its own sub-counts, by session and key.

An increment is made exact by never taking anything from what was read: a copy that could not be reached may hold
more. The process remembers, for each (session, key) it counted on, a random writer name, how many increments it
made under that name, and their sum. Where it remembers nothing (first increment, after a restart, after a fork, or
because the memory was full) it begins under a fresh name. So two processes never share a name, and under one name
a greater n always holds everything a smaller n held.
"""

import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import NamedTuple

from memsession.record.state import SubCount

LIMIT = 65_536
"""Entries remembered. A forgotten one costs a few more bytes in the record, never a count."""


class OwnCount(NamedTuple):
    """The writer name this process uses for a session's key, and its sub-count."""

    writer: str
    sub: SubCount


_NOTHING: AbstractContextManager[Mapping[str, OwnCount]] = nullcontext({})


class CounterMemory:
    """A bounded memory of own sub-counts. Safe to use from several threads."""

    def __init__(self, nonce: Callable[[], str], limit: int = LIMIT) -> None:
        self._nonce = nonce
        self._limit = limit
        self._own: OrderedDict[tuple[bytes, str], OwnCount] = OrderedDict()
        self._lock = threading.Lock()
        _all.add(self)

    def counting(
        self, session: bytes, increments: Mapping[str, int]
    ) -> AbstractContextManager[Mapping[str, OwnCount]]:
        """Count `increments` (key -> amount) and give the new sub-counts; undone if the block raises.

        The block is one critical section: within it the record is built and its size checked.
        """
        return _Counting(self, session, increments) if increments else _NOTHING

    def enter(self) -> None:
        """Begin a critical section."""
        self._lock.acquire()

    def forked(self) -> None:
        """A child would go on under its parent's names; and the parent's lock may be held for ever."""
        self._lock = threading.Lock()
        self._own = OrderedDict()

    def leave(self) -> None:
        """End a critical section."""
        self._lock.release()

    def take(self, session: bytes, key: str, by: int) -> tuple[OwnCount | None, OwnCount]:
        """Count once more: what was remembered before, and what is now."""
        before = self._own.pop((session, key), None)
        if before is None:
            own = OwnCount(self._nonce(), SubCount(1, by))
        else:
            own = OwnCount(before.writer, SubCount(before.sub.n + 1, before.sub.amount + by))
        self._own[session, key] = own
        while len(self._own) > self._limit:
            self._own.popitem(last=False)
        return before, own

    def restore(self, session: bytes, before: Mapping[str, OwnCount | None]) -> None:
        """Undo what was counted in this critical section."""
        for key, own in before.items():
            if own is None:
                self._own.pop((session, key), None)
            else:
                self._own[session, key] = own

    def clear(self) -> None:
        """Forget everything; the next increments begin under fresh names."""
        self._own.clear()

    def __len__(self) -> int:
        return len(self._own)


class _Counting(AbstractContextManager[Mapping[str, OwnCount]]):
    """The critical section of one save."""

    __slots__ = ("_before", "_increments", "_memory", "_session")

    def __init__(self, memory: CounterMemory, session: bytes, increments: Mapping[str, int]) -> None:
        self._memory = memory
        self._session = session
        self._increments = increments
        self._before: dict[str, OwnCount | None] = {}

    def __enter__(self) -> Mapping[str, OwnCount]:
        self._memory.enter()
        try:
            taken = {}
            for key, by in self._increments.items():
                self._before[key], taken[key] = self._memory.take(self._session, key, by)
        except BaseException:
            # The block is never entered, so nobody else would end the section.
            self._memory.restore(self._session, self._before)
            self._memory.leave()
            raise
        return taken

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self._memory.restore(self._session, self._before)
        self._memory.leave()


_all: "weakref.WeakSet[CounterMemory]" = weakref.WeakSet()


def _forked() -> None:
    for memory in list(_all):
        memory.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
