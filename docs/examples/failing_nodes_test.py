import secrets
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from memsession import Pool
from memsession.asgi import SessionMiddleware
from memsession.testing import FakePool


async def count(request: Request) -> PlainTextResponse:
    request.session["visits"] = request.session.get("visits", 0) + 1
    return PlainTextResponse(f"Visit {request.session['visits']}")


def create_app(pool: Pool) -> Starlette:
    sessions = Middleware(SessionMiddleware, secret_key=secrets.token_urlsafe(32), pool=pool)
    return Starlette(routes=[Route("/", count)], middleware=[sessions])


@pytest.fixture
def fake() -> Iterator[FakePool]:
    with FakePool(nodes=3, copies=2) as fake:
        yield fake


@pytest.fixture
def client(fake: FakePool) -> Iterator[TestClient]:
    with TestClient(create_app(fake.pool)) as client:
        yield client


@pytest.mark.parametrize("node", [0, 1, 2])
def test_a_visitor_does_not_notice_that_a_node_died(fake: FakePool, client: TestClient, node: int) -> None:
    assert client.get("/").text == "Visit 1"
    fake.stop(node)
    assert client.get("/").text == "Visit 2"


def test_one_home_comes_back_and_then_the_other_one_dies(fake: FakePool, client: TestClient) -> None:
    client.get("/")
    [session_id] = fake.sessions()
    first, second = fake.holders(session_id)

    fake.stop(first)
    fake.start(first)
    while first not in fake.holders(session_id):
        client.get("/")

    fake.stop(second)
    assert client.get("/").text != "Visit 1"


def test_without_any_node_there_is_an_error_and_no_empty_session(fake: FakePool, client: TestClient) -> None:
    client.get("/")
    fake.pause(*fake.nodes)
    assert client.get("/").status_code == 503
