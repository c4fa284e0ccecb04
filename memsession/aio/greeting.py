"""What a new connection asks first, and what the answers say of the node.

Version, incarnation and time are asked in one write. The *incarnation* is a random text which the first connection
to a memcached process stores there, so that a restart, a swapped address or two names for one process show.
"""

import re
import secrets
from dataclasses import dataclass
from typing import Any

from memsession.aio.connection import Connection
from memsession.aio.round import Round
from memsession.commands import Get, Hit, Unreachable
from memsession.health import Fault
from memsession.wire import AskStats, AskVersion, Mark, Request, Stats, Version

OLDEST = (1, 6, 18)
"""The first release seen to send key and opaque back with every reply, misses included."""

_VERSION = re.compile(r"(\d{1,4})\.(\d{1,4})\.(\d{1,4})")
_INCARNATION = re.compile(rb"[0-9a-f]{32}")


class TooOld(Exception):
    """The node speaks, but not the meta protocol. The text names the cure."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """`incarnation` is None when the node could not keep one; `unix_time_s` None when it did not tell."""

    version: str
    incarnation: str | None
    unix_time_s: int | None


async def greet(connection: Connection, loop: Any, prefix: str, address: str) -> Greeting:
    """Ask, and wait for the answers without a limit of its own.

    Raises `TooOld`, or when the connection ended meanwhile `ConnectionError`, or `TimeoutError` if by silence.
    """
    key = f"{prefix}:node".encode()
    requests: list[Request] = [
        AskVersion(),
        Mark(key, secrets.token_hex(16).encode()),
        Get("", key),
        AskStats(),
    ]
    round_ = Round(len(requests))
    for index, request in enumerate(requests):
        connection.send(request, round_, index)
    await round_.over(loop)
    version, _, mark, stats = round_.replies
    if isinstance(version, Version) and not _is_meta(version.text):
        raise TooOld(
            f"memcached {version.text} at {address} is too old: meta commands need {'.'.join(map(str, OLDEST))} "
            f"or newer, so upgrade memcached there"
        )
    for reply in (version, stats):
        if isinstance(reply, Unreachable):
            raise TimeoutError(reply.reason) if connection.fault is Fault.SILENT else ConnectionError(reply.reason)
    return Greeting(version.text, _incarnation(mark), _unix_time_s(stats))


def _is_meta(version: str) -> bool:
    numbers = _VERSION.match(version)
    return numbers is not None and tuple(map(int, numbers.groups())) >= OLDEST


def _incarnation(mark: object) -> str | None:
    value = mark.value if isinstance(mark, Hit) else b""
    return value.decode() if _INCARNATION.fullmatch(value) else None


def _unix_time_s(stats: Stats) -> int | None:
    figure = stats.figures.get("time", "")
    return int(figure) if figure.isdigit() and len(figure) <= 12 else None
