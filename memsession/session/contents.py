"""The content of a session: a dict that notices every use of it, in whatever form, and that counts exactly.

What changed is found by comparing with what was loaded when the response is about to leave, so changes deep inside a
value are never missed; nothing has to be noticed for that. Uses are noticed for `Vary: Cookie`.
"""

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, Self

from memsession.record import thaw
from memsession.session.ledger import Ledger

BY_BITS_MAX = 64
"""Of one increment. A sum of them cannot grow beyond what can be stored in any session's life."""


class Contents(dict[str, Any]):
    """A dict that notices every use of it, and counts."""

    __slots__ = ("_ledger",)

    def __init__(self, ledger: Ledger) -> None:
        dict.__init__(self, {key: thaw(plain) for key, plain in ledger.before.items()})
        self._ledger = ledger

    def increment(self, key: str, by: int = 1) -> int:
        """Add `by` to a counter, exactly, however many requests do so at once and whatever fails.

        Returns what was loaded plus this request's own increments; two parallel requests may see the same number,
        the total is exact. A key that is not there counts from 0. Assigning the key discards this request's
        increments on it.

        Raises:
            TypeError: the key holds something else than an int, or `by` is not an int.
        """
        self._ledger.accessed = True
        if type(by) is not int or by.bit_length() > BY_BITS_MAX:
            raise TypeError(f"increment({key!r}, by=...): by must be an int of at most {BY_BITS_MAX} bits")
        current = dict.get(self, key, 0)
        if type(current) is not int:
            raise TypeError(f"increment({key!r}): the session holds a {type(current).__name__} there, not an int")
        if self._counts_on(key, current):
            self._ledger.increments[key] = self._ledger.increments.get(key, 0) + by
        dict.__setitem__(self, key, current + by)
        return current + by

    def _counts_on(self, key: str, current: int) -> bool:
        """Whether nothing but increments happened to the key; else the result is an assignment of this request."""
        before, increments = self._ledger.before, self._ledger.increments
        loaded = before.get(key, 0)
        if type(loaded) is not int or loaded + increments.get(key, 0) != current:
            return False
        return key in increments or key not in before or dict.__contains__(self, key)

    def mark_accessed(self) -> None:
        """Note that the response depends on the session. Starlette calls it when `request.session` is used."""
        self._ledger.accessed = True

    def clear(self) -> None:
        """Remove everything. Left empty, the session ends; filled again, it goes on under a new ID."""
        self._ledger.accessed = True
        self._ledger.cleared = True
        self._ledger.increments.clear()
        dict.clear(self)

    def __setitem__(self, key: str, value: Any) -> None:
        self._ledger.accessed = True
        self._ledger.increments.pop(key, None)
        dict.__setitem__(self, key, value)

    def __delitem__(self, key: str) -> None:
        self._ledger.accessed = True
        dict.__delitem__(self, key)
        self._ledger.increments.pop(key, None)

    def pop(self, key: str, *default: Any) -> Any:
        """Remove a key and return its value, as `dict.pop` does."""
        self._ledger.accessed = True
        self._ledger.increments.pop(key, None)
        return dict.pop(self, key, *default)

    def popitem(self) -> tuple[str, Any]:
        """Remove and return the last pair, as `dict.popitem` does."""
        self._ledger.accessed = True
        key, value = dict.popitem(self)
        self._ledger.increments.pop(key, None)
        return key, value

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Take over other pairs, as `dict.update` does."""
        self._ledger.accessed = True
        for key, value in dict(*args, **kwargs).items():
            self[key] = value

    def __ior__(self, other: Any) -> Self:  # type: ignore[override,misc]
        self.update(other)
        return self

    @staticmethod
    def fromkeys(keys: Iterable[str], value: Any = None) -> dict[str, Any]:  # type: ignore[override]
        """As `dict.fromkeys`, and a plain dict: only the session of the request is ever committed."""
        return dict.fromkeys(keys, value)

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        """Copies and pickles are plain dicts: only the session of the request is ever committed."""
        self._ledger.accessed = True
        return dict, (dict(self),)


def _noticing(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def noticed(self: Contents, *args: Any, **kwargs: Any) -> Any:
        self._ledger.accessed = True
        return method(self, *args, **kwargs)

    return noticed


_READING = (
    "__contains__", "__eq__", "__format__", "__ge__", "__getitem__", "__getstate__", "__gt__", "__iter__", "__le__",
    "__len__", "__lt__", "__ne__", "__or__", "__reduce__", "__repr__", "__reversed__", "__ror__", "__sizeof__",
    "__str__", "copy", "get", "items", "keys", "setdefault", "values",
)  # fmt: skip
"""Everything else a dict can be asked: it shows something of the session, so the response depends on it."""

for _name in _READING:
    setattr(Contents, _name, _noticing(getattr(dict, _name)))
