"""Secrets: what is accepted, what is refused, and that no message shows one."""

import os
import secrets
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memsession.errors import ConfigurationError
from memsession.secret import derive, secret_keys

GOOD = "0aeojUcVX0kE3pYq-1Zt5fWm_9RsLbHd7nGi"
OTHER = "Qw8-ziKJx2mT_4uNcB6yVh1oPgE9sRfLdA3k"


def test_one_secret_is_the_only_key() -> None:
    """A single str becomes a tuple of its UTF-8 bytes, and bytes stay as they are."""
    assert secret_keys(GOOD) == (GOOD.encode(),)
    assert secret_keys(GOOD.encode()) == (GOOD.encode(),)
    assert secret_keys("ß" * 2 + GOOD) == (("ß" * 2 + GOOD).encode(),)


@pytest.mark.parametrize("kind", [list, tuple])
def test_several_secrets_keep_their_order(kind: type) -> None:
    """The first of a list stays first, because it is the one that signs; a repetition counts once."""
    assert secret_keys(kind([OTHER, GOOD.encode(), OTHER])) == (OTHER.encode(), GOOD.encode())


@pytest.mark.parametrize(
    "bad",
    [
        *("", b"", "short", GOOD[:31], b"\x00\x9f" * 5, None, 7, [], (), {}, {GOOD}, bytearray(GOOD.encode())),
        *([None], [[GOOD]], "a" * 64, b"\x00" * 32, "abcd" * 16, "1234567890" * 5, GOOD[:10] * 4),
    ],
)
def test_a_secret_that_is_none_is_refused(bad: object) -> None:
    """Missing, short, mistyped and repetitive secrets are refused; the error names the setting and the cure."""
    with pytest.raises(ConfigurationError, match=r"secret_key.*token_urlsafe"):
        secret_keys(bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "bad",
    [
        *("secret", "changeme", "your-secret-key", "SECRET_KEY", "my super secret key 1234567890 1234567890"),
        *("changeme-changeme-changeme-changeme", "your-secret-key-here-your-secret-key-here", "secret" + "0" * 40),
        *("secret" + "a" * 40, "key" + "x" * 40, "please-change-this-secret-key-in-production!", "x" * 9 + "y" * 30),
        *("this-is-a-secret-key-of-at-least-32-bytes", "abcdefghijklmnopqrstuvwxyz0123456789", b"secret" * 9),
    ],
)
def test_a_placeholder_is_refused_whatever_its_length(bad: str | bytes) -> None:
    """Well-known stand-ins for a secret are refused, also when repeated, joined or padded."""
    with pytest.raises(ConfigurationError, match="placeholder"):
        secret_keys(bad)


def test_random_secrets_of_all_usual_makes_are_accepted() -> None:
    """Base64url, hexadecimal, digits only and raw bytes are accepted whenever they are random."""
    for _ in range(500):
        for secret in (secrets.token_urlsafe(32), secrets.token_hex(16), str(10**40 + secrets.randbelow(10**40))):
            assert secret_keys(secret) == (secret.encode(),)
        raw = os.urandom(32)
        assert secret_keys(raw) == (raw,)


def test_absurdly_long_secrets_are_judged_too() -> None:
    """The checks stay linear in the length, so even absurdly long secrets are judged at once."""
    with pytest.raises(ConfigurationError, match="placeholder"):
        secret_keys("secret" * 20_000)
    with pytest.raises(ConfigurationError, match="same piece"):
        secret_keys("xy/q" * 20_000)


@given(st.text(max_size=6) | st.binary(max_size=27))
def test_no_message_shows_the_secret(secret: str | bytes) -> None:
    """A refused secret is named by its place in the list; the message does not contain it."""
    marked = "hush" + secret if isinstance(secret, str) else b"hush" + secret
    with pytest.raises(ConfigurationError, match=r"secret_key no\. 2") as refused:
        secret_keys([GOOD, marked])

    assert "hush" not in str(refused.value)


def test_undecodable_environment_variables_keep_their_bytes() -> None:
    """A secret from the environment with bytes outside UTF-8 counts as the bytes that were set."""
    raw = b"\xff\xfe" + GOOD.encode()

    assert secret_keys(os.fsdecode(raw)) == (raw,)


def test_text_that_is_no_unicode_is_refused() -> None:
    """A lone surrogate that stands for no byte is refused by a configuration error."""
    with pytest.raises(ConfigurationError, match="no Unicode text"):
        secret_keys("\ud800" + GOOD)


def test_derived_keys_depend_on_secret_and_purpose() -> None:
    """Each purpose and each secret gives its own 32 bytes, the same every time."""
    keys = {derive(secret, purpose) for secret in (b"a" * 32, b"b" * 32) for purpose in (b"one", b"two", b"")}

    assert len(keys) == 6
    assert {len(key) for key in keys} == {32}
    assert derive(b"a" * 32, b"one") == blake2b(b"one", key=b"a" * 32, digest_size=32).digest()


def test_secrets_longer_than_a_blake2_key_are_hashed_first() -> None:
    """All of a long secret counts, though a BLAKE2b key ends at 64 bytes."""
    assert derive(b"k" * 64, b"p") == blake2b(b"p", key=b"k" * 64, digest_size=32).digest()
    assert derive(b"k" * 65, b"p") == derive(blake2b(b"k" * 65).digest(), b"p")
    assert derive(b"k" * 65, b"p") != derive(b"k" * 66, b"p")


def test_nothing_is_derived_from_nothing() -> None:
    """An empty secret raises, for BLAKE2b with an empty key is no keyed hash at all."""
    with pytest.raises(ConfigurationError, match="empty"):
        derive(b"", b"purpose")
