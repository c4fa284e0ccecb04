"""The examples of README.md and docs/: each is a file under docs/examples/, and each of those runs as it stands."""

import os
import re
import runpy
import secrets
import subprocess
import sys
import warnings
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI
from flask import Flask
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocketDisconnect
from werkzeug.test import Client

from memsession import Cookie
from memsession.asgi import SessionMiddleware, session_of
from memsession.fastapi import CurrentSession
from memsession.flask import MemSession
from memsession.metrics.prometheus import PoolCollector, PrometheusMetrics

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that it prefers httpx's successor
    from starlette.testclient import TestClient

PROJECT = Path(__file__).parents[1]
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
EXAMPLES = sorted((PROJECT / "docs" / "examples").glob("*.py"))
MARK = re.compile(r"<!-- example: (\S+) -->")


def python_blocks(page: Path) -> list[tuple[str, str]]:
    """The python blocks of a page, each with the line above it."""
    lines = page.read_text(encoding="utf-8").splitlines()
    blocks = []
    for number, (above, line) in enumerate(pairwise(["", *lines])):
        if line.strip().startswith(("```python", "```py")):
            end = lines.index("```", number + 1)
            blocks.append((above, "\n".join(lines[number + 1 : end]) + "\n"))
    return blocks


BLOCKS = [(page.name, above, code) for page in PAGES for above, code in python_blocks(page)]


@pytest.mark.parametrize(("page", "above", "code"), BLOCKS, ids=[f"{page}-{above}" for page, above, _ in BLOCKS])
def test_printed_examples_are_files(page, above, code):
    """A python block names its file in a comment above it, and is that file, letter for letter."""
    mark = MARK.fullmatch(above)

    assert mark is not None, f"{page}: put <!-- example: docs/examples/NAME.py --> above the block"
    assert mark[1] in {str(path.relative_to(PROJECT)) for path in EXAMPLES}
    assert (PROJECT / mark[1]).read_text(encoding="utf-8") == code


def test_every_example_is_printed():
    """No file lies under docs/examples/ that no page shows."""
    assert {path.name for path in EXAMPLES} == {Path(above.split()[2]).name for _, above, _ in BLOCKS}


@pytest.fixture
def run(monkeypatch):
    """Runs an example as it stands; its names. What it registers with Prometheus is taken back."""
    monkeypatch.setenv("SECRET_KEY", secrets.token_urlsafe(32))
    monkeypatch.setenv("MEMSESSION_POOL", "memory://")
    ran = []

    def run_it(name):
        ran.append(runpy.run_path(str(PROJECT / "docs" / "examples" / name)))
        return ran[-1]

    yield run_it
    for thing in [thing for names in ran for thing in names.values()]:
        if isinstance(thing, PrometheusMetrics | PoolCollector):
            thing.unregister()


def browser(app):
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_run(path, run):
    """An example runs as it stands, without a complaint."""
    assert run(path.name)


def around(*routes):
    """A Starlette application with these routes, and sessions in this process."""
    middleware = Middleware(SessionMiddleware, secret_key=secrets.token_urlsafe(32), pool="memory://", debug=True)
    return Starlette(routes=list(routes), middleware=[middleware])


async def read(request):
    """What the session holds."""
    return JSONResponse(dict(request.session))


async def test_the_starlette_example_counts(run):
    """Each visit is counted."""
    async with browser(run("starlette_app.py")["app"]) as client:
        assert [(await client.get("/")).text for _ in range(3)] == ["Visit 1", "Visit 2", "Visit 3"]


async def test_the_example_of_a_login_renews_the_id(run):
    """And welcomes the visitor on the next page; the logout deletes the cookie."""
    names = run("starlette_login.py")

    async def greetings(request):
        return JSONResponse(session_of(request).get_flashed())

    login, logout = (Route(f"/{name}", names[name], methods=["POST"]) for name in ("login", "logout"))
    async with browser(around(login, logout, Route("/", greetings), Route("/read", read))) as client:
        assert (await client.post("/login")).headers["location"] == "/"
        assert (await client.get("/")).json() == [["message", "Welcome back."]]
        assert (await client.get("/read")).json() == {"user_id": 42}
        await client.post("/logout")
        assert "session" not in client.cookies


