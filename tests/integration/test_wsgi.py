"""The WSGI middleware as a server meets it: when the head leaves, what is handed on, what is closed."""

import io
import time
import wsgiref.util
from datetime import timedelta
from wsgiref.validate import validator

import pytest

from memsession import ConfigurationError, Cookie, Exclusive, Pool, PoolUnavailable
from memsession.wsgi import SESSION, SessionMiddleware, session_of
from tests.web import SECRET
from tests.wsgi import environ_of, serve, wsgi_request

JSON = [("Content-Type", "text/plain")]
COOKIE = "__Host-session="


def middleware(app, **options):
    return SessionMiddleware(app, SECRET, **{"pool": Pool("memory://?nodes=2"), "debug": True, **options})


def cookie_of(answer):
    """What a browser would send back."""
    return answer.header("set-cookie")[0].partition(";")[0]


def seen(server, answer):
    """What the next request would find, if the application shows it at /."""
    call = wsgi_request(server, "/show", cookie=cookie_of(answer))
    return call.body


def showing(app):
    """An application that shows its session at /show and is `app` elsewhere."""

    def shown(environ, start_response):
        if environ["PATH_INFO"] != "/show":
            return app(environ, start_response)
        start_response("200 OK", JSON)
        return [repr(dict(environ[SESSION])).encode()]

    return middleware(shown)


def test_a_generator_may_change_the_session_until_it_yields():
    """`start_response` was called long before; the cookie goes with the first piece."""

    def app(environ, start_response):
        start_response("200 OK", JSON)
        environ[SESSION]["a"] = 1
        yield b"one"
        yield b"two"

    server = showing(app)
    answer = wsgi_request(server, "/")

    assert (answer.status, answer.body, answer.error) == (200, b"onetwo", None)
    assert seen(server, answer) == b"{'a': 1}"


def test_a_generator_that_yields_nothing_has_a_head_too():
    """It leaves when the body ends."""

    def app(environ, start_response):
        start_response("204 No Content", [])
        environ[SESSION]["a"] = 1
        yield from ()

    server = showing(app)
    answer = wsgi_request(server, "/")

    assert (answer.status, answer.body) == (204, b"")
    assert seen(server, answer) == b"{'a': 1}"


def test_what_is_written_is_a_body():
    """The first `write()` lets the head leave; a change after it is late."""

    def app(environ, start_response):
        write = start_response("200 OK", JSON)
        environ[SESSION]["a"] = 1
        write(b"one")
        if environ["PATH_INFO"] == "/late":
            environ[SESSION]["b"] = 2
        write(b"two")
        return [b"three"]

    server = showing(app)
    answer = wsgi_request(server, "/")
    assert (answer.status, answer.body, answer.error) == (200, b"onetwothree", None)
    assert seen(server, answer) == b"{'a': 1}"

    late = wsgi_request(server, "/late")
    assert isinstance(late.error, RuntimeError)
    assert late.header("set-cookie") != []


class Body:
    """An iterable that notes what is done to it."""

    def __init__(self, *pieces, fails=None):
        self.pieces = iter(pieces)
        self.fails = fails
        self.asked = self.closed = 0

    def __iter__(self):
        return self

    def __next__(self):
        self.asked += 1
        for piece in self.pieces:
            return piece
        if self.fails is not None:
            raise self.fails
        raise StopIteration

    def close(self):
        self.closed += 1


def test_bodies_are_asked_for_one_piece_at_a_time_and_closed():
    """Nothing is read ahead; a server that stops in the middle closes."""
    body = Body(b"one", b"two", b"three")

    def app(environ, start_response):
        start_response("200 OK", JSON)
        return body

    heads = []
    response = middleware(app)(environ_of("/"), lambda status, headers: heads.append(status))
    assert (body.asked, heads) == (0, [])
    assert next(iter(response)) == b"one"
    assert (body.asked, heads) == (1, ["200 OK"])
    response.close()
    assert (body.asked, body.closed) == (1, 1)


