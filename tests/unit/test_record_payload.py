"""Records as bytes: exact there and back, and nothing that is no record is taken for one."""

import json
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memsession.record import Dead, Entry, Live, Reason, SubCount, decode, encode

LIVE = Live(
    {
        "plain": Entry(1, "w", {"a": [1, None, "\ud800 \u2028 é"]}),
        "deleted": Entry(2, "w", None, True),
        "none": Entry(2, "w", None),
        "counted": Entry(3, "x", 5, False, 2, -7),
        "uncounted": Entry(4, "x", None, True, 2, 0),
    },
    {"counted": {"p": SubCount(3, -(10**30)), "q": SubCount(1, 0)}, "new": {"p": SubCount(1, 1)}},
    1,
    2,
    3,
    4,
    "doubted",
)
THIRTY_DAYS_MS = 2_592_000_000
JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4)),
    lambda inner: st.one_of(st.lists(inner, max_size=6), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
)


@pytest.mark.parametrize(
    "record",
    [
        LIVE,
        replace(LIVE, idle_ms=1),
        replace(LIVE, idle_ms=THIRTY_DAYS_MS),
        Live({}, {}, 0, 0, 0),
        Dead(Reason.INVALIDATED),
        Dead(Reason.REGENERATED, "ab" * 8),
    ],
)
def test_records_come_back(record):
    """Every field and every form of entry survives."""
    assert decode(encode(record)) == record


def test_records_are_compact():
    """A session with one value costs a few dozen bytes."""
    assert encode(Live({"n": Entry(1, "w", 1)}, {}, 1, 2, 3)) == b'["L",1,2,3,1,"",{"n":[1,"w",1]},{}]'
    assert encode(Live({}, {}, 1, 2, 3, idle_ms=5)) == b'["L",1,2,3,1,"",{},{},5]'
    assert encode(Dead(Reason.INVALIDATED)) == b'["D",2,""]'


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_without_an_error(payload):
    """Garbage is no record; it never raises."""
    assert decode(payload) is None


@given(JSON_VALUES, st.integers(0, 9))
def test_any_json_is_decoded_without_an_error(value, place):
    """JSON of any shape, also in the place of any field, is a well-formed record or none."""
    fields = json.loads(encode(replace(LIVE, idle_ms=7)).decode("utf-8", "surrogatepass"))
    fields[place : place + 1] = [value]
    for text in (json.dumps(fields), json.dumps(value)):
        record = decode(text.encode("utf-8", "surrogatepass"))
        if record is not None:
            assert decode(encode(record)) == record


KINDS = (
    "float",
    "tuple",
    "set",
    "frozenset",
    "dict",
    "datetime",
    "time",
    "date",
    "timedelta",
    "UUID",
    "Decimal",
    "bytes",
)


@given(JSON_VALUES, st.sampled_from(KINDS))
def test_any_content_of_a_type_is_decoded_without_an_error(content, kind):
    """A value of a known type with content of any shape is a well-formed record or none."""
    text = json.dumps(["L", 1, 2, 3, 4, "", {"k": [1, "w", {"!": [kind, content]}]}, {}])
    record = decode(text.encode())

    assert record is None or decode(encode(record)) is not None


def test_every_truncation_is_refused():
    """No prefix of a record is a record."""
    payload = encode(LIVE)

    assert [size for size in range(len(payload)) if decode(payload[:size]) is not None] == []


def live(entry='[1,"w",1]', *, numbers="1,2,3,4", doubted='""', counts="{}", more=""):
    """The bytes of a live record with one entry."""
    return f'["L",{numbers},{doubted},{{"k":{entry}}},{counts}{more}]'.encode()


