"""What frameworks put around the middleware and beneath it: layers, mounted applications, streams, WebSockets."""

import asyncio
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute

from memsession import AsyncSession, Pool, SessionTooLarge
from memsession.asgi import SessionMiddleware, session_of
from memsession.errors import ConfigurationError, PoolUnavailable
from memsession.memory import MemoryClient
from tests.rounds import until
from tests.web import SECRET, STORES, Conversation, InProcess, Visitor, http_scope, web_server

POOL = Pool("memory://?nodes=2")
LAYER = Middleware(SessionMiddleware, secret_key=SECRET, pool=POOL)


def starlette(*routes, layers=(LAYER,), **options):
    return Starlette(routes=list(routes), middleware=list(layers), **options)


async def count(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(session_of(request).increment("n")))


class TestAccess:
    """Typed access, and what it notices."""

    async def test_session_of_gives_the_session_of_the_request(self):
        """The same object as `request.session`, with its type."""

        async def endpoint(request):
            session = session_of(request)
            return JSONResponse([type(session) is AsyncSession, session is request.session])

        assert (await Visitor(starlette(Route("/", endpoint))).get("/")).json == [True, True]

    @pytest.mark.parametrize("access", [session_of, lambda request: request.session])
    async def test_taking_it_is_an_access(self, access):
        """A page that looked, and found nothing to say, depends on the session all the same."""

        async def endpoint(request):
            access(request)
            return PlainTextResponse()

        assert (await Visitor(starlette(Route("/", endpoint))).get("/")).header("vary") == ["Cookie"]

    @pytest.mark.parametrize("scope", [{}, {"session": {}}])
    def test_without_the_middleware_it_says_so(self, scope):
        """Or behind somebody else's."""
        with pytest.raises(ConfigurationError, match="SessionMiddleware is not installed"):
            session_of(HTTPConnection({"type": "http", **scope}))

    async def test_fastapi_dependency(self):
        """`session_of` is a dependency as it stands."""
        app = FastAPI(middleware=[LAYER])

        def current(connection: HTTPConnection) -> AsyncSession:
            return session_of(connection)

        @app.get("/")
        async def endpoint(session: Annotated[AsyncSession, Depends(current)]) -> int:
            return session.increment("n")

        @app.get("/sync")
        def in_a_thread(session: Annotated[AsyncSession, Depends(current)]) -> int:
            return session.increment("n")

        visitor = Visitor(app)
        assert [(await visitor.get(path)).json for path in ("/", "/sync", "/")] == [1, 2, 3]


