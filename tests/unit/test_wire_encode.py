"""Commands as bytes: what is sent for each, and what is never sent."""

import pytest

from memsession.commands import Add, Bury, Cas, Get, Token
from memsession.wire import AskStats, AskVersion, Mark, checked_key, checked_ttl, encode

TOKEN = Token(77, 3)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (Get("a", b"key"), b"mg key c v k O9\r\n"),
        (Get("a", b"key", force=True), b"mg key c v k O9\r\n"),
        (Add("a", b"key", b"value", 60), b"ms key 5 T60 ME k O9\r\nvalue\r\n"),
        (Cas("a", b"key", b"value", 60, TOKEN), b"ms key 5 T60 C77 k O9\r\nvalue\r\n"),
        (Bury("a", b"key", b"", 2_592_000), b"ms key 0 T2592000 k O9\r\n\r\n"),
        (Bury("a", b"key", b"\r\nmn\r\n", 1), b"ms key 6 T1 k O9\r\n\r\nmn\r\n\r\n"),
        (Mark(b"p:node", b"beef"), b"ms p:node 4 T0 ME k O9\r\nbeef\r\n"),
        (AskVersion(), b"version\r\n"),
        (AskStats(), b"stats\r\n"),
    ],
)
def test_each_command_has_its_bytes(request_, expected):
    """Every command asks for key and opaque back, and values are told by length, whatever is in them."""
    assert encode(request_, 9) == expected


@pytest.mark.parametrize("key", [b"!", b"~" * 250, b"memsession:A-_z09"])
def test_keys_of_visible_characters_are_taken(key):
    """1 to 250 bytes from `!` to `~` are a key."""
    assert checked_key(key) == key


@pytest.mark.parametrize(
    "key", [b"", b"k" * 251, b"a b", b"a\tb", b"a\x00", b"a\x7f", "ä".encode(), b"x\r\nflush_all\r\n", b"a\n"]
)
@pytest.mark.parametrize(
    "make",
    [
        lambda key: Get("a", key),
        lambda key: Add("a", key, b"", 60),
        lambda key: Cas("a", key, b"", 60, TOKEN),
        lambda key: Bury("a", key, b"", 60),
        lambda key: Mark(key, b""),
    ],
)
def test_a_key_that_is_not_one_word_is_never_sent(make, key):
    """A key with a space, a line end or too many bytes is a programming error, and its text stays out of it."""
    with pytest.raises(ValueError, match="storage key") as raised:
        encode(make(key), 1)

    assert "flush_all" not in str(raised.value)


@pytest.mark.parametrize("ttl", [1, 2, 2_592_000])
def test_seconds_up_to_thirty_days_are_taken(ttl):
    """1 to 2,592,000 are seconds to memcached."""
    assert checked_ttl(ttl) == ttl


@pytest.mark.parametrize("ttl", [0, -1, 2_592_001, 10**12])
@pytest.mark.parametrize(
    "make",
    [
        lambda ttl: Add("a", b"k", b"", ttl),
        lambda ttl: Cas("a", b"k", b"", ttl, TOKEN),
        lambda ttl: Bury("a", b"k", b"", ttl),
    ],
)
def test_a_ttl_that_memcached_reads_otherwise_is_never_sent(make, ttl):
    """0 is for ever, less is gone, more is a date: all are programming errors."""
    with pytest.raises(ValueError, match="ttl"):
        encode(make(ttl), 1)


def test_a_value_that_is_no_bytes_is_never_sent():
    """Text is an error, not something to be encoded by guess."""
    with pytest.raises(TypeError):
        encode(Add("a", b"k", "text", 60), 1)
