"""The middleware: a session for each HTTP request and each WebSocket, loaded before the application is called."""

import asyncio
from collections.abc import Sequence
from typing import Any, NoReturn, Unpack

from memsession.aio import AsyncClient
from memsession.asgi.drop_in import AsgiOptions, plain_secret, translated
from memsession.asgi.protocol import App, Message, Receive, Scope, Send
from memsession.asgi.response import UNAVAILABLE, Response
from memsession.asgi.websocket import Socket, is_farewell
from memsession.errors import ConfigurationError
from memsession.lifecycle import settings
from memsession.memory import MemoryClient
from memsession.pool import Pool
from memsession.secret import secret_keys
from memsession.service import Service
from memsession.session import AsyncSession

_FORGOTTEN = (
    "the session was changed after the response had begun, and the change is lost: call `await session.save()` after "
    "it, or make it before the response's first byte (SessionMiddleware(debug=False) only logs this)"
)


class SessionMiddleware:
    """Gives every request `request.session` (`scope["session"]`), kept on several memcached nodes.

    `secret_key`: at least 32 random bytes, the same on every web server, or a list of keys: the first signs, all
    verify (docs/security.md tells how to change it without logging anybody out). `options`: see `AsgiOptions`, and
    `memsession.lifecycle.Options` for those that every adapter has. It takes the place of Starlette's own.

    It saves with every response that passes through it, and nothing when an exception does. Wrapped around a whole
    Starlette application instead of added to it, it also sees Starlette's own page for an unhandled exception: that
    is a response, and saves unless `on_server_error="discard"`.

    Raises:
        ConfigurationError: a setting is missing, out of range, or contradicts another one. Starlette makes its
            middleware only when the server has begun to talk to it; then the server is told that the start failed.
    """

    def __init__(
        self, app: App, secret_key: str | bytes | Sequence[str | bytes], **options: Unpack[AsgiOptions]
    ) -> None:
        self._refusal: ConfigurationError | None = None
        try:
            self._set_up(app, secret_key, options)
        except ConfigurationError as error:
            if not _is_served():
                raise
            self._refusal = error

    def _set_up(self, app: App, secret_key: str | bytes | Sequence[str | bytes], options: AsgiOptions) -> None:
        rest, self.scope_key = translated(options)
        given = settings(plain_secret(secret_key), rest)
        self._service: Service[AsyncClient | MemoryClient] = Service(
            given, direct=AsyncClient, in_process=MemoryClient
        )
        self.app = app
        self.cookie = given.cookie
        self._debug = given.debug
        self._alike = (given.cookie, tuple(secret_keys(given.secret_key)), self._service.node_names)
        self._mark = f"memsession.{given.cookie.name}"
        self._check_neighbours()
        self._client, self._caretaker = self._service.client, self._service.caretaker
        self._lifecycle = self._service.lifecycle(given, AsyncSession)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection; anything but HTTP and WebSocket passes through."""
        kind = scope["type"]
        if self._refusal is not None:
            await _refuse(self._refusal, scope, receive, send)
        elif kind == "lifespan":
            await self._live(scope, receive, send)
        elif kind not in ("http", "websocket") or self._lifecycle.skips(scope["path"]) or self._is_nested(scope):
            await self.app(scope, receive, send)
        elif kind == "http":
            await self._respond(scope, receive, send)
        else:
            await self._converse(scope, receive, send)

    def enter(self, scope: Scope, send: Send) -> Response:
        """Begin a visit, without I/O. Its session is there after `await response.open()`."""
        scope[self._mark] = self
        self._caretaker.start()
        cookies = [value for name, value in scope["headers"] if name == b"cookie"]
        visit = self._lifecycle.arrive(cookies, https=scope.get("scheme") in ("https", "wss"))
        kind = Response if scope["type"] == "http" else Socket
        return kind(self._client, self._lifecycle, visit, scope, self.scope_key, send)

    async def aclose(self) -> None:
        """Close the connections of the running event loop; they open again when they are needed."""
        await self._client.aclose()

    def reload(self, pool: Pool | str) -> Pool:
        """Use another pool from now on, without a restart; to be called in every process. Returns it as it is used.

        The pool in use becomes its `previous`, unless it has one: sessions are found and written in both, and moved
        behind the requests. `MoveDone` is told when all have moved. Other settings of a pool than nodes, weights,
        zones and copies stay as they were.

        Raises:
            ConfigurationError: the two pools cannot follow each other; nothing has changed.
        """
        self.check()
        return self._service.reload(pool)

    def check(self, pool: Pool | str | None = None) -> None:
        """Whether this middleware works, and would take this pool.

        Raises:
            ConfigurationError: it does not.
        """
        if self._refusal is not None:
            raise self._refusal
        if pool is not None:
            self._service.successor(pool)

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = self.enter(scope, send)
        visit = response.visit
        try:
            await response.open()
            scope[self.scope_key] = visit.session
            await self.app(scope, receive, response.send)
        except UNAVAILABLE:
            if visit.answered:
                response.forgot()
                raise
            await response.unavailable()
        except BaseException:
            response.forgot()
            raise
        else:
            if response.forgot() and self._is_debugging(scope):
                raise RuntimeError(_FORGOTTEN)
        finally:
            if visit.owner is not None:
                await response.give_back()

    async def _converse(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket = self.enter(scope, send)
        assert isinstance(socket, Socket)  # noqa: S101 - for the type checker
        try:
            await socket.open()
            scope[self.scope_key] = socket.visit.session
            await self.app(scope, receive, socket.send)
        except BaseException as error:
            if isinstance(error, UNAVAILABLE) and not socket.visit.answered:
                await socket.unavailable()
                return
            if is_farewell(error):
                await socket.finish()
            else:
                socket.forgot()
            raise
        await socket.finish()

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Meet the nodes before the first request; leave no connection open when the application has shut down.

        If they show that the pool is wrong, the server is told that the start failed, and the application meets the
        error where it said that it had started, so that it cleans up.
        """
        refused = False

        async def greet_and_close(message: Message) -> None:
            nonlocal refused
            if refused:
                return  # The server has been told already.
            if message["type"] == "lifespan.startup.complete":
                try:
                    await self._client.greet()
                except ConfigurationError as error:
                    refused = True
                    await self._client.aclose()
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    raise
                self._caretaker.start()
            elif message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
                await asyncio.to_thread(self._caretaker.stop)
                await self._client.aclose()
            await send(message)

        await self.app(scope, receive, greet_and_close)

    def _is_debugging(self, scope: Scope) -> bool:
        return bool(getattr(scope.get("app"), "debug", False)) if self._debug is None else self._debug

    def _is_nested(self, scope: Scope) -> bool:
        """Whether a middleware with the same settings gave a session already, outside of a mounted application."""
        outer = scope.get(self._mark)
        if outer is None or outer is self:
            return False
        if outer._alike != self._alike or outer.scope_key != self.scope_key:
            raise ConfigurationError(
                f"a mounted application and the one around it use the cookie name {self.cookie.name!r} in different "
                f"ways: give one of them another name, or both the same settings"
            )
        return True

    def _check_neighbours(self) -> None:
        """Several of them around one application need a cookie and a scope key each."""
        inner: Any = self.app
        while inner is not None:
            if isinstance(inner, SessionMiddleware):
                if inner.scope_key == self.scope_key:
                    raise ConfigurationError(
                        f"two SessionMiddlewares with scope_key={self.scope_key!r}: give one of them another"
                    )
                if inner.cookie.name == self.cookie.name:
                    raise ConfigurationError(
                        f"two SessionMiddlewares with the cookie name {self.cookie.name!r}: give one of them another"
                    )
            inner = getattr(inner, "app", None)


def _is_served() -> bool:
    """Whether a server is running already. It may take an error for "no lifespan events, please", and go on."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _refuse(error: ConfigurationError, scope: Scope, receive: Receive, send: Send) -> NoReturn:
    """No server comes up with a wrong setting."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.failed", "message": str(error)})
    raise error


def session_of(connection: Any, scope_key: str = "session") -> AsyncSession:
    """The typed session of a Starlette or FastAPI request or WebSocket (or of any object with a `scope`).

    `scope_key` as the middleware has it.

    Raises:
        ConfigurationError: the middleware is not there.
    """
    session = connection.scope.get(scope_key)
    if not isinstance(session, AsyncSession):
        raise ConfigurationError(
            f"memsession.asgi.SessionMiddleware is not installed for this request (add it"
            f"{'' if scope_key == 'session' else f', with scope_key={scope_key!r}'}), or skips its path"
        )
    session.mark_accessed()
    return session
