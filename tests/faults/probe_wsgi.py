"""The probed application as a bare WSGI application, for gunicorn."""

import json
import os
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

from memsession.wsgi import SessionMiddleware, session_of
from tests.behaviour.probe import at_once
from tests.faults.probe import MIDDLEWARE, SECRET, options, probe, stream


async def hold(seconds: float) -> None:
    if seconds:
        time.sleep(seconds)  # noqa: ASYNC251 - nothing waits for this coroutine but its own thread


def page(environ, start_response):
    path, query = environ["PATH_INFO"], dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))
    if path == "/stream":
        start_response("200 OK", [("Content-Type", "application/json"), signed()])
        return _pieces(session_of(environ), query)
    shown = at_once(probe(path, query, lambda: session_of(environ), hold))
    body = json.dumps(shown).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body))), signed()])
    return [body]


def signed() -> tuple[str, str]:
    return "X-Worker", str(os.getpid())


def _pieces(session: Any, query: dict[str, str]) -> Iterator[bytes]:
    yield b"{"
    at_once(stream(session, query, hold))
    yield b"}"


app = SessionMiddleware(page, secret_key=SECRET, **options())
MIDDLEWARE.append(app)
