"""The session as a request sees it: a dict, and methods that record what is to happen.

Methods record, the commit performs: nothing here does I/O, but for `save` and `modify`, which are awaited in
`AsyncSession` and plain in `Session`. All else is one class for both.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from memsession.identity import fingerprint
from memsession.record import thaw
from memsession.session import csrf, flashes
from memsession.session.contents import Contents
from memsession.session.ledger import PERMANENT_KEY, BlockingStore, OwnLifetime, Store
from memsession.session.views import view_of

M = TypeVar("M")


_NO_REQUEST = "this session belongs to no request: take it from there, for instance request.session"


class SessionDict(Contents):
    """What both kinds of session share. Not made by hand: a middleware gives it to each request."""

    __slots__ = ()

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

    @property
    def ended(self) -> bool:
        """Whether the session that this request came with is over, ended by a logout or login elsewhere.

        A WebSocket learns of it by `await session.save()`, which asks the nodes.
        """
        self._ledger.accessed = True
        return self._ledger.ended

    @property
    def created_at(self) -> datetime | None:
        """When the session began, in UTC by the pool's clock; None before it is first stored."""
        self._ledger.accessed = True
        record = self._ledger.record
        return None if record is None else _utc(record.created_ms)

    @property
    def last_seen(self) -> datetime | None:
        """When the session was last used, as stored: up to a twentieth of the idle limit before its last use."""
        self._ledger.accessed = True
        record = self._ledger.record
        return None if record is None else _utc(record.seen_ms)

    @property
    def expires_at(self) -> datetime | None:
        """When the session ends at the latest, however much it is used; None before it is first stored."""
        self._ledger.accessed = True
        record = self._ledger.record
        return None if record is None else _utc(record.deadline_ms)

    def regenerate(self, *, reauthenticated: bool = False) -> None:
        """Give the session a new ID and end the old one; call it at login and at any change of privilege.

        `reauthenticated`: the visitor has just proved anew who he is, so the absolute limit begins anew, too
        (NIST SP 800-63B-4, section 5.2). A login by a key of `rotate_on` that was not there before does so by itself.
        The CSRF token changes. (OWASP Session Management Cheat Sheet, "Renew the Session ID After Any Privilege Level
        Change".)
        """
        self._ledger.accessed = True
        self._ledger.regenerated = True
        self._ledger.reauthenticated = self._ledger.reauthenticated or reauthenticated
        csrf.renew(self)

    def invalidate(self) -> None:
        """End the session everywhere; call it at logout. What is written afterwards begins a new session."""
        self.clear()
        self._ledger.own_lifetime = None
        self._ledger.invalidated = True

    def set_lifetime(
        self, *, idle: timedelta | None = None, absolute: timedelta | None = None, persistent: bool = True
    ) -> None:
        """Give this session limits of its own, for "remember me".

        The session gets a new ID, for it is a login that is remembered; `absolute` counts from now. What is left out
        is as the application has it now; `absolute` may be as long as `Lifetime(longest=...)`. `persistent`: the
        cookie lasts as long as the session may; without it, until the browser is closed.

        Raises:
            ConfigurationError: a limit is out of range.
        """
        lifetime = self._ledger.lifetime
        idle_ms, absolute_ms = lifetime.limits(idle, absolute)
        self._ledger.accessed = True
        # Never 0, which would say that the session has none of its own.
        self._ledger.own_lifetime = OwnLifetime(idle_ms or min(lifetime.idle_ms, absolute_ms), absolute_ms)
        if not persistent:
            self[PERMANENT_KEY] = False
        elif dict.get(self, PERMANENT_KEY) is False:
            del self[PERMANENT_KEY]

    def flash(self, message: Any, category: str = "message") -> None:
        """Keep a message for the next page that asks; messages of parallel requests are kept beside each other.

        Of waiting messages there are 64 at most; one more takes the place of the oldest.
        """
        flashes.put(self, self._ledger.record, message, category)

    def get_flashed(self, *categories: str) -> list[tuple[str, Any]]:
        """Take the waiting messages out, oldest first, as (category, message); with `categories` only those."""
        return flashes.take(self, categories)

    def csrf_token(self) -> str:
        """A token to put into forms, tied to this session; the same until the session's ID is renewed.

        In the request that logs in, call it after that, for the token of before is not valid any more.

        (NIST SP 800-63B-4, section 5.1; OWASP Cross-Site Request Forgery Prevention Cheat Sheet, "Synchronizer Token
        Pattern".)
        """
        if self._moves() and csrf.is_stale(self, self._ledger.before):
            csrf.renew(self)
        return csrf.token(self)

    def _moves(self) -> bool:
        """Whether the session is to get a new ID, as far as can be told by now."""
        ledger = self._ledger
        return ledger.own_lifetime is not None or any(
            dict.get(self, key) != thaw(ledger.before.get(key)) for key in ledger.rotate_on
        )

    def csrf_valid(self, token: object) -> bool:
        """Whether a form brought this session's token back; compared in constant time."""
        return csrf.is_valid(self, token)

    def as_(self, model: type[M]) -> M:
        """The session as a typed object: an instance of a dataclass or pydantic model, or itself for a TypedDict.

        Fields are top-level keys; other keys of the session are left alone. What is changed in the object is saved
        with the session, field by field: of two changes of one key, the object's stands. After `save()` the object
        shows what is stored. The same model gives the same object within a request.

        Raises:
            ConfigurationError: `model` is of another kind.
            UnfitValue: the session holds something that does not fit, or lacks a field without default; the error
                names the key.
        """
        self._ledger.accessed = True
        return view_of(self, self._ledger, model)


class AsyncSession(SessionDict):
    """The session in ASGI applications. Only `save` and `modify` touch the store, so only they are awaited."""

    __slots__ = ()

    def _bound(self) -> Store:
        self._ledger.accessed = True
        store: Store | None = self._ledger.store
        if store is None:
            raise RuntimeError(_NO_REQUEST)
        return store

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


class Session(SessionDict):
    """The session in WSGI applications: as `AsyncSession`, but `save` and `modify` are plain calls."""

    __slots__ = ()

    def _bound(self) -> BlockingStore:
        self._ledger.accessed = True
        store: BlockingStore | None = self._ledger.store
        if store is None:
            raise RuntimeError(_NO_REQUEST)
        return store

    def save(self) -> None:
        """Commit now; as `AsyncSession.save`."""
        self._bound().save()

    def modify(self, key: str, fn: Callable[[Any], Any], default: Any = None) -> Any:
        """Replace the value of `key` by `fn(value)` as one step, and return it; as `AsyncSession.modify`."""
        return self._bound().modify(key, fn, default)


def _utc(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
