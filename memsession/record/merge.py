"""Merging copies of one session. The laws here carry everything else.

`merge` is commutative, associative and idempotent, and a tombstone absorbs: copies may be merged in any order, as
often as one likes, by anybody, and all who saw the same copies hold the same record. (State-based replicated data
types: Shapiro, Preguica, Baquero, Zawirski, 2011.)

It relies on one rule that all writers keep: an entry and its stamp are made together, once. Two entries of one key
with the same stamp are therefore the same entry.
"""

from collections.abc import Iterable
from functools import reduce

from memsession.record.state import Dead, Entry, Live, Record, SubCount


def merge(a: Record, b: Record) -> Record:
    """The least record that holds everything `a` and `b` hold."""
    if a is b:
        return a
    if isinstance(a, Dead):
        return max(a, b) if isinstance(b, Dead) else a
    if isinstance(b, Dead):
        return b
    return merge_live(a, b)


def merge_live(a: Live, b: Live) -> Live:
    """`merge` of two live records."""
    if a is b:
        return a
    return Live(
        _merge_entries(a.entries, b.entries),
        _merge_counts(a.counts, b.counts),
        min(a.created_ms, b.created_ms),
        min(a.deadline_ms, b.deadline_ms),
        max(a.seen_ms, b.seen_ms),
        max(a.modified, b.modified),
        max(a.doubted, b.doubted),
        max(a.idle_ms, b.idle_ms),
    )


def merge_all(records: Iterable[Record]) -> Record:
    """Merge one or more records."""
    return reduce(merge, records)


def _merge_entries(a: dict[str, Entry], b: dict[str, Entry]) -> dict[str, Entry]:
    merged = dict(a)
    for key, theirs in b.items():
        ours = merged.get(key)
        if ours is None or ours[:2] < theirs[:2]:
            merged[key] = theirs
    return merged


def _merge_counts(
    a: dict[str, dict[str, SubCount]], b: dict[str, dict[str, SubCount]]
) -> dict[str, dict[str, SubCount]]:
    if not b or a is b:
        return a
    merged = dict(a)
    for key, theirs in b.items():
        ours = merged.get(key)
        if ours is None:
            merged[key] = theirs
            continue
        both = dict(ours)
        for writer, sub in theirs.items():
            if writer not in both or both[writer][0] < sub[0]:
                both[writer] = sub
        merged[key] = both
    return merged
