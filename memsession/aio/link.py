"""One node as one event loop sees it: the connection to it, and what becomes of commands while there is none."""

import asyncio
import contextlib
import math
import socket
import time
from collections.abc import Callable
from typing import Any

from memsession.addresses import Node
from memsession.aio.connection import Connection
from memsession.aio.greeting import greet
from memsession.aio.round import Round
from memsession.commands import Cas, Command, Conflict, Skipped, Unreachable, insists
from memsession.greeting import Greeting, TooOld, address_of
from memsession.health import SUSPECT_SHARE, Fault, Health
from memsession.resolver import Lookup, Place, Resolver, share_s
from memsession.wire import encode

GRACE_S = 0.01
"""What opening a connection may take beyond its time-out: turns of a loop that was blocked to read what is there."""

RESOLVING_SHARE = 0.8
"""What part of the time-out a connection may wait for the resolver, so that there is time left to connect."""

_CONFLICT = Conflict()
_SKIPPED = Skipped()


class Link:
    """See the top of this file. `connection` is there while the node may be asked right away.

    A *retired* link goes on serving those who ask it, until it is closed; but nobody is told any more what becomes of
    its node, for the node's name is gone from the pool, or another link's.
    """

    def __init__(
        self,
        node: Node,
        *,
        loop: asyncio.AbstractEventLoop,
        prefix: str,
        timeout_s: float,
        health: Health,
        resolver: Resolver,
        greeted: Callable[[str, Greeting], None],
    ) -> None:
        self.connection: Connection | None = None
        self.node = node
        self.retired = False
        self._loop = loop
        self._prefix = prefix
        self._timeout_s = timeout_s
        self._health = health
        self._resolver = resolver
        self._greeted = greeted
        self._waiting: list[tuple[Command, Round, int]] = []
        self._opening: asyncio.Task[None] | None = None
        self._probe: asyncio.TimerHandle | None = None
        self._unfit: str | None = None

    @property
    def address(self) -> str:
        """Where the node is, as people write it."""
        return address_of(self.node)

    def knock(self, command: Command, round_: Round, index: int) -> None:
        """Take a command while there is no connection: open one for it and let it wait, or answer at once.

        A node that is out is left alone: only a command that insists, or whose turn it is to try, waits for it.
        A `Cas` never waits, for its token came over a connection that is gone.
        """
        encode(command, 0)  # What cannot be sent is an error for the one who asks, now, and not when it is sent.
        out = self._health.is_out(self.node.name)
        if type(command) is Cas:
            round_.answer(index, _SKIPPED if out else _CONFLICT)
        elif not out or insists(command) or self._health.claim(self.node.name):
            waiting = (command, round_, index)
            self._waiting.append(waiting)
            self._open()
            patience_s = self._health.patience_s(self.node.name)
            if out and patience_s < self._timeout_s:
                self._loop.call_later(patience_s, self._give_up, waiting)
        else:
            self._schedule_probe()
            round_.answer(index, _SKIPPED if self._unfit is None else Unreachable(self._unfit))

    def retire(self) -> None:
        """Nobody is told any more what becomes of the node. See the top of the class."""
        self.retired = True
        self._stop_probing()

    def come_back(self) -> None:
        """The node is in the pool again. What was not told of it meanwhile is told now."""
        self.retired = False
        if self.connection is not None:
            self._health.succeeded(self.node.name)

    async def greet(self) -> None:
        """Connect before anything is asked, or find out that the node is out."""
        if self.connection is None:
            self._open()
        while self._opening is not None:
            await asyncio.wait({self._opening})

    async def close(self, reason: str) -> None:
        """Close the connection and stop opening one. The link can be used again afterwards."""
        self._stop_probing()
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()
            await asyncio.wait({opening})
        self._answer_waiting(reason)
        connection, self.connection = self.connection, None
        if connection is not None:
            await connection.close(reason)

    def _open(self) -> None:
        if self._opening is None:
            self._health.tried(self.node.name)
            self._opening = self._loop.create_task(self._opened_or_out())

    async def _opened_or_out(self) -> None:
        opening = self._loop.create_task(self._dial())
        due = time.monotonic() + self._timeout_s
        try:
            await asyncio.wait({opening}, timeout=self._timeout_s)
            if not opening.done():
                blocked_s = min(max(time.monotonic() - due, GRACE_S), self._timeout_s)
                await asyncio.wait({opening}, timeout=blocked_s)
        finally:
            opening.cancel()
            await asyncio.wait({opening})
        self._opening = None
        self._unfit = None
        match TimeoutError() if opening.cancelled() else opening.exception():
            case None:
                self._connected(opening.result())
            case TimeoutError():
                self._out(Fault.SILENT, f"no connection to {self.address} within {self._timeout_s:g} s")
            case TooOld() as problem:
                self._unfit = str(problem)
                self._out(Fault.REFUSED, self._unfit)
            case problem:
                self._out(Fault.REFUSED, f"cannot connect to {self.address}: {problem}")

    async def _dial(self) -> tuple[Connection, Greeting]:
        places = self._resolver.places(self.node, RESOLVING_SHARE * self._timeout_s)
        connection = await self._reach(await self._found(places) if isinstance(places, Lookup) else places)
        try:
            return connection, await greet(connection, self._loop, self._prefix, self.address)
        except BaseException:
            await connection.close("the greeting failed")
            raise

    async def _found(self, lookup: Lookup) -> list[Place]:
        """Wait for the resolver, as long as it is worth it."""
        answered = asyncio.Event()

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # The loop may be closed by then.
                self._loop.call_soon_threadsafe(answered.set)

        lookup.when_done(tell)
        while (places := lookup.take(-math.inf)) is None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(answered.wait(), max(0.0, lookup.due - time.monotonic()))
        return places

    async def _reach(self, places: list[Place]) -> Connection:
        """Connect at the first of these places that takes the connection."""
        slow_s = SUSPECT_SHARE * self._timeout_s
        watch = self._loop.call_later(slow_s, self._still_connecting, time.monotonic() + slow_s)
        due = time.monotonic() + self._timeout_s
        problem: OSError = OSError("no address")
        try:
            for index, (family, where) in enumerate(places):
                patience_s = share_s(due - time.monotonic(), len(places) - index)
                try:
                    async with asyncio.timeout(patience_s if patience_s < math.inf else None):
                        connection = await self._connect(family, where)
                except OSError as refused:
                    problem = refused
                else:
                    self._resolver.met(self.node, (family, where))
                    return connection
        finally:
            watch.cancel()
        raise problem

    async def _connect(self, family: int, where: Any) -> Connection:
        connection = Connection(self._loop, self._timeout_s, self._ended, self._noticed)
        try:
            if family == socket.AF_UNIX:
                await self._loop.create_unix_connection(lambda: connection, where)
            else:
                await self._loop.create_connection(lambda: connection, where[0], where[1])
        except BaseException:
            await connection.close("no connection was made")
            raise
        return connection

    def _still_connecting(self, planned: float) -> None:
        """It takes long to connect; but if the loop was busy, the connection may just wait to be seen."""
        now = time.monotonic()
        if now < planned + GRACE_S:
            self._noticed(now + (1.0 - SUSPECT_SHARE) * self._timeout_s)

    def _noticed(self, silent_at: float | None) -> None:
        """The node is slow, until it answers (None) or is silent for good."""
        if self.retired:
            return
        if silent_at is None:
            self._health.answered(self.node.name)
        else:
            self._health.slow(self.node.name, silent_at)

    def _connected(self, opened: tuple[Connection, Greeting]) -> None:
        connection, greeting = opened
        if connection.fault is not None:
            self._out(Fault.REFUSED, f"{self.address} greeted and closed the connection")
            return
        self.connection = connection
        self._stop_probing()
        if not self.retired:
            self._health.succeeded(self.node.name)
            self._greeted(self.node.name, greeting)
        waiting, self._waiting = self._waiting, []
        for command, round_, index in waiting:
            connection.send(command, round_, index)

    def _ended(self, connection: Connection, fault: Fault, reason: str) -> None:
        if connection is self.connection:
            self.connection = None
            self._out(fault, reason)

    def _out(self, fault: Fault, reason: str) -> None:
        if not self.retired:
            self._health.failed(self.node.name, fault, reason)
        self._answer_waiting(reason)
        self._schedule_probe()

    def _give_up(self, waiting: tuple[Command, Round, int]) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)
            _, round_, index = waiting
            round_.answer(index, Unreachable(f"{self.address} is out, and does not answer a knock"))

    def _answer_waiting(self, reason: str) -> None:
        waiting, self._waiting = self._waiting, []
        for _, round_, index in waiting:
            round_.answer(index, Unreachable(reason))

    def _schedule_probe(self) -> None:
        """A silent node is knocked at by a timer, one for all requests."""
        pause_s = None if self.retired else self._health.probe_pause_s(self.node.name)
        if pause_s is not None and self._probe is None and self._opening is None:
            self._probe = self._loop.call_later(pause_s, self._knock_again)

    def _knock_again(self) -> None:
        self._probe = None
        self._open()

    def _stop_probing(self) -> None:
        if self._probe is not None:
            self._probe.cancel()
            self._probe = None
