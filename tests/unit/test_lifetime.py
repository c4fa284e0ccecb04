"""The two limits of a session's life, and what is computed from them."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memsession.errors import ConfigurationError
from memsession.lifetime import Lifetime
from memsession.plans import World
from memsession.record import Dead, Live, Reason

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


def test_tombstones_last_as_long_as_any_session_may() -> None:
    """With `longest` sessions may live longer than `absolute`, and what says that they ended is kept as long."""
    life = Lifetime(longest=30 * DAY)

    assert (life.absolute_ms, life.longest_ms) == (43_200_000, 2_592_000_000)
    assert (life.live_ttl_s, life.tombstone_ttl_s) == (1_895, 2_592_000)
    assert Lifetime().longest_ms == Lifetime().absolute_ms


@pytest.mark.parametrize(
    ("idle", "absolute", "expected"),
    [
        (None, None, (0, 43_200_000)),
        (timedelta(hours=1), None, (3_600_000, 43_200_000)),
        (None, timedelta(hours=1), (0, 3_600_000)),
        (None, timedelta(minutes=5), (0, 300_000)),
        (timedelta(hours=12), None, (43_200_000, 43_200_000)),
        (timedelta(hours=12, milliseconds=1), None, (43_200_001, 30 * 86_400_000)),
        (7 * DAY, None, (7 * 86_400_000, 30 * 86_400_000)),
        (7 * DAY, 14 * DAY, (7 * 86_400_000, 14 * 86_400_000)),
        (30 * DAY, 30 * DAY, (30 * 86_400_000, 30 * 86_400_000)),
        (timedelta(seconds=2), timedelta(seconds=2), (2_000, 2_000)),
    ],
)
def test_one_session_may_have_limits_of_its_own(
    idle: timedelta | None, absolute: timedelta | None, expected: tuple[int, int]
) -> None:
    """What is not given stays as the application has it; a long idle limit alone asks for the longest life."""
    assert Lifetime(longest=30 * DAY).limits(idle, absolute) == expected


@pytest.mark.parametrize(
    ("longest", "asked", "named"),
    [
        (None, {"idle": 1800}, r"set_lifetime\(idle=1800\): use a timedelta"),
        (None, {"absolute": True}, r"set_lifetime\(absolute=True\): use a timedelta"),
        (None, {"idle": timedelta(seconds=1.999)}, r"idle=.*2 seconds"),
        (None, {"absolute": timedelta(seconds=1.999)}, r"absolute=.*2 seconds"),
        (None, {"idle": timedelta(hours=2), "absolute": timedelta(hours=1)}, r"idle must not exceed absolute"),
        (None, {"idle": 7 * DAY}, r"idle=7 days.*12:00:00.*longest=timedelta\(days=7\)\)$"),
        (None, {"absolute": timedelta(hours=13)}, r"absolute=13:00:00.*longest=timedelta\(days=1\)\)$"),
        (7 * DAY, {"absolute": 7.5 * DAY}, r"absolute=.*longest=timedelta\(days=8\)\)$"),
        (7 * DAY, {"idle": 8 * DAY, "absolute": 8 * DAY}, r"absolute=8 days.*longest=timedelta\(days=8\)\)$"),
        (30 * DAY, {"absolute": 31 * DAY}, r"absolute=31 days.*days=30\)\), which is the most"),
    ],
)
def test_limits_that_one_session_cannot_have(
    longest: timedelta | None, asked: dict[str, timedelta], named: str
) -> None:
    """Each is an error that says what to write instead."""
    with pytest.raises(ConfigurationError, match=named):
        Lifetime(longest=longest).limits(**asked)


@given(st.timedeltas(timedelta(seconds=2), 30 * DAY), st.timedeltas(timedelta(seconds=2), 30 * DAY))
def test_what_is_allowed_is_given(idle: timedelta, absolute: timedelta) -> None:
    """Whatever fits under `longest` is given to the millisecond, and always ends."""
    if idle > absolute:
        idle, absolute = absolute, idle

    idle_ms, absolute_ms = Lifetime(longest=30 * DAY).limits(idle, absolute)

    assert timedelta(milliseconds=idle_ms) <= idle < timedelta(milliseconds=idle_ms + 1)
    assert timedelta(milliseconds=absolute_ms) <= absolute < timedelta(milliseconds=absolute_ms + 1)
    assert 2_000 <= idle_ms <= absolute_ms <= 2_592_000_000


def _world(lifetime: Lifetime) -> World:
    nothing: Any = None
    return World(
        homes=nothing,
        codec=nothing,
        lifetime=lifetime,
        now_ms=nothing,
        monotonic=nothing,
        nonce=nothing,
        is_up=nothing,
        counters=nothing,
    )


def test_plans_take_a_session_s_own_idle_limit() -> None:
    """Its idle end, its renewal and memcached's expiry follow from its own limit, or else from the application's."""
    world = _world(Lifetime(longest=30 * DAY))
    ordinary = Live({}, {}, 1, 2, 3)
    remembered = Live({}, {}, 1, 2, 3, idle_ms=7 * 86_400_000)

    assert (world.idle_ms(ordinary), world.renewal_ms(ordinary), world.ttl_s(ordinary)) == (1_800_000, 90_000, 1_895)
    assert (world.idle_ms(remembered), world.renewal_ms(remembered)) == (604_800_000, 30_240_000)
    assert world.ttl_s(remembered) == 635_045
    assert world.ttl_s(Live({}, {}, 1, 2, 3, idle_ms=2_592_000_000)) == 2_592_000
    assert world.ttl_s(Dead(Reason.INVALIDATED)) == 2_592_000


def test_a_limit_from_before_shrinks_to_the_longest_life() -> None:
    """When `longest` is taken back, no session idles for longer than its tombstone would be kept."""
    remembered = Live({}, {}, 1, 2, 3, idle_ms=7 * 86_400_000)

    assert _world(Lifetime()).idle_ms(remembered) == 43_200_000


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
        ({"longest": 30}, r"longest=30.*timedelta"),
        ({"longest": timedelta(hours=11)}, r"longest=11:00:00.*must not be below absolute"),
        ({"longest": 31 * DAY}, r"longest=31 days.*30 days or less"),
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
