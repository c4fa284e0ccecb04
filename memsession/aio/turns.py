"""Turns: what one request asks of the store goes one after the other."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from memsession.plans.world import Plan

T = TypeVar("T")


class Turns:
    """One for a request, whose handler may ask for several things at once, or give up waiting (a time-out).

    A turn ends with its plan, not with whoever waits for it: a plan whose caller was cancelled goes on in the
    background, and the next one begins only then. Otherwise it would find changes that are on their way already, and
    perform them twice. `busy`: a plan is under way.
    """

    __slots__ = ("_begun", "_free", "busy")

    def __init__(self) -> None:
        self._begun = self.busy = False
        self._free: asyncio.Event | None = None

    async def take(self, run: Callable[[Plan[T]], Awaitable[T]], plan: Plan[T]) -> T:
        """Run a plan when its turn has come."""
        while self.busy:
            self._free = self._free or asyncio.Event()
            await self._free.wait()
        self._begun, self.busy = False, True
        try:
            return await run(self._turn(plan))
        finally:
            if not self._begun:
                self._over()

    def _turn(self, plan: Plan[T]) -> Plan[T]:
        self._begun = True
        try:
            return (yield from plan)
        finally:
            self._over()

    def _over(self) -> None:
        self.busy = False
        free, self._free = self._free, None
        if free is not None:
            free.set()
