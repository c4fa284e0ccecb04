"""What this process has counted: its own sub-counts, by session and key.

An increment is made exact by never taking anything from what was read: a copy that could not be reached may hold
more. The process remembers, for each (session, key) it counted on, a random writer name, how many increments it
made under that name, and their sum. Where it remembers nothing (first increment, after a restart, after a fork, or
because the memory was full) it begins under a fresh name. So two processes never share a name, and under one name
a greater n always holds everything a smaller n held.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from memsession.record.state import SubCount

LIMIT = 65_536
"""Entries remembered. A forgotten one costs a few more bytes in the record, never a count."""


class OwnCount(NamedTuple):
    """The writer name this process uses for a session's key, and its sub-count."""

    writer: str
    sub: SubCount


class CounterMemory:
    """A bounded memory of own sub-counts. Safe to use from several threads."""

    def __init__(self, nonce: Callable[[], str], limit: int = LIMIT) -> None:
        self._nonce = nonce
        self._limit = limit
        self._own: OrderedDict[tuple[bytes, str], OwnCount] = OrderedDict()
        self._lock = threading.Lock()
        self._pid = os.getpid()

    @contextmanager
    def counting(self, session: bytes, increments: Mapping[str, int]) -> Iterator[dict[str, OwnCount]]:
        """Count `increments` (key -> amount) and give the new sub-counts; undone if the block raises.

        The block is one critical section: within it the record is built and its size checked.
        """
        if not increments:
            yield {}
            return
        self._forget_after_fork()
        with self._lock:
            before = {key: self._own.get((session, key)) for key in increments}
            taken = {key: self._take(session, key, by) for key, by in increments.items()}
            try:
                yield taken
            except BaseException:
                for key, own in before.items():
                    if own is None:
                        self._own.pop((session, key), None)
                    else:
                        self._own[session, key] = own
                raise

    def _take(self, session: bytes, key: str, by: int) -> OwnCount:
        own = self._own.pop((session, key), None) or OwnCount(self._nonce(), SubCount(0, 0))
        own = OwnCount(own.writer, SubCount(own.sub.n + 1, own.sub.amount + by))
        self._own[session, key] = own
        while len(self._own) > self._limit:
            self._own.popitem(last=False)
        return own

    def _forget_after_fork(self) -> None:
        """A forked child would go on counting under its parent's names; and the parent's lock may be held."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._lock = threading.Lock()
            self._own.clear()

    def clear(self) -> None:
        """Forget everything; the next increments begin under fresh names."""
        self._own.clear()

    def __len__(self) -> int:
        return len(self._own)
