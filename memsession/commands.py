"""What plans ask of memcached nodes, and what nodes can answer: the whole vocabulary.

Named tuples rather than frozen dataclasses: they are as immutable, are matched by class just the same,
and are made in two thirds of the time; each request makes about ten of them.
"""

from typing import Any, NamedTuple, TypeAlias


class Token(NamedTuple):
    """A CAS number, and the connection that delivered it.

    memcached's numbers begin again at 1 when the process restarts, and a restart always ends the connection;
    so a number counts only where it came from.
    """

    cas: int
    connection: int


class Get(NamedTuple):
    """Read a value with its token. A node that is *out* is skipped, unless `force`."""

    node: str
    key: bytes
    force: bool = False


class Add(NamedTuple):
    """Store `value` where nothing is stored. `ttl` in seconds. A node that is *out* is skipped, unless `force`."""

    node: str
    key: bytes
    value: Any
    ttl: int
    force: bool = False


class Cas(NamedTuple):
    """Store `value` if what `token` stands for is still there. `ttl` in seconds."""

    node: str
    key: bytes
    value: Any
    ttl: int
    token: Token


class Bury(NamedTuple):
    """Store a tombstone over whatever is there, also on a node thought to be out: the only blind write."""

    node: str
    key: bytes
    value: Any
    ttl: int


Command: TypeAlias = Get | Add | Cas | Bury


def insists(command: Command) -> bool:
    """Whether the command is tried even on a node that is thought to be out."""
    return isinstance(command, Bury) or (isinstance(command, Get | Add) and command.force)


class Hit(NamedTuple):
    """A value was there."""

    value: Any
    token: Token


class Miss(NamedTuple):
    """Answer to `Get`: nothing there. It says nothing about other nodes: a node that restarted has forgotten."""


class Stored(NamedTuple):
    """The write was acknowledged."""


class Conflict(NamedTuple):
    """`Cas`: the value changed, or the token's connection is gone. `Add`: something is there already."""


class NotFound(NamedTuple):
    """Answer to `Cas`: nothing is there any more."""


class Unreachable(NamedTuple):
    """No usable answer. A write may have been applied, or may be applied later."""

    reason: str


class Skipped(NamedTuple):
    """The node is out; nothing was sent."""


Reply: TypeAlias = Hit | Miss | Stored | Conflict | NotFound | Unreachable | Skipped
