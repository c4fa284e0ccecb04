"""`CurrentSession`: the session as a parameter of FastAPI endpoints, in the event loop, in threads, in WebSockets."""

from collections.abc import AsyncIterator
from typing import Annotated

import anyio.from_thread
import pytest
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, Request, WebSocket
from starlette.middleware import Middleware

from memsession import AsyncSession
from memsession.asgi import SessionMiddleware
from memsession.errors import ConfigurationError
from memsession.events import ChangesForgotten
from memsession.fastapi import CurrentSession, session_under
from tests.web import SECRET, STORES, Conversation, InProcess, Visitor

AdminSession = Annotated[AsyncSession, Depends(session_under("admin_session"))]


@pytest.fixture(params=STORES)
def store(request, memcached):
    return STORES[request.param](memcached)


def raised(bid: int) -> int:
    return bid + 10


def fastapi(store, **options):
    return FastAPI(middleware=[Middleware(SessionMiddleware, secret_key=SECRET, pool=store.pool, **options)])


async def test_in_async_def_and_def(store):
    """The same session; it is the object that `request.session` is, and knows its type."""
    app = fastapi(store)

    @app.get("/loop")
    async def in_the_loop(request: Request, session: CurrentSession) -> list:
        return [session.increment("n"), session is request.session, type(session) is AsyncSession]

    @app.get("/thread")
    def in_a_thread(request: Request, session: CurrentSession) -> list:
        return [session.increment("n"), session is request.session, type(session) is AsyncSession]

    visitor = Visitor(app)
    answers = [await visitor.get(path) for path in ("/loop", "/thread", "/loop")]

    assert [answer.json for answer in answers] == [[1, True, True], [2, True, True], [3, True, True]]
    assert [answer.cookie for answer in answers] == ["issued", "kept", "kept"]
    assert [answer.header("vary") for answer in answers] == [["Cookie"]] * 3


async def test_save_and_modify_from_a_thread(store):
    """Handed to the event loop, as the docs say."""
    app = fastapi(store)

    @app.get("/bid")
    def bid(session: CurrentSession) -> int:
        return anyio.from_thread.run(session.modify, "bid", raised, 100)

    @app.get("/save")
    def save(session: CurrentSession) -> dict:
        session["k"] = "v"
        anyio.from_thread.run(session.save)
        return {**session}

    visitor = Visitor(app)

    assert [(await visitor.get("/bid")).json for _ in range(3)] == [110, 120, 130]
    assert (await visitor.get("/save")).json == {"bid": 130, "k": "v"}


async def test_in_dependencies_and_routers(store):
    """A dependency of a dependency gets the same session."""
    app = fastapi(store)

    def user(session: CurrentSession) -> str | None:
        return session.get("user_id")

    router = APIRouter(prefix="/api")

    @router.get("/me")
    async def me(name: Annotated[str | None, Depends(user)], session: CurrentSession) -> list:
        return [name, session.get("user_id")]

    @router.get("/login")
    def login(session: CurrentSession) -> None:
        session["user_id"] = "anna"

    app.include_router(router)
    visitor = Visitor(app)

    assert (await visitor.get("/api/me")).json == [None, None]
    assert (await visitor.get("/api/login")).cookie == "issued"
    assert (await visitor.get("/api/me")).json == ["anna", "anna"]


async def test_in_a_websocket(store):
    """Saved when it closes."""
    app = fastapi(store)

    @app.get("/count")
    def count(session: CurrentSession) -> int:
        return session.increment("n")

    @app.websocket("/ws")
    async def socket(websocket: WebSocket, session: CurrentSession) -> None:
        await websocket.accept()
        session.increment("n")
        await websocket.send_json(session["n"])
        await websocket.close()

    visitor = Visitor(app)
    await visitor.get("/count")
    async with Conversation(visitor, "/ws") as conversation:
        heard = [await conversation.heard() for _ in range(3)]

    assert heard[1]["text"] == "2"
    assert (await visitor.get("/count")).json == 3


