"""A record as bytes and back: compact JSON, one format, nothing guessed.

["L", created, deadline, seen, modified, doubted, {key: entry}, {key: {writer: [n, amount]}}]
["D", reason, mark]
entry: [counter, writer]                     deleted
       [counter, writer, value]              present
       [counter, writer, n, amount]          deleted, and the sub-counts it saw
       [counter, writer, value, n, amount]   present, and the sub-counts it saw
"""

import json
import math
from typing import Any, NoReturn

from memsession.record.state import Dead, Entry, Live, Reason, Record, SubCount
from memsession.record.values import Plain, thaw

_COUNTER_MAX = 2**63 - 1
"""Bound of everything that only ever grows by one; far beyond use, and the same in every language."""


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
_decode_json = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite).decode


def encode(record: Record) -> bytes:
    """The record as bytes."""
    if isinstance(record, Dead):
        return _encode_json(["D", int(record.reason), record.mark]).encode()
    entries = {key: _entry_out(entry) for key, entry in record.entries.items()}
    text = _encode_json(
        [
            "L",
            record.created_ms,
            record.deadline_ms,
            record.seen_ms,
            record.modified,
            record.doubted,
            entries,
            record.counts,
        ]
    )
    # A lone surrogate is legal in a Python string, so it has to come back as it went in.
    return text.encode("utf-8", "surrogatepass")


def decode(payload: bytes) -> Record | None:
    """The record that `payload` holds, or None for bytes that hold none. Never raises."""
    try:
        match _decode_json(payload.decode("utf-8", "surrogatepass")):
            case ["L", created, deadline, seen, modified, str(doubted), dict(entries), dict(counts)]:
                read = {key: _entry_in(entry) for key, entry in entries.items()}
                if b'"!"' in payload:
                    _check_types(read)
                return Live(
                    read,
                    {key: _counts_in(subs) for key, subs in counts.items()},
                    _number(created),
                    _number(deadline),
                    _number(seen),
                    _number(modified),
                    doubted,
                )
            case ["D", int(reason), str(mark)]:
                return Dead(Reason(reason), mark)
    except (ValueError, TypeError, ArithmeticError, LookupError, RecursionError):
        pass
    return None


def _entry_out(entry: Entry) -> tuple[Plain, ...]:
    counter, writer, value, deleted, n, amount = entry
    if n or amount:
        return (counter, writer, n, amount) if deleted else (counter, writer, value, n, amount)
    return (counter, writer) if deleted else (counter, writer, value)


def _entry_in(fields: Any) -> Entry:
    match fields:
        case [counter, str(writer), value]:
            return Entry(_number(counter), writer, value)
        case [counter, str(writer)]:
            return Entry(_number(counter), writer, None, True)
        case [counter, str(writer), n, amount]:
            return Entry(_number(counter), writer, None, True, _number(n), _integer(amount))
        case [counter, str(writer), value, n, amount]:
            return Entry(_number(counter), writer, value, False, _number(n), _integer(amount))
    raise ValueError("not an entry")


def _check_types(entries: dict[str, Entry]) -> None:
    """A type that this version does not know must show here, not in the middle of a request."""
    for entry in entries.values():
        thaw(entry.value)


def _counts_in(subs: Any) -> dict[str, SubCount]:
    return {writer: SubCount(_number(n), _integer(amount)) for writer, (n, amount) in subs.items()}


def _number(field: Any) -> int:
    if type(field) is int and 0 <= field <= _COUNTER_MAX:
        return field
    raise ValueError("not a counter")


def _integer(field: Any) -> int:
    if type(field) is int:
        return field
    raise ValueError("not an integer")
