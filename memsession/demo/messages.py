"""HTTP/1.1 as far as the demo speaks it itself: heads of requests and responses, read within limits.

After RFC 9112. What two programs could understand differently is refused: several lengths, a length beside chunks,
folded lines, blanks before a colon.
"""

import asyncio
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

HEAD_BYTES_MAX: Final = 32_768

_FIELD: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_START: Final = re.compile(r"[\x21-\x7e]+ [\x21-\x7e]+(?: [^\x00-\x1f\x7f]*)?")
_LENGTH: Final = re.compile(r"[0-9]{1,12}")


class Malformed(ValueError):
    """What came is no HTTP, or more of it than is taken; the text says what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The head of a message: its first line in three parts, and its fields in their order."""

    start: tuple[str, str, str]
    fields: tuple[tuple[str, str], ...] = ()

    def all(self, name: str) -> list[str]:
        """The values of all fields with this name, which is given in lower case."""
        return [value for field, value in self.fields if field.lower() == name]

    def tokens(self, name: str) -> set[str]:
        """The entries of a field that holds a list, in lower case."""
        return {entry.strip().lower() for entry in ",".join(self.all(name)).split(",")} - {""}

    def length(self) -> int | None:
        """How long the body is said to be; None if it is not said.

        Raises:
            Malformed: it is said twice, in no number, or of a body that comes in chunks.
        """
        lengths = self.all("content-length")
        if not lengths:
            return None
        if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]) or self.all("transfer-encoding"):
            raise Malformed("it is not clear how long the body is")
        return int(lengths[0])

    def changed(self, *more: tuple[str, str], without: Collection[str] = ()) -> "Head":
        """The same head without the fields of these names, given in lower case, and with `more` at its end."""
        kept = (field for field in self.fields if field[0].lower() not in without)
        return Head(start=self.start, fields=(*kept, *more))

    def encode(self) -> bytes:
        """The head as it is sent, with the empty line behind it."""
        lines = [" ".join(self.start), *(f"{name}: {value}" for name, value in self.fields)]
        return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """The next message's head; None if the connection ended before it began.

    Raises:
        Malformed: it is no head, or longer than the reader's limit.
        ConnectionError: the connection ended within it.
    """
    try:
        data = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as cut:
        if not cut.partial:
            return None
        raise ConnectionError("the connection ended within a head") from None
    except asyncio.LimitOverrunError:
        raise Malformed("the head is too long") from None
    return parse_head(data)


def parse_head(data: bytes) -> Head:
    """The head that these bytes are, the empty line included.

    Raises:
        Malformed: they are none.
    """
    first, *lines = data.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    if not _START.fullmatch(first):
        raise Malformed("the first line is none of HTTP's")
    fields = [_FIELD.fullmatch(line) for line in lines]
    if not all(fields):
        raise Malformed("a line is no header field")
    one, two, three = [*first.split(" ", 2), ""][:3]
    return Head(
        start=(one, two, three), fields=tuple((field[1], field[2].rstrip(" \t")) for field in fields if field)
    )
