"""What one event loop holds of a client: a link to every node, their health, and what ends with the loop.

A round does not wait for a node that is suspect while another node of the round is not: what was to be sent is sent,
but a `Get` is answered `Skipped` at once and a write `Unreachable`; the replies are read, checked and dropped. So the
one hung node is waited for by those who were there first, and a plan that finds nothing elsewhere asks it again by
force, and then waits.

Another pool can be *adopted*. Links to nodes that are in both stay, with all that is known of them. Those of nodes
that are gone serve the plans that were begun before, for as long as there can be any, and are closed then. A node
that has the same name and another address gets a new link.
"""

import asyncio
import os
import random
import time
from collections.abc import AsyncGenerator, Callable, Sequence

from memsession.addresses import Node
from memsession.aio.link import Link
from memsession.aio.round import Round
from memsession.commands import Bury, Cas, Command, Conflict, Get, Skipped, Unreachable, insists
from memsession.events import Observer
from memsession.greeting import Greeting
from memsession.health import Health
from memsession.pool import Pool
from memsession.resolver import Resolver

_CONFLICT = Conflict()
_SKIPPED = Skipped()
_SLOW = Unreachable("the node is slow, and others wait for it already")
_GONE = Unreachable("the node is not in the pool any more")
_LATE = "the deadline has passed"


class Exchange:
    """Sends rounds. It belongs to one event loop of one process, and is of no use in any other.

    `pool` is the one that it goes by.
    """

    def __init__(
        self, pool: Pool, *, observe: Observer, resolver: Resolver, greeted: Callable[[str, Greeting], None]
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.process = os.getpid()
        self.pool = pool
        self._timeout_s = pool.timeout.total_seconds()
        self._resolver = resolver
        self._greeted = greeted
        self.health = Health(
            (node.name for node in pool.all_nodes),
            monotonic=time.monotonic,
            chance=random.random,
            observe=observe,
        )
        self._suspects = self.health.suspects
        self._links = {node.name: self._link(node) for node in pool.all_nodes}
        self._retired: dict[Link, asyncio.TimerHandle] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._keeper = self._until_the_loop_ends()

    async def open(self) -> None:
        """From now on the loop's own end closes all connections, when nobody has done it before."""
        await anext(self._keeper)

    async def greet(self) -> None:
        """Connect to all nodes at once, or find out which of them are out."""
        await asyncio.gather(*(link.greet() for link in self._links.values() if not link.retired))

    async def _until_the_loop_ends(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await self.close()

    async def close(self) -> None:
        """Close all connections and stop probing. It opens new ones when it is used again."""
        for link in tuple(self._retired):
            self._part_with(link)
        for link in tuple(self._links.values()):
            await link.close("the client was closed")
        while self._closing:
            await asyncio.wait(set(self._closing))

    def adopt(self, pool: Pool) -> None:
        """Go by another pool from now on."""
        if pool is self.pool:
            return
        self.pool = pool
        self._timeout_s = pool.timeout.total_seconds()
        before = self._links
        # Another dict, for somebody may be going through this one.
        self._links = links = dict(before)
        for node in pool.all_nodes:
            link = before.get(node.name)
            if link is not None and (link.node.host, link.node.port) == (node.host, node.port):
                self._reuse(link)
                continue
            if link is not None:
                self._retire(link)
                self.health.forget(node.name)
            links[node.name] = self._link(node)
        named = {node.name for node in pool.all_nodes}
        for name, link in before.items():
            if name not in named and not link.retired:
                self._retire(link)

    def _link(self, node: Node) -> Link:
        return Link(
            node,
            loop=self.loop,
            prefix=self.pool.prefix,
            timeout_s=self._timeout_s,
            health=self.health,
            resolver=self._resolver,
            greeted=self._greeted,
        )

    def _retire(self, link: Link) -> None:
        """Close the link when all plans have ended that were begun while it was in use."""
        link.retire()
        self._retired[link] = self.loop.call_later(2.0 * self.pool.budget.total_seconds(), self._part_with, link)

    def _reuse(self, link: Link) -> None:
        closing = self._retired.pop(link, None)
        if closing is not None:
            closing.cancel()
            link.come_back()

    def _part_with(self, link: Link) -> None:
        self._retired.pop(link).cancel()
        name = link.node.name
        if self._links.get(name) is link:
            del self._links[name]
            self.health.forget(name)
        closing = self.loop.create_task(link.close("the node is not in the pool any more"))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    def ask(self, commands: Sequence[Command], deadline: float | None) -> Round:
        """Send a round. It is over at `deadline` (of `time.monotonic`) at the latest, unless it buries."""
        round_ = Round(len(commands))
        if deadline is not None and self._is_late(commands, round_, deadline):
            return round_
        if self._suspects:
            self._ask_past_suspects(commands, round_)
            return round_
        # As `_ask`, without a call for each command.
        links = self._links
        for index, command in enumerate(commands):
            link = links.get(command.node)
            connection = link.connection if link is not None else None
            if connection is None or (type(command) is Cas and command.token.connection != connection.serial):
                self._ask(command, round_, index)
            else:
                connection.send(command, round_, index)
        return round_

    def _ask(self, command: Command, round_: Round, index: int) -> None:
        link = self._links.get(command.node)
        if link is None:
            round_.answer(index, _GONE if insists(command) else _SKIPPED)
        elif link.connection is None:
            link.knock(command, round_, index)
        elif type(command) is Cas and command.token.connection != link.connection.serial:
            round_.answer(index, _CONFLICT)
        else:
            link.connection.send(command, round_, index)

    def _ask_past_suspects(self, commands: Sequence[Command], round_: Round) -> None:
        """Send all, but wait for a suspect only if the command insists, or if nobody else is left."""
        health = self.health
        spares = any(health.is_up(command.node) for command in commands)
        for index, command in enumerate(commands):
            if spares and health.is_suspect(command.node) and not insists(command):
                self._ask(command, Round(1), 0)
                round_.answer(index, _SKIPPED if type(command) is Get else _SLOW)
            else:
                self._ask(command, round_, index)

    def _is_late(self, commands: Sequence[Command], round_: Round, deadline: float) -> bool:
        """Whether it is too late to send. A timer is set only where the nodes' own time-outs might not suffice."""
        left_s = deadline - time.monotonic()
        if left_s > 3.0 * self._timeout_s or any(type(command) is Bury for command in commands):
            return False
        if left_s > 0.0:
            self.loop.call_later(left_s, round_.expire, _LATE)
            return False
        round_.expire(_LATE)
        return True
