"""Runs plans over blocking sockets, in whatever threads, greenlets and forked processes call it."""

import math
import os
import time
import weakref
from collections.abc import Sequence
from typing import TypeVar

from memsession.blocking.exchange import Exchange
from memsession.blocking.nodes import Nodes
from memsession.clock import PoolClock
from memsession.commands import Cas, Command
from memsession.events import Observer, log
from memsession.greeting import refuse_twins, unlearn
from memsession.plans.world import Plan
from memsession.pool import Pool
from memsession.resolver import Resolver

T = TypeVar("T")

IDLE_MAX = 32
"""Exchanges kept for later; as many plans as this can run at the same moment without opening connections."""


class BlockingClient:
    """The blocking client of a pool: one for an application, shared by all its threads.

    It connects when it is first used. A plan has a connection to each node to itself while it runs; so there are
    about as many connections as plans that run at the same moment. It starts no thread, but for a moment where a name
    has to be resolved. A forked process makes its own connections and leaves its parent's alone. It works with gevent
    where the standard library is patched. `incarnations` has, by node, the random name of the memcached process that
    answers there. `observe` is told of nodes that go out, come back or forget; by default the logger `memsession` is.
    """

    def __init__(self, pool: Pool, *, observe: Observer | None = None) -> None:
        self.incarnations: dict[str, str] = {}
        self._pool = pool
        self._resolver = Resolver()
        self._observe = log if observe is None else observe
        self._clock = PoolClock(monotonic=time.monotonic, wall=time.time)
        self._processes: dict[int, _Process] = {}
        self._process = self._new_process()
        weakref.finalize(self, _close_all, self._processes)

    def run(self, plan: Plan[T], *, deadline: float | None = None) -> T:
        """Run a plan to its end and return what it returns.

        `deadline` is a time of `time.monotonic()`, in seconds: rounds begun later are not sent and rounds under way
        are not waited for, but for a tombstone, which is always sent and waited for.

        Raises what the plan raises. When it is interrupted from outside (`KeyboardInterrupt`, a greenlet's time-out),
        the plan ends where it is, and no connection with an unread reply is used again.
        """
        process = self._process if self._process.number == os.getpid() else self._new_process()
        until = math.inf if deadline is None else deadline
        exchange: Exchange | None = None
        try:
            commands = next(plan)
            exchange = process.lend(commands)
            while True:
                commands = plan.send(exchange.ask(commands, until))
        except StopIteration as finished:
            result: T = finished.value
            return result
        finally:
            if exchange is not None:
                process.take_back(exchange)

    def adopt(self, pool: Pool) -> None:
        """Go by another pool: from now on its nodes are the ones to be asked.

        What is known of nodes that stay is kept, their connections too. Nodes that are gone are still asked by plans
        that were begun before, for twice the budget of a request; with the next plan after that their connections are
        closed, and commands for them are answered `Skipped` (`Unreachable` if they insist). A node that has another
        address now is connected to anew. May be called from any thread, and from a signal handler.
        """
        before, self._pool = self._pool, pool
        unlearn(self.incarnations, before.all_nodes, pool.all_nodes)
        process = self._process
        if process.number == os.getpid():
            process.nodes.adopt(pool)

    def is_up(self, node: str) -> bool:
        """Whether the node is neither out nor slow. In a process that has not asked it yet, it is up."""
        process = self._process
        return process.number != os.getpid() or process.nodes.health.is_up(node)

    def now_ms(self) -> int:
        """The pool's clock: milliseconds since 1970 (UTC)."""
        return self._clock.now_ms()

    def greet(self) -> None:
        """Connect to all nodes, so that their clocks and their health are known before the first plan begins.

        Raises:
            ConfigurationError: two names of the pool are one memcached process.
        """
        process = self._process if self._process.number == os.getpid() else self._new_process()
        exchange = process.lend(())
        try:
            exchange.meet()
        finally:
            process.take_back(exchange)
        refuse_twins(self._pool.all_nodes, self.incarnations)

    def close(self) -> None:
        """Close all connections, those of plans under way when these end.

        It may be called twice, and the client may be used again afterwards.
        """
        process = self._process
        if process.number == os.getpid():
            process.close()

    def _new_process(self) -> "_Process":
        """What this process holds; of two threads that come here at once, one makes it."""
        number, pool = os.getpid(), self._pool
        nodes = Nodes(
            pool,
            clock=self._clock,
            resolver=self._resolver,
            incarnations=self.incarnations,
            observe=self._observe,
        )
        self._process = process = self._processes.setdefault(number, _Process(number, nodes))
        if pool is not self._pool:  # It has changed in between.
            process.nodes.adopt(self._pool)
        for other in [other for other in self._processes if other != number]:
            inherited = self._processes.pop(other, None)
            if inherited is not None:
                inherited.close()
        return process


class _Process:
    """What one process holds of a client: what it knows of the nodes, and the exchanges that no plan uses now.

    There is no lock: each step is one operation of a list, which Python does as a whole.
    """

    def __init__(self, number: int, nodes: Nodes) -> None:
        self.number = number
        self.nodes = nodes
        self._idle: list[Exchange] = []
        self._epoch = 0

    def lend(self, commands: Sequence[Command]) -> Exchange:
        """An exchange for a plan that begins with these commands.

        Tokens count on their own connection only: whoever comes with some gets the exchange they came from, if it is
        there. Otherwise the one used last, whose connections are least likely to have been closed for idleness.
        """
        if self.nodes.parts():
            self._part()
        serial = next((command.token.connection for command in commands if type(command) is Cas), 0)
        try:
            if serial:
                for exchange in self._idle[::-1]:
                    if exchange.holds(serial):
                        self._idle.remove(exchange)
                        return exchange
            return self._idle.pop()
        except (IndexError, ValueError):  # There is none, or another thread was quicker.
            return Exchange(self.nodes, self._epoch)

    def take_back(self, exchange: Exchange) -> None:
        """Keep it for the next plan, unless there are enough, or the client was closed meanwhile."""
        exchange.close_busy()
        if exchange.partings != self.nodes.partings:
            exchange.part()
        if self.number != os.getpid():
            exchange.close()
            return
        self._idle.append(exchange)
        try:
            # Looked at afterwards: so whoever closes at the same moment finds it, or is found out here.
            if exchange.epoch != self._epoch:
                self._idle.remove(exchange)
                exchange.close()
            elif len(self._idle) > IDLE_MAX:
                self._idle.pop(0).close()
        except (IndexError, ValueError):
            pass

    def _part(self) -> None:
        """Nodes have left the pool: close the idle connections to them."""
        idle: list[Exchange] = []
        while self._idle:
            try:
                idle.append(self._idle.pop())
            except IndexError:
                break
        for exchange in reversed(idle):
            self.take_back(exchange)

    def close(self) -> None:
        """Close what is idle; what is in use is closed when it comes back."""
        self._epoch += 1
        while self._idle:
            try:
                self._idle.pop().close()
            except IndexError:
                break
        self.nodes.close()


def _close_all(processes: dict[int, _Process]) -> None:
    """When the client is forgotten, or the interpreter ends."""
    for process in list(processes.values()):
        process.close()
