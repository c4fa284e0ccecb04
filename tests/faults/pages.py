"""Requests to a web server of this machine, over connections that are kept alive. A visitor may hang up at any time.

What became of a request is told apart: it never left (`REFUSED`), nobody knows (`LOST`, `LEFT`), or it was answered.
No request is sent twice.
"""

import asyncio
import contextlib
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

PATIENCE_S = 20.0
LAST_CHUNK = b"0\r\n\r\n"
REFUSED, LOST, LEFT = 0, -1, -2
"""Instead of a status: nobody listened; the connection or the patience ended; the visitor hung up."""


def now() -> float:
    """Seconds on the history's clock.

    Not the event loop's: uvloop's ticks in milliseconds and stands still within a turn, so of two operations that
    overlap one would seem to be over before the other began.
    """
    return time.monotonic()


@dataclass(slots=True)
class Page:
    """What came back. `begun` and `ended` are of the clock `now`; `cookie` is None if it was left alone."""

    status: int
    begun: float
    ended: float
    shown: dict[str, Any] = field(default_factory=dict)
    cookie: str | None = None
    worker: int = 0


class _Line(asyncio.Protocol):
    """One connection, with one request at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.lost = False
        self._rest = b""
        self._answer: asyncio.Future[tuple[bytes, bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError("the web server closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._rest += data
        head, found, rest = self._rest.partition(b"\r\n\r\n")
        if not found or self._answer is None or self._answer.done():
            return
        length = _length(head)
        if len(rest) < length if length is not None else not rest.endswith(LAST_CHUNK):
            return
        self._rest = b""
        self._answer.set_result((head, rest))

    async def ask(self, request: bytes) -> tuple[bytes, bytes]:
        """Send a request; head and body of the answer."""
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self._answer


class Door:
    """A web server as visitors see it. `port` may change: requests under way go on with the old one."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._under_way: Counter[int] = Counter()
        self._idle: list[_Line] = []

    async def move(self, port: int) -> None:
        """From now on the web server is there. Returns when the last request to the old place has been answered."""
        old, self.port = self.port, port
        self.close()
        while self._under_way[old]:  # noqa: ASYNC110 - seldom, and short
            await asyncio.sleep(0.01)

    def close(self) -> None:
        """Hang up, where no request is under way."""
        for line in self._idle:
            line.transport.abort()
        self._idle.clear()

    async def get(self, path: str, cookie: str = "", *, leave_after_s: float | None = None) -> Page:
        """Ask for a page, and hang up after some seconds if so told. It raises nothing."""
        begun = now()
        page = Page(REFUSED, begun, begun)
        port = self.port
        self._under_way[port] += 1
        try:
            await self._get(page, port, path, cookie, leave_after_s)
        finally:
            self._under_way[port] -= 1
            page.ended = now()
        return page

    async def _get(self, page: Page, port: int, path: str, cookie: str, leave_after_s: float | None) -> None:
        try:
            line = await self._line(port)
        except OSError:
            return
        sent = f"Cookie: {cookie}\r\n" if cookie else ""
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{sent}\r\n".encode()
        try:
            async with asyncio.timeout(PATIENCE_S if leave_after_s is None else leave_after_s):
                head, body = await line.ask(request)
        except (OSError, TimeoutError):
            page.status = LOST if leave_after_s is None else LEFT
            line.transport.abort()
            return
        except BaseException:
            line.transport.abort()
            raise
        _understand(page, head, body)
        if port == self.port and not line.lost:
            self._idle.append(line)
        else:
            line.transport.abort()

    async def _line(self, port: int) -> _Line:
        while self._idle:
            line = self._idle.pop()
            if not line.lost and not line.transport.is_closing():
                return line
        _, line = await asyncio.get_running_loop().create_connection(_Line, "127.0.0.1", port)
        return line


def _length(head: bytes) -> int | None:
    at = head.lower().find(b"content-length:")
    return None if at < 0 else int(head[at + 15 :].split(b"\r\n", 1)[0])


def _understand(page: Page, head: bytes, body: bytes) -> None:
    first, *lines = head.decode("latin-1").split("\r\n")
    page.status = int(first.split()[1])
    for line in lines:
        name, _, value = line.partition(": ")
        if name.lower() == "set-cookie":
            page.cookie = "" if "Max-Age=0" in value else value.partition(";")[0]
        elif name.lower() == "x-worker":
            page.worker = int(value)
    if page.status == 200:
        with contextlib.suppress(ValueError):
            page.shown = json.loads(body)
