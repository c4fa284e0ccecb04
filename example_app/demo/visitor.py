"""A visitor with a browser's cookie jar, and what the page told it."""

import re
import time
from collections.abc import Sequence
from typing import NamedTuple

import httpx

PATIENCE_S = 10.0
PARALLEL_MAX = 100

_GREETING = "memsession welcomes you as a first time visitor on this server"
_COUNTED = re.compile(r"This server has seen you (\d+) times")
_SERVER = re.compile(r"Server IP: \S+ \((.*)\)")


class Page(NamedTuple):
    """What one visit brought.

    `number`: how many visits the page knew before this one; None if it did not say. `server`: who answered.
    `problem`: why this is not the page that was asked for, "" if it is.
    """

    number: int | None
    server: str
    milliseconds: float
    problem: str


def browser() -> httpx.AsyncClient:
    """Return what all visitors of a check send their requests with: connections, and no cookies of its own."""
    limits = httpx.Limits(max_connections=PARALLEL_MAX, max_keepalive_connections=PARALLEL_MAX)
    return httpx.AsyncClient(timeout=PATIENCE_S, limits=limits, trust_env=False)


class Visitor:
    """Somebody who comes again and again."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client = client
        self._url = url
        self._jar = httpx.Cookies()
        self._first_cookies: dict[str, str] | None = None

    async def visit(self) -> Page:
        """Look at the page once. Never raises for what the server does."""
        request = httpx.Request("GET", self._url)
        self._jar.set_cookie_header(request)
        begin = time.perf_counter()
        try:
            response = await self._client.send(request)
        except httpx.HTTPError as error:
            return Page(None, "", _since(begin), f"no answer: {error!r}")
        milliseconds = _since(begin)
        self._jar.extract_cookies(response)
        number, server, problem = _read(response)
        return Page(number, server, milliseconds, problem or self._changed_cookie())

    def _changed_cookie(self) -> str:
        cookies = {cookie.name: cookie.value or "" for cookie in self._jar.jar}
        if self._first_cookies is None:
            self._first_cookies = cookies
        if not cookies:
            return "there is no cookie"
        return "" if cookies == self._first_cookies else "the cookie has changed"


def _read(response: httpx.Response) -> tuple[int | None, str, str]:
    lines: Sequence[str] = response.text.splitlines()
    if response.status_code != httpx.codes.OK or len(lines) < 2:
        return None, "", f"status {response.status_code}"
    counted, server = _COUNTED.fullmatch(lines[0]), _SERVER.fullmatch(lines[1])
    if server is None or (counted is None and lines[0] != _GREETING):
        return None, "", "not the page of the visit counter"
    return int(counted[1]) if counted else 0, server[1], ""


def _since(begin: float) -> float:
    return (time.perf_counter() - begin) * 1000
