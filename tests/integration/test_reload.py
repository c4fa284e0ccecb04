"""Another pool without a restart: in Starlette, WSGI and Flask, on real memcached."""

import asyncio
import os
import runpy
import signal
import socket
from pathlib import Path

import flask
import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from memsession import ConfigurationError, Pool
from memsession.asgi import SessionMiddleware, reload
from memsession.asgi.layers import layers
from memsession.flask import MemSession, session
from memsession.wsgi import SessionMiddleware as WsgiMiddleware
from tests.web import SECRET

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


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


async def test_the_example_reloads_at_a_signal(memcached, tmp_path, monkeypatch):
    """It reads its list of servers anew."""
    nodes = [memcached() for _ in range(3)]
    servers = tmp_path / "servers.txt"
    servers.write_text("".join(f"127.0.0.1:{node.port}\n" for node in nodes[:2]))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECRET_KEY", SECRET)
    app = runpy.run_path(str(EXAMPLES / "reload.py"))["make_app"]()
    async with app.router.lifespan_context(app):
        servers.write_text("".join(f"127.0.0.1:{node.port}\n" for node in nodes[1:]))
        os.kill(os.getpid(), signal.SIGHUP)
        (middleware,) = [layer for layer in layers(app) if isinstance(layer, SessionMiddleware)]
        while (used := middleware._service.placing.pool).previous is None:  # noqa: ASYNC110 - a signal sets it
            await asyncio.sleep(0)

    assert [node.port for node in used.all_nodes] == [nodes[1].port, nodes[2].port, nodes[0].port]
    asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)


def test_the_example_with_dns_asks_the_resolver(monkeypatch):
    """For the pool of now."""
    said = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.2", 11_211))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: said)
    pool = runpy.run_path(str(EXAMPLES / "dns.py"))["current_pool"]

    with pytest.raises(ConfigurationError, match="copies"):
        pool()
    said.append((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 11_211)))
    assert [node.name for node in pool().nodes] == ["10.0.0.1:11211", "10.0.0.2:11211"]


async def test_of_several_middlewares_all_are_reloaded_or_none(memcached):
    """One of them has another prefix."""
    nodes = [memcached() for _ in range(2)]
    inner = starlette_app(pool_of(nodes[:1], "a"))
    other = Middleware(SessionMiddleware, secret_key=SECRET, pool=pool_of(nodes[:1], "a", prefix="x"))
    app = Starlette(routes=[Mount("/one", inner), Mount("/two", Starlette(middleware=[other]))])
    with pytest.raises(ConfigurationError, match="same prefix"):
        reload(app, pool_of(nodes, "ab"))
    pools = [one._service.placing.pool for one in layers(app) if isinstance(one, SessionMiddleware)]

    assert [len(pool.nodes) for pool in pools] == [1, 1]


async def test_a_middleware_that_refused_to_start_says_why():
    """Not that something is missing in it."""
    app = Starlette(middleware=[Middleware(SessionMiddleware, secret_key="short", pool="memory://")])
    with pytest.raises(ConfigurationError, match="secret_key"):
        reload(app, Pool("a"))


async def test_reload_may_come_from_any_thread_and_twice(memcached):
    """The latest one counts, and nothing before it is forgotten."""
    nodes = [memcached() for _ in range(3)]
    app = starlette_app(pool_of(nodes[:1], "a"))
    async with client_of(app) as client:
        await client.get("/")
        for name, node in zip("bc", nodes[1:], strict=True):
            used = await asyncio.to_thread(reload, app, pool_of([node], name))
        assert (await client.get("/")).text == "2"
        nodes[0].kill()
        nodes[1].kill()
        assert (await client.get("/")).text == "3"

    assert [node.name for node in used.all_nodes] == ["c", "b", "a"]


def test_each_application_of_an_extension_has_a_pool_of_its_own(memcached):
    """And is reloaded for itself."""
    nodes = [memcached() for _ in range(2)]
    extension = MemSession(secret_key=SECRET, pool=pool_of(nodes[:1], "a"))
    apps = [flask.Flask("one"), flask.Flask("two")]
    for app in apps:
        extension.init_app(app)
    extension.reload(apps[0], pool_of(nodes[1:], "b"))

    pools = [extension._sessions(app)._service.placing.pool for app in apps]
    assert [[node.name for node in pool.nodes] for pool in pools] == [["b"], ["a"]]