def test_the_pattern_of_the_next_test_is_a_record():
    """The bad records below differ from this one in a single field."""
    assert decode(live()) == Live({"k": Entry(1, "w", 1)}, {}, 1, 2, 3, 4)
    assert decode(live(more=",1")) == Live({"k": Entry(1, "w", 1)}, {}, 1, 2, 3, 4, "", 1)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"L",
        b"null",
        b"[]",
        b"{}",
        b'"L"',
        b'["X"]',
        b'["L"]',
        b'["L",1,2,3,4,"",[],{}]',
        live() + b" ",
        b" " + live(),
        live() + live(),
        live(numbers="1,2,3"),
        live(numbers="1,2,3,4,5"),
        live(numbers="-1,2,3,4"),
        live(numbers="1.0,2,3,4"),
        live(numbers="1,2,3,true"),
        live(numbers=f"1,2,3,{2**64}"),
        live(numbers=f"1,{2**63},3,4"),
        live(numbers="1,NaN,3,4"),
        live(numbers="1,1e400,3,4"),
        live(doubted="1"),
        *(
            live(more=more)
            for more in (",0", ",-1", ",1.0", ",true", ",null", ',"1"', f",{THIRTY_DAYS_MS + 1}", ",1,1")
        ),
        live(counts="[]"),
        live(counts='{"k":[]}'),
        live(counts='{"k":{"w":[1]}}'),
        live(counts='{"k":{"w":[-1,1]}}'),
        live(counts='{"k":{"w":[1,1.5]}}'),
        live(counts='{"k":{"w":1}}'),
        live("[]"),
        live("[1]"),
        live('[1,"w",1,2,3,4]'),
        live('[-1,"w",1]'),
        live('[1.0,"w",1]'),
        live(f'[{2**64},"w",1]'),
        live("[1,2,3]"),
        live('[1,"w",-1,0]'),
        live('[1,"w",1,true,0]'),
        live('[1,"w",5,1,"x"]'),
        live('{"0":1}'),
        live("3"),
        live('[1,"w",NaN]'),
        live('[1,"w",-Infinity]'),
        live('[1,"w",1e400]'),
        live('[1,"w",' + "9" * 5_000 + "]"),
        live('[1,"w",' + "[" * 10_000 + "]" * 10_000 + "]"),
        live('[1,"w",{"!":["frobnicate",1]}]'),
        live('[1,"w",{"!":["UUID",5]}]'),
        live('[1,"w",{"!":["dict",[]]}]'),
        live('[1,"w",{"!":["datetime","2026-01-01",0,"No/Such"]}]'),
        live('[1,"w",{"!":["timedelta",[1e308,0,0]]}]'),
        live('[1,"w",{"!":["Decimal","x"]}]'),
        live('[1,"w",{"!":["set",[[1]]]}]'),
        live('[1,"w",{"!":5}]'),
        live('[1,"w","\xff"]').replace(b"\xc3\xbf", b"\xff"),
        b'["D"]',
        b'["D",3,""]',
        b'["D",true,""]',
        b'["D",1,5]',
        b'["D",1,"",{"k":[1,"w",1]}]',
        b"\x80\x04\x95.",
        b"[" * 1_000_000,
    ],
)
def test_what_is_no_record_is_refused(payload):
    """Authentic bytes that are no record are none: wrong shape, bounds, numbers, nesting, types."""
    assert decode(payload) is None


def test_two_million_keys_are_read_or_refused_without_an_error():
    """Size is bounded where values are stored; here it only must not raise."""
    keys = ",".join(f'"{i}":[1,"w"]' for i in range(200_000))

    record = decode(f'["L",1,2,3,4,"",{{{keys}}},{{}}]'.encode())

    assert isinstance(record, Live)
    assert len(record.entries) == 200_000


def test_the_last_of_two_equal_keys_counts():
    """Duplicate keys, which the encoder never writes, do no harm."""
    payload = b'["L",1,2,3,4,"",{"k":[1,"w",1],"k":[2,"w",2]},{}]'

    assert decode(payload) == Live({"k": Entry(2, "w", 2)}, {}, 1, 2, 3, 4)


def test_a_deadline_in_the_past_or_far_future_is_a_record():
    """Whether its time is over is judged elsewhere."""
    assert decode(live(numbers=f"1,1,3,{2**63 - 1}")) is not None
    assert decode(live(numbers="1,253402300799000,3,4")) is not None


@pytest.mark.parametrize(("depth", "readable"), [(32, True), (150, False), (900, False)])
def test_depth_is_judged_by_its_own_limit(depth, readable):
    """Not by the interpreter's, which an application may have raised."""
    nested = "[" * depth + "]" * depth
    payload = f'["L",1,2,3,1,"",{{"a":[1,"w",{nested}]}},{{}}]'.encode()
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        assert (decode(payload) is not None) is readable
    finally:
        sys.setrecursionlimit(limit)
