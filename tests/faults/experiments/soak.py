"""A minute of everything: random faults, one after the other, under traffic through two web servers.

Three nodes, two copies, and a road with a fault proxy from each web server to each node. 200 operations a second
leave on schedule. One node at a time is hurt: its roads, all or those of one web server, are cut, refuse, or spoil
replies; or it hangs, is flushed, or is killed and starts again empty. Then it heals, and the next fault waits until
the copies are back: both web servers use the node again, requests from before are over, and each session, living or
ended, has been used once. For what a node missed is only on the other one until then, and both may not forget it.

The seed decides which faults there are, and what the guests do; what meets what in time is left to the machine.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.cluster import WEBS, Cluster
from tests.faults.experiments.crowd import Crowd
from tests.faults.experiments.ear import Ear, NeverTold
from tests.faults.experiments.figures import Report, exactly, shown
from tests.faults.experiments.site import seeded
from tests.faults.modes import Cut, Delay, Garbage, Mode, Refuse, Replay, Reset, Slices, Swallow, Throttle, Truncate
from tests.faults.openloop import on_schedule
from tests.faults.pages import Door

NAME = "soak"
HISTORIES = Path(__file__).parents[3] / ".run" / "faults"
BACK_S = 30.0
TOUCHES_MAX = 10
WATCH_S = 0.05

ROADS: dict[str, tuple[Mode, ...]] = {
    "cut": (Cut(),),
    "cut, late commands": (Cut(late=True),),
    "cut towards the node": (Cut(to_web=False),),
    "cut towards the web server": (Cut(to_node=False),),
    "refused": (Refuse(),),
    "5 % reset": (Reset(after=20, chance=0.05),),
    "5 % truncated": (Truncate(after=20, chance=0.05),),
    "5 % garbage": (Garbage(chance=0.05),),
    "5 % replayed": (Replay(chance=0.05),),
    "5 % swallowed": (Swallow(chance=0.05),),
    "all late, and in slices": (Delay(0.03, chance=0.5), Slices()),
    "half late by 0.2 s": (Delay(0.2, chance=0.5),),
    "20 kB a second": (Throttle(20_000),),
}
PROCESSES = ("killed, empty", "flushed", "hung")


@dataclass(frozen=True, slots=True)
class Trouble:
    """One fault. `web` is None if it is on the roads of both web servers."""

    kind: str
    node: str
    web: str | None
    seconds: float

    def __str__(self) -> str:
        return f"{self.node} {self.kind} for {self.seconds:.1f} s" + (f", only for {self.web}" if self.web else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How long, how fast, how many guests, and how long a fault lasts. `pool`: settings other than the default."""

    seconds: float = 60.0
    rate: float = 200.0
    guests: int = 80
    shortest_s: float = 0.5
    longest_s: float = 4.0
    pool: Mapping[str, float] = field(default_factory=dict)


async def run(variant: str, seed: int, course: Course | None = None) -> Report:
    """One run."""
    course = course or Course()
    async with Cluster(nodes=3, copies=2, seed=seed, pool={**course.pool}) as cluster:
        soak = _Soak(cluster, seed, course)
        await soak.run()
        return soak.report(variant)


def troubles(chance: random.Random, nodes: list[str], course: Course) -> Trouble:
    """The next fault."""
    kind = chance.choice([*ROADS, *PROCESSES, *PROCESSES])
    web = chance.choice([None, *WEBS]) if kind in ROADS else None
    return Trouble(kind, chance.choice(nodes), web, chance.uniform(course.shortest_s, course.longest_s))


