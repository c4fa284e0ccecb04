"""Preset and read the session of a test client.

    client = TestClient(app, base_url="https://testserver")
    with session_transaction(client) as session:
        session["user_id"] = 7
    assert client.get("/me").json() == {"user_id": 7}

What is done in the block is one visit without a request: the session is loaded by the client's cookie, and committed
when the block ends, by the middleware of the client's own application and with all its settings. An exception in the
block saves nothing.
"""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from types import SimpleNamespace, TracebackType
from typing import Any, TypeVar
from urllib.request import Request

from memsession.asgi import SessionMiddleware
from memsession.asgi.layers import layers
from memsession.asgi.response import Response
from memsession.errors import ConfigurationError
from memsession.session import AsyncSession

T = TypeVar("T")


def session_transaction(client: Any, *, scope_key: str = "session") -> "SessionTransaction":
    """The session of a test client, to be used in a `with` block; in a coroutine `async with` is better.

    `client`: Starlette's or FastAPI's `TestClient`, or an `httpx.AsyncClient` with an `ASGITransport`. Its `base_url`
    decides about the cookie as a browser's address does: with https it is a `__Host-` cookie. `scope_key` as the
    middleware has it. The block takes no turn in exclusive mode.

    Raises:
        ConfigurationError: there is no `SessionMiddleware` around the client's application; or, when the block ends,
            the client would not send the cookie to its `base_url`.
        PoolUnavailable, UnstorableValue, SessionTooLarge: as a response's commit does, when the block ends.
    """
    app = getattr(client, "app", None) or getattr(getattr(client, "_transport", None), "app", None)
    if app is None:
        raise ConfigurationError(
            f"session_transaction({type(client).__name__}): give a TestClient, or an httpx.AsyncClient with "
            f"transport=ASGITransport(app=...)"
        )
    for layer in layers(app):
        if isinstance(layer, SessionMiddleware) and layer.scope_key == scope_key:
            return SessionTransaction(client, layer)
    raise ConfigurationError(
        f"the application of this client has no memsession.asgi.SessionMiddleware with scope_key={scope_key!r}: "
        f"add it, or give the client the application that has it"
    )


class SessionTransaction:
    """A visit without a request. Made by `session_transaction`; good for one block."""

    def __init__(self, client: Any, middleware: SessionMiddleware) -> None:
        self._client = client
        self._middleware = middleware
        self._response: Response
        self._thread: ThreadPoolExecutor
        self._runner: asyncio.Runner

    def __enter__(self) -> AsyncSession:
        """Load the session, on an event loop in a thread of its own: another one may be running here."""
        self._thread, self._runner = ThreadPoolExecutor(1), asyncio.Runner()
        try:
            return self._wait_for(self._begin())
        except BaseException:
            self._leave()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commit, unless the block failed."""
        try:
            if kind is None:
                self._wait_for(self._commit())
        finally:
            self._leave()

    async def __aenter__(self) -> AsyncSession:
        """Load the session."""
        return await self._begin()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commit, unless the block failed."""
        if kind is None:
            await self._commit()

    async def _begin(self) -> AsyncSession:
        request = self._request()
        headers = [(b"host", request.host.encode())]
        if request.has_header("Cookie"):
            headers.append((b"cookie", (request.get_header("Cookie") or "").encode("latin-1")))
        # As for a WebSocket: these take no turns.
        scope = {"type": "websocket", "scheme": "wss" if request.type == "https" else "ws", "headers": headers}
        self._response = self._middleware.enter(scope, _send_nowhere)
        await self._response.open()
        session = self._response.visit.session
        assert isinstance(session, AsyncSession)  # noqa: S101 - for the type checker
        return session

    async def _commit(self) -> None:
        await self._response.commit()
        head: dict[str, Any] = {}
        self._response.add_headers(head)
        for name, value in head.get("headers", ()):
            if name == b"set-cookie":
                self._take(value.decode("latin-1"))

    def _request(self) -> Request:
        """What the client would send to its `base_url`, with its cookies."""
        request = Request(str(self._client.base_url))  # noqa: S310 - it goes nowhere
        self._client.cookies.jar.add_cookie_header(request)
        return request

    def _take(self, set_cookie: str) -> None:
        """Let the client's cookie jar obey a Set-Cookie header, as if it came from `base_url`."""
        answer = Message()
        answer["Set-Cookie"] = set_cookie
        self._client.cookies.jar.extract_cookies(SimpleNamespace(info=lambda: answer), self._request())
        pair = set_cookie.partition(";")[0]
        if not pair.endswith("=") and pair not in (self._request().get_header("Cookie") or ""):
            raise ConfigurationError(
                f"the client would not send the cookie {set_cookie.partition('=')[0]} to its "
                f"base_url={str(self._client.base_url)!r}: a Secure cookie needs https, one with a domain or path "
                f"needs these in it"
            )

    def _wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        return self._thread.submit(self._runner.run, work).result()

    def _leave(self) -> None:
        self._wait_for(self._middleware.aclose())
        self._thread.submit(self._runner.close).result()
        self._thread.shutdown()


async def _send_nowhere(message: Any) -> None:
    """Nobody listens."""
