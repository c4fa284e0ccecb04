"""Two names for one memcached: copies there would be lost together, so nothing starts with such a pool."""

import logging
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import flask
import pytest

from memsession.asgi import SessionMiddleware
from memsession.errors import ConfigurationError
from memsession.flask import MemSession, session
from memsession.pool import Pool
from memsession.wsgi import SessionMiddleware as WsgiMiddleware
from tests.servers import free_port
from tests.stages import STAGES, Stage

PROJECT = Path(__file__).parents[2]
SECRET = "a-secret-of-the-tests-0123456789abcdef"


@pytest.fixture
def pool(memcached):
    """One process, once by its address and once by its machine's name."""
    node = memcached()
    return Pool(f"a=127.0.0.1:{node.port}", f"b=localhost:{node.port}", timeout=timedelta(seconds=1))


def said_of(pool):
    a, b = (f"{node.host}:{node.port}" for node in pool.nodes)
    return re.escape(
        f'"a" ({a}) and "b" ({b}) are one memcached process, so copies there are lost together: give each name a '
        f"memcached of its own, or leave one of them out of the pool"
    )


@pytest.mark.parametrize("kind", STAGES)
def test_a_client_that_meets_them_refuses(kind, pool):
    """Every time it greets; the text names both and the cure."""
    stage = Stage(kind)

    async def main():
        client = stage.client(pool)
        for _ in range(2):
            with pytest.raises(ConfigurationError, match=said_of(pool)):
                await client.greet()
        await client.aclose()

    with stage.runner:
        stage.run(main())


@pytest.mark.parametrize("kind", STAGES)
def test_two_processes_and_a_dead_one_are_fine(kind, memcached):
    """A node that does not answer is nobody's twin."""
    one, two, dead = memcached(), memcached(), memcached()
    dead.kill()
    stage = Stage(kind)

    async def main():
        client = stage.client(Pool(one.address, two.address, dead.address))
        await client.greet()
        await client.greet()
        await client.aclose()

    with stage.runner:
        stage.run(main())


def test_a_lifespan_fails_and_the_application_cleans_up(runner, pool, memcached):
    """The server is told once, with the text; the application sees the error; no connection is left."""
    sent, seen = [], []

    async def application(_scope, _receive, send):
        try:
            await send({"type": "lifespan.startup.complete"})
        except ConfigurationError as error:
            seen.append(str(error))
            await send({"type": "lifespan.startup.failed", "message": "as Starlette does"})
            raise

    async def send(message):
        sent.append(message)

    async def main():
        middleware = SessionMiddleware(application, secret_key=SECRET, pool=pool, observe=lambda event: None)
        with pytest.raises(ConfigurationError):
            await middleware({"type": "lifespan"}, None, send)

    runner.run(main())
    assert sent == [{"type": "lifespan.startup.failed", "message": seen[0]}]
    assert re.fullmatch(said_of(pool), seen[0])


@pytest.mark.parametrize("app", ["starlette_app", "plain_app"])
def test_uvicorn_does_not_come_up(tmp_path, pool, app):
    """It says why and exits, whether or not the application knows of lifespans."""
    (tmp_path / "served.py").write_text(
        f"""
from datetime import timedelta
from starlette.applications import Starlette
from starlette.middleware import Middleware
from memsession import Pool
from memsession.asgi import SessionMiddleware

pool = Pool({", ".join(repr(f"{node.name}={node.host}:{node.port}") for node in pool.nodes)},
            timeout=timedelta(seconds=1))
options = dict(secret_key="{SECRET}", pool=pool)
starlette_app = Starlette(middleware=[Middleware(SessionMiddleware, **options)])

async def plain(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({{"type": "lifespan.startup.complete"}})
        await receive()
        await send({{"type": "lifespan.shutdown.complete"}})

plain_app = SessionMiddleware(plain, **options)
"""
    )
    done = subprocess.run(
        [sys.executable, "-m", "uvicorn", "--port", str(free_port()), f"served:{app}"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert re.search(said_of(pool), done.stderr)
    assert "Application startup failed. Exiting." in done.stderr


def test_every_request_of_a_flask_application_says_so(pool, caplog):
    """500, and the text in the log, until the pool is right."""
    app = flask.Flask("twins")
    MemSession(app, secret_key=SECRET, pool=pool, observe=lambda event: None)

    @app.get("/")
    def index():
        session["n"] = 1
        return "done"

    with caplog.at_level(logging.ERROR):
        answers = [app.test_client().get("/").status_code for _ in range(2)]
    assert answers == [500, 500]
    assert len(re.findall(said_of(pool), caplog.text)) >= 2


def test_every_request_of_a_wsgi_application_says_so(pool):
    """The server, which logs it and answers 500, gets the error."""

    def application(environ, start_response):
        environ["memsession.session"]["n"] = 1
        start_response("200 OK", [])
        return [b"done"]

    middleware = WsgiMiddleware(application, secret_key=SECRET, pool=pool, observe=lambda event: None)
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "wsgi.url_scheme": "http", "HTTP_HOST": "localhost"}
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=said_of(pool)):
            list(middleware(dict(environ), lambda *_: None))
