"""The two limits of a session's life, and what is computed from them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memsession.errors import ConfigurationError
from memsession.lifetime import Lifetime

DAY = timedelta(days=1)


def test_the_defaults_are_half_an_hour_and_half_a_day() -> None:
    """Without arguments a session ends after 30 minutes without a request, and 12 hours in any case."""
    life = Lifetime()

    assert (life.idle_ms, life.absolute_ms) == (1_800_000, 43_200_000)
    assert life.renewal_ms == 90_000
    assert (life.live_ttl_s, life.tombstone_ttl_s) == (1_895, 43_200)


def test_memcached_is_never_given_more_than_thirty_days() -> None:
    """At the upper end both expiries stop at 2,592,000 seconds, for one more would be read as a date."""
    life = Lifetime(idle=30 * DAY, absolute=30 * DAY)

    assert (life.live_ttl_s, life.tombstone_ttl_s) == (2_592_000, 2_592_000)


def test_the_shortest_life_is_two_seconds() -> None:
    """At the lower end everything is still above zero."""
    life = Lifetime(idle=timedelta(seconds=2), absolute=timedelta(seconds=2))

    assert (life.idle_ms, life.renewal_ms, life.live_ttl_s, life.tombstone_ttl_s) == (2_000, 100, 8, 2)


@given(st.timedeltas(timedelta(seconds=2), 30 * DAY), st.timedeltas(timedelta(), 30 * DAY))
def test_memcached_keeps_what_may_still_be_needed(idle: timedelta, more: timedelta) -> None:
    """A live copy outlasts idle and its renewal, a tombstone the absolute life, wherever 30 days allow it."""
    life = Lifetime(idle=idle, absolute=min(idle + more, 30 * DAY))

    assert life.live_ttl_s >= min((idle + timedelta(milliseconds=life.renewal_ms)).total_seconds() + 4, 2_592_000)
    assert life.absolute.total_seconds() <= life.tombstone_ttl_s < life.absolute.total_seconds() + 1
    assert life.live_ttl_s <= 2_592_000
    assert life.tombstone_ttl_s <= 2_592_000


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"idle": None}, r"idle=None.*timedelta"),
        ({"absolute": None}, r"absolute=None.*timedelta"),
        ({"idle": 1800}, r"idle=1800.*timedelta"),
        ({"absolute": 3600.0}, r"absolute=3600.0.*timedelta"),
        ({"idle": timedelta(seconds=1.999)}, r"idle=.*2 seconds"),
        ({"idle": timedelta()}, r"idle=.*2 seconds"),
        ({"idle": -DAY}, r"idle=.*2 seconds"),
        ({"absolute": 30 * DAY + timedelta(microseconds=1)}, r"absolute=.*30 days"),
        ({"idle": 2 * DAY, "absolute": DAY}, r"idle=2 days.*must not exceed absolute"),
        ({"absolute": timedelta(minutes=29)}, r"must not exceed absolute"),
    ],
)
def test_limits_out_of_range_are_refused(settings: dict[str, timedelta], named: str) -> None:
    """A limit that is missing, too short, too long or contradictory is an error that names it and the cure."""
    with pytest.raises(ConfigurationError, match=named):
        Lifetime(**settings)


def test_a_lifetime_is_a_value() -> None:
    """Equal limits are equal and hash alike, also after something was computed from one of them."""
    one, two = Lifetime(), Lifetime(idle=timedelta(minutes=30))

    assert one.idle_ms == 1_800_000
    assert one == two
    assert hash(one) == hash(two)
    assert one != Lifetime(idle=timedelta(minutes=31))
    with pytest.raises(AttributeError):
        one.idle = DAY  # type: ignore[misc]
