"""What a session can hold, and its plain form: what JSON can carry and what comes back exactly as it went in.

JSON types stand for themselves. Other types become a mapping with the single key "!": `{"!": [type, content]}`; a
user's own mapping that holds the key "!" is wrapped the same way, so nothing can be mistaken for a type.
"""

import base64
import json
import math
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import cache
from importlib import import_module
from typing import Any, Final, TypeAlias
from uuid import UUID
from zoneinfo import ZoneInfo

from memsession.errors import UnstorableValue

Plain: TypeAlias = Any
"""Nothing but str, int, float (finite), bool, None, list, and dict with str keys."""

SCALARS: Final = frozenset({str, int, bool, type(None)})
"""Types that are their own plain form and cannot change in place."""

DEPTH_MAX = 32
_BITS_MAX = 2_000
"""Of an int. Python refuses to write longer ones as text when `sys.set_int_max_str_digits` is at its least, 640."""

_TAG = "!"


def freeze(value: object, path: str, depth: int = DEPTH_MAX) -> Plain:
    """The plain form of `value`; `path` says where it stands, for the error.

    Raises:
        UnstorableValue: of a type that cannot be stored, or nested deeper than 32 levels.
    """
    kind = type(value)
    if not isinstance(path, str):
        raise UnstorableValue(repr(path), f"a key must be a str, not {type(path).__name__}: use str(key)")
    if kind in SCALARS:
        if kind is int and value.bit_length() > _BITS_MAX:  # type: ignore[attr-defined]
            raise UnstorableValue(path, "an int of more than 600 digits cannot be stored: store it as bytes")
        return value
    if depth == 0:
        raise UnstorableValue(path, f"nested deeper than {DEPTH_MAX} levels: flatten it, or store it elsewhere")
    if kind is float:
        return value if math.isfinite(value) else {_TAG: ["float", repr(value)]}  # type: ignore[arg-type]
    if isinstance(value, list) and kind is list:
        return [freeze(item, f"{path}[{i}]", depth - 1) for i, item in enumerate(value)]
    if isinstance(value, dict) and kind is dict:
        return _freeze_dict(value, path, depth - 1)
    if kind in (tuple, set, frozenset):
        content: Any = value
        items = [freeze(item, f"{path}[{i}]", depth - 1) for i, item in enumerate(content)]
        return {_TAG: [kind.__name__, items if kind is tuple else sorted(items, key=_text)]}
    if kind is datetime or kind is time:
        return _freeze_clock(value, path)
    to_text = _TO_TEXT.get(kind)
    if to_text is None and isinstance(value, str) and _is_markup(kind):
        return {_TAG: ["Markup", str.__str__(value)]}
    if to_text is None:
        raise UnstorableValue(path, f"{kind.__module__}.{kind.__qualname__} cannot be stored: {_CURE}")
    return {_TAG: [kind.__name__, to_text(value)]}


_CURE = (
    "store str, int, float, bool, None, list, dict, tuple, set, frozenset, bytes, datetime, date, time, timedelta, "
    "UUID, Decimal or Markup (exactly these types, no subclasses), or a key to look the object up by"
)


def _freeze_dict(value: dict[Any, Any], path: str, depth: int) -> Plain:
    plain = {}
    for key, item in value.items():
        if type(key) is not str:
            raise UnstorableValue(f"{path}[{key!r}]", f"a key must be a str, not {type(key).__name__}: use str(key)")
        plain[key] = freeze(item, f"{path}.{key}", depth)
    return {_TAG: ["dict", plain]} if _TAG in plain else plain


def _freeze_clock(value: Any, path: str) -> Plain:
    """A datetime or time. A zone is kept by its name, not only by its offset of that day."""
    zone = value.tzinfo
    name = type(value).__name__
    if zone is None or type(zone) is timezone:
        return {_TAG: [name, value.isoformat(), value.fold]}
    if isinstance(zone, ZoneInfo) and zone.key is not None:
        return {_TAG: [name, value.replace(tzinfo=None).isoformat(), value.fold, zone.key]}
    raise UnstorableValue(path, f"time zone {zone!r} cannot be stored: use datetime.timezone or zoneinfo.ZoneInfo")


def thaw(plain: Plain) -> Any:
    """The value that `plain` stands for; containers are made anew, so the record is never changed through them."""
    kind = type(plain)
    if kind is list:
        return [thaw(item) for item in plain]
    if kind is not dict:
        return plain
    if _TAG not in plain:
        return {key: thaw(item) for key, item in plain.items()}
    name, content, *more = plain[_TAG]
    return _FROM_PLAIN[name](content, *more)


def same(a: Plain, b: Plain) -> bool:
    """Whether two plain forms are exactly equal; 1, 1.0 and True are three different values."""
    if type(a) is not type(b):
        return False
    return a == b if type(a) in SCALARS else _text(a) == _text(b)


_text: Callable[[Any], str] = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def _timedelta_out(value: timedelta) -> list[int]:
    return [value.days, value.seconds, value.microseconds]


_TO_TEXT: dict[type, Callable[[Any], Plain]] = {
    date: date.isoformat,
    timedelta: _timedelta_out,
    UUID: str,
    Decimal: str,
    bytes: lambda value: base64.b64encode(value).decode(),
}


class _Markup(str):
    """A text that is HTML already, where the library of that name is not installed."""

    __slots__ = ()

    def __html__(self) -> str:
        return str.__str__(self)


def _is_markup(kind: type) -> bool:
    """MarkupSafe's text, which Flask's and Jinja's users put into messages. By name: it need not be installed."""
    return kind is _Markup or (kind.__module__, kind.__qualname__) == ("markupsafe", "Markup")


@cache
def _markup() -> type[str]:
    try:
        found: type[str] = import_module("markupsafe").Markup
    except ImportError:
        return _Markup
    return found


def _clock_in(kind: type[datetime] | type[time]) -> Callable[..., Any]:
    def read(text: str, fold: int, zone: str | None = None) -> Any:
        value = kind.fromisoformat(text).replace(fold=fold)
        return value if zone is None else value.replace(tzinfo=ZoneInfo(zone))

    return read


_FROM_PLAIN: dict[str, Callable[..., Any]] = {
    "float": float,
    "tuple": lambda items: tuple(thaw(item) for item in items),
    "set": lambda items: {thaw(item) for item in items},
    "frozenset": lambda items: frozenset(thaw(item) for item in items),
    "dict": lambda items: {key: thaw(item) for key, item in items.items()},
    "datetime": _clock_in(datetime),
    "time": _clock_in(time),
    "date": date.fromisoformat,
    "timedelta": lambda parts: timedelta(*parts),
    "UUID": UUID,
    "Decimal": Decimal,
    "bytes": base64.b64decode,
    "Markup": lambda text: _markup()("".join(text)),  # join: of nothing but text
}
