"""How long a session lives: a limit since the last use, and one since the beginning; some sessions have their own."""

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property, lru_cache
from typing import Final

from memsession.errors import ConfigurationError
from memsession.spelling import spelled

MEMCACHED_TTL_MAX: Final = 2_592_000
"""Seconds, 30 days. memcached reads one second more as a date in 1970, and the item is gone at once."""

_IDLE_MIN: Final = timedelta(seconds=2)
_ABSOLUTE_MAX: Final = timedelta(seconds=MEMCACHED_TTL_MAX)


@spelled
@dataclass(frozen=True, kw_only=True)
class Lifetime:
    """When a session ends by itself, whatever comes first.

    `idle`: time since the last request, 2 seconds at least. OWASP's Session Management Cheat Sheet takes 15 to
    30 minutes for low-risk applications and 2 to 5 for valuable ones; NIST SP 800-63B-4 says at most an hour
    at AAL2, 15 minutes at AAL3.

    `absolute`: time since the session began, whatever happens in it; 30 days at most, and it cannot be switched
    off. OWASP takes 4 to 8 hours for an office application; NIST says 30 days at AAL1, 24 hours at AAL2, and
    demands 12 hours at AAL3.

    `longest`: the longest absolute life that a handler may give one session, for instance after "remember me";
    `absolute` unless given, 30 days at most. Tombstones of ended sessions are kept that long, so it costs memory.

    The defaults are the longest that keep OWASP's idle and NIST's strictest absolute limit.

    Both ends are judged from the session itself, on the server; neither a cookie's age nor memcached's expiry
    enforces them.

    Raises:
        ConfigurationError: a limit is no timedelta, out of range, or greater than the next: idle, absolute, longest.
    """

    idle: timedelta = timedelta(minutes=30)
    absolute: timedelta = timedelta(hours=12)
    longest: timedelta | None = None

    def __post_init__(self) -> None:
        _check_kind("Lifetime", idle=self.idle, absolute=self.absolute, longest=self._longest)
        if self.idle < _IDLE_MIN:
            raise ConfigurationError(f"Lifetime(idle={self.idle}): use 2 seconds or more")
        for name, limit in (("absolute", self.absolute), ("longest", self._longest)):
            if limit > _ABSOLUTE_MAX:
                raise ConfigurationError(f"Lifetime({name}={limit}): use 30 days or less")
        if self.idle > self.absolute:
            raise ConfigurationError(
                f"Lifetime(idle={self.idle}, absolute={self.absolute}): idle must not exceed absolute; "
                f"shorten idle or lengthen absolute"
            )
        if self._longest < self.absolute:
            raise ConfigurationError(
                f"Lifetime(absolute={self.absolute}, longest={self.longest}): longest must not be below absolute; "
                f"lengthen longest, or leave it out if no session may live longer than absolute"
            )

    @property
    def _longest(self) -> timedelta:
        return self.absolute if self.longest is None else self.longest

    def limits(self, idle: timedelta | None = None, absolute: timedelta | None = None) -> tuple[int, int]:
        """The limits of one session in milliseconds, as a handler asks for them: (idle, absolute).

        Without `idle` the application's stays, which is said by 0. Without `absolute` the application's stays, or
        where `idle` exceeds that, it is the longest.

        Raises:
            ConfigurationError: a limit is no timedelta, too short or too long; the message names the cure.
        """
        _check_kind("set_lifetime", **{k: v for k, v in (("idle", idle), ("absolute", absolute)) if v is not None})
        whole = absolute
        if whole is None:
            whole = self._longest if idle is not None and idle > self.absolute else self.absolute
        for name, limit in (("absolute", absolute), ("idle", idle)):
            if limit is not None and limit < _IDLE_MIN:
                raise ConfigurationError(f"set_lifetime({name}={limit}): use 2 seconds or more")
            if limit is not None and limit > self._longest:
                raise ConfigurationError(
                    f"set_lifetime({name}={limit}): no session may live longer than {self._longest}; "
                    f"shorten it, or set {_enough(limit)}"
                )
        if idle is not None and idle > whole:
            raise ConfigurationError(
                f"set_lifetime(idle={idle}, absolute={whole}): idle must not exceed absolute; "
                f"shorten idle or lengthen absolute"
            )
        return 0 if idle is None else _ms(idle), _ms(whole)

    @cached_property
    def idle_ms(self) -> int:
        """The idle limit in milliseconds."""
        return _ms(self.idle)

    @cached_property
    def absolute_ms(self) -> int:
        """The absolute limit in milliseconds."""
        return _ms(self.absolute)

    @cached_property
    def longest_ms(self) -> int:
        """The longest absolute life of any session, in milliseconds."""
        return _ms(self._longest)

    @cached_property
    def renewal_ms(self) -> int:
        """The last use is stored anew when the stored one is older than this: a twentieth of the idle limit.

        So an unchanged session is written at most 20 times in an idle time, and ends at most 5 % early.
        """
        return self.idle_ms // 20

    @cached_property
    def live_ttl_s(self) -> int:
        """memcached's expiry for a live session without an idle limit of its own, in seconds."""
        return kept_s(self.idle_ms)

    @cached_property
    def tombstone_ttl_s(self) -> int:
        """memcached's expiry for the tombstone of an ended session, in seconds: the longest absolute life.

        It must outlast every live copy that a node or a slow request might still hold, also a remembered visitor's.
        """
        return -(-self._longest // timedelta(seconds=1))


@lru_cache(64)
def kept_s(idle_ms: int) -> int:
    """memcached's expiry for a live session with this idle limit, in seconds: a little more than that.

    It only collects garbage. The surplus covers the renewal, the rounding to seconds, and memcached's clock.
    """
    return min(-(-idle_ms * 105 // 100_000) + 5, MEMCACHED_TTL_MAX)


def _ms(limit: timedelta) -> int:
    return limit // timedelta(milliseconds=1)


def _enough(limit: timedelta) -> str:
    """A setting under which `limit` is allowed."""
    if limit > _ABSOLUTE_MAX:
        return "Lifetime(longest=timedelta(days=30)), which is the most"
    return f"Lifetime(longest=timedelta(days={-(-limit // timedelta(days=1))}))"


def _check_kind(where: str, **limits: object) -> None:
    for name, limit in limits.items():
        if not isinstance(limit, timedelta):
            raise ConfigurationError(
                f"{where}({name}={limit!r}): use a timedelta, for instance timedelta(minutes=30); "
                f"a session without a limit is not offered"
            )
