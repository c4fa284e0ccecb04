"""Turns: what one request asks of the store goes one after the other, and each to its end."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Turns:
    """One for a request, whose handler may ask for several things at once, or give up waiting (a time-out).

    What was begun is finished before the next thing begins. Otherwise that one would find changes which are on their
    way already, and perform them twice.
    """

    __slots__ = ("_latest",)

    def __init__(self) -> None:
        self._latest: asyncio.Task[Any] | None = None

    async def take(self, work: Coroutine[Any, Any, T]) -> T:
        """Do this when its turn has come. When the caller is cancelled meanwhile, it goes on by itself."""
        before = self._latest
        self._latest = task = asyncio.ensure_future(_after(before, work))
        task.add_done_callback(_heard)
        return await asyncio.shield(task)

    async def over(self) -> None:
        """Wait until nothing is under way."""
        while self._latest is not None and not self._latest.done():
            await asyncio.wait({self._latest})


async def _after(before: asyncio.Task[Any] | None, work: Coroutine[Any, Any, T]) -> T:
    if before is not None:
        await asyncio.wait({before})
    return await work


def _heard(task: asyncio.Task[Any]) -> None:
    """Whoever asked may be gone: then nobody else looks at the exception."""
    if not task.cancelled():
        task.exception()
