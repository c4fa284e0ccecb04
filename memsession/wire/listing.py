"""The keys that a node holds, as memcached lists them: `lru_crawler`, bytes to keys, without a socket.

There are three ways to ask (doc/protocol.txt; tried on 1.6.18, `mgdump` as in the source of 1.6.19 and later):

    mgdump hash      mg <key>\\r\\n                             ... EN\\r\\n     the shortest; from 1.6.19
    metadump hash    key=<percent-encoded> exp=... la=... \\n   ... END\\r\\n    walks the hash table; from 1.6.9
    metadump all     the same lines                            ... END\\r\\n    walks the lists by age, misses more

Newer versions may say `OK` first. One line instead of a listing is a refusal: `ERROR` (not known, or not allowed),
`CLIENT_ERROR` (no crawler), `BADCLASS`, `BUSY` (the crawler works for somebody else). `ERROR locked` may also come
where the end should: then the hash table was growing, and nothing of it was listed.

Keys of other programs may hold any bytes, so whatever is in a key's place is passed over. What is not a line of the
listing is a `ProtocolError`. Only the last line makes a listing complete, and nothing may follow it.
"""

import re
from typing import Final, Literal, TypeAlias
from urllib.parse import unquote_to_bytes

from memsession.wire.parser import LINE_BYTES_MAX, ProtocolError

Ask: TypeAlias = Literal["mgdump hash", "metadump hash", "metadump all"]

ASKS: Final[tuple[Ask, ...]] = ("mgdump hash", "metadump hash", "metadump all")
"""Best first. Whoever is refused the first two without being told to wait tries the next."""

_META_LINE: Final = re.compile(rb"key=([!-~]+)(?: [ -~]*)?")
_REFUSAL: Final = re.compile(rb"(?:ERROR|CLIENT_ERROR|SERVER_ERROR|BADCLASS|BUSY|NOTSTARTED)(?: [ -~]*)?")


class ListingRefused(Exception):
    """The node answered with one line instead of a listing: `text`.

    `busy`: it would list them at another time. `unknown`: it does not know this way to ask, another may do.
    """

    def __init__(self, text: str) -> None:
        super().__init__(
            f"the node does not list its keys now: {text}"
            if text.startswith(("BUSY", "ERROR locked"))
            else f"the node does not list its keys ({text}): start memcached without -X and with its LRU crawler "
            f"(no -o no_lru_crawler)"
        )
        self.text = text

    @property
    def busy(self) -> bool:
        """Whether to ask again later."""
        return self.text.startswith(("BUSY", "ERROR locked"))

    @property
    def unknown(self) -> bool:
        """Whether to ask in another way."""
        return self.text == "ERROR" or self.text.startswith("BADCLASS")


def ask(what: Ask) -> bytes:
    """The line that asks for a listing. Nothing may be sent after it before the listing is over."""
    return b"lru_crawler %b\r\n" % what.encode()


class ListingParser:
    """One listing, asked for as `what`. Feed it until it is `over`."""

    __slots__ = ("_begun", "_brief", "_end", "_rest", "over")

    def __init__(self, what: Ask) -> None:
        self.over = False
        """Whether the last line has come: only then the listing is complete."""
        self._brief = what == "mgdump hash"
        self._end = b"EN\r" if self._brief else b"END\r"
        self._rest = b""
        self._begun = False

    def feed(self, data: bytes) -> list[bytes]:
        """The keys whose lines are complete with `data`.

        No data means that the node closed the connection. Raises `ListingRefused` if the node lists nothing, and
        `ProtocolError` for what is no listing; the keys of this piece are not given out then.
        """
        if not data:
            raise ProtocolError("the node closed the connection within a listing")
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LINE_BYTES_MAX:
            raise ProtocolError("a line of a listing without end")
        keys: list[bytes] = []
        for line in lines:
            if self.over:
                break
            key = self._short(line) if self._brief else _long(line)
            if key:
                keys.append(key)
            elif key is None:
                self._other(line)
            self._begun = True
        else:
            if not (self.over and self._rest):
                return keys
        raise ProtocolError("bytes after the end of a listing")

    def _short(self, line: bytes) -> bytes | None:
        """`mg <key>`, nothing for a key in binary form (which is none of ours), None for another line."""
        if not (line.startswith(b"mg ") and line.endswith(b"\r") and 4 < len(line) <= LINE_BYTES_MAX):
            return None
        return b"" if line.endswith(b" b\r") else line[3:-1]

    def _other(self, line: bytes) -> None:
        if line == self._end:
            self.over = True
            return
        text = line.removesuffix(b"\r")
        if len(text) < LINE_BYTES_MAX and _REFUSAL.fullmatch(text):
            raise ListingRefused(text[:200].decode())
        if text != b"OK" or self._begun:
            raise ProtocolError("a line that does not belong to a listing")


def _long(line: bytes) -> bytes | None:
    """`key=<percent-encoded> exp=...`; None for another line."""
    found = _META_LINE.fullmatch(line.removesuffix(b"\r")) if len(line) <= LINE_BYTES_MAX else None
    if found is None:
        return None
    # Nearly all that is encoded in our keys is one colon, and this is the quick way to say so.
    key = found[1].replace(b"%3A", b":")
    return unquote_to_bytes(key) if b"%" in key else key
