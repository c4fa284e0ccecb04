from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import PlainTextResponse

from memsession.asgi import session_of


@dataclass
class Shopping:
    currency: str = "EUR"
    cart: list[str] = field(default_factory=list)


async def buy(request: Request) -> PlainTextResponse:
    shopping = session_of(request).as_(Shopping)
    shopping.cart.append(request.query_params["article"])
    return PlainTextResponse(f"{len(shopping.cart)} articles, paid in {shopping.currency}")
