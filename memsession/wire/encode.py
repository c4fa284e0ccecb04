"""Commands as bytes of memcached's meta protocol (`mg` and `ms`; doc/protocol.txt of memcached 1.6.18).

Each command asks for its key (`k`) and an opaque number (`O`) to be sent back, as the last two flags: memcached
returns flags in the order of the request, so every reply ends in the same bytes, known beforehand, and the parser
compares them whole. Three further commands belong to the greeting of a new connection.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from memsession.commands import Add, Bury, Cas, Command, Get

KEY_BYTES_MAX = 250
TTL_S_MAX = 2_592_000

_KEY_BYTES = bytes(range(0x21, 0x7F))


class AskVersion(NamedTuple):
    """Which memcached is this? Answered by a `Version`."""

    key: bytes = b""


class AskStats(NamedTuple):
    """The node's own figures, the time among them. Answered by a `Stats`."""

    key: bytes = b""


class Mark(NamedTuple):
    """`Add` without an expiry: the node's incarnation, which is to stay as long as the process does."""

    key: bytes
    value: bytes


Request: TypeAlias = Command | AskVersion | AskStats | Mark


def encode(request: Request, opaque: int) -> bytes:
    """The bytes that ask for `request`. `opaque` comes back with the reply.

    Raises `ValueError` for a key that memcached would not take as one word, or a `ttl` that it would not take as
    seconds: both are errors in the program, never in the input. A key is checked here, last before the socket,
    because one with a line end in it is a command of its own (OWASP ASVS 1.3.9, memcache injection).
    """
    return _ENCODERS[type(request)](request, opaque)


def echo(key: bytes, opaque: int) -> bytes:
    """What every reply line to a command with this key and opaque number ends in."""
    return b" k%b O%d\r\n" % (key, opaque)


def checked_key(key: bytes) -> bytes:
    """The key, if memcached takes it as one word; `ValueError` otherwise."""
    if not 0 < len(key) <= KEY_BYTES_MAX or key.translate(None, _KEY_BYTES):
        raise ValueError(
            f"a storage key is 1 to {KEY_BYTES_MAX} bytes from '!' to '~'; one of {len(key)} bytes is not"
        )
    return key


def checked_ttl(ttl: int) -> int:
    """The seconds, if memcached takes them so; `ValueError` otherwise.

    To memcached 0 is for ever, less is gone at once, and more than 30 days is a date. Only this function knows.
    """
    if not 0 < ttl <= TTL_S_MAX:
        raise ValueError(f"a ttl is 1 to {TTL_S_MAX} seconds, not {ttl!r}")
    return ttl


def _get(get: Get, opaque: int) -> bytes:
    return b"mg %b c v k O%d\r\n" % (checked_key(get.key), opaque)


def _add(add: Add, opaque: int) -> bytes:
    value = add.value
    head = (checked_key(add.key), len(value), checked_ttl(add.ttl), opaque, value)
    return b"ms %b %d T%d ME k O%d\r\n%b\r\n" % head


def _cas(cas: Cas, opaque: int) -> bytes:
    value = cas.value
    head = (checked_key(cas.key), len(value), checked_ttl(cas.ttl), cas.token.cas, opaque, value)
    return b"ms %b %d T%d C%d k O%d\r\n%b\r\n" % head


def _bury(bury: Bury, opaque: int) -> bytes:
    value = bury.value
    head = (checked_key(bury.key), len(value), checked_ttl(bury.ttl), opaque, value)
    return b"ms %b %d T%d k O%d\r\n%b\r\n" % head


def _mark(mark: Mark, opaque: int) -> bytes:
    return b"ms %b %d T0 ME k O%d\r\n%b\r\n" % (checked_key(mark.key), len(mark.value), opaque, mark.value)


def _ask_version(_: AskVersion, _opaque: int) -> bytes:
    return b"version\r\n"


def _ask_stats(_: AskStats, _opaque: int) -> bytes:
    return b"stats\r\n"


_ENCODERS: dict[type, Callable[[Any, int], bytes]] = {
    Get: _get,
    Add: _add,
    Cas: _cas,
    Bury: _bury,
    Mark: _mark,
    AskVersion: _ask_version,
    AskStats: _ask_stats,
}