async def test_the_schema_does_not_know_of_it():
    """Neither parameters nor bodies nor models appear."""
    app = fastapi(InProcess(None))

    @app.post("/with")
    async def with_session(item: int, session: CurrentSession, admin: AdminSession) -> None: ...

    @app.post("/without")
    async def without_session(item: int) -> None: ...

    paths = app.openapi()["paths"]
    told = [
        {key: value for key, value in paths[path]["post"].items() if key in ("parameters", "requestBody", "security")}
        for path in ("/with", "/without")
    ]

    assert told[0] == told[1]
    assert [parameter["name"] for parameter in told[0]["parameters"]] == ["item"]
    assert "AsyncSession" not in str(app.openapi())


async def test_two_sessions(store):
    """Each by its scope key."""
    app = fastapi(store)
    app.add_middleware(
        SessionMiddleware, secret_key=SECRET, pool=store.pool, session_cookie="admin", scope_key="admin_session"
    )

    @app.get("/")
    async def both(session: CurrentSession, admin: AdminSession, which: str) -> list:
        (admin if which == "admin" else session).increment("n")
        return [session.get("n"), admin.get("n")]

    visitor = Visitor(app)

    assert [(await visitor.get(f"/?which={which}")).json for which in ("shop", "admin", "shop")] == [
        [1, None],
        [1, 1],
        [2, 1],
    ]
    assert sorted(visitor.cookies) == ["__Host-admin", "__Host-session"]


async def test_without_the_middleware_it_says_so():
    """With the cure."""
    app = FastAPI()

    @app.get("/")
    async def endpoint(session: CurrentSession) -> None: ...

    answer = await Visitor(app).get("/")

    assert isinstance(answer.error, ConfigurationError)
    assert "add it" in str(answer.error)


@pytest.mark.parametrize("saves", [True, False])
async def test_background_tasks(store, saves):
    """They run after the response: `save()`, or it is told."""
    events = []
    app = fastapi(store, observe=events.append)

    @app.get("/")
    async def endpoint(session: CurrentSession, tasks: BackgroundTasks) -> dict:
        async def work() -> None:
            session["done"] = True
            if saves:
                await session.save()

        shown = {**session}
        session["begun"] = True
        tasks.add_task(work)
        return shown

    visitor = Visitor(app)
    await visitor.get("/")
    told = [event for event in events if isinstance(event, ChangesForgotten)]
    shown = (await visitor.get("/")).json

    assert shown == ({"begun": True, "done": True} if saves else {"begun": True})
    assert len(told) == (0 if saves else 1)


@pytest.mark.parametrize("change", ["before the yield", "after it, saved", "after it, forgotten"])
async def test_a_dependency_with_a_yield(store, change):
    """What comes after its `yield` may be after the response: there it has to save."""
    events = []
    app = fastapi(store, observe=events.append, debug=True)

    async def visits(session: CurrentSession) -> AsyncIterator[int]:
        if change == "before the yield":
            session.increment("n")
        yield session.get("n", 0)
        if change != "before the yield":
            session.increment("n")
        if change == "after it, saved":
            await session.save()

    @app.get("/")
    async def endpoint(number: Annotated[int, Depends(visits)], session: CurrentSession) -> int:
        session["here"] = True
        return number

    visitor = Visitor(app)
    answers = [await visitor.get("/") for _ in range(3)]

    forgotten = change == "after it, forgotten"
    expected = {"before the yield": [1, 2, 3], "after it, saved": [0, 1, 2], "after it, forgotten": [0, 0, 0]}
    assert [answer.json for answer in answers] == expected[change]
    assert [isinstance(answer.error, RuntimeError) for answer in answers] == [forgotten] * 3
    assert len([event for event in events if isinstance(event, ChangesForgotten)]) == (3 if forgotten else 0)
