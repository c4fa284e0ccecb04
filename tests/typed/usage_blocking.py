"""What users of Flask and WSGI write, for type checkers, as tests/unit/test_public_types.py runs them. Never run."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, assert_type
from wsgiref.types import StartResponse, WSGIEnvironment

import flask

from memsession import Cookie, Pool, Session
from memsession.flask import FlaskSession, MemSession, session
from memsession.wsgi import SessionMiddleware, session_of

SECRET = "..."

app = flask.Flask(__name__)
MemSession(app, secret_key=SECRET, pool=Pool("10.0.0.94", "10.0.0.95"), cookie=Cookie(name="sid"))
MemSession(app, pool="memcached://a,b?copies=2", on_outage="empty")
MemSession(pool=Pool("memory://")).init_app(app)
MemSession(app, coockie=Cookie())  # type: ignore[call-arg]
MemSession(app, vary="never")  # type: ignore[arg-type]


@app.get("/")
def view() -> str:
    """Flask's own `session`, and the typed one, which is the same."""
    flask.session["a"] = 1
    flask.session.permanent = True
    assert_type(session, FlaskSession)
    assert_type(session.increment("n"), int)
    assert_type(session.id, str | None)
    assert_type(session.created_at, datetime | None)
    assert_type(session.modify("total", lambda total: total + 1, default=0), Any)
    assert_type(session.permanent, bool)
    assert_type(session.new, bool)
    session.save()
    session.regenerate()
    plain: Session = session
    session.rotate()  # type: ignore[attr-defined]
    return repr(plain)


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """A bare WSGI application."""
    own = session_of(environ)
    assert_type(own, Session)
    own.save()
    assert_type(own.modify("m", lambda m: m + 1, 0), Any)
    start_response("200 OK", [])
    return [b""]


wrapped = SessionMiddleware(application, secret_key=SECRET, pool="memory://", debug=True)
app.wsgi_app = SessionMiddleware(app.wsgi_app, SECRET)  # type: ignore[method-assign]
SessionMiddleware(application, SECRET, lifetme=1)  # type: ignore[call-arg]
SessionMiddleware(application)  # type: ignore[call-arg]