@dataclass
class _Soak:
    """A run. `done` are the faults that there were, each with the seconds it took until all copies were back."""

    cluster: Cluster
    seed: int
    course: Course
    done: list[tuple[Trouble, float]] = field(default_factory=list)
    began: float = 0.0
    hurt: str = ""
    told: list[str] = field(default_factory=list)
    """What the web servers told of nodes, with the time at which it was read."""
    unhurt: Counter[str] = field(default_factory=Counter)
    """How often a web server called a node out, or slow, that nothing was wrong with: the machine was busy."""

    async def run(self) -> None:
        course, loop = self.course, asyncio.get_running_loop()
        doors = {web: Door(self.cluster.webs[web].port) for web in WEBS}
        self.ears = {web: Ear(self.cluster.webs[web]) for web in WEBS}
        self.crowd = Crowd(doors, seeded(self.seed, NAME, "guests"))
        await self.crowd.gather(course.guests)
        self.began = loop.time()
        count = round(course.seconds * course.rate)
        schedule = ((at / course.rate, self.crowd.errand()) for at in range(count))
        traffic = asyncio.ensure_future(on_schedule(self.began, schedule))
        trouble = asyncio.ensure_future(self._trouble(self.began + course.seconds))
        watch = asyncio.ensure_future(self._watch())
        try:
            await asyncio.gather(traffic, trouble)
            await self.crowd.look_last()
        finally:
            traffic.cancel()
            trouble.cancel()
            watch.cancel()
            for door in doors.values():
                door.close()

    async def _trouble(self, end: float) -> None:
        chance, loop = seeded(self.seed, NAME, "troubles"), asyncio.get_running_loop()
        await asyncio.sleep(1.0)
        while loop.time() < end - self.course.longest_s:
            trouble = troubles(chance, self.cluster.names, self.course)
            self.hurt = trouble.node
            self.told.append(f"{loop.time() - self.began:.2f} {trouble}")
            await self._do(trouble)
            eased = loop.time()
            self.told.append(f"{eased - self.began:.2f} over")
            await self._copies_back(trouble.node)
            self.done.append((trouble, loop.time() - eased))
            self.told.append(f"{loop.time() - self.began:.2f} copies back")

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        read = dict.fromkeys(WEBS, 0)
        while True:
            for web in WEBS:
                fresh = self.ears[web].listen()[read[web] :]
                read[web] += len(fresh)
                for one in fresh:
                    self.told.append(f"{loop.time() - self.began:.2f} {web} {one.kind} {one.fields}")
                    self.unhurt[one.kind] += one.node not in ("", self.hurt)
            await asyncio.sleep(WATCH_S)

    async def _do(self, trouble: Trouble) -> None:
        cluster, node = self.cluster, trouble.node
        begin: dict[str, Callable[[str], Awaitable[None]]] = {
            "killed, empty": cluster.kill,
            "flushed": cluster.flush,
            "hung": cluster.stop,
        }
        end = {"killed, empty": cluster.start, "hung": cluster.cont}
        if trouble.kind in ROADS:
            cluster.set(*ROADS[trouble.kind], web=trouble.web, node=node)
        else:
            await begin[trouble.kind](node)
        try:
            await asyncio.sleep(trouble.seconds)
        finally:
            if trouble.kind in ROADS:
                cluster.set(web=trouble.web, node=node)
            elif trouble.kind in end:
                await end[trouble.kind](node)

    async def _copies_back(self, node: str) -> None:
        """Each session is used once by a web server while both use the node."""
        for _ in range(TOUCHES_MAX):
            await self._in_use(node)
            seen = self._failures(node)
            await self.crowd.over()
            answered = await self.crowd.touch(WEBS[len(self.done) % 2])
            if answered and self._failures(node) == seen:
                return
        raise NeverTold(self._told(node))

    async def _in_use(self, node: str) -> None:
        """Both web servers use the node again. Only requests try it; after the schedule there are no others."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + BACK_S
        while any(ear.holds_out(node) for ear in self.ears.values()):
            if loop.time() > give_up:
                raise NeverTold(self._told(node))
            if loop.time() > self.began + self.course.seconds:
                for web in WEBS:
                    await self.crowd.touch(web)
            await asyncio.sleep(WATCH_S)

    def _told(self, node: str) -> str:
        done = "; ".join(str(trouble) for trouble, _ in self.done)
        return "\n".join(
            [f"{node} does not come back into use; faults: {done}", *(e.latest() for e in self.ears.values())]
        )

    def _failures(self, node: str) -> int:
        return sum(ear.count("NodeOut", node) for ear in self.ears.values())

    def report(self, variant: str) -> Report:
        """The figures, and whether they are what is promised."""
        figures = self.crowd.judged()
        slowest = max((back for _, back in self.done), default=0.0)
        told = [
            shown("requests", f"{figures['requests']:,}"),
            shown("sessions; logouts; logins", f"{figures['guests']}; {figures['logout']}; {figures['rotate']}"),
            shown("looks with an ended cookie", f"{figures['old']:,}"),
            shown("faults", f"{len(self.done)}"),
            exactly("lost", figures["lost"], 0),
            exactly("stale", figures["stale"], 0),
            exactly("revived", figures["revived"], 0),
            exactly("foreign", figures["foreign"], 0),
            shown("errors (503, or no answer)", f"{figures['errors']}"),
            shown("all copies back after a fault within", f"{slowest:.1f} s"),
            shown("healthy nodes called out; slow", f"{self.unhurt['NodeOut']}; {self.unhurt['NodeSlow']}"),
        ]
        misses = [f"{trouble}; all copies back after {back:.1f} s" for trouble, back in self.done]
        report = Report(name=NAME, variant=variant, seed=self.seed, figures=told, misses=misses)
        if not report.kept:
            path = HISTORIES / f"{NAME}-{self.seed}.jsonl"
            self.crowd.history.write(path, seed=self.seed, told=self.told, began=self.began)
            report.misses.append(f"history: {path}")
        return report


INTRODUCTION = """\
### A minute of everything

Three nodes, two copies, an ASGI and a WSGI server; 200 operations a second for a minute: looking, counting, putting
things in, logging in and out, and looking with ended cookies. One node after the other is killed and restarted empty,
flushed, stopped, cut off (for both or for one web server), refused, or its replies are reset, truncated, delayed,
spoilt, replayed or swallowed. The next fault waits until all copies are back.
"""