class TestLayers:
    """Other middleware, outside and inside."""

    @pytest.mark.parametrize("where", ["outside", "inside", "both"])
    @pytest.mark.parametrize("store", STORES)
    async def test_three_base_http_middlewares(self, memcached, store, where):
        """Each in its own task group, as Starlette makes them; every one may use the session."""
        store = STORES[store](memcached)

        class Marking(BaseHTTPMiddleware):
            def __init__(self, app: Any, name: str) -> None:
                super().__init__(app)
                self.name = name

            async def dispatch(self, request: Request, call_next: Any) -> Any:
                if "session" in request.scope:
                    request.session[self.name] = request.session.get(self.name, 0) + 1
                response = await call_next(request)
                response.headers["x-" + self.name] = "1"
                return response

        def three(place):
            return [Middleware(Marking, name=f"{place}{number}") for number in range(3)]

        layers = [
            *(three("outside") if where != "inside" else ()),
            Middleware(SessionMiddleware, secret_key=SECRET, pool=store.pool),
            *(three("inside") if where != "outside" else ()),
        ]
        visitor = Visitor(starlette(Route("/", count), layers=layers))
        answers = [await visitor.get("/") for _ in range(3)]

        assert [answer.body for answer in answers] == [b"1", b"2", b"3"]
        assert [answer.cookie for answer in answers] == ["issued", "kept", "kept"]
        assert [len([1 for name, _ in answer.headers if name.startswith(b"x-")]) for answer in answers] == [
            6 if where == "both" else 3
        ] * 3

    async def test_an_exception_through_base_http_middleware_saves_nothing(self):
        """And the store's failure through it is still a 503."""

        class Passing(BaseHTTPMiddleware):
            async def dispatch(self, request: Request, call_next: Any) -> Any:
                return await call_next(request)

        async def endpoint(request: Request) -> PlainTextResponse:
            request.session["k"] = "v"
            if "down" in request.query_params:
                raise PoolUnavailable("as save() does")
            raise ZeroDivisionError

        app = starlette(Route("/", endpoint), layers=(LAYER, Middleware(Passing)))
        visitor = Visitor(app)

        assert [(await visitor.get("/")).status, (await visitor.get("/?down")).status] == [500, 503]
        assert visitor.cookies == {}

    async def test_headers_of_the_application_are_kept(self):
        """Vary is extended, Cache-Control only made stricter, other cookies stay."""

        async def endpoint(request: Request) -> PlainTextResponse:
            request.session["k"] = "v"
            response = PlainTextResponse(
                "x" * 1_000, headers={"vary": "Origin", "cache-control": "private, max-age=60"}
            )
            response.set_cookie("theme", "dark")
            return response

        app = starlette(Route("/", endpoint), layers=(Middleware(GZipMiddleware), LAYER))
        answer = await Visitor(app).get("/", headers=[(b"accept-encoding", b"gzip")])
        words = {word.strip() for value in answer.header("vary") for word in value.split(",")}
        caching = {word.strip() for value in answer.header("cache-control") for word in value.split(",")}

        assert words == {"Origin", "Cookie", "Accept-Encoding"}
        assert caching == {"private", "max-age=60", "no-store"}
        assert [value.split("=")[0] for value in answer.header("set-cookie")] == ["theme", "__Host-session"]
        assert int(answer.header("content-length")[0]) == len(answer.body)

    async def test_an_application_can_catch_what_the_commit_raises(self):
        """It takes the culprit out; what else the request changed is saved with its second response."""

        async def app(scope, receive, send):
            session = scope["session"]
            session.update(small=1, big="x" * 70_000)
            session.increment("n")
            try:
                await send({"type": "http.response.start", "status": 200, "headers": []})
            except SessionTooLarge:
                del session["big"]
                await send({"type": "http.response.start", "status": 413, "headers": []})
            await send({"type": "http.response.body", "body": str(dict(session)).encode()})

        visitor = Visitor(SessionMiddleware(app, secret_key=SECRET, pool=POOL))
        answers = [await visitor.get("/") for _ in range(2)]

        assert [(answer.status, answer.cookie) for answer in answers] == [(413, "issued"), (413, "kept")]
        assert answers[1].body == b"{'small': 1, 'n': 2}"

    async def test_a_handler_of_starlette_answers_for_save(self):
        """Starlette lets its handlers answer as long as no response has begun: save() raises early enough."""

        async def too_large(request: Request, error: Exception) -> PlainTextResponse:
            request.session.pop("big", None)
            return PlainTextResponse("too large", status_code=413)

        async def endpoint(request: Request) -> JSONResponse:
            request.session.update(small=1, big="x" * 70_000)
            await session_of(request).save()
            return JSONResponse("never")

        async def get(request: Request) -> JSONResponse:
            return JSONResponse(dict(request.session))

        routes = [Route("/", endpoint), Route("/get", get)]
        visitor = Visitor(starlette(*routes, exception_handlers={SessionTooLarge: too_large}))
        answer = await visitor.get("/")

        assert (answer.status, answer.cookie, answer.error) == (413, "issued", None)
        assert (await visitor.get("/get")).json == {"small": 1}


class TestMounted:
    """Applications inside applications."""

    async def test_a_mounted_application_shares_the_session(self):
        """One session for both, loaded once."""
        app = starlette(Route("/", count), Mount("/sub", routes=[Route("/", count)]))
        visitor = Visitor(app)

        assert [(await visitor.get(path)).body for path in ("/", "/sub/", "/")] == [b"1", b"2", b"3"]

    async def test_only_a_mounted_application_may_have_sessions(self):
        """The other part pays nothing and knows nothing."""
        inner = Starlette(routes=[Route("/", count)], middleware=[LAYER])

        async def outside(request: Request) -> PlainTextResponse:
            return PlainTextResponse(str("session" in request.scope))

        visitor = Visitor(Starlette(routes=[Route("/", outside), Mount("/sub", app=inner)]))

        assert (await visitor.get("/")).body == b"False"
        assert [(await visitor.get("/sub/")).body for _ in range(2)] == [b"1", b"2"]


