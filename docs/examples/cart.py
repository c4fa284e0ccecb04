from starlette.requests import Request
from starlette.responses import JSONResponse

from memsession.asgi import session_of


async def buy(request: Request) -> JSONResponse:
    session = session_of(request)
    cart = session.setdefault("cart", {"items": []})
    cart["items"].append(request.query_params["article"])  # nested changes are saved, too
    session.increment("articles")  # exact, also when two tabs buy at once
    session.flash("It is in your cart.")
    return JSONResponse({"items": cart["items"], "articles": session["articles"]})
