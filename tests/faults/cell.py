"""One cell of the matrix: a workload on a cluster while something goes wrong, and what visitors saw of it."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from tests.faults.cluster import WEBS, Cluster
from tests.faults.history import FINAL, History, Op
from tests.faults.pages import REFUSED, Door, now
from tests.faults.probe import pool_from

SETTLED_S = 30.0
WATCH_S = 0.01
CANARIES = 16
"""Sessions that are only read: enough that every node is a home of some."""


class Cell:
    """What a workload and a fault driver share.

    `scale`: the share of the full workload; `haste`: by how much the fault's times are shortened; `span_s`: over how
    long the workload spreads its operations; `sides`: whether visitors of what is new stay at one web server.
    """

    def __init__(
        self, cluster: Cluster, *, seed: int, scale: float, haste: float, span_s: float, sides: bool = False
    ) -> None:
        self.cluster = cluster
        self.chance = random.Random(seed)
        self.scale = scale
        self.haste = haste
        self.span_s = span_s / haste
        self.sides = sides
        self.history = History()
        self.doors = {web: Door(cluster.webs[web].port) for web in WEBS}
        self.leave: Callable[[], float | None] = lambda: None
        """After how many seconds the next request's visitor hangs up."""
        self.working = 1
        """So many workloads are running."""
        self.worked = asyncio.Event()
        """All that they set out to do has been done."""
        self.over = asyncio.Event()
        """The driver is done, and the workload may end."""
        self.begun = self.now
        self.canaries = [Visitor(self, f"canary{number}") for number in range(CANARIES)]
        self._turn = 0

    async def watch(self) -> None:
        """Note by how much this event loop, in which visitors and proxies live, was late itself at the worst."""
        while True:
            due = self.now + WATCH_S
            await asyncio.sleep(WATCH_S)
            late_ms = round(1_000.0 * (self.now - due))
            self.history.notes["late_ms"] = max(late_ms, self.history.notes.get("late_ms", 0))

    @property
    def now(self) -> float:
        """Seconds, as all times in the history."""
        return now()

    def count(self, full: int, *, least: int = 1) -> int:
        """How many of something that the full workload has so many of."""
        return max(least, round(full * self.scale))

    def next_web(self) -> str:
        """Round robin, as the balancer does."""
        self._turn += 1
        return WEBS[self._turn % len(WEBS)]

    def done(self) -> None:
        """A workload has done its part."""
        self.working -= 1
        if not self.working:
            self.worked.set()

    async def at(self, share: float) -> None:
        """Wait until this share of the time is over."""
        await asyncio.sleep(max(0.0, self.begun + share * self.span_s - self.now))

    async def sleep(self, seconds: float) -> None:
        """A pause of the driver's."""
        await asyncio.sleep(seconds / self.haste)

    async def enter(self) -> None:
        """Let the canaries in."""
        for canary in self.canaries:
            await canary.enter()
            page = await self.doors["asgi"].get("/get", canary.cookie)
            canary.key = f"memsession:{page.shown['id']}".encode()

    async def in_use(self, *names: str) -> float:
        """Wait until each web server reads sessions from these nodes again; how long that took, in seconds."""
        since, rounds = self.now, 0
        async with asyncio.timeout(SETTLED_S):
            while rounds < 2:
                rounds = rounds + 1 if await self._round_reaches(names) else 0
                await asyncio.sleep(0.05)
        return self.now - since

    async def _round_reaches(self, names: Sequence[str]) -> bool:
        """Whether each canary, read once at each web server, was asked for at all of these nodes that are its homes.

        Two rounds are needed: what works in the background also reads sessions, but none of them twice so soon.
        """
        homes = pool_from(self.cluster.pool("asgi")).homes
        roads = [
            (self.cluster.proxies[web, name], canary.key)
            for canary in self.canaries
            for name in homes(canary.key)
            if name in names
            for web in WEBS
        ]
        before = [road.read[key] for road, key in roads]
        await asyncio.gather(*(canary.read(web) for canary in self.canaries for web in WEBS))
        return all(road.read[key] > count for (road, key), count in zip(roads, before, strict=True))

    async def touched(self, since: float) -> None:
        """Wait until every session that the workload keeps has been asked for in a request begun after `since`."""
        async with asyncio.timeout(SETTLED_S):
            while not self.over.is_set():
                latest: dict[str, float] = {}
                for op in self.history.ops:
                    if op.ok and op.session in self.kept:
                        latest[op.session] = max(op.begun, latest.get(op.session, 0.0))
                if all(latest.get(session, 0.0) > since for session in self.kept):
                    return
                await asyncio.sleep(0.05)

    kept: frozenset[str] = frozenset()
    """The sessions that the workload keeps coming back to."""

    async def settle(self) -> None:
        """Everything heals; wait until it is so, and note how long that took."""
        self.leave = lambda: None
        self.cluster.heal()
        self.history.notes["back_s"] = round(await self.in_use(*self.cluster.names), 3)


class Visitor:
    """Somebody with one session and one cookie. `name` is the session's mark, and the user's name."""

    def __init__(self, cell: Cell, name: str) -> None:
        self.cell = cell
        self.name = name
        self.cookie = ""
        self.key = b""

    async def do(
        self,
        kind: str,
        path: str,
        value: Any = None,
        *,
        see: Callable[[dict[str, Any]], Any] = lambda shown: None,
        web: str | None = None,
        cookie: str | None = None,
        final: bool = False,
    ) -> Op:
        """One request, noted. A web server that is down is passed over; an explicit `cookie` is not exchanged."""
        web = web or self.cell.next_web()
        given = self.cookie if cookie is None else cookie
        leave = None if final else self.cell.leave()
        page = await self.cell.doors[web].get(path, given, leave_after_s=leave)
        if page.status == REFUSED and not final:
            web = WEBS[1 - WEBS.index(web)]
            page = await self.cell.doors[web].get(path, given, leave_after_s=leave)
        if page.cookie is not None and cookie is None:
            self.cookie = page.cookie
        phase = FINAL if final else ""
        return self.cell.history.add(self.name, kind, value, web, page, seen=see(page.shown), phase=phase)

    async def enter(self, kind: str = "enter") -> None:
        """Log in, as often as it takes."""
        for _ in range(50):
            if (await self.do(kind, f"/login?user={self.name}&owner={self.name}")).ok:
                return
            await asyncio.sleep(0.02)

    async def read(self, web: str) -> None:
        """Look at the session, without a note."""
        await self.cell.doors[web].get("/get", self.cookie)


async def each(count: int, lanes: int, work: Callable[[int], Awaitable[None]]) -> None:
    """Do something for each number below `count`, some at a time."""
    waiting = iter(range(count))

    async def lane() -> None:
        for number in waiting:
            await work(number)

    await asyncio.gather(*(lane() for _ in range(min(lanes, count))))
