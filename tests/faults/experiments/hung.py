"""A memcached that hangs: it is stopped under traffic, its sockets stay open, and later it goes on where it was.

Three nodes, two copies, visits of 100 sessions on schedule, 100 a second, every one an increment. One node is
stopped at 5 s and goes on at 15 s; the traffic ends at 25 s. It is *back in use* when the web server says so and,
from then on, writes to it half as often at least as before it was stopped.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.checkers import check_counters, check_visitors
from tests.faults.experiments.ear import Ear, NeverTold
from tests.faults.experiments.figures import Figure, Report, at_most, exactly, shown
from tests.faults.experiments.site import Site, seeded
from tests.faults.history import FINAL, History
from tests.faults.openloop import Timed, in_turn, on_schedule, percentile, until
from tests.faults.pages import Door, Page
from tests.servers import Memcached

NAME = "hung"
HISTORIES = Path(__file__).parents[3] / ".run" / "faults"
WORST_MS = 1000.0
SLOW_MS = 200.0
MEETING_S = 0.3
BACK_S = 6.0
LOOKS_S = 0.5
WARM_S = 1.0
"""The first second of the traffic warms up: its times are not taken for those of a healthy pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """When what happens, in seconds from the beginning of the traffic. `pool`: settings other than the default."""

    sessions: int = 100
    rate: float = 100.0
    stop_s: float = 5.0
    go_on_s: float = 15.0
    end_s: float = 25.0
    pool: Mapping[str, float] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Seen:
    """All that a run brought. Times are seconds from the beginning of the traffic; `back_s` is after going on."""

    course: Course
    visits: list[Timed]
    history: History = field(default_factory=History)
    stopped_at: float
    went_on_at: float
    back_s: float | None
    begin: float = 0.0
    told: list[str] = field(default_factory=list)
    """What the web server told of nodes."""
    unhurt: Counter[str] = field(default_factory=Counter)
    """How often it called a node out, or slow, that nothing was wrong with: the machine was busy."""


async def run(kind: str, seed: int, course: Course | None = None) -> Report:
    """One run with one kind of web server."""
    course = course or Course()
    async with Site(nodes=3, copies=2, pool=course.pool) as site:
        seen = await _Story(site, kind, seed, course).told()
        report = judged(kind, seed, seen)
        if not report.kept:
            path = HISTORIES / f"{NAME}-{kind}-{seed}.jsonl"
            seen.history.write(path, seed=seed, begin=seen.begin, told=seen.told)
            report.misses.append(f"history: {path}")
        return report


class _Story:
    """A run."""

    def __init__(self, site: Site, kind: str, seed: int, course: Course) -> None:
        self.site = site
        self.kind = kind
        self.course = course
        self.chance = seeded(seed, NAME, kind)
        self.history = History()
        self.cookies: list[str] = []
        self.door: Door

    async def told(self) -> Seen:
        course, loop = self.course, asyncio.get_running_loop()
        name = self.chance.choice(list(self.site.nodes))
        web = await self.site.web(self.kind)
        self.door = web.door
        await in_turn([self._first(session) for session in range(course.sessions)], at_once=1)
        schedule = [
            (at / course.rate, self._visit(self.chance.randrange(course.sessions)))
            for at in range(round(course.end_s * course.rate))
        ]
        begin = loop.time() + 0.05
        traffic = asyncio.ensure_future(on_schedule(begin, schedule))
        listening = asyncio.ensure_future(web.ear.attend())
        stopped_at, went_on_at, back_s = await _hang(self.site.nodes[name], web.ear, begin, course)
        visits = [Timed.since(begin, due, page) for due, page in await traffic]
        listening.cancel()
        await in_turn([self._last(session) for session in range(course.sessions)], at_once=8)
        return Seen(
            course=course,
            visits=visits,
            history=self.history,
            stopped_at=stopped_at - begin,
            went_on_at=went_on_at - begin,
            back_s=back_s,
            begin=begin,
            unhurt=Counter(one.kind for one in web.ear.listen() if one.node not in ("", name)),
            told=[f"{one.at_s - begin:.2f} {one.kind} {one.fields}" for one in web.ear.listen()],
        )

    def _first(self, session: int):
        async def errand() -> None:
            page = await self.door.get(f"/set?owner={session}")
            self.cookies.append(page.cookie or "")
            self.history.add(str(session), "begin", None, self.kind, page)

        return errand

    def _visit(self, session: int):
        async def errand(due: float) -> tuple[float, Page]:
            page = await self.door.get("/incr", self.cookies[session])
            self.history.add(str(session), "incr", None, self.kind, page, seen=page.shown.get("n"))
            return due, page

        return errand

    def _last(self, session: int):
        async def errand() -> None:
            page = await self.door.get("/get", self.cookies[session])
            seen = page.shown.get("data", {}).get("n")
            self.history.add(str(session), "count", None, self.kind, page, seen=seen, phase=FINAL)

        return errand


