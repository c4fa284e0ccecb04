"""`flask.session` on memsession: what Flask's users and their tests do with it."""

import io
import logging
import threading
from datetime import timedelta

import flask
import pytest
from werkzeug.exceptions import HTTPException, InternalServerError

from memsession import ConfigurationError, Cookie, Exclusive, Lifetime, Pool, PoolUnavailable, UpdateUnconfirmed
from memsession.flask import FlaskSession, MemSession, session
from memsession.wsgi import SessionMiddleware
from tests.web import SECRET

SESSION_COOKIE = "session"


def application(init=True, **options):
    """A small shop; `init` False leaves the session to the test."""
    app = flask.Flask("shop")
    app.config["SECRET_KEY"] = SECRET

    @app.get("/count")
    def count():
        flask.session["n"] = flask.session.get("n", 0) + 1
        return str(flask.session["n"])

    @app.get("/show")
    def show():
        return flask.jsonify(dict(flask.session))

    @app.get("/untouched")
    def untouched():
        return "hello"

    if init:
        MemSession(app, pool=Pool("memory://?nodes=2"), **options)
    return app


@pytest.fixture
def app():
    return application()


@pytest.fixture
def client(app):
    return app.test_client()


def nodes(app):
    """The nodes in this process, by name."""
    return app.extensions["memsession"].sessions.client.nodes


def stop(app):
    for node in nodes(app).values():
        node.stop()


def test_the_articles_counter(client):
    """A visit counts by one; another browser has a count of its own."""
    assert [client.get("/count").text for _ in range(3)] == ["1", "2", "3"]
    assert client.application.test_client().get("/count").text == "1"


def test_a_test_presets_and_reads_a_session(client):
    """By the test client's own `session_transaction`."""
    with client.session_transaction() as preset:
        preset["n"] = 41
    assert client.get("/count").text == "42"
    with client.session_transaction() as found:
        assert found["n"] == 42
        assert not found.new
        found.clear()
    assert client.get("/show").json == {}


def test_a_test_is_told_when_nothing_can_be_stored(app, client):
    """There is no visitor to answer 503: it raises, at the end or, with a cookie, at the beginning."""
    stop(app)
    with pytest.raises(PoolUnavailable), client.session_transaction() as preset:
        preset["n"] = 1
    for node in nodes(app).values():
        node.restart()
    client.get("/count")
    stop(app)
    with pytest.raises(PoolUnavailable), client.session_transaction():
        pass


def test_a_test_looks_at_the_session_of_its_last_request(client):
    """While the client keeps the request's context."""
    with client:
        client.get("/count")
        assert flask.session["n"] == 1
        assert isinstance(flask.session._get_current_object(), FlaskSession)


def test_the_attributes_that_flasks_sessions_have(app, client):
    """`permanent`, `new`, `modified`, `accessed`, beside our own."""

    @app.get("/attributes")
    def attributes():
        before = (session.new, session.permanent, session.modified)
        session.permanent = True
        session["items"] = [1]
        session.save()
        unmodified = session.modified
        session["items"].append(2)
        after = (session.new, session.permanent, unmodified, session.modified, session.accessed)
        session.modified = True
        return flask.jsonify(before, after, session.increment("n"))

    response = client.get("/attributes")

    assert response.json == [[True, False, False], [False, True, False, True, True], 1]
    assert f"Max-Age={12 * 3600}" in response.headers["Set-Cookie"]
    assert client.get("/show").json == {"_permanent": True, "items": [1, 2], "n": 1}


def test_what_cannot_be_stored_counts_as_modified(app):
    """It is noticed at the latest when it is saved."""
    with app.test_request_context("/"):
        flask.session["bad"] = object()
        assert flask.session.modified


def test_use_cannot_be_denied(app):
    """`accessed = False` neither hides the session from caches nor loses a change."""
    with app.test_request_context("/"):
        current = flask.session._get_current_object()
        current["a"] = 1
        current.accessed = False
        assert current.accessed


def test_flash_messages(app, client):
    """Flask's own functions."""

    @app.get("/flash")
    def put():
        flask.flash("one")
        flask.flash("two", "warning")
        return ""

    @app.get("/flashed")
    def take():
        return flask.jsonify(flask.get_flashed_messages(with_categories=True))

    client.get("/flash")

    assert client.get("/flashed").json == [["message", "one"], ["warning", "two"]]
    assert client.get("/flashed").json == []


