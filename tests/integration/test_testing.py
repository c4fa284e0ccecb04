"""`session_transaction`: presetting and reading the session of a test client."""

import asyncio
import threading
import warnings

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware as CookieSessions
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from memsession.asgi import SessionMiddleware
from memsession.cookies import Cookie
from memsession.errors import ConfigurationError, PoolUnavailable, UnstorableValue
from memsession.exclusive import Exclusive
from memsession.fastapi import CurrentSession
from memsession.testing import session_transaction
from tests.rounds import until
from tests.web import SECRET, STORES, InProcess, Visitor, web_server

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that it prefers httpx's successor
    from starlette.testclient import TestClient


@pytest.fixture(params=STORES)
def store(request, memcached):
    return STORES[request.param](memcached)


async def show(request: Request) -> JSONResponse:
    return JSONResponse(dict(request.session))


async def count(request: Request) -> JSONResponse:
    return JSONResponse(request.session.increment("n"))


def app_of(store, **options) -> Starlette:
    routes = [Route("/", show), Route("/count", count)]
    layers = [
        Middleware(GZipMiddleware),
        Middleware(SessionMiddleware, secret_key=SECRET, pool=store.pool, **options),
        Middleware(GZipMiddleware),
    ]
    return Starlette(routes=routes, middleware=layers)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_presets_and_reads(store, scheme):
    """What the block leaves is what the next request finds, and the other way round, as often as one likes."""
    with TestClient(app_of(store), base_url=f"{scheme}://testserver") as client:
        with session_transaction(client) as session:
            assert session == {}
            session["user_id"] = 7
        assert client.get("/").json() == {"user_id": 7}
        assert list(client.cookies) == ["session" if scheme == "http" else "__Host-session"]
        assert [client.get("/count").json() for _ in range(2)] == [1, 2]
        with session_transaction(client) as session:
            assert session == {"user_id": 7, "n": 2}
            session["cart"] = ["shoes"]
            session.increment("n")
        assert client.get("/").json() == {"user_id": 7, "n": 3, "cart": ["shoes"]}


def test_without_a_lifespan(store):
    """Where each request of the client has an event loop of its own."""
    client = TestClient(app_of(store))
    with session_transaction(client) as session:
        session["n"] = 1

    assert [client.get("/count").json() for _ in range(2)] == [2, 3]


def test_login_renews_and_logout_deletes_the_cookie(store):
    """As in a response."""
    client = TestClient(app_of(store))
    client.get("/count")
    first = client.cookies["session"]
    with session_transaction(client) as session:
        session["user_id"] = 7
    second = client.cookies["session"]
    with session_transaction(client) as session:
        session.invalidate()

    assert first != second
    assert list(client.cookies) == []
    assert client.get("/").json() == {}


def test_reading_leaves_no_trace(store):
    """Neither a cookie nor a stored session."""
    client = TestClient(app_of(store))
    with session_transaction(client) as session:
        assert session.get("user_id") is None

    assert list(client.cookies) == []
    if not store.shared:
        [layer] = [inner for inner in layers(client.app) if isinstance(inner, SessionMiddleware)]
        store.attach(layer)
    assert store.items() == 0


def layers(app):
    inner = app.middleware_stack
    while inner is not None:
        yield inner
        inner = getattr(inner, "app", None)


def test_a_block_that_fails_saves_nothing(store):
    """And its exception comes out; nor does what cannot be stored."""
    client = TestClient(app_of(store))
    client.get("/count")

    def failing():
        with session_transaction(client) as session:
            session["k"] = "v"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    with pytest.raises(UnstorableValue), session_transaction(client) as session:
        session.update(k="v", bad=object())

    assert client.get("/").json() == {"n": 1}


def test_no_thread_and_no_connection_is_left(memcached):
    """After the block, the node has only the connection that asks it, and the process no more threads."""
    store = STORES["memcached"](memcached)
    nodes = list(store.nodes.values())
    client = TestClient(app_of(store))
    threads = threading.active_count()
    for _ in range(3):
        with session_transaction(client) as session:
            session.increment("n")

    assert threading.active_count() == threads
    asyncio.run(until(lambda: [node.stats()["curr_connections"] for node in nodes] == ["1", "1"]))


