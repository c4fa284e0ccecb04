"""The visit counter in Flask beside the one in Starlette: one session for both, and the same page."""

import re
import secrets
from contextlib import asynccontextmanager
from ipaddress import ip_network

import httpx
import pytest

from example_app.app import create_app as starlette_counter
from example_app.flask_counter import create_app as flask_counter
from memsession import Pool
from memsession.demo.settings import Settings

SECRET = secrets.token_urlsafe(32)


@pytest.fixture
def settings(memcached):
    pool = Pool(memcached().address, memcached().address)
    return Settings(secret_key=SECRET, pool=pool, name="web", trusted_proxies=(ip_network("127.0.0.1"),))


@asynccontextmanager
async def starlette_browser(settings):
    transport = httpx.ASGITransport(starlette_counter(settings), client=("127.0.0.1", 5000))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as browser:
        yield browser


async def test_one_visitor_is_counted_by_both(settings):
    """In turn, whoever gave the cookie; it is never set anew."""
    flask = flask_counter(settings).test_client(use_cookies=False)
    async with starlette_browser(settings) as starlette:
        for first in (flask.get("/"), await starlette.get("/")):
            cookie = first.headers["set-cookie"].partition(";")[0]
            starlette.cookies.clear()
            pages = []
            for _ in range(3):
                pages += [
                    flask.get("/session.php", headers={"cookie": cookie}),
                    await starlette.get("/session.php", headers={"cookie": cookie}),
                ]

            assert [page.text.splitlines()[0] for page in pages] == [
                f"This server has seen you {number} times" for number in range(1, 7)
            ]
            assert [page.headers.get("set-cookie") for page in pages] == [None] * 6


async def test_the_pages_are_alike(settings):
    """Line by line, but for the server's address; of whom a proxy names both believe the last one."""
    headers = {"cookie": "theme=dark", "x-forwarded-for": "1.2.3.4, 10.0.0.7"}
    ours = flask_counter(settings).test_client(use_cookies=False).get("/", headers=headers)
    async with starlette_browser(settings) as browser:
        theirs = await browser.get("/", headers=headers)

    def without_server(page):
        return [line for line in page.text.splitlines() if not line.startswith("Server IP")]

    assert without_server(ours) == without_server(theirs)
    assert "Client IP: 10.0.0.7" in ours.text
    assert re.search(r"^Server IP: localhost:\d+ \(web\)$", ours.text, re.M)
    for name in ("content-type", "x-content-type-options"):
        assert ours.headers[name] == theirs.headers[name]


@pytest.mark.parametrize(
    ("peer", "said", "shown"),
    [("10.9.9.9", "1.2.3.4", "10.9.9.9"), ("127.0.0.1", "nonsense", "127.0.0.1"), ("127.0.0.1", "", "127.0.0.1")],
)
def test_not_everybody_is_believed(settings, peer, said, shown):
    """Who is no proxy, and what is no address, is not."""
    browser = flask_counter(settings).test_client()
    page = browser.get("/", headers={"x-forwarded-for": said}, environ_base={"REMOTE_ADDR": peer})

    assert f"Client IP: {shown}\n" in page.text


def test_it_says_what_is_missing(monkeypatch):
    """One line, and no traceback."""
    for name in ("COUNTER_SECRET", "COUNTER_SECRET_FILE", "COUNTER_POOL"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(SystemExit, match=r"^The visit counter cannot start: neither COUNTER_SECRET"):
        flask_counter()