async def test_the_fastapi_example_remembers_until_logout(run):
    """Login renews the ID and keeps the cart; nested changes are saved; logout ends it."""
    async with browser(run("fastapi_app.py")["app"]) as client:
        await client.post("/cart/shoes")
        before = client.cookies["session"]
        assert (await client.post("/login/7")).json() == {"logins": 1}
        assert client.cookies["session"] != before
        assert (await client.post("/cart/hat")).json() == {"items": ["shoes", "hat"]}
        assert (await client.post("/logout")).json() == {"bye": True}
        assert "session" not in client.cookies
        assert (await client.post("/cart/hat")).json() == {"items": ["hat"]}


async def test_the_example_of_a_plain_endpoint_saves(run):
    """From its thread, by the event loop."""
    app = FastAPI()
    app.include_router(run("fastapi_threads.py")["router"])
    app.add_middleware(SessionMiddleware, secret_key=secrets.token_urlsafe(32), pool="memory://")
    async with browser(app) as client:
        assert [(await client.post("/bid")).json()["bid"] for _ in range(3)] == [110, 120, 130]


async def test_the_example_of_two_sessions_keeps_them_apart(run):
    """Each middleware has a scope key and a cookie of its own."""
    admin_session = run("fastapi_two.py")["AdminSession"]
    app = FastAPI()

    @app.get("/")
    async def both(mine: CurrentSession, other: admin_session):
        return [mine.increment("n"), other.increment("n", by=10)]

    for options in ({}, {"scope_key": "admin_session", "cookie": Cookie(name="admin")}):
        app.add_middleware(SessionMiddleware, secret_key=secrets.token_urlsafe(32), pool="memory://", **options)
    async with browser(app) as client:
        assert [(await client.get("/")).json() for _ in range(2)] == [[1, 10], [2, 20]]
        assert set(client.cookies) == {"session", "admin"}


async def test_the_example_of_modify_raises_the_bid(run):
    """From its default, by 10 each time."""
    async with browser(around(Route("/", run("atomic.py")["bid"]))) as client:
        assert [(await client.get("/")).json()["bid"] for _ in range(3)] == [110, 120, 130]


async def test_the_example_of_a_cart_fills_it(run):
    """Changes inside of a value, and a counter."""
    async with browser(around(Route("/", run("cart.py")["buy"]), Route("/read", read))) as client:
        await client.get("/?article=shoes")
        assert (await client.get("/?article=hat")).json() == {"items": ["shoes", "hat"], "articles": 2}
        assert "It is in your cart." in (await client.get("/read")).text


async def test_the_typed_example_fills_a_cart(run):
    """By a change in the object."""
    async with browser(around(Route("/", run("typed.py")["buy"]), Route("/read", read))) as client:
        assert (await client.get("/?article=shoes")).text == "1 articles, paid in EUR"
        assert (await client.get("/?article=hat")).text == "2 articles, paid in EUR"
        assert (await client.get("/read")).json()["cart"] == ["shoes", "hat"]


async def test_the_example_of_a_form_wants_its_token(run):
    """Without it, or with another one, nothing is deleted."""
    names = run("csrf.py")
    routes = [Route("/", names["form"]), Route("/", names["delete"], methods=["POST"])]
    async with browser(around(*routes)) as client:
        token = re.search('value="(.+?)"', (await client.get("/")).text)[1]
        assert (await client.post("/")).status_code == 403
        assert (await client.post("/", data={"token": token[::-1]})).status_code == 403
        assert (await client.post("/", data={"token": token})).text == "Deleted."


async def test_the_example_of_a_stream_saves_at_its_end(run):
    """In debug mode, where a forgotten save would raise."""
    async with browser(around(Route("/", run("streaming.py")["export"]), Route("/read", read))) as client:
        assert (await client.get("/")).text == "0\n1\n2\n"
        assert (await client.get("/read")).json() == {"export": "done"}


def test_the_example_of_a_websocket_notices_the_logout(run):
    """It goes on until the visitor logs out elsewhere; what it wrote before is saved."""

    async def login(request):
        request.session["user_id"] = 42
        return JSONResponse(None)

    async def logout(request):
        session_of(request).invalidate()
        return JSONResponse(None)

    chat = WebSocketRoute("/chat", run("websocket.py")["chat"])
    app = around(chat, Route("/login", login), Route("/logout", logout), Route("/read", read))
    with TestClient(app) as client:
        client.get("/login")
        with client.websocket_connect("/chat") as socket:
            socket.send_text("hello")
            assert socket.receive_text() == "hello"
            assert client.get("/read").json() == {"user_id": 42, "chats": 1}
        assert client.get("/read").json() == {"user_id": 42, "chats": 1, "last_message": "hello"}
        with client.websocket_connect("/chat") as socket:
            client.get("/logout")
            socket.send_text("still there?")
            with pytest.raises(WebSocketDisconnect) as closed:
                socket.receive_text()
            assert closed.value.reason == "You have logged out."


