"""Session middleware for WSGI applications (PEP 3333).

The session is committed before the head leaves, and the head leaves with the first piece of the body: what a
generator changes before it yields for the first time is saved, also when it has called `start_response` long before.
Bodies that are complete (a list, the server's own file wrapper) are handed on as they are, all others are iterated
as the server asks for them. `memsession.calls` does the rest.
"""

from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Final, TypeAlias, Unpack
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from memsession.calls import UNAVAILABLE, Call, Sessions, Texts
from memsession.errors import ConfigurationError
from memsession.lifecycle import Options, settings
from memsession.lifecycle.headers import UNAVAILABLE_BODY, UNAVAILABLE_HEADERS
from memsession.pool import Pool
from memsession.secret import secret_keys
from memsession.session import Session

ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]

SESSION: Final = "memsession.session"
"""The session's key in the environment."""


class SessionMiddleware:
    """Gives every request `environ["memsession.session"]`, kept on several memcached nodes.

    `secret_key`: at least 32 random bytes, the same on every web server, or a list of keys: the first signs, all
    verify. `options`: see `memsession.lifecycle.Options`; `debug` is off unless it is set.

    A response is saved with whatever status, but for an error page that the application announces by `exc_info`:
    that one saves nothing, as an exception that reaches the server.

    Raises:
        ConfigurationError: a setting is missing, out of range, or contradicts another one.
    """

    def __init__(
        self, app: WSGIApplication, secret_key: str | bytes | Sequence[str | bytes], **options: Unpack[Options]
    ) -> None:
        given = settings(secret_key, options)
        self.app = app
        self._debug = bool(given.debug)
        self._sessions = Sessions(given, Session)
        self._cookie_name = given.cookie.name
        self._mark = self._sessions.mark
        self._alike = (given.cookie, tuple(secret_keys(given.secret_key)), self._sessions.node_names)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Handle one request."""
        if self._sessions.skips(environ) or self._is_nested(environ):
            return self.app(environ, start_response)
        environ[self._mark] = self
        call = Call(self._sessions, environ, debug=self._debug)
        response = _Response(call, start_response, environ.get("REQUEST_METHOD", ""))
        try:
            call.open()
            environ[SESSION] = call.session
            body = self.app(environ, response.start)
            if not _is_complete(body, environ):
                return _Body(response, body)
            return response.whole(body)
        except UNAVAILABLE:
            call.fail()
            call.end()
            if response.left:
                raise
            return response.refuse()
        except BaseException:
            call.fail()
            call.end()
            raise

    def reload(self, pool: Pool | str) -> Pool:
        """Use another pool from now on, without a restart; to be called in every process. Returns it as it is used.

        See `memsession.asgi.SessionMiddleware.reload`.

        Raises:
            ConfigurationError: the two pools cannot follow each other; nothing has changed.
        """
        return self._sessions.reload(pool)

    def _is_nested(self, environ: WSGIEnvironment) -> bool:
        """Whether a middleware with the same settings gave a session already, outside of a mounted application."""
        outer = environ.get(self._mark)
        if outer is None or outer is self:
            return False
        if outer._alike != self._alike:
            raise ConfigurationError(
                f"a mounted application and the one around it use the cookie name {self._cookie_name!r} in different "
                f"ways: give one of them another name, or both the same settings"
            )
        return True


class _Response:
    """A response on its way out. `left`: its head is with the server."""

    __slots__ = ("_added", "_head", "_is_head", "_start_response", "_write", "call", "left")

    def __init__(self, call: Call, start_response: StartResponse, method: str) -> None:
        self._is_head = method == "HEAD"
        self.call = call
        self.left = False
        self._start_response = start_response
        self._head: tuple[str, Texts] | None = None
        self._added: Texts = []

    def start(self, status: str, headers: Texts, exc_info: ExcInfo | None = None, /) -> Any:
        """`start_response`, as the application gets it: keep the head until the body begins."""
        if exc_info is not None:
            self.call.fail()
            if self.left:
                return self._start_response(status, [*headers, *self._added], exc_info)
        elif self._head is not None:
            raise AssertionError("start_response was called again without exc_info")
        self._head = (status, headers)
        return self.write

    def write(self, data: bytes) -> None:
        """The callable that `start_response` returned, for applications that push their body."""
        if not self.left:
            for piece in self.leave():
                self._write(piece)
        if not self.call.refused:
            self._write(data)

    def leave(self) -> list[bytes]:
        """Commit, and give the head to the server. Returns a body to be sent instead, if nobody acknowledged."""
        if self._head is None:
            raise AssertionError("the body began before start_response was called")
        status, headers = self._head
        try:
            self.call.commit(int(status[:3]))
        except UNAVAILABLE:
            return self.refuse()
        self._added = self.call.answer(headers)
        self.left = True
        self._write = self._start_response(status, [*headers, *self._added])
        return []

    def refuse(self) -> list[bytes]:
        """Answer 503 instead of what the application meant to say; the visitor's cookie is kept."""
        self.call.refuse()
        self.left = True
        headers = [(name.decode().title(), value.decode()) for name, value in UNAVAILABLE_HEADERS]
        self._write = self._start_response("503 Service Unavailable", headers)
        # A body after HEAD would be taken for the next response of the connection: some servers send it.
        return [] if self._is_head else [UNAVAILABLE_BODY]

    def whole(self, body: Iterable[bytes]) -> Iterable[bytes]:
        """A body that runs no code of the application any more."""
        instead: list[bytes] = []
        try:
            if not self.left:
                instead = self.leave()
            self.call.end()
        except BaseException:
            _close(body)
            raise
        if not self.call.refused:
            return body
        _close(body)
        return instead


class _Body:
    """A body that is made while it is sent: its first piece, or its end, lets the head leave."""

    __slots__ = ("_body", "_pieces", "_response")

    def __init__(self, response: _Response, body: Iterable[bytes]) -> None:
        self._response = response
        self._body = body
        self._pieces: Iterator[bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        response = self._response
        if response.call.refused:
            raise StopIteration
        over, piece = False, b""
        try:
            self._pieces = self._pieces or iter(self._body)
            piece = next(self._pieces)
        except StopIteration:
            over = True
        except BaseException as error:
            response.call.fail()
            if response.left or not isinstance(error, UNAVAILABLE):
                raise
            for instead in response.refuse():
                return instead
            raise StopIteration from None
        if not response.left:
            for instead in response.leave():
                return instead
        if over or response.call.refused:
            raise StopIteration
        return piece

    def close(self) -> None:
        """The server is done with the response; so is the application, then the session."""
        try:
            _close(self._body)
        finally:
            self._response.call.end()


def session_of(environ: WSGIEnvironment) -> Session:
    """The typed session of a request.

    Raises:
        ConfigurationError: the middleware is not installed for this request, or its path is one of `skip`.
    """
    session = environ.get(SESSION)
    if not isinstance(session, Session):
        raise ConfigurationError(
            "memsession.wsgi.SessionMiddleware is not installed for this request (add it), or skips its path"
        )
    session.mark_accessed()
    return session


def _is_complete(body: Iterable[bytes], environ: WSGIEnvironment) -> bool:
    if isinstance(body, list | tuple):
        return not hasattr(body, "close")
    wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(wrapper, type) and isinstance(body, wrapper)


def _close(body: Iterable[bytes]) -> None:
    close = getattr(body, "close", None)
    if close is not None:
        close()
