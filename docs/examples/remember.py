import os
from datetime import timedelta

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from memsession import Lifetime
from memsession.asgi import SessionMiddleware, session_of


async def login(request: Request) -> PlainTextResponse:
    session = session_of(request)
    session["user_id"] = 42  # after you have checked the password
    if request.query_params.get("remember") == "yes":
        session.set_lifetime(idle=timedelta(days=14), absolute=timedelta(days=30))
    return PlainTextResponse("Welcome.")


app = Starlette(
    routes=[Route("/login", login, methods=["POST"])],
    middleware=[
        Middleware(
            SessionMiddleware,
            secret_key=os.environ["SECRET_KEY"],
            pool=os.environ["MEMSESSION_POOL"],
            lifetime=Lifetime(longest=timedelta(days=30)),
        )
    ],
)
