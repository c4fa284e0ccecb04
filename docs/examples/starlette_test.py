import secrets

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from memsession.asgi import SessionMiddleware
from memsession.testing import session_transaction


async def greet(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"Hello {request.session['name']}")


def test_a_user_is_greeted() -> None:
    app = Starlette(
        routes=[Route("/", greet)],
        middleware=[Middleware(SessionMiddleware, secret_key=secrets.token_urlsafe(32), pool="memory://")],
    )
    with TestClient(app) as client:
        with session_transaction(client) as session:
            session["name"] = "Ada"

        assert client.get("/").text == "Hello Ada"