def test_after_request_functions_may_change_the_session(app, client):
    """They run before it is saved."""

    @app.after_request
    def late(response):
        flask.session["after"] = 1
        return response

    client.get("/untouched")

    assert client.get("/show").json == {"after": 1}


def test_a_change_when_the_response_is_closed_is_noticed(app, client):
    """It is lost, and an error under the application's own debug flag."""
    app.debug = True

    @app.get("/late")
    def late():
        current = flask.session._get_current_object()
        current["a"] = 1
        response = flask.Response("hello")
        response.call_on_close(lambda: current.update(a=2))
        return response

    with pytest.raises(RuntimeError, match="the changes are lost"):
        client.get("/late").close()
    assert client.get("/show").json == {"a": 1}
    app.debug = False
    client.get("/late").close()


def test_vary_is_one_header(app, client):
    """With what the application varies by."""

    @app.get("/language")
    def language():
        flask.session["n"] = 1
        response = flask.Response("")
        response.vary.update(["Accept-Language"])
        return response

    assert client.get("/language").headers.getlist("Vary") == ["Accept-Language, Cookie"]


@pytest.mark.parametrize("propagate", [True, False], ids=["raised", "answered"])
@pytest.mark.parametrize("where", ["view", "before", "after"])
def test_an_unhandled_error_saves_nothing(app, client, where, propagate):
    """Also when the application makes a page of it, which has the session to show."""
    app.config["PROPAGATE_EXCEPTIONS"] = propagate

    def fail(response=None):
        if flask.request.path == "/boom":
            flask.session["n"] = 99
            raise ZeroDivisionError

        return response

    @app.errorhandler(500)
    def page(error):
        flask.session["page"] = 1
        return f"sorry, {flask.session['n']}", 500

    if where == "view":
        app.add_url_rule("/boom", view_func=fail)
    else:
        getattr(app, f"{where}_request_funcs")[None] = [fail]
        app.add_url_rule("/boom", view_func=lambda: "")
    client.get("/count")
    if propagate:
        with pytest.raises(ZeroDivisionError):
            client.get("/boom")
    elif where != "after":
        assert client.get("/boom").text == "sorry, 99"
    else:
        client.get("/boom")

    assert client.get("/show").json == {"n": 1}


def test_an_error_that_is_handled_saves(app, client):
    """By `abort`, or by an error handler."""

    @app.errorhandler(KeyError)
    def missing(error):
        return "missing", 404

    @app.get("/missing")
    def view():
        flask.session["looked"] = 1
        raise KeyError

    assert client.get("/missing").status_code == 404
    assert client.get("/show").json == {"looked": 1}


def test_what_was_saved_before_an_error_is_found_again(app, client):
    """The session is stored, so the error page carries its cookie."""
    app.config["PROPAGATE_EXCEPTIONS"] = False

    @app.get("/save-and-fail")
    def view():
        flask.session["saved"] = 1
        session.save()
        flask.session["unsaved"] = 1
        raise ZeroDivisionError

    assert client.get("/save-and-fail").status_code == 500
    assert client.get("/show").json == {"saved": 1}


def test_an_outage_is_noticed_before_any_function_of_the_application():
    """Also when the view does not touch the session, and for functions that were there first."""
    ran = []
    app = application(init=False)
    app.before_request(lambda: ran.append(1))
    MemSession(app, pool="memory://")
    client = app.test_client()
    client.get("/count")
    ran.clear()
    stop(app)

    assert [client.get(path).status_code for path in ("/count", "/untouched", "/nowhere")] == [503] * 3
    assert ran == []
    assert app.test_client().get("/untouched").status_code == 200


def test_a_commit_that_fails_stops_a_stream(app, client):
    """The 503 takes its place; the generator is closed and never ran."""
    said = []

    class Pieces:
        def __iter__(self):
            said.append("begun")
            yield b"secret"

        def close(self):
            said.append("closed")

    @app.get("/stream")
    def stream():
        flask.session["a"] = 1
        return flask.Response(Pieces(), headers={"X-Secret": "1", "Set-Cookie": "other=1"})

    stop(app)
    response = client.get("/stream")

    assert response.status_code == 503
    assert response.data.startswith(b"The session store is unavailable.")
    assert "X-Secret" not in response.headers
    assert "Set-Cookie" not in response.headers
    assert said == ["closed"]