def test_a_late_change_in_close_is_noticed():
    """The application is over only when its body is closed."""

    class Changing(Body):
        def close(self):
            self.session["late"] = True

    def app(environ, start_response):
        start_response("200 OK", JSON)
        environ[SESSION]["a"] = 1
        body = Changing(b"one")
        body.session = environ[SESSION]
        return body

    assert "the changes are lost" in str(wsgi_request(middleware(app), "/").error)


def test_complete_bodies_are_handed_on_as_they_are():
    """So the server knows their length, and may send a file by itself."""
    bodies = [[b"list"], (b"tu", b"ple"), wsgiref.util.FileWrapper(io.BytesIO(b"file"))]

    def app(environ, start_response):
        environ[SESSION]["a"] = 1
        start_response("200 OK", JSON)
        return body

    for body in bodies:
        heads = []
        environ = environ_of("/") | {"wsgi.file_wrapper": wsgiref.util.FileWrapper}
        assert middleware(app)(environ, lambda status, headers, heads=heads: heads.append(headers)) is body
        assert [name for name, _ in heads[0]] == ["Content-Type", "Vary", "Set-Cookie", "Cache-Control"]


def test_an_error_page_takes_the_place_of_the_head():
    """`exc_info` says that something was not handled: what it changed is not saved."""

    def app(environ, start_response):
        environ[SESSION]["a"] = 1
        start_response("200 OK", JSON)
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            import sys

            start_response("500 Oops", JSON, sys.exc_info())
        return [b"oops"]

    answer = wsgi_request(middleware(app), "/")

    assert (answer.status, answer.body, answer.error) == (500, b"oops", None)
    assert answer.header("set-cookie") == []


def test_an_error_page_after_the_head_is_the_servers_to_refuse():
    """It raises what the application gave it."""

    def app(environ, start_response):
        import sys

        start_response("200 OK", JSON)
        yield b"one"
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            start_response("500 Oops", JSON, sys.exc_info())

    answer = wsgi_request(middleware(app), "/")

    assert (answer.status, answer.body) == (200, b"one")
    assert isinstance(answer.error, ZeroDivisionError)


def test_an_error_page_before_the_first_bytes_keeps_the_cookie():
    """An empty piece gave the head to the server, which has not sent it yet; the session is stored under that ID."""

    def app(environ, start_response):
        import sys

        environ[SESSION]["a"] = 1
        start_response("200 OK", JSON)
        yield b""
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            start_response("500 Oops", JSON, sys.exc_info())
        yield b"oops"

    server = showing(app)
    answer = wsgi_request(server, "/")

    assert (answer.status, answer.body) == (500, b"oops")
    assert seen(server, answer) == b"{'a': 1}"


def test_start_response_twice_is_an_error():
    """Without `exc_info`, as PEP 3333 demands."""

    def app(environ, start_response):
        start_response("200 OK", JSON)
        start_response("200 OK", JSON)
        return [b"two heads"]

    assert isinstance(serve(middleware(app), environ_of("/")).error, AssertionError)


@pytest.mark.parametrize("body", [[b"x"], Body(b"x")], ids=["list", "iterator"])
def test_a_body_without_a_head_is_an_error(body):
    """Nothing is stored for it."""
    answer = serve(middleware(lambda environ, start_response: body), environ_of("/"))

    assert isinstance(answer.error, AssertionError)


@pytest.mark.parametrize("kind", ["list", "iterator", "write", "file"])
def test_a_commit_that_fails_is_a_503_instead(kind):
    """Nothing of the response is seen, no cookie; the body is closed."""
    body = Body(b"secret")

    def app(environ, start_response):
        write = start_response("200 OK", [("Content-Type", "text/html"), ("Set-Cookie", "other=1")])
        environ[SESSION]["a"] = 1
        if kind == "write":
            write(b"secret")
            write(b"more")
        if kind == "file":
            return wsgiref.util.FileWrapper(body)
        return [b"secret"] if kind == "list" else body

    body.read = lambda size: next(body, b"")
    server = middleware(app)
    for node in server._sessions.client.nodes.values():
        node.stop()
    answer = wsgi_request(server, "/")

    assert (answer.status, answer.error) == (503, None)
    assert answer.body == b"The session store is unavailable. Please try again in a moment.\n"
    assert answer.header("set-cookie") == []
    assert body.closed == (kind != "list")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("how", ["yield", "write"])
