"""What a request changed, and how it goes into a record."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from memsession.record.counters import OwnCount
from memsession.record.state import ABSENT, Entry, Live, SubCount, shown
from memsession.record.values import SCALARS, Plain, freeze, same


@dataclass(frozen=True, slots=True)
class Changes:
    """Changes to top-level keys; false when there are none. Values are in plain form."""

    puts: dict[str, Plain] = field(default_factory=dict)
    deletes: tuple[str, ...] = ()
    increments: dict[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.puts or self.deletes or self.increments)


def diff(before: Mapping[str, Plain], after: Mapping[str, object], increments: Mapping[str, int]) -> Changes:
    """Compare what was loaded with what the request left behind, so that nested changes are never missed.

    `increments` are the request's own, already added in `after`. A key that holds anything else than the loaded
    number plus the increments was assigned: it is a put, and its increments are dropped.

    Raises:
        UnstorableValue: a changed value cannot be stored.
    """
    puts: dict[str, Plain] = {}
    for key, value in after.items():
        expected = before.get(key, ABSENT)
        if key in increments:
            expected = (0 if expected is ABSENT else expected) + increments[key]
        kind = type(value)
        if kind in SCALARS and kind is type(expected) and value == expected and type(key) is str:
            continue
        plain = freeze(value, key)
        if expected is ABSENT or not same(plain, expected):
            puts[key] = plain
    counted = {k: by for k, by in increments.items() if k in after and k not in puts and (by or k not in before)}
    return Changes(puts, tuple(key for key in before if key not in after), counted)


def apply(record: Live, changes: Changes, own: Mapping[str, OwnCount], *, writer: str, now_ms: int) -> Live:
    """The record with `changes` stamped on top. `own` holds this process's sub-counts for the increments.

    The stamp's counter is one more than the greatest in the record, so a change wins over all that its request
    had seen; `writer` is a random name of this save. An increment needs no stamp.
    """
    entries = record.entries
    if changes.puts or changes.deletes:
        top = record.top + 1
        entries = dict(entries)
        for key, value in changes.puts.items():
            entries[key] = Entry(top, writer, value, False, *_sums(record, key))
        for key in changes.deletes:
            entries[key] = Entry(top, writer, None, True, *_sums(record, key))
    counts = record.counts
    if own:
        counts = dict(counts)
        for key, (name, sub) in own.items():
            counts[key] = {**counts.get(key, {}), name: sub}
    seen_ms = max(record.seen_ms, now_ms)
    created_ms, deadline_ms, modified = record.created_ms, record.deadline_ms, record.modified + 1
    return Live(entries, counts, created_ms, deadline_ms, seen_ms, modified, record.doubted, record.idle_ms)


def _sums(record: Live, key: str) -> tuple[int, int]:
    subs = record.counts.get(key)
    if not subs:
        return 0, 0
    return sum(sub.n for sub in subs.values()), sum(sub.amount for sub in subs.values())


def fold(record: Live, *, above: Live | None, floor: int, writer: str) -> Live:
    """The record for a new ID: every counter becomes a plain value (or a deletion) without sub-counts.

    The sub-counts belong to the old ID and would be counted twice if they were merged again later. `above` is what
    the new ID holds already, `floor` the greatest stamp counter sent there so far: folded values are stamped above
    both, so that a later, fuller fold wins everywhere.
    """
    top = max(floor, record.top, above.top if above else 0) + 1
    entries = dict(record.entries)
    for key in {**record.entries, **record.counts}:
        entry = record.entries.get(key)
        there = above.entries.get(key) if above else None
        if key not in record.counts and (there is None or entry is None or there[:2] == entry[:2]):
            continue
        value = shown(record, key)
        entries[key] = Entry(top, writer, None, True) if value is ABSENT else Entry(top, writer, value)
    no_counts: dict[str, dict[str, SubCount]] = {}
    return replace(record, entries=entries, counts=no_counts)
