"""Another pool without a restart: in Starlette, WSGI and Flask, on real memcached."""

import asyncio

import flask
import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from memsession import ConfigurationError, Pool
from memsession.asgi import SessionMiddleware, reload
from memsession.flask import MemSession, session
from memsession.wsgi import SessionMiddleware as WsgiMiddleware
from tests.web import SECRET


def pool_of(nodes, names, **options):
    return Pool(*(f"{name}=127.0.0.1:{node.port}" for name, node in zip(names, nodes, strict=True)), **options)


def starlette_app(pool, gate=None):
    async def visit(request):
        count = request.session.increment("n")
        if gate is not None and "wait" in request.query_params:
            gate.reached.set()
            await gate.open.wait()
        return PlainTextResponse(str(count))

    return Starlette(
        routes=[Route("/", visit)], middleware=[Middleware(SessionMiddleware, secret_key=SECRET, pool=pool)]
    )


class Gate:
    def __init__(self):
        self.reached, self.open = asyncio.Event(), asyncio.Event()


def client_of(app):
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://testserver")


async def test_a_session_goes_on_when_all_nodes_are_replaced(memcached):
    """Found in the old pool, written in both; then the old one may go."""
    nodes = [memcached() for _ in range(4)]
    app = starlette_app(pool_of(nodes[:2], "ab"))
    async with client_of(app) as client:
        assert (await client.get("/")).text == "1"
        used = reload(app, pool_of(nodes[2:], "cd"))
        assert (await client.get("/")).text == "2"
        for node in nodes[:2]:
            node.kill()
        assert (await client.get("/")).text == "3"

    assert [node.name for node in used.all_nodes] == ["c", "d", "a", "b"]


async def test_a_request_under_way_saves_where_the_new_pool_looks(memcached):
    """It was loaded from the old pool; before it saves it loads again."""
    nodes = [memcached() for _ in range(4)]
    gate = Gate()
    app = starlette_app(pool_of(nodes[:2], "ab"), gate)
    async with client_of(app) as client:
        await client.get("/")
        under_way = asyncio.create_task(client.get("/?wait"))
        await gate.reached.wait()
        reload(app, pool_of(nodes[2:], "cd"))
        gate.open.set()
        assert (await under_way).text == "2"
        for node in nodes[:2]:
            node.kill()
        assert (await client.get("/")).text == "3"


async def test_a_pool_that_cannot_follow_changes_nothing(memcached):
    """The application goes on as it was."""
    nodes = [memcached() for _ in range(2)]
    app = starlette_app(pool_of(nodes, "ab"))
    async with client_of(app) as client:
        await client.get("/")
        with pytest.raises(ConfigurationError, match="same prefix"):
            reload(app, pool_of(nodes, "ac", prefix="other"))
        with pytest.raises(ConfigurationError, match="memory://"):
            reload(app, Pool("memory://"))
        assert (await client.get("/")).text == "2"


async def test_nodes_that_only_moved_need_no_previous(memcached):
    """The same names at other addresses: it is the same pool."""
    nodes = [memcached() for _ in range(3)]
    app = starlette_app(pool_of(nodes[:2], "ab"))
    async with client_of(app) as client:
        await client.get("/")
        used = reload(app, pool_of([nodes[2], nodes[1]], "ab"))
        assert (await client.get("/")).text == "2"
        nodes[1].kill()
        assert (await client.get("/")).text == "3"

    assert used.previous is None


async def test_without_the_middleware_there_is_nothing_to_reload():
    """Say which one was looked for."""
    with pytest.raises(ConfigurationError, match="scope_key='other'"):
        reload(starlette_app(Pool("memory://")), Pool("a"), scope_key="other")


def test_a_wsgi_application(memcached):
    """Through the middleware itself."""
    nodes = [memcached() for _ in range(4)]

    def application(environ, start_response):
        count = environ["memsession.session"].increment("n")
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(count).encode()]

    middleware = WsgiMiddleware(application, SECRET, pool=pool_of(nodes[:2], "ab"))
    with httpx.Client(transport=httpx.WSGITransport(middleware), base_url="https://testserver") as client:
        client.get("/")
        middleware.reload(pool_of(nodes[2:], "cd"))
        assert client.get("/").text == "2"
        for node in nodes[:2]:
            node.kill()
        assert client.get("/").text == "3"


def test_a_flask_application(memcached):
    """Through the extension."""
    nodes = [memcached() for _ in range(4)]
    app = flask.Flask(__name__)
    extension = MemSession(app, SECRET, pool=pool_of(nodes[:2], "ab"))

    @app.get("/")
    def visit():
        return str(session.increment("n"))

    client = app.test_client()
    client.get("/", base_url="https://localhost")
    extension.reload(app, pool_of(nodes[2:], "cd"))
    assert client.get("/", base_url="https://localhost").text == "2"
    for node in nodes[:2]:
        node.kill()
    assert client.get("/", base_url="https://localhost").text == "3"


def test_flask_without_a_secret_key_says_so():
    """There is no pool in use that could be followed."""
    app = flask.Flask(__name__)
    with pytest.raises(ConfigurationError, match="SECRET_KEY"):
        MemSession(app, pool=Pool("memory://")).reload(app, Pool("a"))
