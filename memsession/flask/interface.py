"""The session interface of Flask: opens a session when a request begins, saves it before the head leaves.

Hooks complete it: one before the first function of the application answers 503 when the session could not be loaded;
an error handler does so when `save()` or `modify()` raised; one notes unhandled errors, after which nothing is saved
(also when a handler makes a page of them); and one ends requests which never came to a response.
"""

import threading
from collections.abc import Sequence
from typing import Any, Final, Unpack, cast

import flask
from flask.globals import request_ctx
from flask.sessions import NullSession, SessionInterface, SessionMixin

from memsession.calls import UNAVAILABLE, Call, Sessions
from memsession.errors import ConfigurationError, PoolUnavailable
from memsession.flask.config import seen, settings_of
from memsession.flask.session import FlaskSession, KeylessSession, SkippedSession
from memsession.lifecycle import Options, settings
from memsession.lifecycle.headers import UNAVAILABLE_BODY, UNAVAILABLE_HEADERS
from memsession.pool import Pool

_NAME: Final = "memsession"
"""Where our things are: among an application's extensions, and at each request."""


class MemSession(SessionInterface):
    """Keeps the sessions of Flask applications on several memcached nodes.

    `secret_key` (or a list of them: the first signs, all verify), `cookie` and `lifetime` take the place of Flask's
    configuration. Without them `SECRET_KEY`, `SECRET_KEY_FALLBACKS` and `SESSION_COOKIE_*` count;
    `SESSION_COOKIE_SECURE=False`, Flask's default, means "auto": Secure on https. `PERMANENT_SESSION_LIFETIME`,
    unless it is Flask's default of 31 days, is the idle limit of all sessions. `session.permanent = True` keeps the
    cookie when the browser is closed; `SESSION_REFRESH_EACH_REQUEST` is not needed, for the time of last use is kept
    on the server. `options`: see `memsession.lifecycle.Options`; `debug` is the application's unless it is set.

    Raises:
        ConfigurationError: a setting is missing, out of range, or contradicts another one; when the application has
            no secret key yet, its first request does.
    """

    def __init__(
        self,
        app: flask.Flask | None = None,
        secret_key: str | bytes | Sequence[str | bytes] | None = None,
        **options: Unpack[Options],
    ) -> None:
        self._secret_key = secret_key
        self._options = options
        settings("", options)  # complains of the options, not of the key
        if app is not None:
            self.init_app(app)

    def init_app(self, app: flask.Flask) -> None:
        """Serve this application; several may be served by one object, each with connections of its own."""
        before = app.before_request_funcs.setdefault(None, [])
        if _refuse not in before:
            before.insert(0, _refuse)
            app.teardown_request_funcs.setdefault(None, []).append(_end)
            flask.got_request_exception.connect(_fail, app)
            for kind in UNAVAILABLE:
                app.error_handler_spec[None][None].setdefault(kind, _answer_unavailable)
        app.session_interface = self
        app.extensions[_NAME] = _Installed(self)
        self._sessions(app)

    def open_session(self, app: flask.Flask, request: flask.Request) -> FlaskSession | None:
        """Load the session of a request. None where there is none; what is shown then says why.

        Raises:
            PoolUnavailable: the test client's `session_transaction` asked for it; a request is answered 503.
        """
        call: Call | None = vars(request).get(_NAME)
        if call is not None:
            # Flask opened it when it pushed the request's context, and a test asks for it again.
            call.raises = True
            if call.refused:
                raise PoolUnavailable("no memcached node of this session answered: are they running?")
            return cast("FlaskSession", call.session)
        sessions = self._sessions(app)
        if sessions is None or sessions.skips(request.environ):
            return None
        if sessions.mark in request.environ:
            raise ConfigurationError(
                "this Flask application stands inside memsession.wsgi.SessionMiddleware with the same cookie name: "
                "take one of the two away, or give one another Cookie(name=...)"
            )
        debug = self._options.get("debug")
        call = Call(sessions, request.environ, debug=app.debug if debug is None else debug)
        vars(request)[_NAME] = call
        call.context = id(request_ctx._get_current_object())  # type: ignore[attr-defined]
        try:
            call.open()
        except UNAVAILABLE:
            call.refuse()
        return cast("FlaskSession", call.session)

    def make_null_session(self, app: flask.Flask) -> NullSession:
        """An empty session that cannot be written to: without any secret key, or at a path that is skipped."""
        return KeylessSession() if self._sessions(app) is None else SkippedSession()

    def save_session(self, app: flask.Flask, session: SessionMixin, response: flask.Response) -> None:  # noqa: ARG002
        """Commit, and add what has to go with the response; it becomes a 503 if nobody acknowledged."""
        call = session._ledger.store if isinstance(session, FlaskSession) else None
        if not isinstance(call, Call):
            return
        try:
            call.commit(response.status_code)
        except UNAVAILABLE:
            if call.raises:
                raise
            call.refuse()
            _become_unavailable(response)
        for name, value in call.answer(response.headers):
            if name == "Vary":
                response.vary.add(value)
            else:
                response.headers.add(name, value)
        response.call_on_close(call.end)

    def reload(self, app: flask.Flask, pool: Pool | str) -> Pool:
        """Use another pool for this application from now on; see `memsession.asgi.SessionMiddleware.reload`.

        Raises:
            ConfigurationError: the two pools cannot follow each other; nothing has changed.
        """
        sessions = self._sessions(app)
        if sessions is None:
            raise ConfigurationError(
                "reload(): the application has no secret key yet, so no pool is in use; set SECRET_KEY"
            )
        return sessions.reload(pool)

    def _sessions(self, app: flask.Flask) -> Sessions | None:
        """What the application's requests share; made anew when the configuration has changed since."""
        installed = app.extensions.get(_NAME)
        if not isinstance(installed, _Installed) or installed.by is not self:
            self.init_app(app)
            installed = app.extensions[_NAME]
        now = seen(app.config)
        if now != installed.seen:
            with installed.lock:
                given = settings_of(app, self, self._secret_key, self._options)
                if given is None:
                    return None
                if installed.sessions is None:
                    installed.sessions = Sessions(given, FlaskSession)
                else:
                    installed.sessions.adopt(given)
                installed.seen = now
        sessions: Sessions | None = installed.sessions
        return sessions


