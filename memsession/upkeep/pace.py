"""Pace: how soon a refill is begun again. A node that comes and goes would otherwise be scanned all the time."""

from typing import Final

AGAIN_S: Final = 5.0
"""Between two refills of one node, at least. Twice as long after each one in a row that failed."""

AGAIN_MAX_S: Final = 300.0

REST: Final = 3.0
"""Or so many times as long as the last one took."""


def rest_s(took_s: float, failures: int) -> float:
    """How long to wait after a refill, when nothing has changed. `failures`: so many have failed in a row."""
    return max(min(AGAIN_S * 2.0 ** min(failures, 16), AGAIN_MAX_S), REST * took_s)
