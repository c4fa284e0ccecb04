"""The envelope: only what was sealed under a key opens under that key."""

import os
import random
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memsession.errors import ConfigurationError, SessionTooLarge
from memsession.seal import OVERHEAD, VALUE_BYTES_MAX, Seal
from memsession.secret import derive

SECRET, OTHER = b"k" * 32, b"o" * 80
KEY = b"memsession:" + b"a" * 43
SEAL = Seal([SECRET])
PAYLOAD = random.Random(7).randbytes(1_700)


@given(st.binary(max_size=300), st.binary(max_size=255))
def test_what_is_sealed_opens_again(payload: bytes, key: bytes) -> None:
    """Any payload comes back under the key it was sealed for, and sealing twice gives the same bytes."""
    value = SEAL.seal(key, payload)

    assert SEAL.open(key, value) == payload
    assert len(value) == len(payload) + OVERHEAD
    assert value == Seal([SECRET]).seal(key, payload)


def test_the_envelope_is_as_documented() -> None:
    """Format byte, key id, keyed BLAKE2b, payload: stored values outlive the program that wrote them."""
    value = SEAL.seal(b"memsession:key", b"payload")
    head = b"\xf5" + derive(SECRET, b"memsession.seal.key-id")[:4]
    mac = blake2b(digest_size=32, key=derive(SECRET, b"memsession.seal"))
    mac.update(b"memsession.seal" + head + b"\x0ememsession:key" + b"payload")

    assert value == head + mac.digest() + b"payload"
    assert value.hex() == (
        "f5e7d06f88fde47f37339371fd7184af08c25a4a06b0449354d72855411f33d80cc772c681" + b"payload".hex()
    )


def test_every_truncation_is_refused() -> None:
    """No beginning, end or middle of a valid value of 1.7 KB opens."""
    value = SEAL.seal(KEY, PAYLOAD)
    cut = [value[:length] for length in range(len(value))] + [value[start:] for start in range(1, len(value) + 1)]

    assert [each for each in cut if SEAL.open(KEY, each) is not None] == []


def test_every_flipped_bit_is_refused() -> None:
    """Of the values that differ in one bit from a valid one of 1.7 KB, none opens."""
    value = bytearray(SEAL.seal(KEY, PAYLOAD))
    accepted = 0
    for bit in range(len(value) * 8):
        value[bit // 8] ^= 1 << bit % 8
        accepted += SEAL.open(KEY, bytes(value)) is not None
        value[bit // 8] ^= 1 << bit % 8

    assert accepted == 0
    assert SEAL.open(KEY, bytes(value)) == PAYLOAD


def test_another_sessions_value_is_refused() -> None:
    """A valid value opens under its own key only, wherever the border between key and payload is drawn."""
    value = SEAL.seal(KEY, PAYLOAD)
    head, mac = value[:5], value[5:OVERHEAD]

    assert SEAL.open(KEY[:-1] + b"b", value) is None
    assert SEAL.open(b"", value) is None
    assert SEAL.open(KEY[:-1], head + mac + KEY[-1:] + PAYLOAD) is None
    assert SEAL.open(KEY + PAYLOAD[:1], head + mac + PAYLOAD[1:]) is None


def test_another_secrets_value_is_refused() -> None:
    """The same session sealed with another secret does not open, not even under our key id."""
    value = Seal([OTHER]).seal(KEY, PAYLOAD)

    assert SEAL.open(KEY, value) is None
    assert SEAL.open(KEY, SEAL.seal(KEY, b"")[:5] + value[5:]) is None


def test_another_purposes_mac_is_refused() -> None:
    """A MAC made with the same secret for something else seals nothing."""
    head = SEAL.seal(KEY, b"")[:5]
    for material in (KEY + PAYLOAD, head + KEY + PAYLOAD, bytes([len(KEY)]) + KEY + PAYLOAD, PAYLOAD):
        for key in (SECRET, derive(SECRET, b"memsession.mark"), derive(SECRET, b"memsession.seal")):
            mac = blake2b(material, digest_size=32, key=key).digest()

            assert SEAL.open(KEY, head + mac + PAYLOAD) is None


def test_secrets_can_be_changed_without_losing_sessions() -> None:
    """The first secret seals, all open; a secret that was taken away opens nothing any more."""
    old, both, new = Seal([OTHER]), Seal([SECRET, OTHER]), Seal([SECRET])
    former = old.seal(KEY, PAYLOAD)

    assert both.open(KEY, former) == PAYLOAD
    assert both.seal(KEY, PAYLOAD) == new.seal(KEY, PAYLOAD)
    assert new.open(KEY, former) is None
    assert old.open(KEY, both.seal(KEY, PAYLOAD)) is None


@given(st.binary(max_size=200))
def test_no_bytes_raise_and_none_open(value: bytes) -> None:
    """Whatever a node delivers is opened or refused, with and without a valid head."""
    assert SEAL.open(KEY, value) is None
    assert SEAL.open(KEY, SEAL.seal(KEY, b"")[:5] + value) is None


@pytest.mark.parametrize("head", [b"\xf4", b"\xf6", b"\x00", b"{", b"\x80\x04"])
def test_unknown_formats_are_refused(head: bytes) -> None:
    """A valid MAC behind another format byte is refused: there is no second decoder to fall back to."""
    assert SEAL.open(KEY, head + SEAL.seal(KEY, PAYLOAD)[1:]) is None


def test_values_beyond_memcacheds_limit_are_refused() -> None:
    """A value may have 1,048,576 bytes, envelope included, and no more in either direction."""
    payload = bytes(VALUE_BYTES_MAX - OVERHEAD)
    value = SEAL.seal(KEY, payload)

    assert SEAL.open(KEY, value) == payload
    head, longer = value[:5], payload + b"\x00"
    mac = blake2b(b"memsession.seal" + head, digest_size=32, key=derive(SECRET, b"memsession.seal"))
    mac.update(bytes([len(KEY)]) + KEY + longer)

    assert SEAL.open(KEY, head + mac.digest() + longer) is None
    with pytest.raises(SessionTooLarge, match="1,048,577"):
        SEAL.seal(KEY, payload + b"\x00")


def test_keys_longer_than_memcached_takes_open_nothing() -> None:
    """A key of more than 255 bytes is nobody's storage key."""
    assert SEAL.open(b"k" * 256, SEAL.seal(KEY, PAYLOAD)) is None


def test_a_seal_needs_secrets_that_can_be_told_apart() -> None:
    """No secret at all, or two with the same key id, is a configuration error; the same twice is one."""
    with pytest.raises(ConfigurationError, match="at least one"):
        Seal([])
    with pytest.raises(ConfigurationError, match="share a key id"):
        Seal([b"a secret that is not one, no. 0093315", b"a secret that is not one, no. 0133480"])
    assert Seal([SECRET, SECRET]).open(KEY, SEAL.seal(KEY, PAYLOAD)) == PAYLOAD


def test_a_seal_does_not_show_its_secrets() -> None:
    """The repr of a seal contains neither a secret nor a derived key."""
    secret = os.urandom(32)

    assert repr(secret)[2:10] not in repr(Seal([secret]))
