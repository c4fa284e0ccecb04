"""Increments that can be told apart: the i-th in a run is 16**i, so a number shows what it is made of.

An increment adds plus or minus 16**i, and an assigned number is 16**i as well. From any number the digits to base 16,
between -7 and 8, say which increments it holds and how often, and on which assignment they stand.
"""

from types import ModuleType
from typing import Any

BASE = 16
NEVER = 1e18


def digits(number: int) -> dict[int, int]:
    """The digits that are not 0, by their place."""
    found: dict[int, int] = {}
    place = 0
    while number:
        digit = number % BASE
        if digit > BASE // 2:
            digit -= BASE
        if digit:
            found[place] = digit
        number = (number - digit) // BASE
        place += 1
    return found


class Increment:
    """One increment; `writer` and `n` are its name in the record."""

    __slots__ = ("confirmed", "key", "n", "name", "place", "sign", "writer")

    def __init__(self, key: bytes, name: str, place: int, sign: int) -> None:
        self.key = key
        self.name = name
        self.place = place
        self.sign = sign
        self.writer, self.n = "", 0
        self.confirmed = NEVER

    @property
    def amount(self) -> int:
        return self.sign * BASE**self.place

    def held(self, record: Any) -> bool:
        """Whether a live record holds it."""
        sub = record.counts.get(self.name, {}).get(self.writer)
        return sub is not None and sub[0] >= self.n


class Assignment:
    """An assignment (`place`) or deletion (None) of a counted key, and the increments it took away."""

    __slots__ = ("covers", "name", "place")

    def __init__(self, name: str, place: int | None, covers: frozenset[int]) -> None:
        self.name = name
        self.place = place
        self.covers = covers


class Amounts:
    """Every increment and assignment of a run."""

    def __init__(self, record: ModuleType) -> None:
        self._shown = record.shown
        self._absent = record.ABSENT
        self.places = 3
        self.increments: list[Increment] = []
        self.names: list[str] = []
        self.assigned: dict[int, Assignment] = {}
        self.stamped: dict[tuple[str, tuple[int, str]], Assignment] = {}

    def increment(self, key: bytes, name: str, sign: int) -> Increment:
        """A new increment of `name`."""
        self.places += 1
        increment = Increment(key, name, self.places, sign)
        self.increments.append(increment)
        if name not in self.names:
            self.names.append(name)
        return increment

    def value(self) -> int:
        """A number to assign."""
        self.places += 1
        return BASE**self.places

    def assign(self, before: Any, name: str, after: Any) -> None:
        """`name` was assigned or deleted on top of the record `before`."""
        entry = after.entries[name]
        place = None if entry.deleted else self.places
        covers = set(self.stamp_covers(before, name))
        for digit in digits(self.number(before, name)):
            covers |= self.assigned[digit].covers if digit in self.assigned else {digit}
        assignment = Assignment(name, place, frozenset(covers))
        self.stamped[name, entry[:2]] = assignment
        if place is not None:
            self.assigned[place] = assignment
        if name not in self.names:
            self.names.append(name)

    def stamp_covers(self, record: Any, name: str) -> frozenset[int]:
        """What the assignment that the record shows as the latest took away."""
        entry = record.entries.get(name)
        known = entry and self.stamped.get((name, entry[:2]))
        return known.covers if known else frozenset()

    def number(self, record: Any, name: str) -> int:
        """The number shown, 0 for none."""
        value = self._shown(record, name)
        return 0 if value is self._absent else value

    def is_shown(self, record: Any, name: str) -> bool:
        """Whether the key is there."""
        return self._shown(record, name) is not self._absent
