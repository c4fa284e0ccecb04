"""Session middleware for ASGI applications: Starlette, FastAPI, and bare ASGI.

The door, and nothing more: it loads the session before the application is called and commits before the head of
the response leaves. Everything it knows about sessions is in `memsession.lifecycle`.
"""

from collections.abc import Awaitable, Callable, Collection, MutableMapping, Sequence
from typing import Any, Literal, TypeAlias, TypeVar

from memsession.aio import AsyncClient
from memsession.aio.turns import Turns
from memsession.cookies import Cookie
from memsession.errors import ConfigurationError, PoolUnavailable, UpdateUnconfirmed
from memsession.events import Observe, guarded, log
from memsession.lifecycle import ROTATE_ON, PlainHttp, Visit, add_headers, build, pool_of
from memsession.lifecycle.headers import UNAVAILABLE_BODY, UNAVAILABLE_HEADERS
from memsession.lifetime import Lifetime
from memsession.memory import MemoryClient
from memsession.plans import Plan
from memsession.pool import Pool
from memsession.session import AsyncSession

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
T = TypeVar("T")

_HEADS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})


class SessionMiddleware:
    """Gives every request `request.session` (`scope["session"]`), kept on several memcached nodes.

    `secret_key`: at least 32 random bytes, the same on every web server, or a list of keys: the first signs, all
    verify (docs/security.md tells how to change it without logging anybody out). `pool`: the memcached servers;
    without it sessions live in this process, for development. `rotate_on`: keys whose change renews the session's
    ID. `on_outage`: when none of a session's nodes answers, `"error"` answers 503, `"empty"` shows an empty session
    that is not saved; the cookie is kept either way. `vary`: send `Vary: Cookie` only with responses that depend on
    the session, or always. `observe` is called with every event (see `memsession.events`); by default they go to the
    logger "memsession".

    Raises:
        ConfigurationError: a setting is missing, out of range, or contradicts another one.
    """

    def __init__(
        self,
        app: App,
        *,
        secret_key: str | bytes | Sequence[str | bytes],
        pool: Pool | str | None = None,
        cookie: Cookie = Cookie(),  # noqa: B008 - frozen
        lifetime: Lifetime = Lifetime(),  # noqa: B008 - frozen
        rotate_on: Collection[str] = ROTATE_ON,
        on_outage: Literal["error", "empty"] = "error",
        vary: Literal["accessed", "always"] = "accessed",
        observe: Observe = log,
    ) -> None:
        if vary not in ("accessed", "always"):
            raise ConfigurationError(f"vary={vary!r}: use 'accessed' or 'always'")
        pool = pool_of(pool)
        self.app = app
        self._client = (MemoryClient if pool.in_process else AsyncClient)(pool, observe=guarded(observe))
        self._always_vary = vary == "always"
        self._lifecycle = build(
            secret_key=secret_key,
            pool=pool,
            cookie=cookie,
            lifetime=lifetime,
            rotate_on=rotate_on,
            on_outage=on_outage,
            observe=observe,
            senses=self._client,
            make_session=AsyncSession,
        )
        self._plain_http = PlainHttp(cookie)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection; anything but HTTP and WebSocket passes through."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        elif scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
        else:
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        cookies = [value for name, value in scope["headers"] if name == b"cookie"]
        visit = self._lifecycle.arrive(cookies, https=scope.get("scheme") in ("https", "wss"))
        response = _Response(self, visit, scope, send)
        try:
            if visit.ticket is not None:
                await response.run(self._lifecycle.load(visit))
            visit.ledger.store = response
            scope["session"] = visit.session
            await self.app(scope, receive, response.send)
        except (PoolUnavailable, UpdateUnconfirmed):
            if visit.answered:
                raise
            await response.unavailable()

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Meet the nodes before the first request; leave no connection open when the application has shut down."""

        async def greet_and_close(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                await self._client.greet()
            elif message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
                await self._client.aclose()
            await send(message)

        await self.app(scope, receive, greet_and_close)


class _Response:
    """One response on its way out: the commit goes before its head. Also performs `save` and `modify`."""

    __slots__ = ("_middleware", "_refused", "_scope", "_send", "_turns", "_visit")

    def __init__(self, middleware: SessionMiddleware, visit: Visit, scope: Scope, send: Send) -> None:
        self._middleware = middleware
        self._visit = visit
        self._scope = scope
        self._send = send
        self._turns = Turns()
        self._refused = False

    async def run(self, plan: Plan[T]) -> T:
        """Run a plan of the lifecycle within what is left of the request's time budget."""
        middleware = self._middleware
        return await middleware._client.run(plan, deadline=middleware._lifecycle.deadline(self._visit))

    async def save(self) -> None:
        """Commit now."""
        await self._turns.take(self.run, self._middleware._lifecycle.save(self._visit))

    async def modify(self, key: str, fn: Callable[[Any], Any], default: Any) -> Any:
        """Read, compute and write one key as one step."""
        return await self._turns.take(self.run, self._middleware._lifecycle.modify(self._visit, key, fn, default))

    async def send(self, message: Message) -> None:
        """Pass a message on. Before the head of the response, commit; if nobody acknowledged, answer 503."""
        if message["type"] in _HEADS and not self._visit.answered:
            try:
                await self._turns.take(self.run, self._middleware._lifecycle.commit(self._visit))
            except (PoolUnavailable, UpdateUnconfirmed):
                await self.unavailable()
                return
            self._visit.answered = True
            self._add_headers(message)
        if not self._refused:
            await self._send(message)

    async def unavailable(self) -> None:
        """Answer 503 instead of what the application meant to say; the visitor's cookie is kept."""
        self._visit.answered = self._refused = True
        if self._scope["type"] == "websocket":
            await self._send({"type": "websocket.close", "code": 1013, "reason": "session store unavailable"})
            return
        await self._send({"type": "http.response.start", "status": 503, "headers": list(UNAVAILABLE_HEADERS)})
        await self._send({"type": "http.response.body", "body": UNAVAILABLE_BODY})

    def _add_headers(self, message: Message) -> None:
        visit, middleware = self._visit, self._middleware
        cookie = middleware._lifecycle.set_cookie(visit)
        if cookie is None and not visit.ledger.accessed and not middleware._always_vary:
            return
        headers = list(message.get("headers", ()))
        add_headers(headers, cookie=cookie)
        message["headers"] = headers
        if cookie is not None and not visit.https:
            middleware._plain_http.sent(self._scope["headers"])


def session_of(connection: Any) -> AsyncSession:
    """The typed session of a Starlette or FastAPI request or WebSocket (or of any object with a `scope`)."""
    session = connection.scope.get("session")
    if not isinstance(session, AsyncSession):
        raise ConfigurationError("memsession.asgi.SessionMiddleware is not installed for this request: add it")
    session.mark_accessed()
    return session
