"""Listings of keys: the same keys however the bytes are cut, complete or refused, nothing in between."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memsession.wire import ProtocolError
from memsession.wire.listing import ASKS, ListingParser, ListingRefused, ask
from memsession.wire.parser import LINE_BYTES_MAX
from tests.unit.test_wire_parser import cuts

KEYS = [b"memsession:AbCdEf", b"a%b", b"\xff\x00\n~", b"k" * 250, b"memsession:node"]
LONG = (
    b"key=memsession%3AAbCdEf exp=1795200173 la=1795200073 cas=2 fetch=no cls=1 size=65\n"
    b"key=a%25b exp=-1 la=1795200073 cas=18446744073709551615 fetch=yes cls=39 size=67 flags=0 \n"
    b"key=%FF%00%0A~ exp=-1 la=1 cas=1 fetch=no cls=1 size=67 flags=7 ext_page=1 ext_offset=2 \n"
    b"key=" + b"k" * 250 + b" exp=-1\r\n"
    b"key=memsession%3Anode\n"
    b"END\r\n"
)
SHORT = b"mg memsession:AbCdEf\r\nmg a%b\r\nmg " + b"k" * 250 + b"\r\nmg AAECAw== b\r\nmg EN\r\nEN\r\n"
SHORT_KEYS = [KEYS[0], KEYS[1], KEYS[3], b"EN"]

GOOD = [
    ("metadump hash", LONG, KEYS),
    ("metadump all", b"OK\r\n" + LONG, KEYS),
    ("mgdump hash", SHORT, SHORT_KEYS),
    ("mgdump hash", b"OK\r\n" + SHORT, SHORT_KEYS),
    ("metadump hash", b"END\r\n", []),
    ("mgdump hash", b"EN\r\n", []),
]


def listed(what, chunks):
    """The keys in chunks, and how it ended."""
    parser, keys = ListingParser(what), []
    try:
        for chunk in chunks:
            keys += parser.feed(chunk)
    except ListingRefused as refusal:
        return keys, f"refused: {refusal.text}"
    except ProtocolError as anomaly:
        return keys, f"broken: {anomaly}"
    return keys, "over" if parser.over else "not over"


@pytest.mark.parametrize(("what", "text", "keys"), GOOD)
def test_a_listing_is_the_same_however_it_is_cut(what, text, keys):
    """In one piece, byte by byte, or cut anywhere: the same keys, and over with the last byte only."""
    for chunks in cuts(text):
        assert listed(what, chunks) == (keys, "over")
    for at in range(1, len(text)):
        assert listed(what, [text[:at]])[1] == "not over"


@pytest.mark.parametrize("what", ASKS)
def test_a_refusal_is_told_as_it_was_written(what):
    """Every way in which memcached declines, and whether another time or another way may help."""
    for text, busy, unknown in [
        (b"ERROR", False, True),
        (b"BADCLASS invalid class id", False, True),
        (b"BUSY currently processing crawler request", True, False),
        (b"ERROR locked try again later", True, False),
        (b"ERROR metadump not allowed", False, False),
        (b"CLIENT_ERROR lru crawler disabled", False, False),
        (b"SERVER_ERROR out of memory", False, False),
        (b"NOTSTARTED no items to crawl", False, False),
    ]:
        assert listed(what, [text + b"\r\n"]) == ([], f"refused: {text.decode()}")
        assert listed(what, [b"OK\r\n", text + b"\r\n"]) == ([], f"refused: {text.decode()}")
        refusal = ListingRefused(text.decode())
        assert (refusal.busy, refusal.unknown) == (busy, unknown)


def test_a_refusal_names_its_cure():
    """What is to be changed where memcached runs; and nothing is, when it is only busy."""
    assert "without -X and with its LRU crawler" in str(ListingRefused("CLIENT_ERROR lru crawler disabled"))
    assert str(ListingRefused("BUSY now")) == "the node does not list its keys now: BUSY now"


BAD = [
    b"\r\n",
    b"\n",
    b"HTTP/1.1 400 Bad Request\r\n",
    b"VERSION 1.6.18\r\n",
    b"END \r\n",
    b"end\r\n",
    b"\x00\r\n",
    b"ERRORS\r\n",
    b"ERROR \xff\r\n",
    b"SERVER_ERROR a\x07b\r\n",
    b"BUSY " + b"y" * LINE_BYTES_MAX + b"\r\n",
    b"x" * (LINE_BYTES_MAX + 1),
    b"A" * 10_000_000,
    b"OK\r\nOK\r\n",
]
BAD_LONG = [
    b"EN\r\n",
    b"END\n",
    b"END\r\nx",
    b"END\r\nEND\r\n",
    b"mg a\r\n",
    b"key=\n",
    b"key= exp=-1\n",
    b"key=a\xff exp=-1\n",
    b"key=a exp=\x07\n",
    b"Key=a exp=-1\n",
    b" key=a exp=-1\n",
    b"key=a exp=-1\nOK\r\n",
    b"key=" + b"k" * LINE_BYTES_MAX + b"\n",
]
BAD_SHORT = [
    b"END\r\n",
    b"EN\n",
    b"EN\r\nx",
    b"EN\r\nEN\r\n",
    b"mg a\n",
    b"mg \r\n",
    b"mg\r\n",
    b"MG a\r\n",
    b"key=a exp=-1\n",
    b"mg " + b"k" * LINE_BYTES_MAX + b"\r\n",
]


@pytest.mark.parametrize(
    ("what", "bad"),
    [
        *(("metadump hash", bad) for bad in BAD + BAD_LONG),
        *(("mgdump hash", bad) for bad in BAD + BAD_SHORT),
    ],
)
def test_what_is_no_listing_ends_it(what, bad):
    """Anything else is an error, also after keys, in one piece or in many, and no key is made of it."""
    first = b"mg k\r\n" if what == "mgdump hash" else b"key=k exp=-1 \n"

    assert listed(what, [bad]) == ([], listed(what, [bad])[1])
    for chunks in ([bad], [first, bad], [first + bad], [bad[at : at + 5_000] for at in range(0, len(bad), 5_000)]):
        assert listed(what, chunks)[1].startswith("broken: ")
    if len(bad) < 100:
        assert listed(what, [bad[at : at + 1] for at in range(len(bad))])[1].startswith("broken: ")


@pytest.mark.parametrize("what", ASKS)
def test_a_closed_connection_is_an_error_and_never_the_end(what):
    """A node that closes within a listing has not listed all."""
    first = b"mg k\r\n" if what == "mgdump hash" else b"key=k exp=-1 \n"

    assert listed(what, [b""]) == ([], "broken: the node closed the connection within a listing")
    assert listed(what, [first, b""]) == ([b"k"], "broken: the node closed the connection within a listing")


@pytest.mark.parametrize("what", ASKS)
def test_nothing_may_come_after_the_end(what):
    """A parser that is over takes no more bytes."""
    parser = ListingParser(what)
    parser.feed(b"EN\r\n" if what == "mgdump hash" else b"END\r\n")

    for more in (b"x", b"\n", b"mg k\r\n", b"END\r\n"):
        with pytest.raises(ProtocolError, match="after the end"):
            parser.feed(more)


@given(st.sampled_from(ASKS), st.lists(st.binary(min_size=1, max_size=60), max_size=20))
def test_random_bytes_are_never_over_without_a_last_line(what, chunks):
    """Whatever comes, the parser takes it, refuses it, or was given the very last line."""
    keys, end = listed(what, chunks)
    last = b"EN\r\n" if what == "mgdump hash" else b"END\r\n"

    assert end != "over" or b"".join(chunks).endswith(last)
    assert all(keys)


@given(st.lists(st.binary(min_size=1, max_size=250), max_size=20), st.randoms(use_true_random=False))
def test_any_keys_are_listed(keys, rnd):
    """Percent-encoded as memcached does it, keys of any bytes come back as they were."""
    plain = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
    lines = [b"".join(bytes([b]) if b in plain else b"%%%02X" % b for b in key) for key in keys]
    text = b"".join(b"key=%b exp=-1 la=1 cas=1 fetch=no cls=1 size=1\n" % line for line in lines) + b"END\r\n"

    assert listed("metadump all", _pieces(text, rnd)) == (keys, "over")


def _pieces(text: bytes, rnd: random.Random) -> list[bytes]:
    places = sorted({0, len(text), *(rnd.randrange(len(text)) for _ in range(5))})
    return [text[start:end] for start, end in pairwise(places)]


def test_the_lines_that_ask():
    """The three ways, best first, as memcached reads them."""
    assert [ask(what) for what in ASKS] == [
        b"lru_crawler mgdump hash\r\n",
        b"lru_crawler metadump hash\r\n",
        b"lru_crawler metadump all\r\n",
    ]
