"""A WebSocket: its session is read when it connects, and what it changes is saved when it closes.

What was changed before `accept` goes with it, as before the head of a response. What is changed later is saved when
the application closes the socket, returns, or ends because the visitor is gone; not when it fails. `save()` saves at
any time: it merges, learns whether the session has ended (`session.ended`), and cannot undo that. A socket takes no
turns in exclusive mode: it would hold the lock for as long as it is open.
"""

import logging

from memsession.asgi.protocol import Message
from memsession.asgi.response import UNAVAILABLE, Response
from memsession.errors import SessionError

_logger = logging.getLogger("memsession")

_HEADS = frozenset({"websocket.accept", "websocket.http.response.start"})


class Socket(Response):
    """The answering side of one WebSocket."""

    __slots__ = ()

    async def send(self, message: Message) -> None:
        """Pass a message on. Commit before `accept`, or a refusal with a response, and before `close`."""
        kind = message["type"]
        if self.refused:
            return
        if kind in _HEADS and not self.visit.answered:
            try:
                await self.commit(message.get("status", 200))
            except UNAVAILABLE:
                await self.unavailable()
                return
            self.add_headers(message)
        elif kind == "websocket.close":
            try:
                await self.finish()
            finally:
                await self._send(message)
            return
        await self._send(message)

    async def finish(self) -> None:
        """Save what was changed since the last commit. Nobody can be told of a failure but the log.

        Raises:
            RuntimeError: a session was begun, or its ID renewed, when no cookie could be set any more.
        """
        visit = self.visit
        if self.refused:
            return
        refusing, visit.answered = not visit.answered, True  # closed before accept: saved, but no cookie can be set
        try:
            await self.commit()
        except UNAVAILABLE as error:
            _logger.error("what a WebSocket changed was not saved when it closed: %s", error)
        except RuntimeError:
            if not refusing:
                raise
            self.refused = True
            self._lifecycle.unsaved(visit)
        except SessionError as error:
            self._lifecycle.unsaved(visit)
            _logger.error("what a WebSocket changed cannot be saved: %s", error)

    async def unavailable(self) -> None:
        """Close with code 1013, "try again later"; the visitor's cookie is kept."""
        self.visit.answered = self.refused = True
        await self._send({"type": "websocket.close", "code": 1013, "reason": "session store unavailable"})


def is_farewell(error: BaseException) -> bool:
    """Whether the application ended because the visitor is gone, as Starlette and its kin tell it."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_farewell(one) for one in error.exceptions)
    return any(kind.__name__ == "WebSocketDisconnect" for kind in type(error).__mro__)