class TestStreams:
    """Responses that go on after their head."""

    @pytest.mark.parametrize("store", STORES)
    async def test_what_was_changed_before_the_head_is_saved(self, memcached, store):
        """The body streams on; the head had the cookie."""
        store = STORES[store](memcached)

        async def endpoint(request: Request) -> StreamingResponse:
            session_of(request).increment("n")

            async def chunks():
                for number in range(3):
                    yield str(number)

            return StreamingResponse(chunks())

        layer = Middleware(SessionMiddleware, secret_key=SECRET, pool=store.pool)
        visitor = Visitor(starlette(Route("/", endpoint), Route("/count", count), layers=[layer]))
        answer = await visitor.get("/")

        assert (answer.body, answer.cookie) == (b"012", "issued")
        assert (await visitor.get("/count")).body == b"2"

    @pytest.mark.parametrize("store", STORES)
    async def test_save_within_a_stream(self, memcached, store):
        """After the head, save() stores at once, and nothing is counted twice."""
        store = STORES[store](memcached)

        async def endpoint(request: Request) -> StreamingResponse:
            session = session_of(request)
            session.increment("n")

            async def chunks():
                for _ in range(3):
                    session.increment("n")
                    await session.save()
                    yield "."

            return StreamingResponse(chunks())

        async def background(request: Request) -> PlainTextResponse:
            session = session_of(request)

            async def work() -> None:
                session.increment("n")
                await session.save()

            return PlainTextResponse("", background=BackgroundTask(work))

        layer = Middleware(SessionMiddleware, secret_key=SECRET, pool=store.pool)
        routes = [Route("/", endpoint), Route("/count", count), Route("/background", background)]
        visitor = Visitor(starlette(*routes, layers=[layer]))

        assert (await visitor.get("/count")).body == b"1"
        await visitor.get("/")
        assert (await visitor.get("/count")).body == b"6"
        await visitor.get("/background")
        assert (await visitor.get("/count")).body == b"8"

    async def test_beginning_a_session_within_a_stream_is_an_error(self):
        """No cookie could be set any more; the exception says when it has to be done."""

        async def endpoint(request: Request) -> StreamingResponse:
            async def chunks():
                request.session["k"] = "v"
                await session_of(request).save()
                yield "never"

            return StreamingResponse(chunks())

        answer = await Visitor(starlette(Route("/", endpoint))).get("/")

        assert (answer.status, answer.body) == (200, b"")
        assert isinstance(answer.error, RuntimeError)

    async def test_a_failing_save_within_a_stream_breaks_it_off(self):
        """A 503 is not possible any more: the exception goes to the server, which ends the connection."""
        store = InProcess(None)

        async def app(scope, receive, send):
            scope["session"].increment("n")
            await send({"type": "http.response.start", "status": 200, "headers": []})
            store.stop()
            scope["session"].increment("n")
            await scope["session"].save()

        middleware = SessionMiddleware(app, secret_key=SECRET, pool=store.pool)
        store.attach(middleware)
        answer = await Visitor(middleware).get("/")

        assert (answer.status, answer.body) == (200, b"")
        assert isinstance(answer.error, PoolUnavailable)

    async def test_changes_after_the_head_without_save_are_lost(self):
        """As everywhere: the response has left."""

        async def endpoint(request: Request) -> StreamingResponse:
            async def chunks():
                yield "x"
                session_of(request).increment("n")

            return StreamingResponse(chunks())

        visitor = Visitor(starlette(Route("/", endpoint), Route("/count", count)))
        await visitor.get("/count")
        await visitor.get("/")

        assert (await visitor.get("/count")).body == b"2"


