"""How much the upkeep may do."""

from dataclasses import dataclass
from typing import Final

from memsession.errors import ConfigurationError
from memsession.spelling import spelled

_RATE_MAX: Final = 100_000


@spelled
@dataclass(frozen=True, slots=True, kw_only=True)
class Upkeep:
    """The work behind the requests: refill of emptied nodes, return of those that were away, moves to another pool.

    `rate`: sessions that are looked at in a second, at most, 1 to 100,000.

    Raises:
        ConfigurationError: `rate` is out of range.
    """

    rate: int = 2_000

    def __post_init__(self) -> None:
        rate: object = self.rate
        if not isinstance(rate, int) or isinstance(rate, bool) or not 1 <= rate <= _RATE_MAX:
            raise ConfigurationError(f"Upkeep(rate={self.rate!r}): use 1 to {_RATE_MAX:,} sessions a second")
