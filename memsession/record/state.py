"""A stored session: `Live`, or `Dead` once it has ended.

Each top-level key of a live session is an `Entry` with a *stamp* (counter, writer). Stamps order the changes of
one key; no clock does. A deleted key stays as a marker, so that an old copy cannot bring it back.

Beside the entries stand *counts*: key -> writer -> (n, amount). Every web process counts its own increments of a
key under a random writer name: n is how many there were, amount is their sum. Two copies are merged by taking, for
each writer, the greater n; so an increment may be sent twice, late, or by way of another node and still counts
once. An assignment does not remove sub-counts (a copy that was away would bring them back and count them again):
it stores how much of them it saw, and what is shown is the value plus the amounts beyond that.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, NamedTuple, TypeAlias

from memsession.record.values import Plain


class Entry(NamedTuple):
    """One top-level key: its stamp, its value, and what of the key's sub-counts the assignment saw."""

    counter: int
    writer: str
    value: Plain = None
    deleted: bool = False
    seen_n: int = 0
    seen_amount: int = 0


class SubCount(NamedTuple):
    """A writer's own increments of one key: how many, and their sum."""

    n: int
    amount: int


@dataclass(frozen=True, slots=True)
class Live:
    """A session that can be used. Times are milliseconds of the pool's clock.

    `deadline_ms` is the absolute end, `seen_ms` the last use, `modified` the number of modifications.
    `doubted` is the storage key of a session that could not be found or ruled out when this one began.
    `idle_ms` is the session's own idle limit, 0 for the application's; it and the deadline are given when an ID is
    born and never change under it.
    """

    entries: dict[str, Entry]
    counts: dict[str, dict[str, SubCount]]
    created_ms: int
    deadline_ms: int
    seen_ms: int
    modified: int = 1
    doubted: str = ""
    idle_ms: int = 0

    @property
    def top(self) -> int:
        """The greatest stamp counter in the record."""
        return max((entry[0] for entry in self.entries.values()), default=0)


class Reason(IntEnum):
    """Why a session ended. The greater reason wins."""

    REGENERATED = 1
    INVALIDATED = 2


@dataclass(frozen=True, slots=True, order=True)
class Dead:
    """A tombstone. `mark` tells one regeneration from another (of two, the greater mark wins)."""

    reason: Reason
    mark: str = ""


Record: TypeAlias = Live | Dead


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final[Any] = _Absent()


def shown(record: Live, key: str) -> Plain:
    """The value of `key` as a visitor's request sees it, or `ABSENT`.

    A value that is no number is shown as it stands, whatever was counted on it.
    """
    entry = record.entries.get(key)
    subs = record.counts.get(key)
    if subs is None:
        return ABSENT if entry is None or entry.deleted else entry.value
    n = amount = 0
    for sub in subs.values():
        n += sub[0]
        amount += sub[1]
    if entry is None:
        return amount if n > 0 else ABSENT
    if entry.deleted:
        return amount - entry.seen_amount if n > entry.seen_n else ABSENT
    if isinstance(entry.value, bool) or not isinstance(entry.value, (int, float)):
        return entry.value
    return entry.value + amount - entry.seen_amount


def visible(record: Live) -> dict[str, Plain]:
    """Everything a request sees, in plain form. The containers in it belong to the record: read, never change."""
    if not record.counts:
        return {key: entry.value for key, entry in record.entries.items() if not entry.deleted}
    values = {key: shown(record, key) for key in record.entries}
    for key in record.counts:
        if key not in values:
            values[key] = shown(record, key)
    return {key: value for key, value in values.items() if value is not ABSENT}