def test_an_application_may_answer_failed_saves_itself(app, client):
    """By its own error handler."""

    @app.get("/save")
    def save():
        flask.session["a"] = 1
        session.save()
        return "saved"

    @app.errorhandler(PoolUnavailable)
    def page(error):
        flask.session.clear()
        return "come back later", 502

    stop(app)

    assert client.get("/save").status_code == 502


def test_files_are_sent_by_the_server(app, client):
    """The session is saved, and the lock given back, though nothing closes such a response."""
    app = application(init=False)
    MemSession(app, pool="memory://", exclusive=Exclusive(wait=timedelta()))
    client = app.test_client()

    @app.get("/file")
    def file():
        flask.session["sent"] = flask.session.get("sent", 0) + 1
        return flask.send_file(io.BytesIO(b"content"), "text/plain")

    assert [client.get("/file").status_code for _ in range(3)] == [200] * 3
    assert client.get("/show").json == {"sent": 3}


def test_an_exclusive_session_is_free_after_each_request():
    """Also after a test's transaction, an error, and a request context that never came to a response."""
    app = application(exclusive=Exclusive(wait=timedelta()))
    app.add_url_rule("/boom", view_func=lambda: 1 / 0)
    client = app.test_client()
    client.get("/count").close()
    with client.session_transaction() as preset:
        preset["n"] = 5
    assert client.get("/count", buffered=True).text == "6"
    assert client.get("/boom", buffered=True).status_code == 500
    cookie = client.get_cookie(SESSION_COOKIE).value
    with app.test_request_context("/", headers={"Cookie": f"{SESSION_COOKIE}={cookie}"}):
        assert flask.session["n"] == 6
        assert client.get("/count").status_code == 503

    assert client.get("/count").text == "7"


COOKIE = "Path=/; HttpOnly; SameSite=Lax"


@pytest.mark.parametrize(
    ("config", "start", "attributes"),
    [
        ({}, "session=", COOKIE),
        ({"SESSION_COOKIE_NAME": "sid"}, "sid=", COOKIE),
        ({"SESSION_COOKIE_PATH": "/shop"}, "session=", "Path=/shop; HttpOnly; SameSite=Lax"),
        ({"APPLICATION_ROOT": "/shop"}, "session=", "Path=/shop; HttpOnly; SameSite=Lax"),
        (
            {"SESSION_COOKIE_DOMAIN": ".shop.example"},
            "session=",
            "Path=/; Domain=shop.example; HttpOnly; SameSite=Lax",
        ),
        ({"SESSION_COOKIE_SAMESITE": "Strict"}, "session=", "Path=/; HttpOnly; SameSite=Strict"),
        ({"SESSION_COOKIE_SECURE": True}, "__Host-session=", "Path=/; Secure; HttpOnly; SameSite=Lax"),
        (
            {"SESSION_COOKIE_SECURE": True, "SESSION_COOKIE_SAMESITE": "None", "SESSION_COOKIE_PARTITIONED": True},
            "__Host-session=",
            "Path=/; Secure; HttpOnly; SameSite=None; Partitioned",
        ),
    ],
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_flasks_cookie_settings_are_honoured(config, start, attributes, when):
    """Set before `init_app` or, as tests do, after it."""
    app = application(init=False)
    if when == "before":
        app.config |= config
    MemSession(pool="memory://").init_app(app)
    app.config |= config
    cookie = app.test_client().get("/count", base_url="http://localhost").headers["Set-Cookie"]

    assert cookie.startswith(start)
    assert cookie.endswith(attributes)


def test_arguments_win():
    """Over the whole of Flask's cookie and life-time settings, and over its secret."""
    app = application(init=False)
    app.config |= {"SECRET_KEY": "short", "SESSION_COOKIE_NAME": "flasks", "PERMANENT_SESSION_LIFETIME": 0}
    MemSession(app, SECRET, pool="memory://", cookie=Cookie(name="ours"), lifetime=Lifetime())

    assert app.test_client().get("/count").headers["Set-Cookie"].startswith("ours=")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"SECRET_KEY": "short"}, "secret_key has 5 bytes"),
        ({"SECRET_KEY_FALLBACKS": ["short"]}, "secret_key no. 2"),
        ({"SESSION_COOKIE_HTTPONLY": False}, "SESSION_COOKIE_HTTPONLY=False"),
        ({"SESSION_COOKIE_SAMESITE": "None"}, r"SESSION_COOKIE_\*.*same_site=\"none\".*secure=True"),
        ({"SESSION_COOKIE_SAMESITE": "lazy"}, r"SESSION_COOKIE_\*.*same_site='lazy'"),
        ({"SESSION_COOKIE_SAMESITE": 1}, r"SESSION_COOKIE_\*"),
        ({"SESSION_COOKIE_PARTITIONED": True}, r"SESSION_COOKIE_\*.*partitioned=True"),
        ({"SESSION_COOKIE_NAME": "a b"}, r"SESSION_COOKIE_\*.*name='a b'"),
        ({"SESSION_COOKIE_DOMAIN": "shop.example:80"}, r"SESSION_COOKIE_\*.*domain="),
        ({"SESSION_COOKIE_PATH": "shop"}, r"SESSION_COOKIE_\*.*path='shop'"),
        ({"PERMANENT_SESSION_LIFETIME": timedelta(days=60)}, "PERMANENT_SESSION_LIFETIME=60 days.*30 days or less"),
        ({"PERMANENT_SESSION_LIFETIME": 1}, "PERMANENT_SESSION_LIFETIME=0:00:01.*2 seconds or more"),
    ],
)
def test_bad_configuration_stops_the_start(config, message):
    """With the setting named."""
    app = application(init=False)
    app.config |= config

    with pytest.raises(ValueError, match=message):
        MemSession(app, pool="memory://")


