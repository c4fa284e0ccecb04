"""A visitor with a browser's cookie jar, and what the page told it."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from email.message import Message
from http.cookiejar import CookieJar
from types import SimpleNamespace
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit
from urllib.request import Request

from memsession.demo.messages import HEAD_BYTES_MAX, Head, Malformed, read_head

PATIENCE_S = 10.0
PAGE_BYTES_MAX = 65_536

_GREETING = "memsession welcomes you as a first time visitor on this server"
_COUNTED = re.compile(r"This server has seen you (\d+) times")
_SERVER = re.compile(r"Server IP: \S+ \((.*)\)")


class Page(NamedTuple):
    """What one visit brought.

    `number`: how many visits the page knew before this one; None if it did not say. `expected`: how many it had to
    know, if nothing else was under way. `server`: who answered.
    `problem`: why this is not the page that was asked for, "" if it is.
    """

    number: int | None
    expected: int
    server: str
    milliseconds: float
    problem: str


class Visitor:
    """Somebody who comes again and again, with a browser of his own: an async context manager."""

    def __init__(self, url: str) -> None:
        self._browser = Browser(url)
        self._first_cookies: dict[str, str] | None = None
        self._expected = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._browser.close()

    async def visit(self) -> Page:
        """Look at the page once. Never raises for what the server does."""
        begin = time.perf_counter()
        try:
            async with asyncio.timeout(PATIENCE_S):
                status, text = await self._browser.get()
        except (OSError, Malformed) as error:
            return self._page(begin, None, "", f"no answer: {error!r}")
        number, server, problem = _read(status, text)
        return self._page(begin, number, server, problem or self._changed_cookie())

    def _page(self, begin: float, number: int | None, server: str, problem: str) -> Page:
        milliseconds = (time.perf_counter() - begin) * 1000
        expected = self._expected
        self._expected = (expected if number is None else number) + 1
        return Page(number, expected, server, milliseconds, problem)

    def _changed_cookie(self) -> str:
        cookies = self._browser.cookies()
        if self._first_cookies is None:
            self._first_cookies = cookies
        if not cookies:
            return "there is no cookie"
        return "" if cookies == self._first_cookies else "the cookie has changed"


class Browser:
    """As much of a browser as a visit to one page needs: it keeps cookies, and connections for the next visit."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self._host, self._port, self._path = place.hostname or "", place.port or 80, place.path
        self._url = url
        self._jar = CookieJar()
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    def cookies(self) -> dict[str, str]:
        """Names and values of the cookies it keeps."""
        return {cookie.name: cookie.value or "" for cookie in self._jar}

    def close(self) -> None:
        """Close its connections."""
        for _, writer in self._idle:
            writer.close()

    async def get(self) -> tuple[int, str]:
        """Load the page; return its status and text.

        Raises:
            OSError, Malformed: no page came.
        """
        reader, writer = await self._connection()
        try:
            writer.write(self._request().encode())
            head = await read_head(reader)
            if head is None:
                raise ConnectionError("the connection ended without an answer")
            length = head.length()
            if length is None or length > PAGE_BYTES_MAX:
                raise Malformed("this is not the page: it has no length, or a large one")
            body = await _exactly(reader, length)
        except BaseException:
            writer.close()
            raise
        if "close" in head.tokens("connection"):
            writer.close()
        else:
            self._idle.append((reader, writer))
        self._keep(head.all("set-cookie"))
        return int(head.start[1]), body.decode("utf-8", "replace")

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return await asyncio.open_connection(self._host, self._port, limit=HEAD_BYTES_MAX)

    def _request(self) -> Head:
        asked = Request(self._url)
        self._jar.add_cookie_header(asked)
        cookies = asked.get_header("Cookie")
        fields = (("Host", f"{self._host}:{self._port}"), *([("Cookie", cookies)] if cookies else []))
        return Head(start=("GET", self._path, "HTTP/1.1"), fields=fields)

    def _keep(self, cookies: Sequence[str]) -> None:
        answer = Message()
        for cookie in cookies:
            answer["Set-Cookie"] = cookie
        # All that a jar wants of a response is this.
        response: Any = SimpleNamespace(info=lambda: answer)
        self._jar.extract_cookies(response, Request(self._url))


@asynccontextmanager
async def crowd(url: str, count: int) -> AsyncIterator[list[Visitor]]:
    """Give `count` visitors, each with a browser of his own."""
    visitors = [Visitor(url) for _ in range(count)]
    async with AsyncExitStack() as stack:
        for visitor in visitors:
            await stack.enter_async_context(visitor)
        yield visitors


async def _exactly(reader: asyncio.StreamReader, length: int) -> bytes:
    try:
        return await reader.readexactly(length)
    except asyncio.IncompleteReadError:
        raise ConnectionError("the connection ended within the page") from None


def _read(status: int, text: str) -> tuple[int | None, str, str]:
    lines: Sequence[str] = text.splitlines()
    if status != 200 or len(lines) < 2:
        return None, "", f"status {status}"
    counted, server = _COUNTED.fullmatch(lines[0]), _SERVER.fullmatch(lines[1])
    if server is None or (counted is None and lines[0] != _GREETING):
        return None, "", "not the page of the visit counter"
    return int(counted[1]) if counted else 0, server[1], ""
