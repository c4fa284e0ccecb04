"""How long a session lives: a limit since the last use, and one since the beginning."""

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Final

from memsession.errors import ConfigurationError

MEMCACHED_TTL_MAX: Final = 2_592_000
"""Seconds, 30 days. memcached reads one second more as a date in 1970, and the item is gone at once."""

_IDLE_MIN: Final = timedelta(seconds=2)
_ABSOLUTE_MAX: Final = timedelta(seconds=MEMCACHED_TTL_MAX)


@dataclass(frozen=True, kw_only=True)
class Lifetime:
    """When a session ends by itself, whatever comes first.

    `idle`: time since the last request, 2 seconds at least. OWASP's Session Management Cheat Sheet takes 15 to
    30 minutes for low-risk applications and 2 to 5 for valuable ones; NIST SP 800-63B-4 says at most an hour
    at AAL2, 15 minutes at AAL3.

    `absolute`: time since the session began, whatever happens in it; 30 days at most, and it cannot be switched
    off. OWASP takes 4 to 8 hours for an office application; NIST says 30 days at AAL1, 24 hours at AAL2, and
    demands 12 hours at AAL3.

    The defaults are the longest that keep OWASP's idle and NIST's strictest absolute limit.

    Both ends are judged from the session itself, on the server; neither a cookie's age nor memcached's expiry
    enforces them.

    Raises:
        ConfigurationError: a limit is no timedelta, out of range, or `idle` exceeds `absolute`.
    """

    idle: timedelta = timedelta(minutes=30)
    absolute: timedelta = timedelta(hours=12)

    def __post_init__(self) -> None:
        for name, limit in (("idle", self.idle), ("absolute", self.absolute)):
            if not isinstance(limit, timedelta):
                raise ConfigurationError(
                    f"Lifetime({name}={limit!r}): use a timedelta, for instance timedelta(minutes=30); "
                    f"a session without a limit is not offered"
                )
        if self.idle < _IDLE_MIN:
            raise ConfigurationError(f"Lifetime(idle={self.idle}): use 2 seconds or more")
        if self.absolute > _ABSOLUTE_MAX:
            raise ConfigurationError(f"Lifetime(absolute={self.absolute}): use 30 days or less")
        if self.idle > self.absolute:
            raise ConfigurationError(
                f"Lifetime(idle={self.idle}, absolute={self.absolute}): idle must not exceed absolute; "
                f"shorten idle or lengthen absolute"
            )

    @cached_property
    def idle_ms(self) -> int:
        """The idle limit in milliseconds."""
        return self.idle // timedelta(milliseconds=1)

    @cached_property
    def absolute_ms(self) -> int:
        """The absolute limit in milliseconds."""
        return self.absolute // timedelta(milliseconds=1)

    @cached_property
    def renewal_ms(self) -> int:
        """The last use is stored anew when the stored one is older than this: a twentieth of the idle limit.

        So an unchanged session is written at most 20 times in an idle time, and ends at most 5 % early.
        """
        return self.idle_ms // 20

    @cached_property
    def live_ttl_s(self) -> int:
        """memcached's expiry for a live session, in seconds: a little more than idle.

        It only collects garbage. The surplus covers the renewal, the rounding to seconds, and memcached's clock.
        """
        return min(-(-self.idle_ms * 105 // 100_000) + 5, MEMCACHED_TTL_MAX)

    @cached_property
    def tombstone_ttl_s(self) -> int:
        """memcached's expiry for the tombstone of an ended session, in seconds: the whole absolute life.

        It must outlast every live copy that a node or a slow request might still hold.
        """
        return -(-self.absolute // timedelta(seconds=1))
