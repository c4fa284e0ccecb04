from collections.abc import Iterator

from flask import Blueprint, Response, stream_with_context

from memsession.flask import session

pages = Blueprint("pages", __name__)


@pages.get("/export")
def export() -> Response:
    session["export"] = "begun"  # saved before the response leaves

    def lines() -> Iterator[str]:
        yield from ("0\n", "1\n")
        session["export"] = "done"
        session.save()  # without it this change would be lost

    return Response(stream_with_context(lines()))
