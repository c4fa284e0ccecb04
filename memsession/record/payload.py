"""A record as bytes and back: compact JSON, one format, nothing guessed.

["L", created, deadline, seen, modified, doubted, {key: entry}, {key: {writer: [n, amount]}}]
["L", ..., idle]                             a session with an idle limit of its own
["D", reason, mark]
entry: [counter, writer]                     deleted
       [counter, writer, value]              present
       [counter, writer, n, amount]          deleted, and the sub-counts it saw
       [counter, writer, value, n, amount]   present, and the sub-counts it saw
"""

import json
import math
from typing import Any, NoReturn

from memsession.lifetime import MEMCACHED_TTL_MAX
from memsession.record.state import Dead, Entry, Live, Reason, Record, SubCount
from memsession.record.values import DEPTH_MAX, Plain, thaw

_COUNTER_MAX = 2**63 - 1
"""Bound of everything that only ever grows by one; far beyond use, and the same in every language."""

_IDLE_MS_MAX = MEMCACHED_TTL_MAX * 1000

_DEPTH_MAX = 3 * DEPTH_MAX + 4
"""A type's tag adds two levels to that of its value; the record itself has three."""


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(text)


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(text)
    return number


_encode_json = json.JSONEncoder(
    separators=(",", ":"), ensure_ascii=False, allow_nan=False, check_circular=False
).encode
_decode_json = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite).raw_decode


def encode(record: Record) -> bytes:
    """The record as bytes."""
    if isinstance(record, Dead):
        return _encode_json(["D", int(record.reason), record.mark]).encode()
    entries = {key: _entry_out(entry) for key, entry in record.entries.items()}
    times = record.created_ms, record.deadline_ms, record.seen_ms
    own = (record.idle_ms,) if record.idle_ms else ()
    text = _encode_json(["L", *times, record.modified, record.doubted, entries, record.counts, *own])
    # A lone surrogate is legal in a Python string, so it has to come back as it went in.
    return text.encode("utf-8", "surrogatepass")


def decode(payload: bytes) -> Record | None:
    """The record that `payload` holds, or None for bytes that hold none. Never raises."""
    try:
        text = payload.decode("utf-8", "surrogatepass")
        fields, end = _decode_json(text)
        if end == len(text) and type(fields) is list and not _too_deep(text, fields):
            if fields[0] == "L":
                return _live_in(*fields[1:], may_have_types=b'"!"' in payload)
            if fields[0] == "D":
                return _dead_in(*fields[1:])
    except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, OSError, RecursionError):
        pass
    return None


def _too_deep(text: str, fields: Any) -> bool:
    """Whether values are nested deeper than anything that was ever stored; most texts are too short to be."""
    if text.count("[") + text.count("{") <= _DEPTH_MAX:
        return False
    level = [fields]
    for _ in range(_DEPTH_MAX):
        level = [item for one in level for item in (one.values() if type(one) is dict else one)]
        level = [item for item in level if type(item) in (dict, list)]
    return bool(level)


def _live_in(
    created: Any,
    deadline: Any,
    seen: Any,
    modified: Any,
    doubted: Any,
    entries: Any,
    counts: Any,
    *own: Any,
    may_have_types: bool,
) -> Live:
    if type(doubted) is not str or type(entries) is not dict or type(counts) is not dict:
        raise ValueError("not a live record")
    read = {key: _entry_in(entry) for key, entry in entries.items()}
    if may_have_types:
        _check_types(read)
    subs = {key: _counts_in(by_writer) for key, by_writer in counts.items()} if counts else {}
    times = _number(created), _number(deadline), _number(seen)
    return Live(read, subs, *times, _number(modified), doubted, _idle_in(*own) if own else 0)


def _idle_in(idle: Any) -> int:
    if type(idle) is int and 0 < idle <= _IDLE_MS_MAX:
        return idle
    raise ValueError("not an idle limit")


def _dead_in(reason: Any, mark: Any) -> Dead:
    if type(reason) is not int or type(mark) is not str:
        raise ValueError("not a tombstone")
    return Dead(Reason(reason), mark)


def _entry_out(entry: Entry) -> tuple[Plain, ...]:
    counter, writer, value, deleted, n, amount = entry
    if n or amount:
        return (counter, writer, n, amount) if deleted else (counter, writer, value, n, amount)
    return (counter, writer) if deleted else (counter, writer, value)


def _entry_in(fields: Any) -> Entry:
    size = len(fields)
    if type(fields) is not list or not 2 <= size <= 5 or type(fields[1]) is not str:
        raise ValueError("not an entry")
    _number(fields[0])
    if size == 3:
        return Entry(fields[0], fields[1], fields[2])
    if size == 2:
        return Entry(fields[0], fields[1], None, True)
    n, amount = _number(fields[-2]), _integer(fields[-1])
    return Entry(fields[0], fields[1], fields[2] if size == 5 else None, size == 4, n, amount)


def _check_types(entries: dict[str, Entry]) -> None:
    """A type that this version does not know must show here, not in the middle of a request."""
    for entry in entries.values():
        thaw(entry.value)


def _counts_in(subs: Any) -> dict[str, SubCount]:
    if type(subs) is not dict:
        raise ValueError("no sub-counts")
    return {writer: SubCount(_number(n), _integer(amount)) for writer, (n, amount) in subs.items()}


def _number(field: Any) -> int:
    if type(field) is int and 0 <= field <= _COUNTER_MAX:
        return field
    raise ValueError("not a counter")


def _integer(field: Any) -> int:
    if type(field) is int:
        return field
    raise ValueError("not an integer")
