from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from memsession.asgi import session_of

FORM = """<form method="post"><input type="hidden" name="token" value="{token}"><button>Delete</button></form>"""


async def form(request: Request) -> HTMLResponse:
    return HTMLResponse(FORM.format(token=session_of(request).csrf_token()))


async def delete(request: Request) -> Response:
    fields = parse_qs((await request.body()).decode())
    if not session_of(request).csrf_valid(fields.get("token", [""])[0]):
        return PlainTextResponse("This form is too old. Please load the page again.", status_code=403)
    return PlainTextResponse("Deleted.")
