"""The caretaker: a thread of each process that does the keeper's chores, beside the requests and without them.

It has a client of its own, so it takes no connection from a request and no request waits for it. It is a daemon
thread: nothing waits for it when the process ends, but for a moment in which it gives the lease back. In a forked
process it has to be started again. Where the standard library is patched for gevent, it is a greenlet. It ends when
nobody has its caretaker any more.
"""

import atexit
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

from memsession.addresses import Node
from memsession.blocking import BlockingClient
from memsession.blocking.listing import keys
from memsession.events import NodeEvent, Observe, Observer, UpkeepFailed, guarded
from memsession.lifetime import Lifetime
from memsession.pool import Pool
from memsession.record import Dead
from memsession.upkeep import Chore, Keeper, Listing, Pause, Upkeep
from memsession.upkeep.build import keeper_of, sites
from memsession.upkeep.site import Site
from memsession.wire import ProtocolError
from memsession.wire.listing import ListingRefused

T = TypeVar("T")

_logger = logging.getLogger("memsession")

PLAN_S: Final = 5.0
"""For a plan that no visitor waits for."""

LISTING_TIMEOUT_S: Final = 5.0
FAREWELL_S: Final = 1.0
AFTER_FAILURE_S: Final = 10.0


class Caretaker:
    """See the top of this file. To be started where requests are served, as often as one likes.

    `options` None: it does nothing.
    """

    def __init__(
        self, pool: Pool, *, keys: Sequence[bytes], lifetime: Lifetime, observe: Observe, options: Upkeep | None
    ) -> None:
        self._pool = pool
        self._keys = tuple(keys)
        self._lifetime = lifetime
        self._observe = guarded(observe)
        self._options = options
        self._process = 0
        self._shift: _Shift | None = None
        self._locks: dict[int, threading.Lock] = {}

    @property
    def has_moved(self) -> bool:
        """Whether it was told that all sessions have moved to the pool in use."""
        shift = self._here()
        return shift is not None and shift.keeper.has_moved

    def start(self) -> None:
        """Begin, if this process has not begun yet, and if there is anything to do. It raises nothing."""
        if self._process == os.getpid() or self._options is None or self._pool.in_process:
            return
        with self._lock():
            if self._process == os.getpid():
                return
            shift = _Shift(self._pool, self._keys, self._lifetime, self._observe, self._options)
            try:
                shift.start()
            except RuntimeError as error:  # So many threads, or the interpreter ends.
                self._observe(UpkeepFailed(f"no thread can be started: {error}"))
            self._shift = shift
            self._process = os.getpid()
            weakref.finalize(self, shift.over.set).atexit = False

    def stop(self) -> None:
        """Let another process go on at once. It may be started again."""
        with self._lock():
            shift = self._here()
            self._process, self._shift = 0, None
        if shift is not None:
            shift.end(FAREWELL_S)

    def listening(self, observe: Observe) -> Observer:
        """What an observer of the requests' client is to be called with: the caretaker hears of nodes as well."""

        def tell(event: Any) -> None:
            shift = self._here()
            if shift is not None:
                shift.keeper.heard(event)
            observe(event)

        return tell

    def missed(self, key: bytes, dead: Dead, nodes: tuple[str, ...]) -> None:
        """These nodes have not taken a tombstone; they are told when they are back."""
        shift = self._here()
        if shift is not None:
            shift.keeper.missed(key, dead, nodes)

    def adopt(self, pool: Pool) -> None:
        """Take care of another pool from now on."""
        self._pool = pool
        self._pass_on()

    def go_by(self, keys: Sequence[bytes], lifetime: Lifetime) -> None:
        """Use other secrets, or another lifetime, from now on."""
        if (tuple(keys), lifetime) != (self._keys, self._lifetime):
            self._keys, self._lifetime = tuple(keys), lifetime
            self._pass_on()

    def _pass_on(self) -> None:
        shift = self._here()
        if shift is not None:
            shift.adopt(self._pool, self._keys, self._lifetime)

    def _here(self) -> "_Shift | None":
        """The shift of this process: what a fork has left behind does not count."""
        return self._shift if self._process == os.getpid() else None

    def _lock(self) -> threading.Lock:
        """One for each process: in a fork it may be locked by a thread that is not there."""
        return self._locks.setdefault(os.getpid(), threading.Lock())


