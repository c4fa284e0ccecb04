"""What a stretch of road may do to those who use it.

A mode with a `chance` strikes single replies, each with that probability; the others hold for all of the road.
"""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Cut:
    """Nothing gets through in the directions named, and nobody is told. New connections are still taken.

    When it heals, connections on which something was held are reset; with `late` what was held is delivered, as TCP
    does that tried again all the while, also what a client had sent that has gone away since.
    """

    to_node: bool = True
    to_web: bool = True
    late: bool = False


@dataclass(frozen=True)
class Refuse:
    """Nobody listens; connections that were there are reset."""


@dataclass(frozen=True)
class Reset:
    """RST after so many more bytes of replies on a connection: instead of its first reply, with 0."""

    after: int = 0
    chance: float = 1.0


@dataclass(frozen=True)
class Truncate:
    """After so many more bytes of replies the connection is closed."""

    after: int = 10
    chance: float = 1.0


@dataclass(frozen=True)
class Delay:
    """Replies take so much longer."""

    seconds: float
    chance: float = 1.0


@dataclass(frozen=True)
class Throttle:
    """No more than so many bytes of replies a second on a connection."""

    bytes_per_s: float


@dataclass(frozen=True)
class Slices:
    """Replies come byte by byte, a turn of the loop after each."""

    chance: float = 1.0


@dataclass(frozen=True)
class Garbage:
    """Something else instead of a reply: random bytes, a page of HTTP, or the reply with its value spoilt."""

    chance: float = 1.0


@dataclass(frozen=True)
class Replay:
    """An earlier reply, perhaps to somebody else: after the reply, instead of it, or its value under this key."""

    chance: float = 1.0


@dataclass(frozen=True)
class Swallow:
    """The reply never comes. The next one does."""

    chance: float = 1.0


Mode: TypeAlias = Cut | Refuse | Reset | Truncate | Delay | Throttle | Slices | Garbage | Replay | Swallow
