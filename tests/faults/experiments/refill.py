"""Sessions that nobody uses: a node restarts empty, no traffic at all, and then another node dies.

Three nodes, two copies, one web server. Each session was used once. Then one node is killed and started again,
empty; nothing is asked of the web server until it tells that the refill of that node is done. Then a second node is
killed, for good, and every session is read. A third of the sessions lay on just those two nodes, so without the
refill a third would be gone: the experiment is run without upkeep, too, to see that it can fail.

With logouts: as soon as the refill has begun, some visitors log out. None of their sessions may come back.
"""

import asyncio
from dataclasses import dataclass, field

from tests.faults.experiments.figures import Figure, Report, all_of, exactly, shown
from tests.faults.experiments.site import Site, Web, seeded
from tests.faults.openloop import in_turn, on_schedule
from tests.faults.pages import Page

NAME = "refill"
PATIENCE_S = 120.0
AT_ONCE = 16
TRIES_MAX = 50
AGAIN_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How many sessions, how many of them log out meanwhile and how fast, and whether there is any upkeep."""

    kind: str = "asgi"
    sessions: int = 10_000
    logouts: int = 0
    logout_rate: float = 100.0
    upkeep: bool = True


VARIANTS = {
    "idle": Course(),
    "with 200 logouts": Course(logouts=200),
    "without upkeep": Course(upkeep=False),
}


@dataclass(slots=True, kw_only=True)
class Seen:
    """What a run brought."""

    course: Course
    there: int
    wrong: int
    revived: int
    left: int
    errors: int
    left_in_time: int = 0
    noticed_s: float = 0.0
    """From the kill until the refill began."""
    took_s: float = 0.0
    """From its beginning until it was told that it was done."""
    looked_at: int = 0
    written: int = 0
    emptied: str = ""
    killed: str = ""
    problems: list[str] = field(default_factory=list)


async def run(variant: str, seed: int, course: Course | None = None) -> Report:
    """One run."""
    course = course or VARIANTS[variant]
    async with Site(nodes=3, copies=2, UPKEEP=str(int(course.upkeep))) as site:
        return judged(variant, seed, await _Story(site, seed, course).told())


class _Story:
    """A run. `_cookies` by the number of the session, which is also its owner's."""

    def __init__(self, site: Site, seed: int, course: Course) -> None:
        self.site = site
        self.course = course
        self.chance = seeded(seed, NAME, course)
        self._cookies: list[str] = []
        self._web: Web
        self._problems: list[str] = []
        self._left_at: dict[int, float] = {}

    async def told(self) -> Seen:
        course = self.course
        emptied, killed = self.chance.sample(list(self.site.nodes), 2)
        self._web = await self.site.web(course.kind)
        pages = await in_turn([self._first(session) for session in range(course.sessions)], at_once=AT_ONCE)
        self._cookies = [page.cookie or "" for page in pages]
        seen = Seen(course=course, there=0, wrong=0, revived=0, left=0, errors=0, emptied=emptied, killed=killed)
        if course.upkeep:
            await self._refill(seen)
        else:
            await asyncio.to_thread(self.site.nodes[emptied].restart)
        await asyncio.to_thread(self.site.nodes[killed].kill)
        await self._read_all(seen)
        return seen

    async def _refill(self, seen: Seen) -> None:
        loop, site, course, ear = asyncio.get_running_loop(), self.site, self.course, self._web.ear
        for node in site.nodes:  # Nodes that nobody has looked at yet count as emptied.
            await ear.heard("RefillDone", node=node, patience_s=PATIENCE_S)
        since = len(ear.listen())
        killed_at = loop.time()
        await asyncio.to_thread(site.nodes[seen.emptied].restart)
        await ear.heard("RefillBegan", since=since, node=seen.emptied, patience_s=PATIENCE_S)
        began_at = loop.time()
        leaving = self.chance.sample(range(course.sessions), course.logouts)
        schedule = [(at / course.logout_rate, self._leave(session)) for at, session in enumerate(leaving)]
        traffic = asyncio.ensure_future(on_schedule(began_at, schedule))
        done = (await ear.heard("RefillDone", since=since, node=seen.emptied, patience_s=PATIENCE_S)).fields
        done_at = loop.time()
        await traffic
        seen.noticed_s, seen.took_s = began_at - killed_at, done_at - began_at
        seen.looked_at, seen.written = done["looked_at"], done["written"]
        seen.left = len(self._left_at)
        seen.left_in_time = sum(at < done_at for at in self._left_at.values())

    async def _read_all(self, seen: Seen) -> None:
        pages = await in_turn([self._look(session) for session in range(self.course.sessions)], at_once=AT_ONCE)
        for session, page in enumerate(pages):
            owner = page.shown.get("data", {}).get("owner")
            if session in self._left_at:
                seen.revived += bool(page.shown.get("data"))
            else:
                seen.there += owner == str(session)
                seen.wrong += owner not in (None, str(session))
        seen.problems = [*self._problems, self._web.ear.latest()]
        seen.errors = len(self._problems)

    def _first(self, session: int):
        async def errand() -> Page:
            page = await self._answered(f"/set?owner={session}", "")
            self._problems.clear()  # It has not begun.
            return page

        return errand

    def _look(self, session: int):
        return lambda: self._answered("/get", self._cookies[session])

    def _leave(self, session: int):
        async def errand(_: float) -> None:
            page = await self._get("/logout", self._cookies[session])
            if page.status == 200:
                self._left_at[session] = page.ended

        return errand

    async def _answered(self, path: str, cookie: str) -> Page:
        """Ask again while the answer is an error: what is there and what was answered at once are two figures."""
        for _ in range(TRIES_MAX):
            page = await self._get(path, cookie)
            if page.status == 200:
                break
            await asyncio.sleep(AGAIN_S)
        return page

    async def _get(self, path: str, cookie: str) -> Page:
        page = await self._web.door.get(path, cookie)
        if page.status != 200:
            self._problems.append(f"{path} at {page.begun:.2f}, after {page.ended - page.begun:.3f} s: {page.status}")
        return page


