"""The caretaker: a thread of each process that does the keeper's chores, beside the requests and without them.

It has a client of its own, so it takes no connection from a request and no request waits for it. It is a daemon
thread: nothing waits for it when the process ends. In a forked process it has to be started again. Where the standard
library is patched for gevent, it is a greenlet.
"""

import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeVar

from memsession.addresses import Node
from memsession.blocking import BlockingClient
from memsession.blocking.listing import keys
from memsession.events import AnyEvent, MoveDone, NodeEvent, Observe, Observer, UpkeepFailed, guarded
from memsession.lifetime import Lifetime
from memsession.pool import Pool
from memsession.record import Dead
from memsession.upkeep import Chore, Keeper, Listing, Pause, Upkeep
from memsession.upkeep.build import keeper_of
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

    `has_moved`: it was told that all sessions have moved to the pool in use. `options` None: it does nothing.
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
        self.has_moved = False

    def start(self) -> None:
        """Begin, if this process has not begun yet, and if there is anything to do."""
        if self._process != os.getpid():
            self._process = os.getpid()
            if self._options is not None and not self._pool.in_process:
                self._shift = _Shift(self._pool, self._keys, self._lifetime, self._tell, self._options)

    def stop(self) -> None:
        """Let another process go on at once. It may be started again."""
        if self._process == os.getpid():
            self._process = 0
            shift, self._shift = self._shift, None
            if shift is not None:
                shift.end()

    def listening(self, observe: Observe) -> Observer:
        """What an observer of the requests' client is to be called with: the caretaker hears of nodes as well."""

        def tell(event: Any) -> None:
            shift = self._shift
            if shift is not None and self._process == os.getpid():
                shift.keeper.heard(event)
            observe(event)

        return tell

    def _tell(self, event: AnyEvent) -> None:
        self.has_moved = self.has_moved or isinstance(event, MoveDone)
        self._observe(event)

    def missed(self, key: bytes, dead: Dead, nodes: tuple[str, ...]) -> None:
        """These nodes have not taken a tombstone; they are told when they are back."""
        shift = self._shift
        if shift is not None and self._process == os.getpid():
            shift.keeper.missed(key, dead, nodes)

    def adopt(self, pool: Pool) -> None:
        """Take care of another pool from now on."""
        self._pool, self.has_moved = pool, False
        shift = self._shift
        if shift is not None and self._process == os.getpid():
            shift.adopt(pool)


class _Shift:
    """The caretaker's work in one process: a thread, a client and a keeper."""

    def __init__(
        self, pool: Pool, keys: Sequence[bytes], lifetime: Lifetime, observe: Observe, options: Upkeep
    ) -> None:
        self._observe = observe
        self._nodes = {node.name: node for node in pool.all_nodes}
        self._prefix = pool.prefix
        self._client = BlockingClient(pool, observe=self._hear)
        self.keeper: Keeper = keeper_of(
            pool, keys=keys, lifetime=lifetime, senses=self._client, observe=observe, rate=options.rate
        )
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="memsession upkeep", daemon=True)
        self._thread.start()

    def _hear(self, event: NodeEvent) -> None:
        self.keeper.heard(event)

    def adopt(self, pool: Pool) -> None:
        self._nodes.update((node.name, node) for node in pool.all_nodes)
        self._client.adopt(pool)
        self.keeper.adopt(pool)

    def end(self) -> None:
        """Wait for it, but not for long."""
        self._over.set()
        self._thread.join(FAREWELL_S)

    def _work(self) -> None:
        while not self._over.is_set():
            try:
                self._perform(self.keeper.run())
            except Exception as error:
                _logger.debug("the upkeep of the pool failed", exc_info=True)
                self._observe(UpkeepFailed(f"{type(error).__name__}: {error}"))
                self._over.wait(AFTER_FAILURE_S)
        try:
            self._perform(self.keeper.farewell())
        except Exception:
            _logger.debug("the lease of the upkeep could not be given back", exc_info=True)
        self._client.close()

    def _perform(self, chore: Chore[T]) -> None:
        """Step by step, until it is done or the process ends."""
        answer: Any = None
        while True:
            try:
                step = chore.send(answer)
            except StopIteration:
                return
            answer = None
            if isinstance(step, Pause):
                if self._over.wait(step.seconds) and step.seconds > 0:
                    chore.close()
                    return
            elif isinstance(step, Listing):
                answer = _listed(self._nodes[step.node], self._prefix)
            else:
                answer = self._client.run(step, deadline=time.monotonic() + PLAN_S)


def _listed(node: Node, prefix: str) -> Iterator[list[bytes]]:
    """The keys of a node, while they are read; whatever is wrong with them is an `OSError`."""
    try:
        yield from keys(node, timeout_s=LISTING_TIMEOUT_S, prefix=prefix)
    except (ProtocolError, ListingRefused) as problem:
        raise ConnectionError(str(problem)) from problem
