"""The probed application in four frameworks, and visitors who make requests of it without a network."""

import asyncio
import http.client
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import flask
from fastapi import FastAPI
from fastapi import Request as FastAPIRequest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from memsession.asgi import SessionMiddleware
from memsession.flask import MemSession
from memsession.wsgi import SESSION
from memsession.wsgi import SessionMiddleware as WsgiMiddleware
from tests.behaviour.probe import Abort, Stream, at_once, probe
from tests.servers import PATIENCE_S
from tests.web import SECRET, Answer, http_scope, request
from tests.wsgi import wsgi_request


class Asgi:
    """A web server of an ASGI framework. Subclasses make the application."""

    def __init__(self, pool: Any, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self.middleware: Any = None
        self.app = self.application(Middleware(self._layer, secret_key=SECRET, pool=pool, **options))

    def application(self, middleware: Middleware) -> Any:
        raise NotImplementedError

    def _layer(self, app: Any, **options: Any) -> SessionMiddleware:
        self.middleware = SessionMiddleware(app, **options)
        return self.middleware

    def get(self, path: str, cookie: str, scheme: str, host: str) -> Answer:
        headers = [(b"cookie", cookie.encode("latin-1"))] if cookie else []
        return self._runner.run(request(self.app, http_scope(path, headers, scheme, host)))

    @property
    def client(self) -> Any:
        if self.middleware is None:
            self.get("/untouched", "", "https", "shop.example")
        return self.middleware._client

    def close(self) -> None:
        if self.middleware is not None:
            self._runner.run(self.client.aclose())
        self._runner.close()


class InStarlette(Asgi):
    def application(self, middleware):
        async def endpoint(request: Request) -> Any:
            try:
                content = await probe(request.url.path, dict(request.query_params), lambda: request.session)
            except Abort as abort:
                raise HTTPException(abort.status) from None
            return StreamingResponse(_pieces(content)) if isinstance(content, Stream) else JSONResponse(content)

        return Starlette(routes=[Route("/{path:path}", endpoint)], middleware=[middleware])


class InFastAPI(Asgi):
    def application(self, middleware):
        app = FastAPI(middleware=[middleware])

        @app.get("/{path:path}")
        async def endpoint(request: FastAPIRequest) -> Any:
            try:
                content = await probe(request.url.path, dict(request.query_params), lambda: request.scope["session"])
            except Abort as abort:
                raise HTTPException(abort.status) from None
            return StreamingResponse(_pieces(content)) if isinstance(content, Stream) else content

        return app


async def _pieces(stream: Stream):
    yield b'"first'
    await stream.between()
    yield b' second"'


class Wsgi:
    """A web server of a WSGI application. Subclasses make it."""

    def __init__(self, pool: Any, **options: Any) -> None:
        self.app = self.application({"pool": pool} | options)

    def get(self, path: str, cookie: str, scheme: str, host: str) -> Answer:
        return wsgi_request(self.app, path, cookie=cookie, scheme=scheme, host=host)

    def application(self, options: dict[str, Any]) -> Any:
        raise NotImplementedError

    def close(self) -> None:
        self.client.close()


class Bare(Wsgi):
    def application(self, options):
        def app(environ: Any, start_response: Any) -> Any:
            status = "200 OK"
            query = dict(parse_qsl(environ["QUERY_STRING"]))
            try:
                content = at_once(probe(environ["PATH_INFO"], query, lambda: environ[SESSION]))
            except Abort as abort:
                status, content = f"{abort.status} aborted", "aborted"
            start_response(status, [("Content-Type", "application/json")])
            return _spelled(content) if isinstance(content, Stream) else [json.dumps(content).encode()]

        return WsgiMiddleware(app, SECRET, **options)

    @property
    def client(self):
        return self.app._sessions.client


class InFlask(Wsgi):
    def application(self, options):
        self.flask = flask.Flask("probe")
        MemSession(self.flask, secret_key=SECRET, **options)

        @self.flask.get("/<path:path>")
        def view(path: str) -> Any:
            try:
                content = at_once(probe(f"/{path}", flask.request.args.to_dict(), flask.session._get_current_object))
            except Abort as abort:
                flask.abort(abort.status)
            if isinstance(content, Stream):
                return flask.Response(flask.stream_with_context(_spelled(content)))
            return flask.jsonify(content)

        return self.flask

    @property
    def client(self):
        return self.flask.extensions["memsession"].sessions.client


class UnderGunicorn:
    """A web server in processes of its own, already running. What is inside of it cannot be seen."""

    def __init__(self, port: int) -> None:
        self.port = port

    def get(self, path: str, cookie: str, scheme: str, host: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        headers = {"Host": host, "X-Forwarded-Proto": scheme} | ({"Cookie": cookie} if cookie else {})
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        there = [(name.lower().encode(), value.encode("latin-1")) for name, value in response.getheaders()]
        answer = Answer(response.status, there, response.read())
        connection.close()
        return answer


def _spelled(stream: Stream) -> Iterator[bytes]:
    yield b'"first'
    at_once(stream.between())
    yield b' second"'


ADAPTERS: dict[str, Any] = {"starlette": InStarlette, "fastapi": InFastAPI, "flask": InFlask, "wsgi": Bare}


@dataclass
class Visitor:
    """A browser: keeps cookies, and visits a web server."""

    server: Any
    scheme: str = "https"
    host: str = "shop.example"
    cookies: dict[str, str] = field(default_factory=dict)

    def get(self, path: str, *, cookie: str | None = None) -> Answer:
        """One request; `cookie` is sent instead of the visitor's own."""
        text = "; ".join(f"{name}={value}" for name, value in self.cookies.items()) if cookie is None else cookie
        answer: Answer = self.server.get(path, text, self.scheme, self.host)
        for value in answer.header("set-cookie"):
            self._obey(value)
        return answer

    def _obey(self, set_cookie: str) -> None:
        pair, _, attributes = set_cookie.partition(";")
        name, _, value = pair.partition("=")
        if "max-age=0" in attributes.lower():
            self.cookies.pop(name, None)
        else:
            self.cookies[name] = value

    @property
    def header(self) -> str:
        """What it sends."""
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    def copy(self) -> "Visitor":
        """The same cookies as they are now: another tab, or a thief."""
        return Visitor(self.server, self.scheme, self.host, dict(self.cookies))


class Clock:
    """The time of all in-process clients, to be set forward."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def now_ms(self, _client: object = None) -> int:
        return time.time_ns() // 1_000_000 + self.ahead_ms
