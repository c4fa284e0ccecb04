"""What users write, for type checkers. This file is never run; `tests/unit/test_public_types.py` has it checked.

A line that has to be an error carries an ignore, and a strict checker complains about ignores that are not needed.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, TypedDict, assert_type

from fastapi import Depends, FastAPI, WebSocket
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from memsession import (
    AsyncSession,
    ConfigurationError,
    Cookie,
    Exclusive,
    Lifetime,
    LockLost,
    Pool,
    PoolUnavailable,
    Session,
    SessionBusy,
    SessionError,
    SessionTooLarge,
    UnfitValue,
    UnstorableValue,
    UpdateUnconfirmed,
)
from memsession.asgi import SessionMiddleware, session_of
from memsession.events import AnyEvent, Event, NodeEvent

SECRET = "..."


@dataclass
class Item:
    """A nested dataclass."""

    sku: str


@dataclass
class Cart:
    """A session as a dataclass."""

    items: list[Item]


class Typed(TypedDict, total=False):
    """A session as a TypedDict."""

    user: str


class Model(BaseModel):
    """A session as a pydantic model."""

    user: str = ""


async def handler(request: Request) -> PlainTextResponse:
    """A session as a handler uses it."""
    session = session_of(request)
    assert_type(session, AsyncSession)
    assert_type(session.id, str | None)
    assert_type(session.is_new, bool)
    assert_type(session.increment("visits"), int)
    assert_type(session.increment("visits", by=-1), int)
    assert_type(session["cart"], Any)
    assert_type(session.get("cart"), Any | None)
    assert_type(session.pop("cart", None), Any)
    assert_type(session.copy(), dict[str, Any])
    assert_type(session.fromkeys(["a"]), dict[str, Any])
    session.regenerate()
    session.invalidate()
    session.update(a=1)
    session.update({"a": 1}, b=2)
    session |= {"c": 3}
    as_dict: dict[str, Any] = session
    session.increment("visits", by=1.5)  # type: ignore[arg-type]
    session.rotate()  # type: ignore[attr-defined]
    session.user = "anna"  # type: ignore[attr-defined]
    try:
        await session.save()
        assert_type(await session.modify("total", lambda total: total + 1, default=0), Any)
    except UpdateUnconfirmed:
        raise
    except SessionTooLarge as problem:
        assert_type(problem.size, int)
        assert_type(problem.limit, int)
    except UnstorableValue as problem:
        assert_type(problem.path, str)
    except UnfitValue as problem:
        assert_type(problem.key, str)
    except (PoolUnavailable, LockLost, SessionBusy, ConfigurationError, SessionError):
        pass
    return PlainTextResponse(repr(as_dict))


async def more(request: Request) -> None:
    """What a session has beyond a dict."""
    session = session_of(request)
    assert_type(session.created_at, datetime | None)
    assert_type(session.last_seen, datetime | None)
    assert_type(session.expires_at, datetime | None)
    assert_type(session.ended, bool)
    assert_type(session.csrf_token(), str)
    assert_type(session.csrf_valid((await request.form()).get("token")), bool)
    assert_type(session.get_flashed(), list[tuple[str, Any]])
    assert_type(session.get_flashed("info", "error"), list[tuple[str, Any]])
    session.flash("saved")
    session.flash({"text": "saved"}, category="info")
    session.regenerate(reauthenticated=True)
    session.set_lifetime(absolute=timedelta(days=30))
    session.set_lifetime(idle=timedelta(days=14), absolute=timedelta(days=30), persistent=False)
    assert_type(session.as_(Cart), Cart)
    assert_type(session.as_(Cart).items, list[Item])
    assert_type(session.as_(Typed), Typed)
    assert_type(session.as_(Typed)["user"], str)
    assert_type(session.as_(Model).user, str)
    session.as_(Cart(items=[]))  # type: ignore[arg-type]
    session.regenerate(True)  # type: ignore[call-arg]
    session.set_lifetime(timedelta(days=30))  # type: ignore[call-arg]
    session.ended = True  # type: ignore[misc]


def blocking(session: Session) -> None:
    """The same in WSGI, with plain calls."""
    session.save()
    assert_type(session.modify("total", lambda total: total + 1, default=0), Any)
    assert_type(session.as_(Typed), Typed)
    assert_type(session.increment("visits"), int)
    awaited: AsyncSession = session  # type: ignore[assignment]
    del awaited


def observe(event: AnyEvent) -> None:
    """One function for what happens to sessions and to nodes."""
    if isinstance(event, Event):
        assert_type(event.session, str)
        assert_type(event.level, int)
    else:
        assert_type(event, NodeEvent)


starlette = Starlette(
    routes=[Route("/", handler)],
    middleware=[
        Middleware(
            SessionMiddleware,
            secret_key=SECRET,
            pool=Pool("10.0.0.94", "10.0.0.95", copies=2, budget=timedelta(seconds=1)),
            cookie=Cookie(name="sid", same_site="strict", max_age=timedelta(days=1)),
            lifetime=Lifetime(idle=timedelta(minutes=15), absolute=timedelta(hours=8)),
            rotate_on=["member"],
            on_outage="empty",
            vary="always",
            exclusive=Exclusive(wait=timedelta(seconds=5), on_timeout="read_only", paths=["/cart"], methods=["POST"]),
            observe=observe,
            debug=True,
        )
    ],
)
Middleware(SessionMiddleware, secret_key=[SECRET, b"old"], pool="memcached://a,b?copies=2")
Middleware(SessionMiddleware, secret_key=SECRET, coockie=Cookie())  # type: ignore[call-arg]
Middleware(SessionMiddleware, secret_key=SECRET, on_outage="panic")  # type: ignore[arg-type]
Middleware(SessionMiddleware, secret_key=SECRET, exclusive=True)  # type: ignore[arg-type]
Middleware(SessionMiddleware, secret_key=SECRET, vary="never")  # type: ignore[arg-type]
SessionMiddleware(None, secret_key=SECRET, lifetme=None)  # type: ignore[arg-type,call-arg]
Exclusive(on_timeout="wait")  # type: ignore[arg-type]
Exclusive(timedelta(seconds=1))  # type: ignore[call-arg]
Middleware(SessionMiddleware, secret_key=SECRET, lifetime=timedelta(minutes=30))  # type: ignore[arg-type]
Middleware(SessionMiddleware)  # type: ignore[call-arg]
Cookie(same_site="relaxed")  # type: ignore[arg-type]

wrapped = SessionMiddleware(starlette, secret_key=SECRET, pool=Pool("memory://"))
fastapi = FastAPI(middleware=[Middleware(SessionMiddleware, secret_key=SECRET)])
fastapi.add_middleware(SessionMiddleware, secret_key=SECRET, pool=Pool("memory://"))
fastapi.add_middleware(SessionMiddleware, secret_kee=SECRET)  # type: ignore[call-arg]


def current(connection: HTTPConnection) -> AsyncSession:
    """A dependency, for requests and WebSockets."""
    return session_of(connection)


@fastapi.get("/")
async def endpoint(session: Annotated[AsyncSession, Depends(current)]) -> int:
    """As FastAPI writes it."""
    return session.increment("visits")


@fastapi.websocket("/ws")
async def conversation(websocket: WebSocket) -> None:
    """A WebSocket has a session too."""
    assert_type(session_of(websocket), AsyncSession)
    await websocket.accept()
