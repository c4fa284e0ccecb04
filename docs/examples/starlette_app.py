import os

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from memsession import Pool
from memsession.asgi import SessionMiddleware, session_of


async def home(request: Request) -> PlainTextResponse:
    session = session_of(request)  # request.session, with its type
    visits = session.increment("visits")
    return PlainTextResponse(f"Visit {visits}")


pool = Pool(os.environ["MEMSESSION_POOL"])
app = Starlette(
    routes=[Route("/", home)],
    middleware=[Middleware(SessionMiddleware, secret_key=os.environ["SECRET_KEY"], pool=pool)],
)