def test_a_save_that_fails_is_a_503_while_no_head_has_left(how, when):
    """Afterwards it is the application's error, like any other."""

    def run(environ, say):
        environ[SESSION]["stored"] = when == "after"
        if when == "after":
            say(b"one")
        for node in server._sessions.client.nodes.values():
            node.stop()
        environ[SESSION]["a"] = 1
        session_of(environ).save()

    def pushing(environ, start_response):
        run(environ, start_response("200 OK", JSON))
        return []

    def yielding(environ, start_response):
        start_response("200 OK", JSON)
        environ[SESSION]["stored"] = when == "after"
        if when == "after":
            yield b"one"
        run(environ, lambda data: None)
        yield b"never"

    server = middleware(pushing if how == "write" else yielding)
    answer = wsgi_request(server, "/")

    if when == "before":
        assert (answer.status, answer.error) == (503, None)
        assert answer.body.startswith(b"The session store is unavailable.")
    else:
        assert (answer.status, answer.body) == (200, b"one")
        assert isinstance(answer.error, PoolUnavailable)


@pytest.mark.parametrize("where", ["call", "first", "later"])
def test_errors_of_the_application_pass_through(where):
    """Nothing is saved by an unhandled error before the head; the body is closed."""
    body = Body(*([b"one"] if where == "later" else []), fails=ZeroDivisionError())

    def app(environ, start_response):
        environ[SESSION]["a"] = 1
        start_response("200 OK", JSON)
        if where == "call":
            raise ZeroDivisionError
        return body

    server = middleware(app)
    answer = wsgi_request(server, "/")

    assert isinstance(answer.error, ZeroDivisionError)
    assert bool(server._sessions.client.commands) == (where == "later")
    assert body.closed == (where != "call")


def test_a_request_of_an_exclusive_session_waits_for_its_turn():
    """The lock is given back at the end of the request, whatever its end; who waits in vain gets a 503."""
    inner = []

    def app(environ, start_response):
        if environ["PATH_INFO"] == "/nested":
            inner.append(wsgi_request(server, "/", cookie=environ["HTTP_COOKIE"]))
        if environ["PATH_INFO"] == "/boom":
            raise ZeroDivisionError
        environ[SESSION]["n"] = environ[SESSION].get("n", 0) + 1
        start_response("200 OK", JSON)
        return Body(b"%d" % environ[SESSION]["n"])

    server = middleware(app, exclusive=Exclusive(wait=timedelta(milliseconds=30)))
    cookie = cookie_of(wsgi_request(server, "/"))

    assert wsgi_request(server, "/nested", cookie=cookie).body == b"2"
    assert [answer.status for answer in inner] == [503]
    assert isinstance(wsgi_request(server, "/boom", cookie=cookie).error, ZeroDivisionError)
    assert wsgi_request(server, "/", cookie=cookie).body == b"3"


def test_who_streams_keeps_nobody_waiting():
    """The lock is given back when the head leaves."""

    def app(environ, start_response):
        start_response("200 OK", JSON)
        environ[SESSION]["n"] = environ[SESSION].get("n", 0) + 1
        yield b"%d" % environ[SESSION]["n"]
        yield b"."

    server = middleware(app, exclusive=Exclusive(wait=timedelta()))
    cookie = cookie_of(wsgi_request(server, "/"))
    streaming = server(environ_of("/", cookie=cookie), lambda status, headers: None)
    assert next(iter(streaming)) == b"2"

    assert wsgi_request(server, "/", cookie=cookie).body == b"3."
    streaming.close()


def test_the_path_of_an_exclusive_route_is_the_whole_one():
    """With what the application is mounted on, in UTF-8."""
    locked = []

    def app(environ, start_response):
        locked.append(session_of(environ)._ledger.store._visit.owner is not None)
        environ[SESSION]["a"] = 1
        start_response("200 OK", JSON)
        return [b""]

    server = middleware(app, exclusive=Exclusive(paths=["/shop/käse"]))
    cookie = cookie_of(wsgi_request(server, "/"))
    for script, path in (("/shop", "/käse/1"), ("", "/käse/1"), ("/shop", "/brot")):
        environ = environ_of(path.encode().decode("latin-1"), cookie=cookie) | {"SCRIPT_NAME": script}
        serve(validator(server), environ)

    assert locked == [False, True, False, False]


