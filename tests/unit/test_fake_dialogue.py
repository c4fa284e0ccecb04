"""The fake node's dialogue: the same replies however the bytes are cut, and bounds on all that comes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memsession.testing.dialogue import HALF_LINE_BYTES_MAX, LINE_BYTES_MAX, Dialogue
from memsession.testing.items import ITEM_BYTES_MAX, Items, item_bytes
from tests.unit.test_wire_parser import cuts

STREAM = (
    b"version\r\nms a 5 T60 ME k O1\r\na\r\nbc\r\nms a 1 ME k O2\r\nx\r\nmg a c v k O3\nmg b k O4\r\n"
    b"ms a 1 !\r\n?\r\nms a 1\r\ntoo long\r\nmd a q\r\nmn\r\n"
)
REPLIES = (
    b"VERSION 1.6.18\r\nHD ka O1\r\nNS ka O2\r\nVA 5 c1 ka O3\r\na\r\nbc\r\nEN kb O4\r\n"
    b"CLIENT_ERROR invalid flag\r\nCLIENT_ERROR bad data chunk\r\nERROR\r\nMN\r\n"
)


def told(chunks, dialogue=None):
    """All replies to these chunks."""
    dialogue = dialogue or Dialogue(Items(100))
    answer = b""
    for chunk in chunks:
        dialogue.feed(chunk)
        while (reply := dialogue.reply()) is not None:
            answer += reply
    return answer


def test_replies_are_the_same_however_commands_are_cut():
    """In one piece, byte by byte, or cut anywhere."""
    for chunks in cuts(STREAM):
        assert told(chunks) == REPLIES


@given(st.lists(st.binary(max_size=300), max_size=30))
def test_any_bytes_are_answered_or_end_it(chunks):
    """Nothing that comes is an exception, and nothing is answered after the end."""
    dialogue = Dialogue(Items(10))
    told(chunks, dialogue)
    if dialogue.over:
        dialogue.feed(b"version\r\n")
        assert dialogue.reply() is None


@pytest.mark.parametrize("length", [HALF_LINE_BYTES_MAX, HALF_LINE_BYTES_MAX + 1])
def test_half_a_line_is_not_kept_for_ever(length):
    """A little more than 2 KiB without an end is the end."""
    dialogue = Dialogue(Items(10))

    assert told([b"x" * length], dialogue) == b""
    assert dialogue.over == (length > HALF_LINE_BYTES_MAX)


def test_a_line_has_an_end_within_16_kib():
    """A longer one ends the connection, also when it came at once."""
    for length, is_over in ((LINE_BYTES_MAX - 1, False), (LINE_BYTES_MAX, True)):
        dialogue = Dialogue(Items(10))
        assert told([b"x" * length + b"\n"], dialogue) == (b"" if is_over else b"ERROR\r\n")
        assert dialogue.over == is_over


def test_a_value_that_is_too_long_is_passed_over_and_not_kept():
    """Also one of two gigabytes: it is refused at once, and what comes of it is dropped."""
    dialogue = Dialogue(Items(10))
    assert told([b"ms a 2147483645\r\n"], dialogue) == b"SERVER_ERROR object too large for cache\r\n"
    for _ in range(100):
        assert told([b"version\r\n" * 1_000], dialogue) == b""
        assert len(dialogue._rest) == 0


def test_the_size_of_an_item_is_what_memcached_counts():
    """Known from the real one: the largest value under a key of one byte."""
    assert item_bytes(b"a", 1_048_516, 0) == ITEM_BYTES_MAX


def test_a_full_node_forgets_the_least_used():
    """Reading counts as use; asking for the figures does not."""
    items = Items(2)
    told([b"ms a 1\r\n1\r\nms b 1\r\n1\r\nmg a\r\nstats\r\nms c 1\r\n1\r\n"], Dialogue(items))

    assert items.keys() == [b"a", b"c"]
    assert items.counts["evictions"] == 1


@pytest.mark.parametrize(
    ("flag", "text"), [(flag, f"SERVER_ERROR a fake node does not know the flag {flag}\r\n") for flag in "bNRlhuIJD"]
)
def test_flags_that_are_not_there_are_refused_by_name(flag, text):
    """Instead of an answer that memcached would not give; the value is passed over."""
    for command in ("mg a {}\r\n", "md a {}\r\n", "ms a 1 {}\r\n1\r\n"):
        assert told([command.format(flag).encode() + b"mn\r\n"]) == text.encode() + b"MN\r\n"


def test_what_the_fake_does_not_do():
    """A later flush is refused and does nothing, and so is what memcached knows and memsession has no use for."""
    items = Items(10)
    answer = told([b"ms a 1\r\n1\r\nflush_all 10\r\nlru_crawler metadump 1\r\nme a\r\nget a\r\n"], Dialogue(items))

    assert answer == (
        b"HD\r\nSERVER_ERROR a fake node does not flush later\r\nBADCLASS invalid class id\r\nERROR\r\nERROR\r\n"
    )
    assert items.keys() == [b"a"]
