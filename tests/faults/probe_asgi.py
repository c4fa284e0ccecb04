"""The probed application as a Starlette application, for uvicorn."""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from memsession.asgi import SessionMiddleware, session_of
from tests.faults.probe import MIDDLEWARE, SECRET, options, probe, stream

SIGNED = {"X-Worker": str(os.getpid())}


async def page(request: Request) -> Response:
    query = dict(request.query_params)
    if request.url.path == "/stream":
        return StreamingResponse(_pieces(session_of(request), query), headers=SIGNED)
    shown = await probe(request.url.path, query, lambda: session_of(request), asyncio.sleep)
    return JSONResponse(shown, headers=SIGNED)


async def _pieces(session: Any, query: dict[str, str]) -> AsyncIterator[bytes]:
    yield b"{"
    await stream(session, query, asyncio.sleep)
    yield b"}"


class Known(SessionMiddleware):
    """Starlette makes the middleware itself, and keeps it."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        MIDDLEWARE.append(self)


app = Starlette(
    routes=[Route("/{page}", page)],
    middleware=[Middleware(Known, secret_key=SECRET, **options())],
)