async def test_in_a_running_loop(store):
    """`async with` beside an asynchronous client; a plain `with` works there too, and `save()` in the first."""
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app_of(store)), base_url="https://testserver"
    ) as client:
        async with session_transaction(client) as session:
            session["user_id"] = 7
            await session.save()
            session["k"] = "v"
        assert (await client.get("/")).json() == {"user_id": 7, "k": "v"}
        with session_transaction(client) as session:
            session["k"] = "w"
        assert (await client.get("/")).json() == {"user_id": 7, "k": "w"}

        async def failing():
            async with session_transaction(client) as session:
                session["k"] = "x"
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await failing()
        assert (await client.get("/")).json() == {"user_id": 7, "k": "w"}


def test_fastapi(store):
    """Its test client is Starlette's."""
    app = FastAPI(middleware=[Middleware(SessionMiddleware, secret_key=SECRET, pool=store.pool)])

    @app.get("/me")
    def me(session: CurrentSession) -> int | None:
        return session.get("user_id")

    client = TestClient(app)
    with session_transaction(client) as session:
        session["user_id"] = 7

    assert client.get("/me").json() == 7


def test_wrapped_from_outside_and_bare():
    """Wherever the middleware stands."""
    store = InProcess(None)
    outside = SessionMiddleware(Starlette(routes=[Route("/", show)]), SECRET, pool=store.pool)
    client = TestClient(outside)
    with session_transaction(client) as session:
        session["k"] = "v"

    assert client.get("/").json() == {"k": "v"}


def test_the_middleware_of_a_mounted_application():
    """It is found below a route; the one that is meant is told by its scope key."""
    inner = Starlette(
        routes=[Route("/", show)],
        middleware=[Middleware(SessionMiddleware, secret_key=SECRET, pool="memory://")],
    )
    admin = Middleware(
        SessionMiddleware, secret_key=SECRET, pool="memory://", session_cookie="admin", scope_key="admin_session"
    )
    client = TestClient(Starlette(routes=[Mount("/sub", app=inner)], middleware=[admin]))
    with session_transaction(client) as session:
        session["k"] = "v"
    with session_transaction(client, scope_key="admin_session") as session:
        session["k"] = "w"

    assert client.get("/sub/").json() == {"k": "v"}
    assert sorted(client.cookies) == ["admin", "session"]


@pytest.mark.parametrize(
    ("client", "message"),
    [
        (lambda: TestClient(Starlette(routes=[Route("/", show)])), "no memsession.asgi.SessionMiddleware"),
        (
            lambda: TestClient(Starlette(middleware=[Middleware(CookieSessions, secret_key="x")])),
            "no memsession.asgi.SessionMiddleware",
        ),
        (httpx.Client, r"session_transaction\(Client\): give a TestClient"),
        (object, r"session_transaction\(object\): give a TestClient"),
    ],
)
def test_without_the_middleware_it_says_so(client, message):
    """With the cure."""
    with pytest.raises(ConfigurationError, match=message):
        session_transaction(client())


@pytest.mark.parametrize(
    ("cookie", "base_url", "is_sent"),
    [
        (Cookie(secure=True), "http://testserver", False),
        (Cookie(secure=True), "https://testserver", True),
        (Cookie(domain="shop.example"), "http://testserver", False),
        (Cookie(domain="shop.example"), "http://shop.example", True),
        (Cookie(path="/admin"), "http://testserver", False),
        (Cookie(path="/admin"), "http://testserver/admin/", True),
    ],
)
def test_a_cookie_that_the_client_would_not_send_back(cookie, base_url, is_sent):
    """Instead of a test that wonders where its session is."""
    client = TestClient(app_of(InProcess(None), cookie=cookie), base_url=base_url)

    def preset():
        with session_transaction(client) as session:
            session["k"] = "v"

    if is_sent:
        preset()
        with session_transaction(client) as session:
            assert session == {"k": "v"}
    else:
        with pytest.raises(ConfigurationError, match=f"base_url='{base_url}"):
            preset()


def test_it_takes_no_turn():
    """In exclusive mode a request within the block would wait for ever otherwise."""
    client = TestClient(app_of(InProcess(None), exclusive=Exclusive()))
    client.get("/count")
    with session_transaction(client) as session:
        session["k"] = "v"
        assert client.get("/count").json() == 2

    assert client.get("/").json() == {"n": 2, "k": "v"}


def test_an_outage_is_an_error_of_the_block():
    """Not an empty session."""
    store = InProcess(None)
    app = web_server(store)
    visitor = Visitor(app)
    client = TestClient(app, base_url="https://testserver")
    asyncio.run(visitor.get("/set?k=v"))
    client.cookies.update(visitor.cookies)
    with session_transaction(client) as session:
        assert session == {"k": "v"}
    store.stop()
    with pytest.raises(PoolUnavailable), session_transaction(client):
        raise AssertionError
