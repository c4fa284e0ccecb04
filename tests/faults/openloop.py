"""Visitors who do not wait for each other: every request leaves on schedule, whether or not earlier ones came back.

A load that waits for an answer before it sends the next request hides a hang: while the server is silent, nobody
asks. Here the schedule is fixed beforehand, and an answer's time counts from the moment its request was due, so a
generator that is late itself can only make the figures worse.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from tests.faults.pages import Page, now

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Timed:
    """A page, and when it should have been asked for; times are seconds from some beginning."""

    due: float
    begun: float
    ended: float
    page: Page

    @classmethod
    def since(cls, begin: float, due: float, page: Page) -> "Timed":
        """The same with times from `begin`."""
        return cls(due - begin, page.begun - begin, page.ended - begin, page)

    @property
    def took_s(self) -> float:
        """How long the visitor had to wait."""
        return self.ended - self.due

    @property
    def late_s(self) -> float:
        """How late the generator was."""
        return self.begun - self.due


async def on_schedule(begin: float, schedule: Iterable[tuple[float, Callable[[float], Awaitable[T]]]]) -> list[T]:
    """Start each of some errands at its time, in seconds after `begin`; what they returned, when all are over.

    An errand is a function of the moment it was due. One that takes long delays no other.
    """
    under_way: list[asyncio.Future[T]] = []
    for at, errand in schedule:
        pause = begin + at - now()
        if pause > 0:
            await asyncio.sleep(pause)
        under_way.append(asyncio.ensure_future(errand(begin + at)))
    return list(await asyncio.gather(*under_way))


async def in_turn(errands: Iterable[Callable[[], Awaitable[T]]], *, at_once: int) -> list[T]:
    """Do all errands as fast as they go, some at a time; what they returned, in their order. This load does wait."""
    results: dict[int, T] = {}
    waiting = iter(list(enumerate(errands)))

    async def worker() -> None:
        for number, errand in waiting:
            results[number] = await errand()

    await asyncio.gather(*(worker() for _ in range(at_once)))
    return [results[number] for number in sorted(results)]


async def until(moment: float) -> None:
    """Wait for a moment of the clock `now`."""
    await asyncio.sleep(max(0.0, moment - now()))


def percentile(values: Iterable[float], percent: int) -> float:
    """The smallest of the values that so many of a hundred do not exceed; 0 without values."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] if ordered else 0.0