def test_an_unknown_option_is_refused_before_there_is_an_application():
    """With a suggestion."""
    with pytest.raises(ValueError, match="did you mean pool"):
        MemSession(pol="memory://")


@pytest.mark.parametrize(
    ("given", "idle", "absolute"),
    [
        (timedelta(days=31), timedelta(minutes=30), timedelta(hours=12)),
        (timedelta(minutes=10), timedelta(minutes=10), timedelta(hours=12)),
        (3600, timedelta(hours=1), timedelta(hours=12)),
        (timedelta(days=14), timedelta(days=14), timedelta(days=14)),
    ],
)
def test_the_permanent_lifetime_is_the_idle_limit(given, idle, absolute):
    """Unless it is Flask's default."""
    app = application(init=False)
    app.config["PERMANENT_SESSION_LIFETIME"] = given
    MemSession(app, pool="memory://")
    lifetime = app.extensions["memsession"].sessions.lifecycle.world.lifetime

    assert (lifetime.idle, lifetime.absolute) == (idle, absolute)


def test_keys_are_changed_without_logging_anybody_out(app, client):
    """The old one becomes a fallback; when it is taken away, its cookies are refused."""
    client.get("/count")
    app.config |= {"SECRET_KEY": SECRET[::-1], "SECRET_KEY_FALLBACKS": [SECRET]}
    assert client.get("/count").text == "2"
    other = app.test_client()
    other.get("/count")
    app.config["SECRET_KEY_FALLBACKS"].clear()

    assert client.get("/count").text == "1"
    assert other.get("/count").text == "2"


def test_without_a_secret_flask_explains(caplog):
    """Reading shows an empty session, writing is an error; with a key, set later, it works."""
    app = application(init=False)
    app.config["SECRET_KEY"] = None
    with caplog.at_level(logging.WARNING):
        MemSession(app)
    app.testing = True
    client = app.test_client()

    assert client.get("/show").json == {}
    with pytest.raises(RuntimeError, match="no secret key was set"):
        client.get("/count")
    app.secret_key = SECRET
    assert client.get("/count").text == "1"
    assert client.get("/count").text == "2"


def test_at_a_path_without_a_session(caplog):
    """It is empty, and writing to it is an error that names the option."""
    app = application(skip=["/count", "/show"])
    app.testing = True
    client = app.test_client()

    assert client.get("/show").json == {}
    with pytest.raises(RuntimeError, match=r"no session at this path: it lies below one of MemSession\(skip="):
        client.get("/count")


def test_a_session_interface_is_enough():
    """Assigned as Flask's documentation has it; and one may serve several applications."""
    interface = MemSession(pool="memory://")
    for _ in range(2):
        app = application(init=False)
        app.session_interface = interface
        client = app.test_client()
        assert [client.get("/count").text for _ in range(2)] == ["1", "2"]
        stop(app)
        assert client.get("/untouched").status_code == 503