def judged(variant: str, seed: int, seen: Seen) -> Report:
    """The figures of a run, and whether they are what is promised. Without upkeep nothing is."""
    course = seen.course
    expected = course.sessions - seen.left
    rate = seen.looked_at / seen.took_s if seen.took_s else 0.0
    there = all_of("sessions there in the end", seen.there, expected)
    if not course.upkeep:
        there = shown(there.what, there.measured)
    figures = [
        there,
        exactly("sessions with somebody else's data", seen.wrong, 0),
        exactly("errors", seen.errors, 0),
        shown("noticed after the kill within", f"{seen.noticed_s:.1f} s" if seen.took_s else "-"),
        shown("refilled in", f"{seen.took_s:.1f} s" if seen.took_s else "-"),
        shown("sessions looked at", f"{seen.looked_at:,}, {rate:,.0f} a second" if seen.took_s else "-"),
        shown("copies written", f"{seen.written:,}" if seen.took_s else "-"),
        _left(seen),
        exactly("sessions that came back after logout", seen.revived, 0),
    ]
    report = Report(name=NAME, variant=variant, seed=seed, figures=figures)
    if not report.kept:
        report.misses.extend([f"emptied {seen.emptied}, killed {seen.killed} in the end", *seen.problems[-20:]])
    return report


def _left(seen: Seen) -> Figure:
    what = "logouts confirmed before the refill was done"
    return all_of(what, seen.left_in_time, seen.course.logouts) if seen.course.logouts else shown(what, "-")


INTRODUCTION = """\
### Sessions that nobody uses

Three nodes, two copies, one web server; 10,000 sessions, each used once. One node is killed and started again,
empty. There is no traffic at all until the web server tells that the refill is done. Then another node is killed for
good, and every session is read. The last column is the same without upkeep, to show what would be lost: the sessions
that lay on just those two nodes.
"""
