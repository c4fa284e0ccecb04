"""Performs chores here and now, step by step, as the caretaker of a web server does behind its requests."""

import time
from collections.abc import Iterator
from typing import Any, Final, TypeVar

from memsession.blocking import BlockingClient
from memsession.blocking.listing import keys
from memsession.pool import Pool
from memsession.upkeep import Chore, Listing, Pause
from memsession.wire import ProtocolError
from memsession.wire.listing import ListingRefused

T = TypeVar("T")

PLAN_S: Final = 5.0
LISTING_TIMEOUT_S: Final = 5.0


def performed(chore: Chore[T], client: BlockingClient, pool: Pool) -> T:
    """What comes of a chore. It raises what the chore raises; when it is interrupted the chore ends where it is."""
    answer: Any = None
    try:
        while True:
            step = chore.send(answer)
            answer = None
            if isinstance(step, Pause):
                time.sleep(step.seconds)
            elif isinstance(step, Listing):
                answer = _listed(pool, step.node)
            else:
                answer = client.run(step, deadline=time.monotonic() + PLAN_S)
    except StopIteration as done:
        result: T = done.value
        return result
    finally:
        chore.close()


def _listed(pool: Pool, name: str) -> Iterator[list[bytes]]:
    """The keys of a node, while they are read; whatever is wrong with them is an `OSError`."""
    node = next(node for node in pool.all_nodes if node.name == name)
    try:
        yield from keys(node, timeout_s=LISTING_TIMEOUT_S, prefix=pool.prefix)
    except (ProtocolError, ListingRefused) as problem:
        raise ConnectionError(str(problem)) from problem
