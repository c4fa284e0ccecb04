"""A web application to probe, in three flavours, and visitors who talk ASGI to it without a network."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from memsession.asgi import SessionMiddleware
from memsession.pool import Pool

SECRET = "pr0be-7d0f1b3a5c9e2846-8ac1f0e2-k3y"


async def probe(path: str, query: dict[str, str], scope: Any) -> Any:
    """What the application does: one thing a path. Returns what the visitor is to see."""
    session = scope["session"]
    match path:
        case "/noaccess":
            return "hello"
        case "/get":
            return dict(session)
        case "/has":
            return "k" in session
        case "/set":
            session.update(query)
        case "/del":
            for key in query:
                del session[key]
        case "/increment":
            return session.increment("n", int(query.get("by", "1")))
        case "/plain-increment":
            session["n"] = session.get("n", 0) + 1
        case "/modify":
            return await session.modify("m", lambda m: m + 1, 0)
        case "/save":
            session.update(query)
            await session.save()
        case "/login":
            session["user_id"] = query["user"]
        case "/regenerate":
            session.regenerate()
        case "/logout":
            session.invalidate()
        case "/clear":
            session.clear()
        case "/unstorable":
            session["bad"] = [object()]
        case "/boom":
            session["boom"] = True
            raise ZeroDivisionError("boom")
        case "/fail":
            session.update(query)
            raise HTTPException(int(query["status"]))
        case "/hold":
            session.update(query)
            scope["reached"].set()
            await scope["go"].wait()
    return "done"


def starlette_app(middleware: list[Middleware]) -> Starlette:
    async def endpoint(request: Request) -> Response:
        return JSONResponse(await probe(request.url.path, dict(request.query_params), request.scope))

    return Starlette(routes=[Route("/{path:path}", endpoint)], middleware=middleware)


def fastapi_app(middleware: list[Middleware]) -> FastAPI:
    app = FastAPI(middleware=middleware)

    @app.get("/{path:path}")
    async def endpoint(request: Request) -> Any:
        return await probe(request.url.path, dict(request.query_params), request.scope)

    return app


def bare_app(middleware: list[Middleware]) -> Any:
    async def app(scope, receive, send):
        status = 200
        try:
            content = await probe(scope["path"], dict(parse_qsl(scope["query_string"].decode())), scope)
        except HTTPException as error:
            status, content = error.status_code, error.detail
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/json")]})
        await send({"type": "http.response.body", "body": json.dumps(content).encode()})

    for layer in reversed(middleware):
        app = layer.cls(app, *layer.args, **layer.kwargs)
    return app


FLAVOURS: dict[str, Callable[[list[Middleware]], Any]] = {
    "starlette": starlette_app,
    "fastapi": fastapi_app,
    "bare": bare_app,
}


@dataclass
class Answer:
    """A response as it left the application; `error` is what the application raised."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    error: BaseException | None = None

    def header(self, name: str) -> list[str]:
        """All values of a header."""
        return [value.decode("latin-1") for key, value in self.headers if key.lower() == name.encode()]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def cookie(self) -> str:
        """What became of the session cookie: "kept", "issued" or "deleted"."""
        found = [value for value in self.header("set-cookie") if "session=" in value]
        assert len(found) < 2
        if not found:
            return "kept"
        return "deleted" if "Max-Age=0" in found[0] else "issued"


def http_scope(path: str, headers: list[tuple[bytes, bytes]], scheme: str, host: str) -> dict[str, Any]:
    path, _, query = path.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": scheme,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(b"host", host.encode()), *headers],
        "client": ("203.0.113.7", 50_000),
        "server": (host, 443),
    }


async def request(
    app: Any, scope: dict[str, Any], on_message: Callable[[Any], Awaitable[None]] | None = None
) -> Answer:
    """One request, as a server would make it of an application."""
    answer = Answer()
    received: list[Any] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive():
        if received:
            return received.pop()
        return await asyncio.get_running_loop().create_future()

    async def send(message):
        if on_message is not None:
            await on_message(message)
        if message["type"] == "http.response.start":
            assert answer.status == 0, "two heads"
            answer.status, answer.headers = message["status"], list(message["headers"])
        else:
            assert answer.status, "a body without a head"
            answer.body += message.get("body", b"")

    try:
        await app(scope, receive, send)
    except Exception as error:  # noqa: BLE001 - what a server would log
        answer.error = error
        answer.status = answer.status or 500
    return answer


