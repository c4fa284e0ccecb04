from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from memsession.asgi import session_of


async def login(request: Request) -> Response:
    session = session_of(request)
    session["user_id"] = 42  # after you have checked the password; the ID is renewed by itself
    session.flash("Welcome back.")
    return RedirectResponse("/", status_code=303)


async def logout(request: Request) -> Response:
    session_of(request).invalidate()
    return RedirectResponse("/", status_code=303)
