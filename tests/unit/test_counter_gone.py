"""The visit counter after its process has hung: what the proxy gave up on is not counted once more."""

import secrets

import httpx

from memsession import Pool
from memsession.demo.counter import create_app
from memsession.demo.settings import Settings


async def test_a_visit_whose_visitor_is_gone_is_not_counted():
    """The request is still there to be read, and so is the end of its connection."""
    app = create_app(Settings(secret_key=secrets.token_urlsafe(32), pool=Pool("memory://")))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as browser:
        for _ in range(2):
            await browser.get("/")
        request = browser.build_request("GET", "/", headers={"cookie": f"session={browser.cookies['session']}"})

        async def receive():
            return {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        sent = []
        scope = {
            "type": "http",
            "method": "GET",
            "scheme": "http",
            "http_version": "1.1",
            "path": "/",
            "raw_path": b"/",
            "query_string": b"",
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "server": ("localhost", 80),
            "client": ("127.0.0.1", 5000),
        }
        await app(scope, receive, send)

        assert (await browser.get("/")).text.startswith("This server has seen you 2 times")
    assert sent[0]["status"] == 408
