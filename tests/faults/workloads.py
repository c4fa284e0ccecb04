"""What visitors do, W1 to W5. Each keeps its sessions in use until the driver is done, and looks at them at the end.

They go round robin over both web servers. The sizes are those of the full matrix; a cell's `scale` shrinks them.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tests.faults.cell import Cell, Visitor, each
from tests.faults.cluster import WEBS

LANES = 12
LONGEST_HOLD_MS = 12.0
LOOKED_AT_AGAIN = 200


@dataclass(frozen=True, kw_only=True)
class Workload:
    """`run` does it until the driver is done; `look` reads what is left when everything has healed.

    `span_s`: over how long the full workload is spread at least, so that two busy processors can do it.
    """

    name: str
    title: str
    span_s: float
    set_up: Callable[[Cell], Awaitable[Any]]
    run: Callable[[Cell, Any], Awaitable[None]]
    look: Callable[[Cell, Any], Awaitable[None]]


def user_of(shown: dict[str, Any]) -> Any:
    return shown.get("data", {}).get("user_id")


def count_of(shown: dict[str, Any]) -> Any:
    return shown.get("n", shown.get("data", {}).get("n"))


def elements_of(shown: dict[str, Any]) -> Any:
    return [key for key in shown.get("data", {}) if key.startswith("e")]


async def settled(visitors: list[Visitor], kind: str, see: Callable[[dict[str, Any]], Any]) -> None:
    """What each web server shows in the end."""

    async def look(number: int) -> None:
        for web in WEBS:
            await visitors[number].do(kind, "/get", see=see, web=web, final=True)

    await each(len(visitors), LANES, look)


# W1: log in, then read. Half of the visitors log in before, half while something is wrong.


async def logins_set_up(cell: Cell) -> list[Visitor]:
    visitors = [Visitor(cell, f"u{number}") for number in range(cell.count(20, least=6))]
    for visitor in visitors[::2]:
        await visitor.enter("login")
    cell.kept |= {visitor.name for visitor in visitors[::2]}
    return visitors


async def logins(cell: Cell, visitors: list[Visitor]) -> None:
    readings = cell.count(100, least=20)

    async def visit(number: int) -> None:
        visitor = visitors[number]
        late = number % 2
        if late:
            await cell.at(0.15 + 0.5 * number / len(visitors))
            if number % 4 == 1:  # somebody who had a session before
                await visitor.do("enter", f"/set?owner={visitor.name}")
            await visitor.enter("login")
        begin = max(0.0, (cell.now - cell.begun) / cell.span_s)
        for reading in range(readings):
            await cell.at(begin + (1.0 - begin) * reading / readings)
            await visitor.do("who", "/get", see=user_of)

    async def stay(visitor: Visitor) -> None:
        await cell.worked.wait()
        while not cell.over.is_set():
            await visitor.do("who", "/get", see=user_of)
            await asyncio.sleep(0.05)

    await each(len(visitors), len(visitors), visit)
    cell.done()
    await asyncio.gather(*(stay(visitor) for visitor in visitors))


# W2: one client for each session, who counts.


async def counters_set_up(cell: Cell) -> list[Visitor]:
    visitors = [Visitor(cell, f"c{number}") for number in range(6)]
    for visitor in visitors:
        await visitor.enter()
    cell.kept |= {visitor.name for visitor in visitors}
    return visitors


async def counters(cell: Cell, visitors: list[Visitor]) -> None:
    steps = cell.count(300, least=20)

    async def visit(number: int) -> None:
        for step in range(steps):
            await cell.at(step / steps)
            await visitors[number].do("incr", "/incr", see=count_of)

    async def stay(visitor: Visitor) -> None:
        while not cell.over.is_set():
            await visitor.do("count", "/get", see=count_of)
            await asyncio.sleep(0.05)

    await each(len(visitors), len(visitors), visit)
    cell.done()
    await asyncio.gather(*(stay(visitor) for visitor in visitors))


# W3: parallel requests of one session, each with an element of its own.


async def sets_set_up(cell: Cell) -> list[Visitor]:
    visitors = [Visitor(cell, f"s{number}") for number in range(cell.count(50, least=4))]
    await each(len(visitors), LANES, lambda number: visitors[number].enter())
    cell.kept |= {visitor.name for visitor in visitors}
    return visitors


async def sets(cell: Cell, visitors: list[Visitor]) -> None:
    adders, adds = 8, cell.count(20, least=4)

    async def add(at: int) -> None:
        visitor, adder = visitors[at % len(visitors)], at // len(visitors)
        # Adders of one session begin each round together, and the sessions one after the other.
        shift = (at % len(visitors)) / len(visitors)
        for number in range(adds):
            await cell.at((number + shift) / adds)
            element = f"e{adder}-{number}"
            await visitor.do("add", f"/set?{element}=1", element)
            if adder == number % adders:
                await visitor.do("elements", "/get", see=elements_of)

    async def stay(visitor: Visitor) -> None:
        while not cell.over.is_set():
            await visitor.do("elements", "/get", see=elements_of)
            await asyncio.sleep(0.2)

    await each(adders * len(visitors), adders * len(visitors), add)
    cell.done()
    await asyncio.gather(*(stay(visitor) for visitor in visitors))


# W4: a slow request against a logout, or against a change of the ID.


@dataclass
class Ended:
    """A visitor whose session has ended, and the cookie that must be worth nothing now."""

    visitor: Visitor
    cookie: str

    async def try_again(self, *, final: bool) -> None:
        """Present the old cookie everywhere."""
        for web in WEBS:
            see = lambda shown: shown.get("data")  # noqa: E731
            await self.visitor.do("old", "/get", see=see, web=web, cookie=self.cookie, final=final)


@dataclass
class Races:
    """Every other visitor has a session before anything goes wrong, the others begin one when it is their turn."""

    visitors: list[Visitor]
    ended: list[Ended] = field(default_factory=list)


async def races_set_up(cell: Cell) -> Races:
    racing = Races([Visitor(cell, f"r{number}") for number in range(cell.count(500, least=24))])
    early = racing.visitors[::2]
    await each(len(early), LANES, lambda number: early[number].enter())
    return racing


async def races(cell: Cell, racing: Races) -> None:
    count = len(racing.visitors)

    async def race(number: int) -> None:
        await cell.at(number / count)
        visitor = racing.visitors[number]
        if not visitor.cookie:
            await visitor.enter()
        if not visitor.cookie:
            return
        chance = random.Random(cell.chance.random())
        old = visitor.cookie
        hold, offset = chance.uniform(0.0, LONGEST_HOLD_MS), chance.uniform(0.0, 1.5 * LONGEST_HOLD_MS)
        slow = asyncio.ensure_future(visitor.do("write", f"/set?late=1&hold={hold:.1f}", cookie=old))
        await asyncio.sleep(offset / 1000.0)
        if number % 4 == 3:
            await visitor.do("rotate", "/rotate")
        else:
            await visitor.do("logout", "/logout")
        await slow
        gone = Ended(visitor, old)
        racing.ended.append(gone)
        await gone.try_again(final=False)

    await each(count, LANES, race)
    cell.done()
    await cell.over.wait()


async def races_look(cell: Cell, racing: Races) -> None:
    await each(len(racing.ended), LANES, lambda number: racing.ended[number].try_again(final=True))


# W5: many new sessions.


async def births_set_up(cell: Cell) -> list[Visitor]:
    return []


async def births(cell: Cell, visitors: list[Visitor]) -> None:
    count = cell.count(2000, least=60)

    async def be_born(number: int) -> None:
        await cell.at(number / count)
        visitor = Visitor(cell, f"b{number}")
        op = await visitor.do("birth", f"/set?birth={visitor.name}&owner={visitor.name}")
        if visitor.cookie:
            web = op.web if cell.sides else None
            await visitor.do("born", "/get", see=birth_of, web=web)
            visitors.append(visitor)

    await each(count, LANES, be_born)
    cell.done()
    await cell.over.wait()


def birth_of(shown: dict[str, Any]) -> Any:
    return shown.get("data", {}).get("birth")


async def births_look(cell: Cell, visitors: list[Visitor]) -> None:
    some = cell.chance.sample(visitors, min(LOOKED_AT_AGAIN, len(visitors)))
    await settled(some, "born", birth_of)


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(
            name="W1",
            title="20 visitors log in, then read 100 times",
            span_s=5.0,
            set_up=logins_set_up,
            run=logins,
            look=lambda _, those: settled(those, "who", user_of),
        ),
        Workload(
            name="W2",
            title="6 visitors count to 300",
            span_s=5.0,
            set_up=counters_set_up,
            run=counters,
            look=lambda _, those: settled(those, "count", count_of),
        ),
        Workload(
            name="W3",
            title="8 requests at once add to one session, 20 times, in 50 sessions",
            span_s=50.0,
            set_up=sets_set_up,
            run=sets,
            look=lambda _, those: settled(those, "elements", elements_of),
        ),
        Workload(
            name="W4",
            title="a logout against a slow request, 500 times",
            span_s=8.0,
            set_up=races_set_up,
            run=races,
            look=races_look,
        ),
        Workload(
            name="W5",
            title="2,000 new sessions",
            span_s=8.0,
            set_up=births_set_up,
            run=births,
            look=births_look,
        ),
    )
}
