"""Requests as a WSGI server makes them, under the eyes of the standard library's validator of PEP 3333."""

import io
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

from tests.web import Answer


def environ_of(
    path: str, *, cookie: str = "", scheme: str = "https", host: str = "shop.example", method: str = "GET"
) -> dict[str, Any]:
    """The environment of a request."""
    path, _, query = path.partition("?")
    environ: dict[str, Any] = {
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "REQUEST_METHOD": method,
        "HTTP_HOST": host,
        "SERVER_NAME": host,
        "wsgi.url_scheme": scheme,
        "wsgi.errors": io.StringIO(),
    }
    if cookie:
        environ["HTTP_COOKIE"] = cookie
    setup_testing_defaults(environ)
    return environ


def serve(app: Any, environ: dict[str, Any]) -> Answer:
    """One request, as a server would make it of an application. The head leaves with the first bytes, or the end."""
    answer = Answer()
    head: list[Any] = []

    def write(data: bytes) -> None:
        assert head, "a body without a head"
        if data and not answer.status:
            _send_head(answer, head)
        answer.body += data

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        if exc_info and answer.status:
            raise exc_info[1]
        assert exc_info or not head, "two heads"
        head[:] = [status, list(headers)]
        return write

    body = None
    try:
        body = app(environ, start_response)
        for piece in body:
            write(piece)
        if not answer.status:
            _send_head(answer, head)
    except Exception as error:  # noqa: BLE001 - what a server would log
        answer.error = error
    try:
        if hasattr(body, "close"):
            body.close()
    except Exception as error:  # noqa: BLE001 - what a server would log
        answer.error = answer.error or error
    answer.status = answer.status or 500
    return answer


def _send_head(answer: Answer, head: list[Any]) -> None:
    answer.status = int(head[0][:3])
    answer.headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in head[1]]


def wsgi_request(app: Any, path: str, **request: Any) -> Answer:
    """One request through the validator, which raises AssertionError where PEP 3333 is not kept."""
    return serve(validator(app), environ_of(path, **request))
