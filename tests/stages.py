"""Where a client is tested: the asyncio one in both event loops, and the blocking one in threads beside a loop."""

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from memsession.aio import AsyncClient
from memsession.blocking import BlockingClient
from memsession.events import NodeEvent
from memsession.lifetime import Lifetime
from memsession.plans import World
from memsession.pool import Pool
from memsession.record import CounterMemory, Entry, Live
from memsession.seal import Seal
from memsession.vault import Vault
from tests.conftest import LOOPS
from tests.rounds import PATIENCE_S, InThreads, kinds, rounds

STAGES = (*LOOPS, "blocking")


class Stage:
    """A loop in which scripted nodes run, and the client or its threads. `events` has all that clients reported."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.blocking = kind == "blocking"
        self.events: list[NodeEvent] = []
        self.runner = asyncio.Runner(loop_factory=LOOPS.get(kind, asyncio.new_event_loop))

    def run(self, main: Coroutine[Any, Any, Any]) -> Any:
        """Run to the end."""
        return self.runner.run(main)

    def client(self, pool: Pool, **options: Any) -> Any:
        """A client with the face of the asyncio one."""
        options.setdefault("observe", self.events.append)
        return InThreads(BlockingClient(pool, **options)) if self.blocking else AsyncClient(pool, **options)

    def told(self, kind: type[NodeEvent]) -> list[str]:
        """The nodes of which something was told, once for each time."""
        return [event.node for event in self.events if isinstance(event, kind)]


async def ask(client: Any, *commands: Any, deadline: float | None = None) -> list[Any]:
    """One round."""
    return await client.run(rounds(commands), deadline=deadline)


async def ask_until(client: Any, condition: Callable[[Sequence[Any]], bool], *commands: Any) -> list[Any]:
    """Ask again and again, as requests do that come one after the other, until the replies are such."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition(replies := await ask(client, *commands)):  # noqa: ASYNC110 - see `until`
            await asyncio.sleep(0.002)
        return replies


def are(*names: str) -> Callable[[Sequence[Any]], bool]:
    """Whether replies are of these kinds."""
    return lambda replies: kinds(replies) == list(names)


def world_of(client: Any, pool: Pool) -> World:
    """What plans are told of a world in which this client asks this pool."""
    names = (f"w{number}" for number in itertools.count())
    return World(
        homes=pool.homes,
        codec=Vault(Seal([b"k" * 32])),
        lifetime=Lifetime(),
        now_ms=client.now_ms,
        monotonic=time.monotonic,
        nonce=lambda: next(names),
        is_up=client.is_up,
        counters=CounterMemory(lambda: next(names)),
    )


def a_session(client: Any) -> Live:
    """A small living session."""
    now_ms = client.now_ms()
    return Live({"name": Entry(1, "w", "Ada")}, {}, 0, now_ms + 3_600_000, now_ms)


async def until_connections(
    node: Any, count: int, busy: Callable[[], Coroutine[Any, Any, Any]] | None = None
) -> None:
    """Wait until memcached counts so many connections, without the one that asks; meanwhile, do something."""
    async with asyncio.timeout(PATIENCE_S):
        while int((await asyncio.to_thread(node.stats))["curr_connections"]) - 1 != count:
            if busy is not None:
                await busy()
            await asyncio.sleep(0.005)
