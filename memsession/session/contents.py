"""The session as a request sees it: a dict, and a few methods that record what is to happen.

Methods record, the commit performs: nothing here does I/O. What changed is found by comparing with what was loaded
when the response is about to leave, so changes deep inside a value are never missed.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Protocol, Self

from memsession.identity import fingerprint
from memsession.record import Changes, Plain, diff, thaw

BY_BITS_MAX = 64
"""Of one increment. A sum of them cannot grow beyond what can be stored in any session's life."""


class Store(Protocol):
    """What an `AsyncSession` may ask of the one who loaded it."""

    async def save(self) -> None:
        """Commit now."""

    async def modify(self, key: str, fn: Callable[[Any], Any], default: Any) -> Any:
        """Read, compute and write one key as one step."""


@dataclass(slots=True)
class Ledger:
    """What a request knows of its session, and did to it, beside the content.

    `before` is what was loaded, in plain form; `key` the storage key, if something is stored; `performed` what a
    commit has done since `before` was loaded.
    """

    before: Mapping[str, Plain] = field(default_factory=dict)
    key: bytes | None = None
    increments: dict[str, int] = field(default_factory=dict)
    performed: Changes | None = None
    accessed: bool = False
    cleared: bool = False
    invalidated: bool = False
    regenerated: bool = False
    store: Store | None = None

    def done(self) -> None:
        """The ID is a new one now, or none: what asked for that was performed."""
        self.cleared = self.invalidated = self.regenerated = False


class SessionDict(dict[str, Any]):
    """What both kinds of session share. Not made by hand: a middleware gives it to each request."""

    __slots__ = ("_ledger",)

    def __init__(self, ledger: Ledger) -> None:
        dict.__init__(self, {key: thaw(plain) for key, plain in ledger.before.items()})
        self._ledger = ledger

    @property
    def id(self) -> str | None:
        """A public name of the session, the same in logs and tools; None before it is first stored.

        It is a hash of the secret in the cookie: who knows it cannot use the session.
        """
        self._ledger.accessed = True
        return None if self._ledger.key is None else fingerprint(self._ledger.key)

    @property
    def is_new(self) -> bool:
        """Whether nothing is stored yet under this visitor's cookie."""
        self._ledger.accessed = True
        return self._ledger.key is None

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

    def regenerate(self) -> None:
        """Give the session a new ID and end the old one; call it at login and at any change of privilege.

        (OWASP Session Management Cheat Sheet, "Renew the Session ID After Any Privilege Level Change".)
        """
        self._ledger.accessed = True
        self._ledger.regenerated = True

    def invalidate(self) -> None:
        """End the session everywhere; call it at logout. What is written afterwards begins a new session."""
        self.clear()
        self._ledger.invalidated = True

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


class AsyncSession(SessionDict):
    """The session in ASGI applications. Only `save` and `modify` touch the store, so only they are awaited."""

    __slots__ = ()

    def _bound(self) -> Store:
        self._ledger.accessed = True
        if self._ledger.store is None:
            raise RuntimeError("this session belongs to no request: take it from request.session")
        return self._ledger.store

    async def save(self) -> None:
        """Commit now instead of when the response leaves, and see what others have stored meanwhile.

        Raises:
            PoolUnavailable: no node acknowledged.
            UnstorableValue, SessionTooLarge: nothing was written.
        """
        await self._bound().save()

    async def modify(self, key: str, fn: Callable[[Any], Any], default: Any = None) -> Any:
        """Replace the value of `key` by `fn(value)` as one step, and return it.

        `fn` gets `default` where there is no value; it must be pure, for it may run several times. Exact while no
        node of the session forgets and the web servers agree which nodes are out.

        Raises:
            UpdateUnconfirmed: it may have happened once, or not at all.
            PoolUnavailable: no node of the session could be reached.
        """
        return await self._bound().modify(key, fn, default)


def _noticing(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def noticed(self: SessionDict, *args: Any, **kwargs: Any) -> Any:
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
    setattr(SessionDict, _name, _noticing(getattr(dict, _name)))


def changes_of(session: SessionDict, ledger: Ledger) -> Changes:
    """What the request changed and was not performed yet. Raises `UnstorableValue` for what cannot be stored."""
    if not ledger.accessed:
        return NO_CHANGES
    if ledger.performed is not None:
        _fold(ledger)
    return _beyond(session, ledger, ledger.before)


def content_of(session: SessionDict, ledger: Ledger) -> Changes:
    """All that the session holds, as changes to an empty one. Raises `UnstorableValue` for what cannot be stored."""
    changes = _beyond(session, ledger, {})
    # Nobody else counts under an ID that nobody has: there the counters begin as plain values.
    return Changes({**changes.puts, **changes.increments})


NO_CHANGES = Changes()


def _beyond(session: SessionDict, ledger: Ledger, before: Mapping[str, Plain]) -> Changes:
    content = {key: dict.__getitem__(session, key) for key in dict.__iter__(session)}
    return diff(before, content, ledger.increments)


def settle(ledger: Ledger, changes: Changes) -> None:
    """`changes`, as `changes_of` gave them, were performed: only what the request does beyond them is one now."""
    if changes:
        ledger.performed = changes


def _fold(ledger: Ledger) -> None:
    """What was performed counts as loaded. Done late, for most requests end with their only commit."""
    changes, ledger.performed = ledger.performed or NO_CHANGES, None
    before = {**ledger.before, **changes.puts}
    for key in changes.deletes:
        before.pop(key, None)
    for key, by in changes.increments.items():
        before[key] = before.get(key, 0) + by
        # Another task of the request may have counted on while the round trips were under way.
        ledger.increments[key] = ledger.increments.get(key, 0) - by
    ledger.before = before


def adopt(session: SessionDict, ledger: Ledger, before: Mapping[str, Plain], changes: Changes) -> None:
    """Show what is stored now (`before`), with `changes` that are still to be performed on top."""
    content = {key: thaw(plain) for key, plain in before.items()}
    content.update((key, thaw(plain)) for key, plain in changes.puts.items())
    for key in changes.deletes:
        content.pop(key, None)
    increments: dict[str, int] = {}
    for key, by in changes.increments.items():
        there = content.get(key, 0)
        # Where another request has put something else than a number, nothing is left to count on.
        if type(there) in (int, float):
            content[key], increments[key] = there + by, by
    ledger.before, ledger.increments = before, increments
    dict.clear(session)
    dict.update(session, content)
