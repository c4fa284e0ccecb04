"""The pool changes for good, three times, under traffic: a node is added, one is removed, two are replaced.

Two copies, an ASGI and a WSGI server that are told of each change by `reload(pool)`, one after the other. Half of the
sessions are in use all the time, the other half is not touched until the end. Each change: the web servers are told,
`previous` stays until both tell `MoveDone`, then it is dropped, and the nodes that are not in the pool any more are
killed.
"""

import asyncio
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tests.faults.experiments.crowd import Crowd
from tests.faults.experiments.figures import Figure, Report, exactly, shown
from tests.faults.experiments.site import SERVERS, Site, Web, seeded
from tests.faults.openloop import on_schedule

NAME = "move"
HISTORIES = Path(__file__).parents[3] / ".run" / "faults"
PATIENCE_S = 120.0
BETWEEN_S = 0.5
"""Between telling one web server and the other."""

STEPS = {
    "one added": (["a", "b", "c", "d"], []),
    "one removed": (["a", "c", "d"], ["b"]),
    "two replaced": (["a", "e", "f"], ["c", "d"]),
}
"""The pool afterwards, and which nodes are killed in the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How many sessions, and how much traffic."""

    sessions: int = 500
    rate: float = 100.0


async def run(variant: str, seed: int, course: Course | None = None) -> Report:
    """One run."""
    async with Site(nodes=3, copies=2) as site:
        return await _Story(site, seed, course or Course()).told(variant)


class _Story:
    """A run."""

    def __init__(self, site: Site, seed: int, course: Course) -> None:
        self.site = site
        self.seed = seed
        self.course = course
        self.webs: list[Web] = []
        self.took: dict[str, float] = {}
        self.ended = False

    async def told(self, variant: str) -> Report:
        self.webs = [await self.site.web(kind) for kind in SERVERS]
        doors = {web.kind: web.door for web in self.webs}
        awake = Crowd(doors, seeded(self.seed, NAME, "awake"))
        asleep = Crowd(doors, seeded(self.seed, NAME, "asleep"))
        half = self.course.sessions // 2
        await awake.gather(half)
        await asleep.gather(self.course.sessions - half)
        traffic = asyncio.ensure_future(on_schedule(asyncio.get_running_loop().time(), self._schedule(awake)))
        try:
            for step, (names, removed) in STEPS.items():
                await self._change(step, names)
                await awake.over()
                for name in removed:
                    await asyncio.to_thread(self.site.nodes[name].kill)
        finally:
            self.ended = True
            await traffic
        await awake.look_last()
        await asleep.look_last()
        return self._report(variant, awake, asleep)

    def _schedule(self, crowd: Crowd):
        at = 0
        while not self.ended:
            yield at / self.course.rate, crowd.errand()
            at += 1

    async def _change(self, step: str, names: list[str]) -> None:
        for name in names:
            if name not in self.site.nodes:
                await self.site.add(name)
        loop = asyncio.get_running_loop()
        began, since = loop.time(), [len(web.ear.listen()) for web in self.webs]
        await self._reload(names)
        for web, already in zip(self.webs, since, strict=True):
            await web.ear.heard("MoveDone", since=already, patience_s=PATIENCE_S)
        self.took[step] = loop.time() - began
        await self._reload(names)

    async def _reload(self, names: list[str]) -> None:
        path = f"/reload?pool={quote(json.dumps(self.site.pool(*names)))}"
        for web in self.webs:
            page = await web.door.get(path)
            assert page.status == 200, page
            await asyncio.sleep(BETWEEN_S)

    def _report(self, variant: str, awake: Crowd, asleep: Crowd) -> Report:
        used, unused = awake.judged(), asleep.judged()
        figures = Counter(used) + Counter(unused)
        told: list[Figure] = [
            shown("sessions in use; not in use", f"{used['guests']}; {unused['guests']}"),
            shown("requests meanwhile", f"{used['requests']:,}"),
            shown("logouts; logins meanwhile", f"{used['logout']}; {used['rotate']}"),
            *(shown(f"{step}: moved after", f"{took:.1f} s") for step, took in self.took.items()),
            exactly("lost", figures["lost"], 0),
            exactly("stale", figures["stale"], 0),
            exactly("revived", figures["revived"], 0),
            exactly("foreign", figures["foreign"], 0),
            exactly("errors", figures["errors"], 0),
        ]
        report = Report(name=NAME, variant=variant, seed=self.seed, figures=told)
        if not report.kept:
            for which, crowd in (("awake", awake), ("asleep", asleep)):
                path = HISTORIES / f"{NAME}-{self.seed}-{which}.jsonl"
                crowd.history.write(path, seed=self.seed, took=self.took)
                report.misses.append(f"history: {path}")
            report.misses.extend(web.ear.latest() for web in self.webs)
        return report


INTRODUCTION = """\
### The pool changes for good

Two copies, an ASGI and a WSGI server, 500 sessions: half of them in use all the time (100 operations a second, logins
and logouts among them), half not touched until the end. A node is added to three; then one is removed; then two of
the three are replaced by new ones. Each time the web servers are told by `reload(pool)`, half a second apart;
`previous` is dropped when both have told `MoveDone`, and the nodes that are not in the pool any more are killed.
"""
