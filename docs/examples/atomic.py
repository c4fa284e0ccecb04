from starlette.requests import Request
from starlette.responses import JSONResponse

from memsession.asgi import session_of


def raised(bid: int) -> int:
    return bid + 10


async def bid(request: Request) -> JSONResponse:
    session = session_of(request)
    highest = await session.modify("bid", raised, default=100)  # read, compute, write as one step
    await session.save()  # commit now, not when the response leaves
    return JSONResponse({"bid": highest})
