"""Keys of sessions in little memory: millions of them may have to be kept during one refill."""

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from hashlib import blake2b
from typing import Final

_PART_BITS: Final = 12


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
    """A set of keys that only grows: 8 bytes of a hash of each, sorted within many small arrays.

    Among ten million keys, two have the same 8 bytes once in 300,000 times; then one of them waits for its visitor.
    """

    def __init__(self) -> None:
        self._parts = [array("Q") for _ in range(1 << _PART_BITS)]

    def __len__(self) -> int:
        """How many there are."""
        return sum(map(len, self._parts))

    def add(self, key: bytes) -> bool:
        """Take in a key; whether it is new."""
        number = int.from_bytes(blake2b(key, digest_size=8).digest(), "big")
        part = self._parts[number >> (64 - _PART_BITS)]
        at = bisect_left(part, number)
        if at < len(part) and part[at] == number:
            return False
        part.insert(at, number)
        return True