class _Over(Exception):
    """The shift is over."""


class _Shift:
    """The caretaker's work in one process: a thread, a client and a keeper."""

    def __init__(
        self, pool: Pool, keys: Sequence[bytes], lifetime: Lifetime, observe: Observe, options: Upkeep
    ) -> None:
        self.over = threading.Event()
        self.process = os.getpid()
        self._observe = observe
        self._rate = options.rate
        self._pool = pool
        self._client = BlockingClient(pool, observe=self._hear)
        self.keeper: Keeper = keeper_of(pool, self._sites(keys, lifetime))
        self._thread = threading.Thread(target=self._work, name="memsession upkeep", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()
        _shifts.add(self)

    def end(self, wait_s: float) -> None:
        """Wait for it, but not for long."""
        self.over.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(wait_s)

    def adopt(self, pool: Pool, keys: Sequence[bytes], lifetime: Lifetime) -> None:
        """Go by another pool or by other settings."""
        self._pool = pool
        self._client.adopt(pool)
        self.keeper.adopt(pool, self._sites(keys, lifetime))

    def _sites(self, keys: Sequence[bytes], lifetime: Lifetime) -> Callable[[Pool], Site]:
        return sites(keys=keys, lifetime=lifetime, senses=self._client, observe=self._observe, rate=self._rate)

    def _hear(self, event: NodeEvent) -> None:
        self.keeper.overheard(event)

    def _work(self) -> None:
        while not self.over.is_set():
            try:
                self._perform(self.keeper.run(), self.over)
            except _Over:
                break
            except Exception as error:
                _logger.debug("the upkeep of the pool failed", exc_info=True)
                self._observe(UpkeepFailed(f"{type(error).__name__}: {error}"))
                self.over.wait(AFTER_FAILURE_S)
        try:
            self._perform(self.keeper.farewell(), threading.Event())
        except Exception:
            _logger.debug("the lease of the upkeep could not be given back", exc_info=True)
        self._client.close()

    def _perform(self, chore: Chore[T], over: threading.Event) -> None:
        """Step by step, until it is done; or until it is over, which is an `_Over`."""
        answer: Any = None
        while True:
            try:
                step = chore.send(answer)
            except StopIteration:
                return
            answer = None
            if over.wait(step.seconds) if isinstance(step, Pause) else over.is_set():
                chore.close()
                raise _Over
            if isinstance(step, Listing):
                answer = self._listed(step.node)
            elif not isinstance(step, Pause):
                answer = self._client.run(step, deadline=time.monotonic() + PLAN_S)

    def _listed(self, name: str) -> Iterator[list[bytes]]:
        """The keys of a node, while they are read; whatever is wrong with them is an `OSError`."""
        node: Node | None = next((node for node in self._pool.all_nodes if node.name == name), None)
        if node is None:
            raise ConnectionError("it is not in the pool any more")
        try:
            for batch in keys(node, timeout_s=LISTING_TIMEOUT_S, prefix=self._pool.prefix):
                if self.over.is_set():
                    raise _Over
                yield batch
        except (ProtocolError, ListingRefused) as problem:
            raise ConnectionError(str(problem)) from problem


_shifts: "weakref.WeakSet[_Shift]" = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    """When the interpreter ends: a daemon thread that goes on meanwhile may be cut off in the middle of a line."""
    # What a fork has left behind belongs to nobody here; its event may be locked for ever.
    shifts = [shift for shift in list(_shifts) if shift.process == os.getpid()]
    for shift in shifts:
        shift.over.set()
    until = time.monotonic() + FAREWELL_S
    for shift in shifts:
        shift.end(max(until - time.monotonic(), 0.0))
