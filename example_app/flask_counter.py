"""The visit counter in Flask, for the sessions of the one in Starlette: whoever comes to both is counted on.

    gunicorn "example_app.flask_counter:create_app()"

Both need the same pool and the same secret, and nothing else that they agree on.
"""

import os
import sys
from ipaddress import ip_address

from flask import Flask, Response, request

from memsession.cookies import Cookie
from memsession.demo.counter import printed_array
from memsession.demo.settings import Settings, SettingsError
from memsession.flask import MemSession, session


def create_app(settings: Settings | None = None) -> Flask:
    """Return the application, with settings from the environment unless given. Ends the process if they are wrong."""
    if settings is None:
        try:
            settings = Settings.from_environment(os.environ)
        except SettingsError as error:
            sys.exit(f"The visit counter cannot start: {error}")
    told = settings
    app = Flask(__name__)
    MemSession(app, secret_key=told.secret_key, pool=told.pool, cookie=Cookie(name=told.cookie))

    @app.get("/")
    @app.get("/session.php")
    def counter() -> Response:
        """Count this visit, and tell how many there were before."""
        earlier = session.increment("visit") - 1
        lines = [
            f"This server has seen you {earlier} times"
            if earlier
            else "memsession welcomes you as a first time visitor on this server",
            f"Server IP: {server_address()} ({told.name})",
            f"Client IP: {client_address(told)}",
            *printed_array(request.cookies),
        ]
        headers = {"X-Content-Type-Options": "nosniff"}
        return Response("\n".join(lines) + "\n", mimetype="text/plain", headers=headers)

    return app


def server_address() -> str:
    """Return the host and port that this request came in at."""
    came_in = request.environ.get("gunicorn.socket")
    host, port = came_in.getsockname()[:2] if came_in is not None else request.server or ("unknown", None)
    return f"{host}:{port}"


def client_address(settings: Settings) -> str:
    """Return the visitor's IP address, from the last entry of X-Forwarded-For if a trusted proxy sent it."""
    peer = request.remote_addr or "unknown"
    if not settings.trusts(peer):
        return peer
    try:
        return str(ip_address(request.headers.get("X-Forwarded-For", "").split(",")[-1].strip()))
    except ValueError:
        return peer
