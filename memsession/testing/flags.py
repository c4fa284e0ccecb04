"""The flags of a meta command, read as memcached 1.6.18 reads them, with its limits and its ways to say no.

Those that memsession has no use for (binary keys, stale items, arithmetic) are refused with a `SERVER_ERROR` that
says so: a fake that ignored them would answer what memcached does not.
"""

import re
from typing import Final

WORDS_MAX: Final = 19
OPAQUE_BYTES_MAX: Final = 32
"""The letter included."""

BAD_LINE: Final = "CLIENT_ERROR bad command line format"
BAD_NUMBER: Final = "CLIENT_ERROR bad token in command line format"
LONG_OPAQUE: Final = "CLIENT_ERROR opaque token too long"

_BARE: Final = frozenset(b"kstcfvqOPL")
_NOT_HERE: Final = frozenset(b"bNRlhuIJD")

# A number as C's strtol finds it: what follows is white space or nothing.
_NUMBER: Final = re.compile(rb"[ \t\n\v\f\r]*([+-]?)0*([0-9]{1,20})(?=[ \t\n\v\f\r]|\Z)")


class Refused(Exception):
    """The text is the line that says so. `skip`: bytes that follow and belong to the refused command."""

    def __init__(self, text: str, *, skip: int = 0) -> None:
        super().__init__(text)
        self.skip = skip


def signed(text: bytes) -> int | None:
    """A number of 32 bits, wrapped round if it has up to 64; None if it is none."""
    number = _number(text)
    if number is None or not -(2**63) <= number < 2**63:
        return None
    return (number + 2**31) % 2**32 - 2**31


def unsigned(text: bytes, bits: int) -> int | None:
    """A number without a sign, wrapped round if it has up to 64 bits; None if it is none."""
    number = _number(text)
    if number is None or abs(number) >= 2**64:
        return None
    wrapped = number % 2**64
    return None if wrapped >= 2**63 and b"-" in text else wrapped % 2**bits


def _number(text: bytes) -> int | None:
    found = _NUMBER.match(text)
    return int(found[1] + found[2]) if found else None


class Flags:
    """The flags of one command. `words` are as they were written, in their order.

    Raises `Refused`.
    """

    __slots__ = ("_problem", "cas", "client", "mode", "ttl", "words")

    def __init__(self, words: list[bytes]) -> None:
        self.words = words
        self.mode = b""
        self.client = 0
        self.cas: int | None = None
        self.ttl: int | None = None
        # memcached reads on after a bad number, and tells of the last one; of an unknown flag it tells at once.
        self._problem = ""
        seen: set[int] = set()
        for word in words:
            if word[0] >= 127 or word[0] in seen:
                raise Refused("CLIENT_ERROR duplicate flag")
            seen.add(word[0])
            self._read(word)
        if self._problem:
            raise Refused(self._problem)

    def has(self, letter: bytes) -> bool:
        """Whether it was given."""
        return any(word.startswith(letter) for word in self.words)

    def _read(self, word: bytes) -> None:
        match word[:1]:
            case b"T":
                self.ttl = signed(word[1:])
                self._note(None if self.ttl is not None else BAD_NUMBER)
            case b"C":
                self.cas = unsigned(word[1:], 64)
                self._note(None if self.cas is not None else BAD_NUMBER)
            case b"F":
                number = unsigned(word[1:], 32)
                self.client = number or 0
                self._note(None if number is not None else self._problem or BAD_LINE)
            case b"M":
                self.mode = word[1:]
                self._note(None if len(word) == 2 else "CLIENT_ERROR incorrect length for M token")
            case letter if letter[0] in _NOT_HERE:
                raise Refused(f"SERVER_ERROR a fake node does not know the flag {letter.decode()}")
            case letter if letter[0] not in _BARE:
                raise Refused("CLIENT_ERROR invalid flag")
            case _:
                pass

    def _note(self, problem: str | None) -> None:
        self._problem = problem or self._problem


def opaque(words: list[bytes]) -> bytes | None:
    """The opaque text to send back, with its letter. Raises `Refused` if it is too long."""
    for word in words:
        if word.startswith(b"O"):
            if len(word) > OPAQUE_BYTES_MAX:
                raise Refused(LONG_OPAQUE)
            return word
    return None
