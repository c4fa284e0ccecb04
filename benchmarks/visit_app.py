"""The visit counter, three times: without a session, with Starlette's cookie session, with memsession.

APP chooses; NODES names the memcached servers.
"""

import os

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware as CookieSessionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from memsession import Pool
from memsession.asgi import SessionMiddleware

SECRET = "benchmark-only-7d0f1b3a5c9e2846-not-a-secret"
KIND = os.environ["APP"]


async def without(request: Request) -> PlainTextResponse:
    return PlainTextResponse("This server has seen you\n")


async def assigning(request: Request) -> PlainTextResponse:
    session = request.session
    session["visit"] = session.get("visit", 0) + 1
    return PlainTextResponse(f"This server has seen you {session['visit']} times\n")


async def counting(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"This server has seen you {request.session.increment('visit')} times\n")


HANDLERS = {"none": without, "cookie": assigning, "memsession": counting, "assign": assigning}


def middleware() -> list[Middleware]:
    if KIND == "none":
        return []
    if KIND == "cookie":
        return [Middleware(CookieSessionMiddleware, secret_key=SECRET)]
    pool = Pool(*os.environ["NODES"].split(","), copies=2)
    return [Middleware(SessionMiddleware, secret_key=SECRET, pool=pool)]


app = Starlette(routes=[Route("/visit", HANDLERS[KIND])], middleware=middleware())
