"""A round: commands that were sent together, and the one who waits for all of their replies."""

import asyncio
from typing import Any

from memsession.commands import Unreachable


class Round:
    """Replies in the order of the commands, a countdown, and at most one future.

    A round is *over* when each command has its reply, or when its time has come. Replies that arrive later, because
    nobody waits any more, are read and checked as all others, and end here.
    """

    __slots__ = ("_future", "left", "replies")

    def __init__(self, size: int) -> None:
        self.replies: list[Any] = [None] * size
        self.left = size
        self._future: asyncio.Future[None] | None = None

    def answer(self, index: int, reply: Any) -> None:
        """The reply to one command. Each is answered once."""
        left = self.left
        if left:
            self.replies[index] = reply
            self.left = left = left - 1
            if not left:
                self._tell()

    def expire(self, reason: str) -> None:
        """Nobody waits any longer: what has no reply by now is unreachable."""
        if self.left:
            self.left = 0
            self.replies = [Unreachable(reason) if reply is None else reply for reply in self.replies]
            self._tell()

    def over(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        """To be awaited, by one task, while replies are `left`. A future cancelled with its task is replaced."""
        self._future = future = loop.create_future()
        return future

    def _tell(self) -> None:
        future = self._future
        if future is not None and not future.done():
            future.set_result(None)
