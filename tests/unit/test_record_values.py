"""Session values: what goes in comes back exactly, and what cannot be stored is named."""

import json
import math
import sys
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import IntEnum
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from memsession.errors import UnstorableValue
from memsession.record import freeze, same, thaw
from memsession.record import values as room

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(max_size=20),
    st.decimals(allow_nan=False),
    st.uuids(),
    st.dates(),
    st.datetimes(),
    st.datetimes(
        timezones=st.sampled_from((UTC, ZoneInfo("Europe/Paris"), timezone(timedelta(hours=-3, minutes=7))))
    ),
    st.times(),
    st.timedeltas(),
)
hashable = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=4)
values = st.recursive(
    st.one_of(scalars, st.sets(hashable, max_size=3), st.frozensets(hashable, max_size=3)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.one_of(st.text(max_size=3), st.just("!")), inner, max_size=3),
    ),
    max_leaves=10,
)


def kinds(value):
    """The types in a value, all the way down; `==` alone holds True, 1 and 1.0 for the same."""
    if isinstance(value, dict):
        return {key: kinds(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [type(value), *map(kinds, value)]
    return type(value)


@given(values)
def test_values_come_back_as_they_went_in(value):
    """Any storable value survives plain form and JSON, types and all."""
    plain = json.loads(json.dumps(freeze(value, "key")))

    assert thaw(plain) == value
    assert kinds(thaw(plain)) == kinds(value)


@given(values)
def test_plain_forms_are_stable(value):
    """The plain form of a value that came back is the same, so an untouched value is not written."""
    plain = freeze(value, "key")

    assert same(freeze(thaw(plain), "key"), plain)


@pytest.mark.parametrize("text", ["nan", "inf", "-inf"])
def test_floats_that_json_does_not_know(text):
    """NaN and the infinities come back."""
    value = thaw(freeze(float(text), "key"))

    assert type(value) is float
    assert repr(value) == text
    assert math.isfinite(value) is False


def test_zones_are_kept_by_name():
    """An hour in Paris next summer is still an hour in Paris, and the second 02:30 in autumn is the second."""
    autumn = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Paris"), fold=1)
    clock = time(2, 30, tzinfo=ZoneInfo("Europe/Paris"))

    assert thaw(freeze(autumn, "key")).tzinfo is autumn.tzinfo
    assert thaw(freeze(autumn, "key")).utcoffset() == timedelta(hours=1)
    assert thaw(freeze(clock, "key")) == clock


def test_containers_are_made_anew():
    """Changing what a request got does not change the record."""
    plain = {"a": [1, {"b": 2}]}
    value = thaw(plain)
    value["a"][1]["b"] = 3

    assert plain == {"a": [1, {"b": 2}]}


class Level(IntEnum):
    """A subclass of int."""

    HIGH = 3


class Text(str):
    """A subclass of str."""

    __slots__ = ()


nested: list = []
for _ in range(40):
    nested = [nested]


@pytest.mark.parametrize(
    ("value", "path", "problem"),
    [
        (object(), "key", "builtins.object cannot be stored"),
        ({"items": [1, 2, {3: 4}]}, "key.items[2][3]", "a key must be a str, not int"),
        ({"items": (1, {Text("x"): 4})}, "key.items[1]['x']", "a key must be a str, not Text"),
        ([1, [2, print]], "key[1][1]", "builtin_function_or_method cannot be stored"),
        ({"a": {"b": Level.HIGH}}, "key.a.b", "Level cannot be stored"),
        ([Text("x")], "key[0]", "Text cannot be stored"),
        (nested, "key" + "[0]" * 32, "nested deeper than 32 levels"),
        ({"n": 10**700}, "key.n", "more than 600 digits"),
        ({"n": -(10**5000)}, "key.n", "more than 600 digits"),
    ],
)
def test_what_cannot_be_stored_is_named(value, path, problem):
    """The error names the exact place, and says what to store instead."""
    with pytest.raises(UnstorableValue) as caught:
        freeze(value, "key")

    assert caught.value.path == path
    assert problem in str(caught.value)


class Zone(tzinfo):
    """A time zone that no other process could find."""

    def utcoffset(self, dt):
        return timedelta(0)


def test_unknown_zones_cannot_be_stored():
    """A time zone that is neither an offset nor has a name is refused."""
    with pytest.raises(UnstorableValue, match=r"key\.at: time zone .* cannot be stored"):
        freeze({"at": datetime(2026, 1, 1, tzinfo=Zone())}, "key")


def test_keys_of_the_session_are_strings():
    """Also at the top, and also with a value that could be stored as it is."""
    with pytest.raises(UnstorableValue, match="a key must be a str, not int"):
        freeze("value", 1)


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        (1, 1, True),
        (1, True, False),
        (1, 1.0, False),
        (0.0, -0.0, False),
        (None, None, True),
        ([1, 2], [1, 2], True),
        ([1], [True], False),
        ({"a": [1]}, {"a": [1]}, True),
        ({"a": 1}, {"a": 1.0}, False),
    ],
)
def test_same_is_exact(a, b, equal):
    """Values that Python calls equal but that are not the same are different."""
    assert same(a, b) is equal


def test_sets_have_one_plain_form():
    """A set is stored in the same order in every process."""
    texts = [f"text {i}" for i in range(50)]

    assert freeze(set(texts), "key") == freeze({*texts[25:], *texts[:25]}, "key")
    assert freeze({UUID(int=1), Decimal(1), date(2026, 1, 1)}, "key")["!"][0] == "set"


def test_markup_stays_markup():
    """MarkupSafe's text, which messages in Flask often are."""
    value = freeze({"note": Markup("<b>saved</b>")}, "key")
    back = thaw(value)["note"]

    assert type(value["note"]["!"][1]) is str
    assert type(back) is Markup
    assert back == "<b>saved</b>"


def test_markup_survives_a_server_without_the_library(monkeypatch):
    """It is HTML there too, and goes back as it came."""
    value = freeze(Markup("<b>saved</b>"), "key")
    room._markup.cache_clear()
    monkeypatch.setitem(sys.modules, "markupsafe", None)
    try:
        back = thaw(value)
    finally:
        room._markup.cache_clear()

    assert type(back) is not Markup
    assert back.__html__() == "<b>saved</b>"
    assert freeze(back, "key") == value


def test_markup_of_something_else_is_malformed():
    """Only text is text."""
    with pytest.raises(TypeError):
        thaw({"!": ["Markup", 5]})
