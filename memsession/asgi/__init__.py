"""Session middleware for ASGI applications: Starlette, FastAPI, and bare ASGI.

    middleware   the door: a session for each HTTP request and each WebSocket
    response     an HTTP response on its way out, the commit before its head
    websocket    the same for a WebSocket, whose changes are saved when it closes
    layers       the middleware within an application, to be reloaded
    drop_in      the options of Starlette's own SessionMiddleware, in memsession's terms

The door, and nothing more: what it knows about sessions is in `memsession.lifecycle`.
"""

from memsession.asgi.drop_in import AsgiOptions
from memsession.asgi.layers import reload
from memsession.asgi.middleware import SessionMiddleware, session_of

__all__ = ["AsgiOptions", "SessionMiddleware", "reload", "session_of"]
