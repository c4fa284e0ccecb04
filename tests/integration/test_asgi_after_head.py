"""Changes after the head of the response has left: saved by `save()`, otherwise a loud error, never silence."""

import asyncio
import logging

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from memsession.asgi import SessionMiddleware, session_of
from memsession.events import ChangesForgotten
from tests.web import SECRET, STORES, InProcess, Visitor, http_scope

CHANGES = {
    "item": lambda session, inner: session.update(k="new"),
    "deep inside, by the session": lambda session, inner: session["inner"].append(1),
    "deep inside, without the session": lambda session, inner: inner.append(1),
    "deletion": lambda session, inner: session.pop("inner"),
    "increment": lambda session, inner: session.increment("n"),
    "clear": lambda session, inner: session.clear(),
    "logout": lambda session, inner: session.invalidate(),
    "login": lambda session, inner: session.regenerate(),
    "unstorable": lambda session, inner: session.update(k=object()),
}
HARMLESS = {
    "nothing": lambda session, inner: None,
    "a look": lambda session, inner: (dict(session), session.get("k"), "k" in session, session.id),
    "the same again": lambda session, inner: session.update(k=session["k"]),
    "there and back": lambda session, inner: (inner.append(1), inner.pop()),
}


class Site:
    """An application whose `late` is done to the session after the head has left."""

    def __init__(self, where="stream", late=None, *, save=False, store=None, app_debug=False, **options):
        self.events = []
        self.late, self.save = late, save
        self.store = store or InProcess(None)
        options = {"observe": self.events.append, "secret_key": SECRET, "pool": self.store.pool} | options
        routes = [Route("/", getattr(self, where)), Route("/set", self.set), Route("/get", self.get)]
        self.app = Starlette(routes=routes, middleware=[Middleware(SessionMiddleware, **options)], debug=app_debug)

    async def set(self, request: Request) -> Response:
        request.session.update(k="old", inner=[])
        return PlainTextResponse()

    async def get(self, request: Request) -> Response:
        return JSONResponse(dict(request.session))

    async def stream(self, request: Request) -> Response:
        session = session_of(request)
        inner = session["inner"]

        async def chunks():
            yield "one"
            await self.change(session, inner)
            yield "two"

        return StreamingResponse(chunks())

    async def background(self, request: Request) -> Response:
        session = session_of(request)
        return PlainTextResponse("onetwo", background=BackgroundTask(self.change, session, session["inner"]))

    async def change(self, session, inner):
        self.late(session, inner)
        if self.save:
            await session.save()

    async def visit(self):
        visitor = Visitor(self.app)
        await visitor.get("/set")
        return visitor, await visitor.get("/")

    def told(self):
        return [event for event in self.events if isinstance(event, ChangesForgotten)]


@pytest.mark.parametrize("where", ["stream", "background"])
@pytest.mark.parametrize("what", CHANGES)
async def test_a_forgotten_change_is_an_error_in_debug(where, what):
    """It names the cure; the response is out already, whole, and the session is as it was."""
    site = Site(where, CHANGES[what], debug=True)
    visitor, answer = await site.visit()

    assert (answer.status, answer.body) == (200, b"onetwo")
    assert isinstance(answer.error, RuntimeError)
    assert "await session.save()" in str(answer.error)
    assert len(site.told()) == 1
    assert (await visitor.get("/get")).json == {"k": "old", "inner": []}


@pytest.mark.parametrize("where", ["stream", "background"])
@pytest.mark.parametrize("what", CHANGES)
async def test_a_forgotten_change_is_told_in_production(where, what, caplog):
    """Once, by an event that says which session it was; by default it is logged as an error."""
    site = Site(where, CHANGES[what])
    visitor, answer = await site.visit()
    [event] = site.told()
    [created] = [event for event in site.events if type(event).__name__ == "Created"]

    assert (answer.status, answer.body, answer.error) == (200, b"onetwo", None)
    assert event.session == created.session
    assert event.level == logging.ERROR
    assert (await visitor.get("/get")).json == {"k": "old", "inner": []}


@pytest.mark.parametrize("where", ["stream", "background"])
@pytest.mark.parametrize("what", HARMLESS)
async def test_what_changes_nothing_is_no_error(where, what):
    """Looking is free."""
    site = Site(where, HARMLESS[what], debug=True)
    _, answer = await site.visit()

    assert (answer.error, site.told()) == (None, [])


@pytest.mark.parametrize("where", ["stream", "background"])
@pytest.mark.parametrize("store", STORES)
async def test_save_keeps_it(memcached, where, store):
    """As the error says."""
    site = Site(where, CHANGES["item"], save=True, store=STORES[store](memcached), debug=True)
    visitor, answer = await site.visit()

    assert (answer.error, site.told()) == (None, [])
    assert (await visitor.get("/get")).json == {"k": "new", "inner": []}


