from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import StreamingResponse

from memsession.asgi import session_of


async def export(request: Request) -> StreamingResponse:
    session = session_of(request)
    session["export"] = "begun"  # saved before the response leaves

    async def lines() -> AsyncIterator[str]:
        for number in range(3):
            yield f"{number}\n"
        session["export"] = "done"
        await session.save()  # without it this change would be lost

    return StreamingResponse(lines())
