"""The visit counter: says how often its visitor was here, which web server answered, and what cookies it got.

    uvicorn --factory memsession.demo.counter:create_app

It prints what the articles' `session.php` prints, so the tests that they describe can be repeated step by step.
`/pool` is a page to look at while one does so; see `memsession.demo.page`.
"""

import os
import sys
from ipaddress import ip_address

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from memsession.asgi import SessionMiddleware, session_of
from memsession.cookies import Cookie
from memsession.demo.page import ROOT, Page
from memsession.demo.settings import Settings, SettingsError
from memsession.errors import ConfigurationError

SHOWN_WHOLE_MAX = 8
SHOWN_OTHERWISE = 4
"""So little of a session cookie helps nobody to guess the rest."""


def create_app(settings: Settings | None = None) -> Starlette:
    """Return the application, with settings from the environment unless given. Ends the process if they are wrong."""
    if settings is not None:
        return _app(settings)
    try:
        return _app(Settings.from_environment(os.environ))
    except (SettingsError, ConfigurationError) as error:
        sys.exit(f"The visit counter cannot start: {error}")


def _app(settings: Settings) -> Starlette:
    app = Starlette(
        routes=[Route("/", counter), Route("/session.php", counter), *Page(settings).routes],
        # The page must come up while no memcached does, so it has no session.
        middleware=[
            Middleware(
                SessionMiddleware,
                secret_key=settings.secret_key,
                pool=settings.pool,
                cookie=Cookie(name=settings.cookie),
                skip=[ROOT],
            )
        ],
    )
    app.state.settings = settings
    return app


async def counter(request: Request) -> PlainTextResponse:
    """Count this visit, and tell how many there were before."""
    if await request.is_disconnected():
        # This server hung, so the proxy has given up on it and asked another one, which has counted the visit.
        return PlainTextResponse("", 408)
    settings: Settings = request.app.state.settings
    earlier = session_of(request).increment("visit") - 1
    lines = [
        f"This server has seen you {earlier} times"
        if earlier
        else "memsession welcomes you as a first time visitor on this server",
        f"Server IP: {server_address(request)} ({settings.name})",
        f"Client IP: {client_address(request, settings)}",
        *printed_array(request.cookies),
    ]
    return PlainTextResponse("\n".join(lines) + "\n", headers={"X-Content-Type-Options": "nosniff"})


def server_address(request: Request) -> str:
    """Return the host and port that this request came in at; a unix socket has no port."""
    host, port = request.scope.get("server") or ("unknown", None)
    return host if port is None else f"{host}:{port}"


def client_address(request: Request, settings: Settings) -> str:
    """Return the visitor's IP address, from X-Forwarded-For if a trusted proxy sent it.

    Only the last entry counts: it is the proxy's own; what stands before it the visitor may have made up.
    """
    peer = request.client.host if request.client else "unknown"
    if not settings.trusts(peer):
        return peer
    entries = ",".join(request.headers.getlist("x-forwarded-for")).split(",")
    try:
        return str(ip_address(entries[-1].strip()))
    except ValueError:
        return peer


def printed_array(values: dict[str, str]) -> list[str]:
    """Return the lines in which PHP's print_r shows an array, each value shortened."""
    entries = [f"    [{visible(name)}] => {visible(shortened(value))}" for name, value in values.items()]
    return ["Array", "(", *entries, ")"]


def shortened(value: str) -> str:
    """Return `value`, or its beginning if it is long enough to be a secret."""
    return value if len(value) <= SHOWN_WHOLE_MAX else f"{value[:SHOWN_OTHERWISE]}…"


def visible(text: str) -> str:
    """Return `text` without the characters that a terminal would obey."""
    return "".join(character if character.isprintable() else "?" for character in text)