async def _hang(node: Memcached, ear: Ear, begin: float, course: Course) -> tuple[float, float, float | None]:
    """Stop the node, let it go on; when that was, and how long after it was back in use."""
    loop = asyncio.get_running_loop()
    await until(begin + course.stop_s / 2)
    written, since = await _written(node), loop.time()
    await until(begin + course.stop_s)
    healthy = (await _written(node) - written) / (loop.time() - since)
    stopped_at, told = loop.time(), len(ear.listen())
    node.stop()
    await until(begin + course.go_on_s)
    node.cont()
    went_on_at = loop.time()
    with contextlib.suppress(NeverTold):
        await ear.heard("NodeBack", since=told, patience_s=course.end_s - course.go_on_s)
        while (back_at := loop.time()) < begin + course.end_s - LOOKS_S:
            written = await _written(node)
            await asyncio.sleep(LOOKS_S)
            if (await _written(node) - written) / (loop.time() - back_at) >= healthy / 2:
                return stopped_at, went_on_at, back_at - went_on_at
    return stopped_at, went_on_at, None


async def _written(node: Memcached) -> int:
    """How often something was stored there, or should have been."""
    return int((await asyncio.to_thread(node.stats))["cmd_set"])


def judged(kind: str, seed: int, seen: Seen) -> Report:
    """The figures of a run, and whether they are what is promised."""
    course, visits = seen.course, seen.visits
    counters, visitors = check_counters(seen.history), check_visitors(seen.history)
    healthy = _p99_ms(visits, WARM_S if course.stop_s > 2 * WARM_S else 0.0, course.stop_s)
    slow = [visit for visit in visits if visit.took_s * 1000 > SLOW_MS]
    stray = [visit for visit in slow if abs(visit.due - seen.stopped_at) > MEETING_S]
    figures = [
        shown("visits", f"{len(visits):,}"),
        exactly("errors", visitors["error"], 0),
        exactly("visits confirmed and not counted", counters["lost"], 0),
        exactly("answers with a wrong value", counters["unseen"] + counters["wrong"] + visitors["foreign"], 0),
        at_most("worst visit", max(visit.took_s for visit in visits) * 1000, WORST_MS, "ms"),
        shown("over 200 ms in all", f"{len(slow)}"),
        exactly("over 200 ms, not begun within 0.3 s of the stop", len(stray), 0),
        shown("p99 before the stop", f"{healthy:.1f} ms"),
        at_most("p99 while it hangs", _p99_ms(visits, *_between(seen)), 3 * healthy + 5, "ms"),
        shown("p99 after it goes on", f"{_p99_ms(visits, seen.went_on_at, course.end_s):.1f} ms"),
        _back(seen.back_s),
        shown("healthy nodes called out; slow", f"{seen.unhurt['NodeOut']}; {seen.unhurt['NodeSlow']}"),
        shown("load generator late, at most", f"{max(visit.late_s for visit in visits) * 1000:.1f} ms"),
    ]
    misses = [
        *(f"{visit.page.status} at {visit.due:.2f} s" for visit in visits if visit.page.status != 200),
        *(
            f"{visit.took_s * 1000:.0f} ms, due at {visit.due:.2f} s, sent {visit.late_s:.3f} s late"
            for visit in stray
        ),
    ]
    return Report(name=NAME, variant=kind, seed=seed, figures=figures, misses=misses[:20])


def _between(seen: Seen) -> tuple[float, float]:
    return seen.stopped_at + MEETING_S, seen.went_on_at


def _p99_ms(visits: Sequence[Timed], begin: float, end: float) -> float:
    return percentile((visit.took_s for visit in visits if begin <= visit.due < end), 99) * 1000


def _back(back_s: float | None) -> Figure:
    what = "back in use after it goes on"
    if back_s is None:
        return Figure(what=what, measured="never", promised=f"at most {BACK_S:g} s", kept=False)
    return at_most(what, back_s, BACK_S, "s")


INTRODUCTION = """\
### A node hangs

Three nodes, two copies; one web server; 100 visits a second to 100 sessions, sent on schedule whether or not earlier
ones had been answered, each an increment. One memcached is stopped (`SIGSTOP`) at 5 s: its sockets stay open, and the
kernel goes on taking connections for it. At 15 s it goes on. Times count from the moment a visit was due.
"""

COMPARISON = """\
For comparison, PHP's session handlers with the same fault, measured on a machine of this kind (40 visits a second to
100 sessions, 32 workers; the node hung from 5 s to 25 s):

| stack | a request that needs the node | median of all requests while it hangs | answers of 1,800 that were wrong |
|---|---|---|---|
| php-memcache, two servers, redundancy | 1.0 s | 1.6 to 16.9 s | 54 stale |
| php-memcached, three servers, default | 5 s, or 30 s when the lock is there | 7.3 to 17.0 s | 512 reset |
| php-memcached with one replica | 5, 10 or 30 s | 5.2 to 16.5 s | 307 reset |
| php-memcached with one replica, no locks | 5 s | 2.8 to 12.3 s | 61 reset, 5 stale |
| php-memcache, persistent connections | 1.0 s, or 31.3 s | 1 to 3 ms (p95 up to 31.3 s) | 16 reset, 36 stale |

Their workers all end up waiting for the node, so sessions on healthy nodes stall as well.
"""
