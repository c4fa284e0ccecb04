"""What all threads of a process know of the nodes, and how connections to them are made.

A silent node is probed beside the requests, and without a thread: some request begins to connect and greets, which
takes no time, and goes on; later requests look, which takes none either, whether the answer is there. The one that
finds it takes the connection, and the node is back. Where nobody makes requests, nobody needs the probe.

Nodes that leave the pool stay known for as long as there can be plans that were begun before.
"""

import logging
import math
import random
import threading
import time
from collections.abc import MutableMapping

from memsession.addresses import Node
from memsession.blocking.connection import Broken, Connection
from memsession.blocking.opening import Opening
from memsession.clock import PoolClock
from memsession.commands import Unreachable
from memsession.events import NodeEvent, Observer
from memsession.greeting import Greeting, NoGreeting, TooOld, address_of
from memsession.health import PROBE_LAST_S, RETRY_S, Fault, Health, recognise
from memsession.pool import Pool
from memsession.resolver import Resolver, Unresolved

RESOLVING_SHARE = 0.8
"""What part of the time-out a connection may wait for the resolver, so that there is time left to connect."""

_logger = logging.getLogger("memsession")


class Nodes:
    """One for each process that uses a client. All of it may be called by several threads at once.

    `names` are the nodes of the pool. `partings` counts how often nodes have left it for good.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        clock: PoolClock,
        resolver: Resolver,
        incarnations: MutableMapping[str, str],
        observe: Observer,
    ) -> None:
        self.names = tuple(node.name for node in pool.all_nodes)
        self.timeout_s = pool.timeout.total_seconds()
        self.partings = 0
        self._observer = observe
        self.health = Health(self.names, monotonic=time.monotonic, chance=random.random, observe=self._observe)
        self._nodes = {node.name: node for node in pool.all_nodes}
        self._prefix = pool.prefix
        self._clock = clock
        self._resolver = resolver
        self._incarnations = incarnations
        self._lock = threading.Lock()
        # Another one, which a signal handler may take that interrupts whoever has it.
        self._moving = threading.RLock()
        self._unfit: dict[str, Unreachable] = {}
        self._openings: dict[str, Opening] = {}
        self._probe_at: dict[str, float] = {}
        self._part_at: float | None = None

    def adopt(self, pool: Pool) -> None:
        """Go by another pool. What is known of nodes that stay is kept, as long as they are where they were."""
        with self._moving:
            self._adopt(pool)

    def _adopt(self, pool: Pool) -> None:
        known = self._nodes
        nodes = {node.name: node for node in pool.all_nodes}
        for name, node in nodes.items():
            before = known.get(name)
            if before is None:
                continue
            if (before.host, before.port) == (node.host, node.port):
                nodes[name] = before  # Connections are known by it.
            else:
                self._forget(name)
        self._part_at = time.monotonic() + 2.0 * pool.budget.total_seconds()
        self.timeout_s = pool.timeout.total_seconds()
        self.names = tuple(nodes)
        self._nodes = {**known, **nodes}

    def parts(self) -> bool:
        """Whether it is time to part with nodes that have left the pool. If so, they are not known any more."""
        part_at = self._part_at
        if part_at is None or time.monotonic() < part_at:
            return False
        with self._moving:
            if self._part_at != part_at:
                return False  # Another thread was quicker, or the pool has changed once more.
            self._part_at = None
            gone = self._nodes.keys() - set(self.names)
            self._nodes = {name: node for name, node in self._nodes.items() if name not in gone}
            for name in gone:
                self._forget(name)
            self.partings += 1
            return True

    def _forget(self, name: str) -> None:
        self.health.forget(name)
        self._unfit.pop(name, None)
        self._probe_at.pop(name, None)
        opening = self._openings.pop(name, None)
        if opening is not None:
            opening.close()

    def node(self, name: str) -> Node | None:
        """The node of that name: the same object while it is where it is. None if there is none, or none any more."""
        return self._nodes.get(name)

    def address(self, name: str) -> str:
        """Where the node is, as people write it."""
        node = self._nodes.get(name)
        return name if node is None else address_of(node)

    def unfit(self, name: str) -> Unreachable | None:
        """The answer of a node that is out because it is too old."""
        return self._unfit.get(name)

    def dial(self, name: str) -> Opening | Unreachable:
        """Begin to connect, or go on with what another request has begun and left. It is the caller's alone."""
        node, tried = self._nodes.get(name), self.health.is_out(name)
        left = self._openings.pop(name, None)
        if left is not None and left.node is node:
            return left
        if left is not None:
            left.close()
        if node is None:
            return Unreachable("the node is not in the pool any more")
        self.health.tried(name)
        try:
            places = self._resolver.places(node, RESOLVING_SHARE * self.timeout_s)
            return Opening(node, places, prefix=self._prefix, timeout_s=self.timeout_s, tried=tried)
        except (OSError, Unresolved, Broken) as problem:
            return self._refused(name, problem, tried)

    def settle(self, name: str, opening: Opening, until: float, looks: int = 1) -> Connection | Unreachable | None:
        """What came of it `until` then; None if nothing yet, and the node may still answer."""
        if opening.node is not self._nodes.get(name):
            opening.close()
            return Unreachable("the node is somewhere else now")
        try:
            opened = opening.look(until, looks)
        except TooOld as problem:
            self._unfit[name] = unfit = Unreachable(str(problem))
            self._failed(name, Fault.REFUSED, unfit.reason, opening.tried)
            return unfit
        except (OSError, Unresolved, Broken) as problem:
            return self._refused(name, problem, opening.tried)
        late = time.monotonic() >= opening.due
        if opened is not None:
            connection, greeting = opened
            if opening.place is not None:
                self._resolver.met(opening.node, opening.place)
            self._connected(name, greeting, late)
            return connection
        if not late:
            return None
        opening.close()
        self._unfit.pop(name, None)
        reason = f"no connection to {self.address(name)} within {self.timeout_s:g} s"
        return self._failed(name, Fault.SILENT, reason, opening.tried)

    def leave(self, name: str, opening: Opening) -> None:
        """Give it to the next request that asks for the node; of two, one is enough."""
        if self._openings.setdefault(name, opening) is not opening:
            opening.close()

    def probed(self, name: str) -> Connection | None:
        """For a node that is out: the connection that a probe has brought meanwhile. It takes no time.

        A probe that is due begins here.
        """
        opening = self._openings.pop(name, None)
        if opening is None:
            if not self._takes_probe(name):
                return None
            begun = self.dial(name)
            if isinstance(begun, Opening):
                self.leave(name, begun)
            return None
        outcome = self.settle(name, opening, -math.inf)
        if outcome is None:
            self.leave(name, opening)
        return outcome if isinstance(outcome, Connection) else None

    def broke(self, name: str, fault: Fault, reason: str) -> None:
        """A connection to the node broke. Of a node that is out already this is no news."""
        self._failed(name, fault, reason, tried=False)

    def closed_idle(self, name: str, connection: Connection, ended: Broken) -> None:
        """A connection ended while nobody used it. That it was closed is its node's right, and it is opened anew.

        But a node that closes every connection shall not get one from every request.
        """
        if ended.fault is not Fault.LOST or time.monotonic() < connection.opened_at + RETRY_S:
            self.broke(name, ended.fault, str(ended))

    def close(self) -> None:
        """Give up all probes."""
        for name in self.names:
            opening = self._openings.pop(name, None)
            if opening is not None:
                opening.close()

    def _takes_probe(self, name: str) -> bool:
        """Whether a probe is due, and the caller is to make it."""
        if time.monotonic() < self._probe_at.get(name, math.inf):
            return False
        with self._lock:
            now = time.monotonic()
            if now < self._probe_at.get(name, math.inf):
                return False
            # If nothing ever comes of it, because the request is interrupted here, another one may.
            self._probe_at[name] = now + PROBE_LAST_S
        return True

    def _connected(self, name: str, greeting: Greeting, late: bool) -> None:
        self._unfit.pop(name, None)
        self._probe_at.pop(name, None)
        self.health.succeeded(name)
        # What a probe brought may have lain there for long, and the time in it is over.
        if greeting.unix_time_s is not None and not late:
            with self._lock:
                self._clock.observe(name, greeting.unix_time_s)
        if greeting.incarnation is not None and name in self.names:
            recognise(self._incarnations, name, greeting.incarnation, self._observe)

    def _refused(self, name: str, problem: Exception, tried: bool) -> Unreachable:
        if isinstance(problem, OSError) and problem.errno is None and not isinstance(problem, NoGreeting):
            raise problem  # It is no socket's: a signal handler or a greenlet's time-out raised it.
        self._unfit.pop(name, None)
        reason = f"cannot connect to {self.address(name)}: {problem.__cause__ or problem}"
        return self._failed(name, Fault.REFUSED, reason, tried)

    def _failed(self, name: str, fault: Fault, reason: str, tried: bool) -> Unreachable:
        """Threads that met one failure together report it once; later tries of a node that is out count each."""
        if tried or not self.health.is_out(name):
            self.health.failed(name, fault, reason)
            pause_s = self.health.probe_pause_s(name)
            if pause_s is None:
                self._probe_at.pop(name, None)
            else:
                self._probe_at[name] = time.monotonic() + pause_s
        return Unreachable(reason)

    def _observe(self, event: NodeEvent) -> None:
        """An observer that raises must not take a connection with it. Of nodes that have left there is no news."""
        if getattr(event, "node", self.names[0]) not in self.names:
            return
        try:
            self._observer(event)
        except Exception:
            _logger.exception("the observe function of the memsession client failed on %r", event)
