"""What a new connection asks first, and what the answers say of the node. No I/O: both clients greet so.

Version, incarnation and time are asked in one write. The *incarnation* is a random text which the first connection
to a memcached process stores there, so that a restart, a swapped address or two names for one process show.
"""

import re
import secrets
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from memsession.addresses import Node
from memsession.commands import Get, Hit, Unreachable
from memsession.errors import ConfigurationError
from memsession.wire import AskStats, AskVersion, Mark, Request, Stats, Version

OLDEST = (1, 6, 18)
"""The first release seen to send key and opaque back with every reply, misses included."""

_VERSION = re.compile(r"(\d{1,4})\.(\d{1,4})\.(\d{1,4})")
_INCARNATION = re.compile(rb"[0-9a-f]{32}")


class NoGreeting(ConnectionError):
    """The connection ended before the node had answered."""


class TooOld(Exception):
    """The node speaks, but not the meta protocol. The text names the cure."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """`incarnation` is None when the node could not keep one; `unix_time_s` None when it did not tell."""

    version: str
    incarnation: str | None
    unix_time_s: int | None


def address_of(node: Node) -> str:
    """Where the node is, as people write it."""
    host, port = node.host, node.port
    return host if port == 0 else f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def questions(prefix: str) -> list[Request]:
    """What to ask, in this order. The incarnation is stored under `prefix`, beside the sessions."""
    key = f"{prefix}:node".encode()
    return [AskVersion(), Mark(key, secrets.token_hex(16).encode()), Get("", key), AskStats()]


def understood(replies: Sequence[Any], address: str) -> Greeting:
    """What the replies to `questions` say. One that never came is `Unreachable`.

    Raises `TooOld`, or `NoGreeting` with the reason of the missing reply.
    """
    version, _, mark, stats = replies
    if isinstance(version, Version) and not _is_meta(version.text):
        raise TooOld(
            f"memcached {version.text} at {address} is too old: meta commands need {'.'.join(map(str, OLDEST))} "
            f"or newer, so upgrade memcached there"
        )
    for reply in (version, stats):
        if isinstance(reply, Unreachable):
            raise NoGreeting(reply.reason)
    return Greeting(version.text, _incarnation(mark), _unix_time_s(stats))


def refuse_twins(nodes: Iterable[Node], incarnations: Mapping[str, str]) -> None:
    """No two nodes of a pool may be one memcached process, as far as their incarnations are known.

    Raises:
        ConfigurationError: two are. The text names them.
    """
    met: dict[str, Node] = {}
    for node in nodes:
        incarnation = incarnations.get(node.name)
        if incarnation is not None and (twin := met.setdefault(incarnation, node)) is not node:
            raise ConfigurationError(
                f"{_told(twin)} and {_told(node)} are one memcached process, so copies there are lost together: give "
                f"each name a memcached of its own, or leave one of them out of the pool"
            )


def unlearn(incarnations: MutableMapping[str, str], before: Iterable[Node], after: Iterable[Node]) -> None:
    """Of nodes that are gone, or are somewhere else now, nobody knows which process answers."""
    there = {(node.name, node.host, node.port) for node in before}
    stay = {node.name for node in after if (node.name, node.host, node.port) in there}
    for name in incarnations.keys() - stay:
        incarnations.pop(name, None)


def _told(node: Node) -> str:
    address = address_of(node)
    return f'"{node.name}"' if node.name == address else f'"{node.name}" ({address})'


def _is_meta(version: str) -> bool:
    numbers = _VERSION.match(version)
    return numbers is not None and tuple(map(int, numbers.groups())) >= OLDEST


def _incarnation(mark: object) -> str | None:
    value = mark.value if isinstance(mark, Hit) else b""
    return value.decode() if _INCARNATION.fullmatch(value) else None


def _unix_time_s(stats: Stats) -> int | None:
    figure = stats.figures.get("time", "")
    return int(figure) if figure.isdigit() and len(figure) <= 12 else None
