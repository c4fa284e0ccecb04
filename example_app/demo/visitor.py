"""A visitor with a browser's cookie jar, and what the page told it."""

import re
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple, Self

import httpx

PATIENCE_S = 10.0
_LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=100)
_UNUSED_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Else each browser would read the machine's certificates anew, for an address without TLS."""

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
        self._url = url
        self._browser = httpx.AsyncClient(verify=_UNUSED_TLS, timeout=PATIENCE_S, limits=_LIMITS, trust_env=False)
        self._first_cookies: dict[str, str] | None = None
        self._expected = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._browser.aclose()

    async def visit(self) -> Page:
        """Look at the page once. Never raises for what the server does."""
        begin = time.perf_counter()
        try:
            response = await self._browser.get(self._url)
        except httpx.HTTPError as error:
            return self._page(begin, None, "", f"no answer: {error!r}")
        number, server, problem = _read(response)
        return self._page(begin, number, server, problem or self._changed_cookie())

    def _page(self, begin: float, number: int | None, server: str, problem: str) -> Page:
        milliseconds = (time.perf_counter() - begin) * 1000
        expected = self._expected
        self._expected = (expected if number is None else number) + 1
        return Page(number, expected, server, milliseconds, problem)

    def _changed_cookie(self) -> str:
        cookies = {cookie.name: cookie.value or "" for cookie in self._browser.cookies.jar}
        if self._first_cookies is None:
            self._first_cookies = cookies
        if not cookies:
            return "there is no cookie"
        return "" if cookies == self._first_cookies else "the cookie has changed"


@asynccontextmanager
async def crowd(url: str, count: int) -> AsyncIterator[list[Visitor]]:
    """Give `count` visitors, each with a browser of his own."""
    visitors = [Visitor(url) for _ in range(count)]
    async with AsyncExitStack() as stack:
        for visitor in visitors:
            await stack.enter_async_context(visitor)
        yield visitors


def _read(response: httpx.Response) -> tuple[int | None, str, str]:
    lines: Sequence[str] = response.text.splitlines()
    if response.status_code != httpx.codes.OK or len(lines) < 2:
        return None, "", f"status {response.status_code}"
    counted, server = _COUNTED.fullmatch(lines[0]), _SERVER.fullmatch(lines[1])
    if server is None or (counted is None and lines[0] != _GREETING):
        return None, "", "not the page of the visit counter"
    return int(counted[1]) if counted else 0, server[1], ""
