"""What one event loop holds of a client: a link to every node, their health, and what ends with the loop."""

import asyncio
import os
import random
import time
from collections.abc import AsyncGenerator, Callable, Sequence

from memsession.aio.link import Link
from memsession.aio.round import Round
from memsession.commands import Bury, Cas, Command, Conflict
from memsession.events import Observer
from memsession.greeting import Greeting
from memsession.health import Health
from memsession.pool import Pool

_CONFLICT = Conflict()
_LATE = "the deadline has passed"


class Exchange:
    """Sends rounds. It belongs to one event loop of one process, and is of no use in any other."""

    def __init__(self, pool: Pool, *, observe: Observer, greeted: Callable[[str, Greeting], None]) -> None:
        self.loop = asyncio.get_running_loop()
        self.process = os.getpid()
        self._timeout_s = pool.timeout.total_seconds()
        self.health = Health(
            (node.name for node in pool.all_nodes),
            monotonic=time.monotonic,
            chance=random.random,
            observe=observe,
        )
        self._links = {
            node.name: Link(
                node,
                loop=self.loop,
                prefix=pool.prefix,
                timeout_s=self._timeout_s,
                health=self.health,
                greeted=greeted,
            )
            for node in pool.all_nodes
        }
        self._keeper = self._until_the_loop_ends()

    async def open(self) -> None:
        """From now on the loop's own end closes all connections, when nobody has done it before."""
        await anext(self._keeper)

    async def greet(self) -> None:
        """Connect to all nodes at once, or find out which of them are out."""
        await asyncio.gather(*(link.greet() for link in self._links.values()))

    async def _until_the_loop_ends(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await self.close()

    async def close(self) -> None:
        """Close all connections and stop probing. It opens new ones when it is used again."""
        for link in self._links.values():
            await link.close("the client was closed")

    def ask(self, commands: Sequence[Command], deadline: float | None) -> Round:
        """Send a round. It is over at `deadline` (of `time.monotonic`) at the latest, unless it buries."""
        round_ = Round(len(commands))
        if deadline is not None and self._is_late(commands, round_, deadline):
            return round_
        for index, command in enumerate(commands):
            link = self._links[command.node]
            connection = link.connection
            if connection is None:
                link.knock(command, round_, index)
            elif type(command) is Cas and command.token.connection != connection.serial:
                round_.answer(index, _CONFLICT)
            else:
                connection.send(command, round_, index)
        return round_

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
