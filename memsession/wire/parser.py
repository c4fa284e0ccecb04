"""Bytes from a memcached node as replies, one for each command sent, in the order in which they were sent.

A connection is shared by many requests, so the one thing that must never happen is a reply given to the wrong one.
Therefore each reply line is compared, byte for byte, with the key and the opaque number of the command at the head
of the queue, and whatever does not fit is a `ProtocolError`: the connection is closed and everything in flight on
it has no answer. There is no second guess and no way to go on.

One line is an answer although it carries no echo: `SERVER_ERROR <text>`, with which memcached declines one command
(out of memory, object too large). It has then swallowed that command's value, answers in order, and goes on with the
next command as if nothing had happened (tried on 1.6.18). So it answers the command at the head. If that were wrong,
once, for instance behind a proxy, the next reply would not fit its echo, and the connection would be closed before
anyone got a value. `ERROR` and `CLIENT_ERROR` mean that the two sides do not understand each other; the rest of such
a command may be read as a command of its own, so they end the connection.
"""

from collections import deque
from collections.abc import Iterator
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from memsession.commands import Add, Bury, Cas, Conflict, Get, Hit, Miss, NotFound, Reply, Stored, Token, Unreachable
from memsession.wire.encode import AskStats, AskVersion, Mark, Request, echo

LINE_BYTES_MAX = 8_192
VALUE_BYTES_MAX = 1_048_576 + 1_024
STATS_BYTES_MAX = 65_536
CAS_MAX = 2**64 - 1

T = TypeVar("T")

# Half the price of calling the class, for the two tuples that every value takes.
_new = tuple.__new__


class ProtocolError(Exception):
    """What came is not what was asked for: this connection has said its last. The text says why."""


class Version(NamedTuple):
    """Answer to `AskVersion`: what the node calls itself, for instance `1.6.18`."""

    text: str


class Stats(NamedTuple):
    """Answer to `AskStats`: figures by name, as memcached writes them."""

    figures: dict[str, str]


Answer: TypeAlias = Reply | Version | Stats

_LINES: dict[type, dict[bytes, Reply]] = {
    Get: {b"EN": Miss()},
    Add: {b"HD": Stored(), b"NS": Conflict()},
    Mark: {b"HD": Stored(), b"NS": Conflict()},
    Cas: {b"HD": Stored(), b"EX": Conflict(), b"NF": NotFound()},
    Bury: {b"HD": Stored()},
    AskVersion: {},
    AskStats: {},
}


class Parser(Generic[T]):
    """What one connection still has to answer, and the bytes of an answer that is not complete yet.

    `connection` is the serial number that makes tokens count here only. A *ticket* is whatever the caller wants
    back with the reply. Errors never quote a key or a value, for they end in logs.
    """

    __slots__ = ("_connection", "_need", "_rest", "awaited")

    def __init__(self, connection: int) -> None:
        self._connection = connection
        self._rest = bytearray()
        self._need = 0
        self.awaited: deque[tuple[type, bytes, T]] = deque()

    @property
    def midway(self) -> bool:
        """Whether a part of a reply is there, and not all of it."""
        return bool(self._rest)

    def expect(self, request: Request, opaque: int, ticket: T) -> None:
        """A command is on its way; its reply comes after those expected before."""
        self.awaited.append((type(request), echo(request.key, opaque), ticket))

    def feed(self, data: bytes) -> Iterator[tuple[T, Any]]:
        """Replies that are complete with `data`, each with its ticket.

        No data means that the node closed the connection. Raises `ProtocolError` at the first byte that cannot be
        right; the replies before it have been given out and count. Iterate to the end before feeding again.
        """
        if not data:
            raise ProtocolError("the node closed the connection")
        if self._rest:
            self._rest += data
            if len(self._rest) < self._need:
                return
            data = bytes(self._rest)
            self._rest.clear()
        awaited = self.awaited
        at, end = 0, len(data)
        while at < end:
            if not awaited:
                raise ProtocolError(_unasked(data[at:]))
            kind, tail, ticket = awaited[0]
            if kind is Get and data.startswith(b"VA ", at):
                reply, stop = self._value(tail, data, at)
            else:
                stop = at + 2 + len(tail)
                reply = _LINES[kind].get(data[at : at + 2])
                if reply is None or not data.startswith(tail, at + 2):
                    reply, stop = _other(kind, data, at)
            if reply is None:
                self._need = stop
                self._rest += data[at:]
                return
            awaited.popleft()
            at = stop
            yield ticket, reply

    def _value(self, tail: bytes, data: bytes, at: int) -> tuple[Any, int]:
        """`VA <size> c<cas> k<key> O<opaque>`, then the value; with where it ends. Or None, and the bytes needed."""
        start = data.find(b"\n", at) + 1
        middle = start - len(tail)
        if middle < at or not data.startswith(tail, middle):
            return _incomplete(data, at, start)
        size, _, cas = data[at + 3 : middle].partition(b" c")
        if not size.isdigit() or not cas.isdigit():
            return _incomplete(data, at, start)
        if len(size) > 8 or (length := int(size)) > VALUE_BYTES_MAX:
            raise ProtocolError("a value of impossible size")
        if len(cas) > 20 or not 0 < (number := int(cas)) <= CAS_MAX:
            raise ProtocolError("an impossible CAS number")
        stop = start + length
        if len(data) < stop + 2:
            return None, stop + 2 - at
        if not data.startswith(b"\r\n", stop):
            raise ProtocolError("a value longer or shorter than it says")
        return _new(Hit, (data[start:stop], _new(Token, (number, self._connection)))), stop + 2


