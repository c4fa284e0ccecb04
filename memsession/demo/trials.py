"""The articles' tests, each on a stage of its own, visit by visit."""

import asyncio
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from signal import Signals
from urllib.parse import unquote_to_bytes

from memsession.demo.child import StartError
from memsession.demo.ports import ask
from memsession.demo.report import Phase, Report
from memsession.demo.stage import WEB_SERVERS, Stage
from memsession.demo.visitor import Visitor, crowd

NOTICED_S = 2.0
"""How long a node that came back is given before it must hold again: what the articles' reader would wait."""

AT_ONCE = 20
LISTING_TRIES = 5

_SESSION_KEY = re.compile(rb"^key=(\S+(?::|%3A)[\w-]{43}) ", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much of everything a check does."""

    visits: int
    signals: tuple[Signals, ...]
    parallel: int
    rounds: int
    sessions: int
    new_visitors: int


class Trials:
    """The tests, with the requests that they send counted in `report`."""

    def __init__(self, sizes: Sizes, report: Report) -> None:
        self._sizes = sizes
        self._report = report

    async def nodes_in_turn(self, stage: Stage, how: Signals) -> None:
        """End one node, start it empty, visit once, end the other; then the mirror image."""
        first, second = stage.node_names
        async with Visitor(stage.url) as visitor:
            with self._report.phase(f"{how.name}: a new visitor, all nodes up") as phase:
                await self._visits(phase, visitor)
            await self._end_node(stage, first, how, visitor)
            for back, gone in ((first, second), (second, first)):
                await stage.start(back)
                await asyncio.sleep(NOTICED_S)
                with self._report.phase(f"{how.name}: {back} back, empty; one visit") as phase:
                    await self._visits(phase, visitor, 1)
                await self._end_node(stage, gone, how, visitor)
        await stage.start(first)

    async def _end_node(self, stage: Stage, name: str, how: Signals, visitor: Visitor) -> None:
        await stage.end(name, how)
        with self._report.phase(f"{how.name}: {name} gone") as phase:
            await self._visits(phase, visitor)

    async def web_servers_in_turn(self, stage: Stage, how: Signals) -> None:
        """End one web server under a visitor, start it again, and do so with the other."""
        async with Visitor(stage.url) as visitor:
            with self._report.phase(f"{how.name}: a new visitor, both web servers up") as phase:
                await self._visits(phase, visitor)
            for name in WEB_SERVERS:
                await stage.end(name, how)
                with self._report.phase(f"{how.name}: {name} gone") as phase:
                    await self._visits(phase, visitor, alternately=False)
                await stage.start(name)
                await stage.both_serve()
                with self._report.phase(f"{how.name}: {name} back") as phase:
                    await self._visits(phase, visitor)

    async def parallel_refreshes(self, stage: Stage) -> None:
        """Refresh one visitor's page many times at once; every refresh must count."""
        rounds, parallel = self._sizes.rounds, self._sizes.parallel
        with self._report.phase(f"{parallel} parallel refreshes, {rounds} times") as phase:
            async with Visitor(stage.url) as visitor:
                await visitor.visit()
                before = await visitor.visit()
                for _ in range(rounds):
                    for page in await asyncio.gather(*(visitor.visit() for _ in range(parallel))):
                        phase.see(page)
                after = await visitor.visit()
            phase.see_rise(before, after, rounds * parallel)

    async def a_node_of_three(self, stage: Stage, copies: int) -> None:
        """Kill one of three nodes under many sessions, then let new visitors come all at once."""
        count, title = self._sizes.sessions, f"3 nodes, copies={copies}"
        async with crowd(stage.url, count) as visitors:
            for what in (f"{count} sessions made", "visited again"):
                with self._report.phase(f"{title}: {what}") as phase:
                    await _each_once(phase, visitors, AT_ONCE)
            await stage.end("a", Signals.SIGKILL)
            loses = (count // 10, count * 6 // 10) if copies == 1 else None
            with self._report.phase(f"{title}: a killed, visited again", loses=loses) as phase:
                await _each_once(phase, visitors, AT_ONCE)

    async def new_visitors(self, stage: Stage) -> None:
        """Let many new visitors come at once while a node is away; their sessions must lie on two others."""
        count = self._sizes.new_visitors
        live = [child.port for name, child in stage.children.items() if name in stage.node_names and child.running]
        before = await _holders(live)
        async with crowd(stage.url, count) as visitors:
            with self._report.phase(f"a is away: {count} new visitors at once") as phase:
                await _each_once(phase, visitors, count)
            with self._report.phase("they return; each on two live nodes") as phase:
                await _each_once(phase, visitors, count)
                after = await _holders(live)
                phase.lost += count - sum(nodes == 2 for key, nodes in after.items() if key not in before)

    async def _visits(
        self, phase: Phase, visitor: Visitor, count: int | None = None, *, alternately: bool = True
    ) -> None:
        before = ""
        for _ in range(self._sizes.visits if count is None else count):
            page = await visitor.visit()
            phase.see_next(page)
            if alternately and page.server and page.server == before:
                phase.fail(f"{page.server} answered twice in a row")
            before = page.server


async def _each_once(phase: Phase, visitors: Iterable[Visitor], at_once: int) -> None:
    """Let each visitor come once, `at_once` of them together. A session is lost if it brings the wrong number."""
    places = asyncio.Semaphore(at_once)

    async def visit(visitor: Visitor) -> None:
        async with places:
            page = await visitor.visit()
        phase.see(page)
        phase.lost += page.number != page.expected

    await asyncio.gather(*(visit(visitor) for visitor in visitors))


async def _holders(ports: Iterable[int]) -> Counter[bytes]:
    """Return each session's storage key with the number of nodes that hold it, as the nodes themselves list them.

    Raises:
        StartError: a node does not list its keys.
    """
    found: Counter[bytes] = Counter()
    for port in ports:
        for _ in range(LISTING_TRIES):
            # A node lists its keys to one asker at a time and turns others away, so that there is no end to wait for.
            if listing := await ask(port, b"lru_crawler metadump all\r\n", b"END\r\n"):
                break
        else:
            raise StartError(f"the memcached on port {port} does not list its keys")
        found.update({unquote_to_bytes(key) for key in _SESSION_KEY.findall(listing)})
    return found
