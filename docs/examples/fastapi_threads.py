from anyio import from_thread
from fastapi import APIRouter

from memsession.fastapi import CurrentSession

router = APIRouter()


def raised(bid: int) -> int:
    return bid + 10


@router.post("/bid")
def bid(session: CurrentSession) -> dict[str, int]:
    session.increment("bids")  # a plain call, as everything but these two
    highest = from_thread.run(session.modify, "bid", raised, 100)
    from_thread.run(session.save)
    return {"bid": highest}