def _other(kind: type, data: bytes, at: int) -> tuple[Any, int]:
    """A reply that is not one of the usual lines, and where it ends; or None while it is not complete."""
    stop = data.find(b"\n", at) + 1
    if kind is AskStats and data.startswith((b"STAT ", b"END\r\n"), at):
        return _stats(data, at)
    if stop == 0 or stop - at > LINE_BYTES_MAX:
        return _incomplete(data, at, stop)
    line = _text(data[at:stop])
    if line.startswith("SERVER_ERROR "):
        return Unreachable(line), stop
    if kind is AskVersion and line.startswith("VERSION "):
        return Version(line[8:72]), stop
    if line.startswith(("ERROR", "CLIENT_ERROR ")):
        raise ProtocolError(line)
    raise ProtocolError("a reply that does not belong to the command")


def _incomplete(data: bytes, at: int, stop: int) -> tuple[None, int]:
    """A line without its end, to be continued; but a line that is complete was wrong."""
    if stop and stop - at <= LINE_BYTES_MAX:
        raise ProtocolError("a value that does not belong to the command")
    if len(data) - at >= LINE_BYTES_MAX:
        raise ProtocolError("a line without end")
    return None, 0


def _stats(data: bytes, at: int) -> tuple[Any, int]:
    """`STAT <name> <figure>` lines until `END`."""
    last = data.find(b"\nEND\r\n", at)
    end = at if data.startswith(b"END\r\n", at) else len(data) if last < 0 else last + 1
    if end - at > STATS_BYTES_MAX:
        raise ProtocolError("figures without end")
    if end == len(data):
        return None, 0
    figures = {}
    for line in data[at:end].splitlines(keepends=True):
        stat, name, figure = (*_text(line).split(" ", 2), "", "")[:3]
        if stat != "STAT" or not name:
            raise ProtocolError("figures that are none")
        figures[name] = figure
    return Stats(figures), end + 5


def _unasked(data: bytes) -> str:
    """What to say of bytes that came while nothing was awaited: memcached greets so when it is full."""
    line, found, _ = data[:LINE_BYTES_MAX].partition(b"\r\n")
    if found and line.startswith((b"ERROR", b"SERVER_ERROR ")):
        return _text(line + found)
    return "bytes that nobody asked for"


def _text(line: bytes) -> str:
    """A whole line of plain text, without its end and cut to what a log line can bear."""
    text = line.removesuffix(b"\r\n")
    if text == line or not text.isascii() or not text.decode().isprintable():
        raise ProtocolError("a line that is no reply of memcached")
    return text.decode() if len(text) <= 200 else f"{text[:200].decode()}..."
