"""Exclusive mode: one request at a time for each session, for code that reads, computes and writes.

Without it parallel requests are merged key by key, which is right for most code and makes nobody wait. Code that does
`session["n"] += 1` wants `increment` or `modify`; where it cannot be changed, a lock as PHP has it keeps it right.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Literal

from memsession.errors import ConfigurationError
from memsession.paths import is_below, roots
from memsession.spelling import spelled

_WAIT_MAX = timedelta(minutes=5)
_EXPIRE_MIN = timedelta(seconds=1)
_EXPIRE_MAX = timedelta(hours=1)


@spelled
@dataclass(frozen=True, kw_only=True)
class Exclusive:
    """Requests of one session take turns.

    `wait`: how long a request waits for its turn, at most.
    `expire`: how long a request may hold the lock; a web server that dies with it keeps others waiting no longer.
    `on_timeout`: what becomes of a request that waited in vain. `"error"` answers 503, `"read_only"` goes on and
    drops what it changes (logins and logouts excepted), `"merge"` goes on as if there were no lock.
    `paths`: where; each is a path, with all that lies below it. `methods`: HTTP methods, None for all.

    One request at a time holds as long as the web servers agree which nodes are out. A request that held the lock for
    too long saves nothing: `LockLost`, answered 503.

    Raises:
        ConfigurationError: a setting is out of range.
    """

    wait: timedelta = timedelta(seconds=10)
    expire: timedelta = timedelta(seconds=30)
    on_timeout: Literal["error", "read_only", "merge"] = "error"
    paths: Collection[str] = ("/",)
    methods: Collection[str] | None = None

    def __post_init__(self) -> None:
        if not _is_between(self.wait, timedelta(), _WAIT_MAX):
            raise ConfigurationError(f"Exclusive(wait={self.wait!r}): use a timedelta of zero to 5 minutes")
        if not _is_between(self.expire, _EXPIRE_MIN, _EXPIRE_MAX):
            raise ConfigurationError(f"Exclusive(expire={self.expire!r}): use a timedelta of 1 second to 1 hour")
        if self.on_timeout not in ("error", "read_only", "merge"):
            raise ConfigurationError(
                f"Exclusive(on_timeout={self.on_timeout!r}): use 'error', 'read_only' or 'merge'"
            )
        self._roots  # noqa: B018 - checked when made
        if self.methods is not None and not _are_texts(self.methods):
            raise ConfigurationError(f"Exclusive(methods={self.methods!r}): give a list such as ['POST'], or None")

    @cached_property
    def expire_ms(self) -> int:
        """`expire` in milliseconds."""
        return self.expire // timedelta(milliseconds=1)

    @cached_property
    def _roots(self) -> tuple[str, ...]:
        return roots("Exclusive(paths={})", self.paths)

    @cached_property
    def _verbs(self) -> frozenset[str] | None:
        return None if self.methods is None else frozenset(method.upper() for method in self.methods)

    def covers(self, method: str, path: str) -> bool:
        """Whether a request needs the lock."""
        if self._verbs is not None and method not in self._verbs:
            return False
        return is_below(path, self._roots)


def _is_between(value: object, least: timedelta, most: timedelta) -> bool:
    return isinstance(value, timedelta) and least <= value <= most


def _are_texts(value: object) -> bool:
    return isinstance(value, Collection) and not isinstance(value, str) and all(isinstance(v, str) for v in value)
