"""The session in FastAPI, with its type: `CurrentSession` as a parameter of an endpoint or a dependency.

    app = FastAPI(middleware=[Middleware(SessionMiddleware, secret_key=SECRET, pool=pool)])

    @app.post("/cart/{item}")
    async def put(item: str, session: CurrentSession) -> int:
        session.setdefault("cart", []).append(item)
        return session.increment("puts")

It is the same object as `request.session`, in HTTP endpoints and in WebSockets, and leaves no trace in the OpenAPI
schema. In a plain `def` endpoint, which FastAPI runs in a thread, everything works but `save` and `modify`, which
have to be awaited: hand them to the event loop, `anyio.from_thread.run(session.save)` or
`anyio.from_thread.run(session.modify, "bid", raised, 100)`.

The code of a dependency after its `yield` may run after the response has left: change the session before, or save.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeAlias

from fastapi import Depends
from fastapi.requests import HTTPConnection

from memsession.asgi import session_of
from memsession.session import AsyncSession

__all__ = ["CurrentSession", "session_under"]


def session_under(scope_key: str) -> Callable[[HTTPConnection], Awaitable[AsyncSession]]:
    """A dependency that gives the session of the middleware with this `scope_key`.

    `AdminSession = Annotated[AsyncSession, Depends(session_under("admin_session"))]`

    The request fails with a `ConfigurationError` if that middleware is not there.
    """

    # Not a plain function, which FastAPI would call in a thread.
    async def current(connection: HTTPConnection) -> AsyncSession:
        return session_of(connection, scope_key)

    return current


CurrentSession: TypeAlias = Annotated[AsyncSession, Depends(session_under("session"))]
"""The session of the request, or of the WebSocket."""
