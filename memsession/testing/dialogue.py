"""One connection's dialogue with a fake node: bytes of commands in, bytes of replies out, without a socket.

It speaks what memsession asks of memcached, and a little more: `mg`, `ms`, `md`, `mn`, `version`, `stats`,
`flush_all`, `lru_crawler metadump all|hash` and `quit`. The answers are those of memcached 1.6.18 to the byte, its
refusals and their order included; the same tests ask both. Any other command is an `ERROR`, as one that memcached
does not know; so are the classic ones (`get`, `set`), which memcached does.

A command line ends within the first 16 KiB, and after 2 KiB without an end the connection is closed; a value is at
most what memcached stores, and a longer one is passed over without being kept.
"""

import os
from collections.abc import Callable
from typing import Final

from memsession.testing import meta
from memsession.testing.flags import Refused, signed
from memsession.testing.items import Items

VERSION: Final = "1.6.18"
"""The oldest release that memsession takes, and the one whose answers these are."""

LINE_BYTES_MAX: Final = 16_384
HALF_LINE_BYTES_MAX: Final = 2_048


class Dialogue:
    """See the top of this file. `over` says that the connection is to be closed when all was sent."""

    def __init__(self, items: Items) -> None:
        self.over = False
        self._items = items
        self._rest = bytearray()
        self._skip = 0
        self._storing: meta.Storing | None = None

    def feed(self, data: bytes) -> None:
        """More bytes of commands have come."""
        self._rest += data

    def reply(self) -> bytes | None:
        """The reply to the next command, which may be empty; None if that has not come yet, or it is over."""
        self._pass_over()
        if self.over or self._skip:
            return None
        if self._storing is not None:
            size, finish = self._storing
            if len(self._rest) < size:
                return None
            self._storing = None
            return finish(self._taken(size))
        line = self._line()
        return None if line is None else self._answer(line)

    def _taken(self, size: int) -> bytes:
        taken = bytes(self._rest[:size])
        del self._rest[:size]
        return taken

    def _pass_over(self) -> None:
        passed = min(self._skip, len(self._rest))
        del self._rest[:passed]
        self._skip -= passed

    def _line(self) -> bytes | None:
        """The next line, without its end."""
        end = self._rest.find(b"\n", 0, LINE_BYTES_MAX)
        if end < 0:
            self.over = len(self._rest) > HALF_LINE_BYTES_MAX
            return None
        line = self._taken(end + 1)[:-1]
        # A text in C ends at a zero.
        return (line[:-1] if len(line) > 1 and line.endswith(b"\r") else line).partition(b"\0")[0]

    def _answer(self, line: bytes) -> bytes:
        words = [word for word in line.split(b" ") if word]
        if not words or len(words[0]) < 2:
            return b"ERROR\r\n"
        try:
            if words[0] == b"ms":
                self._storing = meta.ms(self._items, words)
                return b""
            return _COMMANDS.get(words[0], _unknown)(self._items, words)
        except Refused as refusal:
            self._skip = refusal.skip
            return f"{refusal}\r\n".encode()
        except _Ended:
            self.over = True
            return b""


class _Ended(Exception):
    """The connection is to be closed."""


def _mn(_items: Items, _words: list[bytes]) -> bytes:
    return b"MN\r\n"


def _version(_items: Items, _words: list[bytes]) -> bytes:
    return f"VERSION {VERSION}\r\n".encode()


def _stats(items: Items, words: list[bytes]) -> bytes:
    if len(words) > 1:
        return b"ERROR\r\n"
    figures = {"pid": os.getpid(), "version": VERSION, **items.figures()}
    return "".join(f"STAT {name} {figure}\r\n" for name, figure in figures.items()).encode() + b"END\r\n"


def _flush_all(items: Items, words: list[bytes]) -> bytes:
    if len(words) > 3:
        return b"ERROR\r\n"
    silent = words[-1] == b"noreply"
    delay = signed(words[1]) if len(words) > 1 + silent else 0
    if delay is None:
        return b"" if silent else b"CLIENT_ERROR invalid exptime argument\r\n"
    if delay > 0:
        return b"SERVER_ERROR a fake node does not flush later\r\n"
    items.flush()
    return b"" if silent else b"OK\r\n"


def _lru_crawler(items: Items, words: list[bytes]) -> bytes:
    if len(words) != 3 or words[1] != b"metadump":
        return b"ERROR\r\n"
    if words[2] not in (b"all", b"hash"):
        return b"BADCLASS invalid class id\r\n"
    return b"".join(items.listing()) + b"END\r\n"


def _quit(_items: Items, _words: list[bytes]) -> bytes:
    raise _Ended


def _unknown(_items: Items, words: list[bytes]) -> bytes:
    # memcached closes on whoever takes it for a web server, but looks at a line's first letter before.
    if words[-1].startswith(b"HTTP/") and words[0][0] not in b"gsacidtm":
        raise _Ended
    return b"ERROR\r\n"


_COMMANDS: Final[dict[bytes, Callable[[Items, list[bytes]], bytes]]] = {
    b"mg": meta.mg,
    b"md": meta.md,
    b"mn": _mn,
    b"version": _version,
    b"stats": _stats,
    b"flush_all": _flush_all,
    b"lru_crawler": _lru_crawler,
    b"quit": _quit,
}