def test_the_first_session_is_stamped_by_the_pools_clock(memcached, monkeypatch):
    """A web server whose own clock is an hour ahead asks the nodes for theirs before it stores anything."""

    def app(environ, start_response):
        environ[SESSION].update(a=1)
        session_of(environ).save()
        start_response("200 OK", JSON)
        return [str(session_of(environ).created_at.timestamp()).encode()]

    wall = time.time
    monkeypatch.setattr(time, "time", lambda: wall() + 3600)
    server = middleware(app, pool=f"{memcached().address},{memcached().address}")
    monkeypatch.undo()
    created = float(wsgi_request(server, "/").body)
    server._sessions.client.close()

    assert abs(created - time.time()) < 600


def test_at_a_path_without_a_session():
    """The application is called as if there were no middleware."""
    server = middleware(lambda environ, start_response: [b"", session_of(environ)], skip=["/static"])

    assert isinstance(serve(server, environ_of("/static/logo")).error, ConfigurationError)


def test_without_the_middleware_there_is_no_session():
    """The error names the cure."""
    with pytest.raises(ConfigurationError, match=r"memsession\.wsgi\.SessionMiddleware is not installed"):
        session_of({})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"secret_key": "short"}, "secret_key"),
        ({"secret_key": SECRET, "coockie": None}, "did you mean cookie"),
        ({"secret_key": SECRET, "on_outage": "panic"}, "on_outage='panic'"),
    ],
)
def test_bad_settings_stop_the_start(options, message):
    """Before any request."""
    with pytest.raises(ConfigurationError, match=message):
        SessionMiddleware(lambda environ, start_response: [], **{"pool": "memory://", **options})


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("streams", [True, False])
def test_a_refused_head_has_no_body(method, streams):
    """Some servers would send it, and the connection's next response would begin with it."""

    def app(environ, start_response):
        environ[SESSION]["a"] = 1
        start_response("200 OK", JSON)
        return iter([b"one", b"two"]) if streams else [b"one"]

    server = middleware(app)
    for node in server._sessions.client.nodes.values():
        node.stop()
    answer = wsgi_request(server, "/", method=method)

    assert (answer.status, answer.error) == (503, None)
    assert (answer.body == b"") is (method == "HEAD")


class TestNested:
    """A mounted application with a middleware of its own."""

    @staticmethod
    def around(inner, **options):
        def outer(environ, start_response):
            environ[SESSION].increment("outer")
            return inner(environ, start_response)

        return middleware(outer, **options)

    @staticmethod
    def within(**options):
        def app(environ, start_response):
            environ[SESSION].increment("inner")
            start_response("200 OK", JSON)
            return [repr(dict(environ[SESSION])).encode()]

        return middleware(app, **options)

    def test_with_the_same_settings_they_share_one_session(self):
        """And one cookie; in exclusive mode the inner one does not wait for the outer one."""
        turns = Exclusive(wait=timedelta())
        server = self.around(self.within(exclusive=turns), exclusive=turns)
        first = wsgi_request(server, "/")
        second = wsgi_request(server, "/", cookie=cookie_of(first))

        assert len(first.header("set-cookie")) == 1
        assert second.body == b"{'outer': 2, 'inner': 2}"

    def test_with_other_settings_it_is_an_error(self):
        """The same cookie cannot be of two kinds."""
        server = self.around(self.within(cookie=Cookie(same_site="strict")))

        assert isinstance(wsgi_request(server, "/").error, ConfigurationError)

    def test_with_another_cookie_each_has_its_own(self):
        """Neither knows of the other's."""
        server = self.around(self.within(cookie=Cookie(name="admin")))

        assert len(wsgi_request(server, "/").header("set-cookie")) == 2