def test_sessions_of_null_are_not_ours(app):
    """Nothing is done to a session that somebody else opened."""
    response = flask.Response("")
    with app.test_request_context("/"):
        app.session_interface.save_session(app, flask.sessions.SecureCookieSession({"a": 1}), response)

    assert "Set-Cookie" not in response.headers


def test_streams_see_the_session(app, client):
    """With `stream_with_context`: reading is free, and changes are saved by `save()`."""

    @app.get("/stream")
    def stream():
        flask.session["a"] = 1

        @flask.stream_with_context
        def pieces():
            yield str(flask.session["a"])
            flask.session["a"] = 2
            session.save()
            yield str(flask.session["a"])

        return pieces()

    app.debug = True
    response = client.get("/stream", buffered=True)

    assert response.text == "12"
    assert client.get("/show").json == {"a": 2}


@pytest.mark.parametrize(
    ("how", "when", "kind"),
    [
        ("save", "at load", PoolUnavailable),
        ("save", "in the view", PoolUnavailable),
        ("modify", "at load", PoolUnavailable),
        ("modify", "in the view", UpdateUnconfirmed),
    ],
)
def test_a_failed_save_after_the_view_is_an_error_that_says_why(app, client, how, when, kind):
    """Functions of `after_request` run where Flask asks no handler for our errors: it answers 500."""
    raised = []

    @app.get("/leave")
    def leave():
        if when == "in the view":
            stop(app)
        return "hello"

    @app.after_request
    def late(response):
        if flask.request.path == "/leave":
            session["late"] = 1
            try:
                session.save() if how == "save" else session.modify("n", lambda n: n + 1, 0)
            except Exception as error:
                raised.append(type(error))
                raise
        return response

    app.config["PROPAGATE_EXCEPTIONS"] = False
    client.get("/count")
    if when == "at load":
        stop(app)
    response = client.get("/leave")

    assert response.status_code == 500
    assert set(raised) == {kind}
    assert "Set-Cookie" not in response.headers


@pytest.mark.parametrize("kind", [Exception, HTTPException, InternalServerError])
def test_error_handlers_of_the_application_are_asked_as_ever(app, client, kind):
    """Ours take the place of none."""

    @app.get("/boom")
    def boom():
        raise ZeroDivisionError

    app.register_error_handler(kind, lambda error: ("mine", 500))
    app.config["PROPAGATE_EXCEPTIONS"] = False

    assert client.get("/boom").text == "mine"


def test_a_copied_context_does_not_end_the_request():
    """`copy_current_request_context`, Flask's way to work in the background: the turn and the watch go on."""
    app = application(exclusive=Exclusive(wait=timedelta()))
    busy = []

    @app.get("/copy")
    def copy():
        @flask.copy_current_request_context
        def work():
            return flask.session["n"]

        worker = threading.Thread(target=work)
        worker.start()
        worker.join()
        other = app.test_client()
        other.set_cookie(SESSION_COOKIE, flask.request.cookies[SESSION_COOKIE])
        busy.append(other.get("/count").status_code)
        return "done"

    client = app.test_client()
    client.get("/count")
    response = client.get("/copy")

    assert (response.status_code, busy) == (200, [503])
    assert client.get("/count").text == "2"


def test_without_a_secret_key_our_methods_say_so():
    """Flask's own message for Flask's own ways, and as clear a one for ours."""
    app = application(init=False)
    app.config["SECRET_KEY"] = None
    MemSession(app, pool="memory://")
    with app.test_request_context():
        with pytest.raises(ConfigurationError, match="SECRET_KEY"):
            session.increment("n")
        with pytest.raises(RuntimeError, match="secret key"):
            session["n"] = 1


def test_at_a_skipped_path_our_methods_say_so():
    """There is no session there."""
    app = application(skip=["/static"])
    with app.test_request_context("/static/app.css"):
        with pytest.raises(ConfigurationError, match=r"MemSession\(skip="):
            session.csrf_token()
        assert dict(session) == {}


@pytest.mark.parametrize(("name", "status"), [("session", 500), ("outer", 200)])
def test_a_middleware_around_it_needs_a_cookie_of_its_own(app, name, status):
    """Two of one name would replace each other at each visit."""
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.wsgi_app = SessionMiddleware(app.wsgi_app, SECRET, pool="memory://", cookie=Cookie(name=name))

    assert app.test_client().get("/count").status_code == status