class TestWebSockets:
    """The head of a WebSocket is its accept."""

    @staticmethod
    def visitor(endpoint, store=None):
        layers = [Middleware(SessionMiddleware, secret_key=SECRET, pool=store.pool if store else POOL)]
        return Visitor(starlette(Route("/count", count), WebSocketRoute("/ws", endpoint), layers=layers))

    @pytest.mark.parametrize("store", STORES)
    async def test_accept_sets_the_cookie(self, memcached, store):
        """What the handler did before it is saved."""

        async def endpoint(websocket):
            session_of(websocket).increment("n")
            await websocket.accept(headers=[(b"x-own", b"1")])
            await websocket.close()

        visitor = self.visitor(endpoint, STORES[store](memcached))
        async with Conversation(visitor, "/ws") as conversation:
            accepted = await conversation.heard()
        headers = dict(accepted["headers"])

        assert accepted["type"] == "websocket.accept"
        assert (headers[b"x-own"], headers[b"vary"]) == (b"1", b"Cookie")
        assert list(visitor.cookies) == ["__Host-session"]
        assert (await visitor.get("/count")).body == b"2"

    @pytest.mark.parametrize("store", STORES)
    async def test_save_in_the_conversation(self, memcached, store):
        """Each save() stores what came since the last one, once."""

        async def endpoint(websocket):
            session = session_of(websocket)
            session.increment("n")
            await websocket.accept()
            async for _ in websocket.iter_text():
                session.increment("n")
                await session.save()
                await websocket.send_text(str(session["n"]))

        visitor = self.visitor(endpoint, STORES[store](memcached))
        await visitor.get("/count")
        told = []
        async with Conversation(visitor, "/ws") as conversation:
            await conversation.heard()
            for _ in range(3):
                conversation.say("more")
                told.append((await conversation.heard())["text"])

        assert told == ["3", "4", "5"]
        assert (await visitor.get("/count")).body == b"6"

    async def test_a_refused_websocket_saves(self):
        """Closed before it was accepted: what needs no cookie is saved."""

        async def endpoint(websocket):
            session_of(websocket).increment("n")
            await websocket.close()

        visitor = self.visitor(endpoint)
        await visitor.get("/count")
        async with Conversation(visitor, "/ws") as conversation:
            refused = await conversation.heard()

        assert refused["type"] == "websocket.close"
        assert (await visitor.get("/count")).body == b"3"

    async def test_a_refusal_with_a_response_saves(self):
        """The denial response of ASGI is a response as any other."""

        async def app(scope, receive, send):
            scope["session"]["k"] = "v"
            await send({"type": "websocket.http.response.start", "status": 403, "headers": []})
            await send({"type": "websocket.http.response.body", "body": b"no"})

        sent = []

        async def send(message):
            sent.append(message)

        scope = http_scope("/ws", [], "wss", "shop.example") | {"type": "websocket"}
        await SessionMiddleware(app, secret_key=SECRET, pool=POOL)(scope, None, send)

        assert [message["type"] for message in sent] == [
            "websocket.http.response.start",
            "websocket.http.response.body",
        ]
        assert b"set-cookie" in dict(sent[0]["headers"])

    @pytest.mark.parametrize("when", ["load", "commit"])
    async def test_an_outage_closes_it(self, when):
        """Try again later (1013)."""
        store = InProcess(None)
        accepted = []

        async def app(scope, receive, send):
            if scope["type"] == "http":
                scope["session"]["k"] = 1
                await send({"type": "http.response.start", "status": 200, "headers": []})
                return
            scope["session"]["k"] = 2
            store.stop()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": "hello"})
            accepted.append(True)

        middleware = SessionMiddleware(app, secret_key=SECRET, pool=store.pool)
        store.attach(middleware)
        visitor = Visitor(middleware)
        await visitor.get("/")
        if when == "load":
            store.stop()
        sent = []

        async def send(message):
            sent.append(message)

        [(name, value)] = visitor.cookies.items()
        headers = [(b"cookie", f"{name}={value}".encode())]
        await middleware(http_scope("/", headers, "wss", "shop.example") | {"type": "websocket"}, None, send)

        assert [(message["type"], message.get("code")) for message in sent] == [("websocket.close", 1013)]
        assert accepted == ([] if when == "load" else [True])


