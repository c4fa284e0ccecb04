"""The page `/pool`: the visitor's counter, the servers, and where his session's copies are, for people to look at.

    GET  /pool           the page, plain files of the folder `static`
    GET  /pool/state     what it shows, as JSON; it asks once a second
    POST /pool/control   its buttons, where a demo on this machine obeys them

None of these has a session: looking must neither count as a visit nor repair copies, and the page must come up, and
its buttons must work, while all memcached are stopped. Whose session it is, the cookie alone tells. What the page
visits is `/session.php`, like everybody else.
"""

import json
from pathlib import Path
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from memsession.cookies import Cookie, CookieSigner
from memsession.demo.page_control import Door, Press, Refused, check_sender, is_on_this_machine
from memsession.demo.pool_view import PoolView
from memsession.demo.settings import Settings
from memsession.identity import SessionId
from memsession.secret import secret_keys

ROOT: Final = "/pool"
BODY_BYTES_MAX: Final = 1_000

_FOLDER: Final = Path(__file__).with_name("static")
_INDEX: Final = "pool.html"
_KINDS: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Page:
    """The page of one web server.

    Raises:
        ConfigurationError: the secret key is missing or weak.
    """

    def __init__(self, settings: Settings) -> None:
        keys = secret_keys(settings.secret_key)
        self._settings = settings
        self._signer = CookieSigner(Cookie(name=settings.cookie), keys)
        self._view = PoolView(settings.pool, keys)
        self._door = None if settings.control is None else Door(settings.control, keys[0])
        self._files = {file.name: file.read_bytes() for file in _FOLDER.iterdir() if file.suffix in _KINDS}

    @property
    def routes(self) -> list[Route]:
        """Where its parts are."""
        return [
            Route(ROOT, self._index),
            Route(f"{ROOT}/static/{{name}}", self._file),
            Route(f"{ROOT}/state", self._state),
            Route(f"{ROOT}/control", self._control, methods=["POST"]),
        ]

    async def _index(self, _: Request) -> Response:
        return self._sent(_INDEX)

    async def _file(self, request: Request) -> Response:
        name = request.path_params["name"]
        return self._sent(name) if name in self._files else _said(404, error="There is no such file.")

    def _sent(self, name: str) -> Response:
        return Response(self._files[name], media_type=_KINDS[Path(name).suffix], headers=_HEADERS)

    async def _state(self, request: Request) -> Response:
        id = self._id(request)  # noqa: A001
        door = self._door if is_on_this_machine(request) else None
        return _said(
            200,
            server=self._settings.name,
            hint=self._settings.hint,
            **await self._view.look(id),
            control=None
            if door is None
            else {"token": "" if id is None else door.token(id), "servers": await door.servers()},
        )

    async def _control(self, request: Request) -> Response:
        door = self._door
        if door is None:
            return _said(404, error="There are no buttons here.")
        try:
            check_sender(request)
            press = Press.read(await _body(request))
            door.check_token(self._id(request), press)
            await door.check(press, asked=self._settings.name)
            return _said(200, said=await door.tell(press))
        except Refused as refused:
            return _said(refused.status, error=str(refused))

    def _id(self, request: Request) -> SessionId | None:
        cookies = [value for name, value in request.scope["headers"] if name == b"cookie"]
        return self._signer.find(cookies, https=request.url.scheme == "https").id


async def _body(request: Request) -> Any:
    """The JSON that was sent.

    Raises:
        Refused: it is none, or too much.
    """
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > BODY_BYTES_MAX:
            raise Refused(413, "That is more than a button sends.")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(400, "That is no JSON.") from None


def _said(status: int, **content: Any) -> JSONResponse:
    return JSONResponse(content, status, headers=_HEADERS)
