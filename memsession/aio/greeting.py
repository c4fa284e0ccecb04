"""The greeting of a new connection, over asyncio."""

from typing import Any

from memsession.aio.connection import Connection
from memsession.aio.round import Round
from memsession.greeting import Greeting, NoGreeting, questions, understood
from memsession.health import Fault


async def greet(connection: Connection, loop: Any, prefix: str, address: str) -> Greeting:
    """Ask, and wait for the answers without a limit of its own.

    Raises `TooOld`, or when the connection ended meanwhile `NoGreeting`, or `TimeoutError` if by silence.
    """
    requests = questions(prefix)
    round_ = Round(len(requests))
    for index, request in enumerate(requests):
        connection.send(request, round_, index)
    await round_.over(loop)
    try:
        return understood(round_.replies, address)
    except NoGreeting as problem:
        if connection.fault is Fault.SILENT:
            raise TimeoutError(str(problem)) from None
        raise