class _Installed:
    """What one application has: its sessions, and the configuration they were made by."""

    def __init__(self, by: MemSession) -> None:
        self.by = by
        self.sessions: Sessions | None = None
        self.seen: tuple[object, ...] = ()
        self.lock = threading.Lock()


def _call() -> Call | None:
    call: Call | None = vars(flask.request).get(_NAME)
    return call


def _refuse() -> flask.Response | None:
    call = _call()
    return _answer_unavailable() if call is not None and call.refused else None


def _answer_unavailable(_error: Exception | None = None) -> flask.Response:
    """`save()` or `modify()` failed and nobody minded: as when the commit fails, nothing more is saved."""
    if (call := _call()) is not None:
        call.refuse()
    response = flask.current_app.response_class()
    _become_unavailable(response)
    return response


def _fail(_app: flask.Flask, **_: Any) -> None:
    if (call := _call()) is not None:
        call.failed = True


def _end(_error: BaseException | None) -> None:
    call = _call()
    # A copy of the context (copy_current_request_context) ends before the request does.
    if call is None or call.context != id(request_ctx._get_current_object()):  # type: ignore[attr-defined]
        return
    if call.failed or not call.answered:
        call.end()


def _become_unavailable(response: flask.Response) -> None:
    """The response was to leave, and the session could not be saved: nothing of it may be seen."""
    close = getattr(response.response, "close", None)
    if close is not None:
        close()
    response.direct_passthrough = False
    response.status_code = 503
    response.headers.clear()
    for name, value in UNAVAILABLE_HEADERS:
        response.headers.add(name.decode().title(), value.decode())
    response.set_data(UNAVAILABLE_BODY)
