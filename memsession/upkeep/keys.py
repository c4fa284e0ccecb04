"""Keys of sessions in little memory: millions of them may have to be kept during one refill."""

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from hashlib import blake2b
from typing import Final

_RECENT_MAX: Final = 200_000


class Keys:
    """Keys in one piece of memory, in the order in which they came. No key has a line end in it."""

    def __init__(self) -> None:
        self._lines = bytearray()
        self._count = 0

    def __len__(self) -> int:
        """How many there are."""
        return self._count

    def add(self, keys: list[bytes]) -> None:
        """Take in some more."""
        if keys:
            self._lines += b"\n".join(keys) + b"\n"
            self._count += len(keys)

    def __iter__(self) -> Iterator[bytes]:
        """One after the other."""
        begin = 0
        while (end := self._lines.find(b"\n", begin)) >= 0:
            yield bytes(self._lines[begin:end])
            begin = end + 1


class Seen:
    """A set of keys that only grows: 8 bytes of a hash of each.

    Among ten million keys, two have the same 8 bytes once in 300,000 times; then one of them waits for its visitor.
    """

    def __init__(self) -> None:
        self._sorted = array("Q")
        self._recent: set[int] = set()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._sorted) + len(self._recent)

    def add(self, key: bytes) -> bool:
        """Take in a key; whether it is new."""
        number = int.from_bytes(blake2b(key, digest_size=8).digest())
        if number in self._recent:
            return False
        at = bisect_left(self._sorted, number)
        if at < len(self._sorted) and self._sorted[at] == number:
            return False
        self._recent.add(number)
        if len(self._recent) > _RECENT_MAX:
            self._sorted = array("Q", sorted([*self._sorted, *self._recent]))
            self._recent.clear()
        return True
