"""Runs plans on the running event loop, over one connection to each memcached node."""

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections.abc import Sequence
from typing import Any, TypeVar

from memsession.aio.exchange import Exchange
from memsession.aio.round import Round
from memsession.clock import PoolClock
from memsession.commands import Command
from memsession.errors import SessionError
from memsession.events import NodeEvent, Observer, log
from memsession.greeting import Greeting, refuse_twins, unlearn
from memsession.health import recognise
from memsession.plans.world import Plan
from memsession.pool import Pool
from memsession.resolver import Resolver

T = TypeVar("T")

_logger = logging.getLogger("memsession")

_inherited: list[object] = []
"""What a forked process found of its parent's: kept for ever, for to tidy it up would touch the parent's sockets."""


class AsyncClient:
    """The asyncio client of a pool: one for an application, shared by all its requests.

    It connects when it is first used, and then again in every event loop and every forked process: what belongs to
    another loop or process is never touched. `incarnations` has, by node, the random name of the memcached process
    that answers there. `observe` is told of nodes that go out, come back or forget; by default the logger
    `memsession` is.
    """

    def __init__(self, pool: Pool, *, observe: Observer | None = None) -> None:
        self.incarnations: dict[str, str] = {}
        self._pool = pool
        self._resolver = Resolver()
        self._observer = log if observe is None else observe
        self._clock = PoolClock(monotonic=time.monotonic, wall=time.time)
        self._process = os.getpid()
        self._exchanges: dict[asyncio.AbstractEventLoop, Exchange] = {}
        self._exchange: Exchange | None = None
        self._moving = threading.RLock()
        self._finishing: set[asyncio.Task[Any]] = set()

    async def run(self, plan: Plan[T], *, deadline: float | None = None) -> T:
        """Run a plan to its end and return what it returns.

        `deadline` is a time of `time.monotonic()`, in seconds: rounds begun later are not sent and rounds under way
        are not waited for, but for a tombstone, which is always sent and waited for.

        Raises what the plan raises. When it is cancelled, it raises `CancelledError` at once, and the plan goes on
        in the background: a save that was begun is not left half done.
        """
        exchange = self._exchange
        if exchange is None or exchange.loop is not asyncio.get_running_loop() or exchange.process != os.getpid():
            exchange = await self._at_home()
        try:
            commands: Sequence[Command] = next(plan)
            while True:
                round_ = exchange.ask(commands, deadline)
                if round_.left:
                    try:
                        await round_.over(exchange.loop)
                    except asyncio.CancelledError:
                        self._finish(exchange, plan, round_, deadline)
                        raise
                commands = plan.send(round_.replies)
        except StopIteration as finished:
            result: T = finished.value
            return result

    def adopt(self, pool: Pool) -> None:
        """Go by another pool: from now on its nodes are the ones to be asked.

        What is known of nodes that stay is kept, their connections too. Nodes that are gone are still asked by plans
        that were begun before, for twice the budget of a request; then their connections are closed, and commands for
        them are answered `Skipped` (`Unreachable` if they insist). A node that has another address now is connected
        to anew. May be called from any thread, and from a signal handler.
        """
        with self._moving:
            unlearn(self.incarnations, self._pool.all_nodes, pool.all_nodes)
            self._pool = pool
            if self._process != os.getpid():
                return
            exchanges = [held for held in self._exchanges.values() if held.process == os.getpid()]
        for exchange in exchanges:
            if exchange.loop is _running_loop():
                exchange.adopt(pool)
            else:
                # Whoever comes before the call is made goes by way of `_at_home`, and finds the new pool there.
                self._exchange = None
                with contextlib.suppress(RuntimeError):  # The loop may be closed.
                    exchange.loop.call_soon_threadsafe(self._adopted_by, exchange)

    def is_up(self, node: str) -> bool:
        """Whether the node is neither out nor slow. In an event loop that has not asked it yet, it is up."""
        exchange = self._exchange
        return exchange is None or exchange.health.is_up(node)

    def now_ms(self) -> int:
        """The pool's clock: milliseconds since 1970 (UTC)."""
        return self._clock.now_ms()

    async def greet(self) -> None:
        """Connect to all nodes, so that their clocks and their health are known before the first plan begins.

        Raises:
            ConfigurationError: two names of the pool are one memcached process.
        """
        exchange = await self._at_home()
        await exchange.greet()
        refuse_twins(exchange.pool.all_nodes, self.incarnations)

    async def aclose(self) -> None:
        """Let plans of cancelled requests end, for as long as the budget of a request, and close all connections.

        It may be called twice, and the client may be used again afterwards.
        """
        exchange = self._exchanges.get(asyncio.get_running_loop())
        if exchange is None or exchange.process != os.getpid():
            return
        ours = {task for task in self._finishing if task.get_loop() is exchange.loop}
        if ours:
            _, late = await asyncio.wait(ours, timeout=self._pool.budget.total_seconds())
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await exchange.close()

    async def _at_home(self) -> Exchange:
        """The exchange of the running loop. Loops may run in several threads, hence the lock."""
        loop = asyncio.get_running_loop()
        with self._moving:
            if self._process != os.getpid():
                _inherited.append((self._exchanges, self._finishing))
                self._exchanges, self._finishing, self._process = {}, set(), os.getpid()
            self._exchanges = {home: held for home, held in self._exchanges.items() if not home.is_closed()}
            known = self._exchanges.get(loop)
            exchange = known or Exchange(
                self._pool, observe=self._observe, resolver=self._resolver, greeted=self._greeted
            )
            self._exchanges[loop] = self._exchange = exchange
            exchange.adopt(self._pool)
        if known is None:
            await exchange.open()
        return exchange

    def _adopted_by(self, exchange: Exchange) -> None:
        """In the exchange's own loop. The pool may have changed once more since the call was made."""
        if exchange.process == os.getpid():
            exchange.adopt(self._pool)

    def _finish(self, exchange: Exchange, plan: Plan[Any], round_: Round, deadline: float | None) -> None:
        task = exchange.loop.create_task(_to_the_end(exchange, plan, round_, deadline))
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)

    def _greeted(self, node: str, greeting: Greeting) -> None:
        if greeting.unix_time_s is not None:
            self._clock.observe(node, greeting.unix_time_s)
        if greeting.incarnation is not None and any(node == known.name for known in self._pool.all_nodes):
            recognise(self.incarnations, node, greeting.incarnation, self._observe)

    def _observe(self, event: NodeEvent) -> None:
        """An observer that raises must not take a connection with it."""
        try:
            self._observer(event)
        except Exception:
            _logger.exception("the observe function of the memsession client failed on %r", event)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


async def _to_the_end(exchange: Exchange, plan: Plan[Any], round_: Round, deadline: float | None) -> None:
    """The rest of a plan whose request was cancelled. Nobody is left to hear how it ends."""
    try:
        while True:
            if round_.left:
                await round_.over(exchange.loop)
            round_ = exchange.ask(plan.send(round_.replies), deadline)
    except StopIteration:
        pass
    except SessionError as outcome:
        _logger.info("after its request was cancelled, a plan ended with %s", type(outcome).__name__)
    except Exception:
        _logger.exception("after its request was cancelled, a plan failed")