@pytest.mark.parametrize(
    ("debug", "app_debug", "raises"),
    [(None, True, True), (None, False, False), (False, True, False), (True, False, True)],
)
async def test_debug_is_the_applications_unless_it_is_said(debug, app_debug, raises):
    """Starlette's and FastAPI's `debug` flag."""
    _, answer = await Site(late=CHANGES["item"], debug=debug, app_debug=app_debug).visit()

    assert isinstance(answer.error, RuntimeError) == raises


@pytest.mark.parametrize("debug", [True, False])
async def test_the_debug_flag_of_fastapi_and_of_nobody(debug):
    """Bare ASGI has none, which is production."""

    async def endpoint(request: Request) -> Response:
        return PlainTextResponse(background=BackgroundTask(request.session.update, k="v"))

    fast = FastAPI(debug=debug, middleware=[Middleware(SessionMiddleware, secret_key=SECRET, pool="memory://")])
    fast.router.routes.append(Route("/", endpoint))

    async def bare(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        scope["session"]["k"] = "v"

    assert isinstance((await Visitor(fast).get("/")).error, RuntimeError) == debug
    assert (await Visitor(SessionMiddleware(bare, SECRET, pool="memory://")).get("/")).error is None


async def test_an_exception_of_the_application_is_not_hidden():
    """Its own comes out; the change is told all the same."""

    def fails(session, inner):
        session["k"] = "new"
        raise ZeroDivisionError

    site = Site(late=fails, debug=True)
    _, answer = await site.visit()

    assert isinstance(answer.error, ZeroDivisionError)
    assert len(site.told()) == 1


async def test_a_visitor_who_hangs_up_within_the_stream():
    """Cancelled: the cancellation comes out, the change is told."""
    reached = asyncio.Event()

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        scope["session"]["k"] = "new"
        reached.set()
        await asyncio.Event().wait()

    events = []
    middleware = SessionMiddleware(app, SECRET, pool="memory://", observe=events.append, debug=True)

    async def send(message):
        pass

    task = asyncio.ensure_future(middleware(http_scope("/", [], "https", "shop.example"), None, send))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert [type(event) for event in events] == [ChangesForgotten]


@pytest.mark.parametrize("layers", [1, 3])
async def test_a_layer_outside_that_comes_too_late(layers):
    """Middleware around ours that writes when the response has passed: seen as well."""

    class Late(BaseHTTPMiddleware):
        async def dispatch(self, request, call_next):
            response = await call_next(request)
            request.session["k"] = "new"
            return response

    class Passing(BaseHTTPMiddleware):
        async def dispatch(self, request, call_next):
            return await call_next(request)

    async def endpoint(request: Request) -> Response:
        return PlainTextResponse("hello")

    events = []
    ours = Middleware(SessionMiddleware, secret_key=SECRET, pool="memory://", observe=events.append)
    around = [Middleware(Passing)] * (layers - 1)
    app = Starlette(routes=[Route("/", endpoint)], middleware=[*around, Middleware(Late), ours])
    answer = await Visitor(app).get("/")

    assert (answer.status, answer.error) == (200, None)
    assert [type(event) for event in events] == [ChangesForgotten]


async def test_a_refused_response_is_not_reported_as_forgotten():
    """The nodes are down: the visitor got a 503, and the event of the failed save is enough."""

    async def app(scope, receive, send):
        scope["session"]["k"] = "new"
        store.stop()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    store, events = InProcess(None), []
    middleware = SessionMiddleware(app, SECRET, pool=store.pool, observe=events.append, debug=True)
    store.attach(middleware)
    answer = await Visitor(middleware).get("/")

    assert (answer.status, answer.error) == (503, None)
    assert [event for event in events if isinstance(event, ChangesForgotten)] == []


async def test_a_change_while_the_commit_is_under_way_is_told():
    """Another task of the request counts on while the head waits for the nodes: too late for this commit."""
    site = Site("background")
    reached, go = asyncio.Event(), asyncio.Event()
    visitor = Visitor(site.app)
    await visitor.get("/set")
    middleware = next(layer for layer in layers(site.app) if isinstance(layer, SessionMiddleware))
    run = middleware._client.run

    async def slow(plan, *, deadline=None):
        result = await run(plan, deadline=deadline)
        reached.set()
        await go.wait()
        return result

    async def count(request: Request) -> Response:
        session = session_of(request)
        session.pop("inner", None)
        middleware._client.run = slow

        async def later():
            await reached.wait()
            session.increment("n")
            go.set()

        request.state.task = asyncio.create_task(later())
        return PlainTextResponse()

    site.app.router.routes.append(Route("/count", count))
    await visitor.get("/count")
    middleware._client.run = run

    assert len([event for event in site.events if isinstance(event, ChangesForgotten)]) == 1


def layers(app):
    layer = app.middleware_stack
    while layer is not None:
        yield layer
        layer = getattr(layer, "app", None)
