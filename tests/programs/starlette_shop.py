"""A Starlette application under uvicorn, with the pages of `flask_shop`. POOL names the memcached servers."""

import asyncio
import os

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from memsession import Exclusive
from memsession.asgi import SessionMiddleware
from tests.web import SECRET


async def visit(request):
    return PlainTextResponse(str(request.session.increment("n")))


async def show(request):
    return JSONResponse(dict(request.session))


async def put(request):
    request.session.update(request.query_params)
    return PlainTextResponse("done")


async def plain(request):
    request.session["plain"] = request.session.get("plain", 0) + 1
    return PlainTextResponse("done")


async def slow(request):
    request.session["slow"] = 1
    await asyncio.sleep(float(request.query_params["s"]))
    await request.session.save()
    request.session["slower"] = 2
    return PlainTextResponse("done")


async def logout(request):
    request.session.invalidate()
    return PlainTextResponse("done")


app = Starlette(
    routes=[
        Route("/visit", visit),
        Route("/show", show),
        Route("/set", put),
        Route("/plain", plain),
        Route("/slow", slow),
        Route("/logout", logout),
    ],
    middleware=[
        Middleware(
            SessionMiddleware, secret_key=SECRET, pool=os.environ["POOL"], exclusive=Exclusive(paths=["/plain"])
        )
    ],
)