class TestLifespan:
    """What starts and ends with the server."""

    async def test_shutdown_closes_the_connections(self, memcached):
        """The node sees them go."""
        node = memcached()
        layers = [Middleware(SessionMiddleware, secret_key=SECRET, pool=Pool(node.address))]
        app = starlette(Route("/", count), layers=layers)
        await Visitor(app).get("/")
        await until(lambda: node.stats()["curr_connections"] == "2")
        words = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

        async def receive():
            return words.pop(0)

        async def send(message):
            assert message["type"].endswith(".complete")

        await app({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)

        await until(lambda: node.stats()["curr_connections"] == "1")

    @pytest.mark.parametrize(
        ("words", "order"),
        [
            (["startup.complete", "shutdown.complete"], ["met", "startup.complete", "closed", "shutdown.complete"]),
            (["startup.complete", "shutdown.failed"], ["met", "startup.complete", "closed", "shutdown.failed"]),
            (["startup.failed"], ["startup.failed"]),
        ],
    )
    async def test_the_nodes_are_met_first_and_left_last(self, words, order):
        """Before the server takes requests, and before it may end the loop."""
        seen = []

        class Client(MemoryClient):
            async def greet(self) -> None:
                seen.append("met")

            async def aclose(self) -> None:
                seen.append("closed")

        async def app(scope, receive, send):
            for word in words:
                await send({"type": f"lifespan.{word}"})

        async def send(message):
            seen.append(message["type"].removeprefix("lifespan."))

        middleware = SessionMiddleware(app, secret_key=SECRET, pool=POOL)
        middleware._client = Client(POOL)
        await middleware({"type": "lifespan"}, None, send)

        assert seen == order

    async def test_other_kinds_of_scopes_pass_through(self):
        """Whatever ASGI may bring."""
        seen = []

        async def app(scope, receive, send):
            seen.append(scope)

        await SessionMiddleware(app, secret_key=SECRET, pool=POOL)({"type": "mqtt"}, None, None)

        assert seen == [{"type": "mqtt"}]

    def test_event_loops_come_and_go(self, memcached):
        """The same application in one loop after another, as test clients do it."""
        store = STORES["memcached"](memcached)
        app = web_server(store, "starlette")
        visitor = Visitor(app)
        numbers = [asyncio.run(visitor.get("/increment")).json for _ in range(3)]

        assert numbers == [1, 2, 3]


class TestTasks:
    """Several tasks of one request on one session."""

    @pytest.mark.parametrize("store", STORES)
    async def test_saves_and_modifications_at_once(self, memcached, store):
        """They go one after the other; nothing is lost, nothing counted twice."""
        store = STORES[store](memcached)

        async def endpoint(request: Request) -> JSONResponse:
            session = session_of(request)

            async def worker(name: str) -> None:
                session.increment("n")
                await session.save()
                session[name] = True
                session.increment("n")
                await session.modify("m", lambda m: m + 1, 0)
                session.increment("n")
                await session.save()

            await asyncio.gather(*(worker(f"w{number}") for number in range(5)))
            session.increment("n")
            return JSONResponse("done")

        async def get(request: Request) -> JSONResponse:
            return JSONResponse(dict(request.session))

        layer = Middleware(SessionMiddleware, secret_key=SECRET, pool=store.pool)
        visitor = Visitor(starlette(Route("/", endpoint), Route("/get", get), layers=[layer]))
        await visitor.get("/")
        first = (await visitor.get("/get")).json
        await visitor.get("/")

        assert first == {"n": 16, "m": 5, **{f"w{number}": True for number in range(5)}}
        assert (await visitor.get("/get")).json["n"] == 32

    @pytest.mark.parametrize("moment", range(12))
    async def test_a_handler_that_gives_up_waiting(self, memcached, moment):
        """save() is cancelled by the handler's own time-out, at any moment: the commit waits, and counts once."""
        store = STORES["memcached"](memcached)

        async def endpoint(request: Request) -> PlainTextResponse:
            session = session_of(request)
            session.increment("n")
            if "slow" in request.query_params:
                saving = asyncio.ensure_future(session.save())
                for _ in range(moment):
                    await asyncio.sleep(0)
                saving.cancel()
                await asyncio.wait({saving})
            return PlainTextResponse(str(session["n"]))

        layer = Middleware(SessionMiddleware, secret_key=SECRET, pool=store.pool)
        visitor = Visitor(starlette(Route("/", endpoint), layers=[layer]))
        await visitor.get("/")
        await visitor.get("/?slow")

        assert (await visitor.get("/")).body == b"3"