async def test_the_example_of_remember_me_keeps_the_cookie(run):
    """For 30 days if asked for; otherwise it ends with the browser."""
    async with browser(run("remember.py")["app"]) as client:
        assert "Max-Age" not in (await client.post("/login")).headers["set-cookie"]
        assert "Max-Age=2592000" in (await client.post("/login?remember=yes")).headers["set-cookie"]


def test_the_flask_example_counts_until_logout(run):
    """The login renews the ID and goes on counting."""
    client = run("flask_app.py")["app"].test_client()
    assert [client.get("/").text for _ in range(2)] == ["Visit 1", "Visit 2"]
    before = client.get_cookie("session").value
    client.post("/login")
    assert client.get_cookie("session").value != before
    assert client.get("/").text == "Visit 3"
    client.post("/logout")
    assert client.get("/").text == "Visit 1"


def test_the_example_of_a_flask_stream_saves_at_its_end(run):
    """In debug mode, where a forgotten save would raise."""
    app = Flask(__name__)
    app.secret_key = secrets.token_urlsafe(32)
    MemSession(app, pool="memory://", debug=True)
    app.register_blueprint(run("flask_stream.py")["pages"])
    client = app.test_client()

    assert client.get("/export").text == "0\n1\n"
    with client.session_transaction() as session:
        assert session["export"] == "done"


@pytest.mark.parametrize("example", ["flask_test.py", "starlette_test.py"])
def test_the_examples_of_tests_pass(run, example):
    """They preset the session of a test client."""
    run(example)["test_a_user_is_greeted"]()


@pytest.mark.parametrize("example", ["failing_nodes_test.py", "failing_nodes_flask.py"])
def test_the_examples_with_failing_nodes_pass(example):
    """As pytest runs them elsewhere, fixtures included."""
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, str(PROJECT / "docs" / "examples" / example)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout


def test_the_wsgi_example_counts(run):
    """Each visit is counted."""
    client = Client(run("wsgi_app.py")["app"])
    assert [client.get("/").text for _ in range(3)] == ["Visit 1", "Visit 2", "Visit 3"]


async def test_the_example_of_an_observer_counts_events(run):
    """Of a first visit there is one."""
    names = run("observe.py")
    options = {"secret_key": secrets.token_urlsafe(32), "pool": "memory://", "observe": names["observe"]}

    async def visit(request):
        request.session["n"] = 1
        return JSONResponse(None)

    async with browser(
        Starlette(routes=[Route("/", visit)], middleware=[Middleware(SessionMiddleware, **options)])
    ) as c:
        await c.get("/")
    assert names["counts"] == {"Created": 1}


async def test_the_example_of_prometheus_shows_what_was_counted(run):
    """A first visit is a session that has begun, a second one has found and changed it."""
    async with browser(run("metrics_starlette.py")["app"]) as client:
        assert [(await client.get("/")).text for _ in range(2)] == ["Visit 1", "Visit 2"]
        page = await client.get("/metrics")
    lines = page.text.splitlines()
    assert page.headers["content-type"].startswith("text/plain; version=")
    assert "memsession_sessions_begun_total 1.0" in lines
    assert "memsession_sessions_saved_total 1.0" in lines
    assert 'memsession_loads_total{outcome="found"} 1.0' in lines


async def test_the_example_of_opentelemetry_counts_visits(run):
    """Without an SDK nobody is told, and nothing is in the way."""
    async with browser(run("metrics_opentelemetry.py")["app"]) as client:
        assert [(await client.get("/")).json() for _ in range(2)] == [{"visits": 1}, {"visits": 2}]


def test_the_example_of_gunicorns_configuration_forgets_who_has_ended(run, tmp_path, monkeypatch):
    """The gauges of that process, not what it has counted."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    for name in ("gauge_livemostrecent_12.db", "gauge_livemostrecent_13.db", "counter_12.db"):
        (tmp_path / name).touch()
    run("metrics_gunicorn.py")["child_exit"](None, SimpleNamespace(pid=12))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["counter_12.db", "gauge_livemostrecent_13.db"]