@dataclass
class Visitor:
    """A browser: keeps cookies, and visits any of several web servers."""

    app: Any
    scheme: str = "https"
    host: str = "shop.example"
    cookies: dict[str, str] = field(default_factory=dict)

    async def get(
        self, path: str, *, app: Any = None, headers: list[tuple[bytes, bytes]] | None = None, **scope
    ) -> Answer:
        """One request; `headers` replace the cookies."""
        if headers is None:
            text = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            headers = [(b"cookie", text.encode())] if text else []
        answer = await request(app or self.app, http_scope(path, headers, self.scheme, self.host) | scope)
        for value in answer.header("set-cookie"):
            self.obey(value)
        return answer

    def obey(self, set_cookie: str) -> None:
        """Take a cookie, or let it go."""
        pair, _, attributes = set_cookie.partition(";")
        name, _, value = pair.partition("=")
        if "max-age=0" in attributes.lower():
            self.cookies.pop(name, None)
        else:
            self.cookies[name] = value

    def copy(self) -> "Visitor":
        """The same cookies as they are now: another tab, or a thief."""
        return Visitor(self.app, self.scheme, self.host, dict(self.cookies))


class InProcess:
    """Two nodes in the process of the web server, which is the only one."""

    shared = False

    def __init__(self, _start: Any, count: int = 2) -> None:
        self.pool = Pool(f"memory://?nodes={count}")
        self.names = [node.name for node in self.pool.nodes]
        self.client: Any = None

    def attach(self, middleware: SessionMiddleware) -> None:
        self.client = middleware._client

    def stop(self, *names: str) -> None:
        for name in names or self.names:
            self.client.nodes[name].stop()

    def start(self, *names: str) -> None:
        for name in names or self.names:
            self.client.nodes[name].restart()

    def items(self) -> int:
        return sum(len(node) for node in self.client.nodes.values())


class Memcacheds:
    """Two memcached processes."""

    shared = True

    def __init__(self, start: Callable[..., Any], count: int = 2, **options: Any) -> None:
        nodes = [start() for _ in range(count)]
        self.pool = Pool(*(node.address for node in nodes), **options)
        self.names = [node.name for node in self.pool.nodes]
        self.nodes = dict(zip(self.names, nodes, strict=True))

    def attach(self, middleware: SessionMiddleware) -> None:
        pass

    def stop(self, *names: str) -> None:
        for name in names or self.names:
            self.nodes[name].kill()

    def start(self, *names: str) -> None:
        for name in names or self.names:
            self.nodes[name].start()

    def items(self) -> int:
        """Sessions and tombstones: one item of each node is its own mark."""
        return sum(int(node.stats()["curr_items"]) for node in self.nodes.values() if node.running) - self.marks()

    def marks(self) -> int:
        return sum(
            node.ask(f"mg {self.pool.prefix}:node".encode()) == b"HD\r\n"
            for node in self.nodes.values()
            if node.running
        )


STORES = {"memory": InProcess, "memcached": Memcacheds}


def web_server(store: Any, flavour: str = "starlette", **settings: Any) -> Any:
    """An application of a flavour with the middleware in front, as a user would write it."""

    def layer(app: Any, **options: Any) -> SessionMiddleware:
        middleware = SessionMiddleware(app, **options)
        store.attach(middleware)
        return middleware

    options = {"secret_key": SECRET, "pool": store.pool} | settings
    return FLAVOURS[flavour]([Middleware(layer, **options)])


class Conversation:
    """A WebSocket as a server would offer it: `async with` runs the application beside the test."""

    def __init__(self, visitor: Visitor, path: str) -> None:
        text = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
        headers = [(b"cookie", text.encode())] if text else []
        self.scope = http_scope(path, headers, "wss", visitor.host) | {"type": "websocket", "subprotocols": []}
        self.visitor = visitor
        self.incoming: asyncio.Queue[Any] = asyncio.Queue()
        self.outgoing: asyncio.Queue[Any] = asyncio.Queue()

    async def __aenter__(self) -> "Conversation":
        self.incoming.put_nowait({"type": "websocket.connect"})
        self.task = asyncio.ensure_future(self.visitor.app(self.scope, self.incoming.get, self.outgoing.put))
        self.task.add_done_callback(lambda _: self.outgoing.put_nowait({"type": "returned"}))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.incoming.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await self.task

    async def heard(self) -> Any:
        """The next message from the application; the browser obeys the cookie that comes with `accept`."""
        message = await self.outgoing.get()
        for name, value in message.get("headers", ()):
            if name == b"set-cookie":
                self.visitor.obey(value.decode())
        return message

    def say(self, text: str) -> None:
        self.incoming.put_nowait({"type": "websocket.receive", "text": text})
