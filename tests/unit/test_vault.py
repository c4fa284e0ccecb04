"""The vault: what it remembers saves work, and is never believed under another key or for other bytes."""

import pickle

import pytest

from memsession import vault
from memsession.record import Dead, Entry, Live, Reason, decode
from memsession.seal import Seal
from memsession.vault import Vault

SECRET = b"a-secret-of-the-tests-0123456789abcdef"
KEY, OTHER = b"memsession:" + b"k" * 43, b"memsession:" + b"o" * 43
RECORD = Live({"a": Entry(1, "w", [1, "x"])}, {}, 1, 2, 3)


@pytest.fixture
def sealed():
    return Vault(Seal([SECRET]))


def test_what_was_sealed_comes_back_as_the_same_record(sealed):
    """Without a second proof: it is the very object."""
    assert sealed.open(KEY, sealed.seal(KEY, RECORD)) is RECORD


def test_a_stranger_finds_the_same_content(sealed):
    """Another process has to prove and to read it once, and remembers it then."""
    value = sealed.seal(KEY, RECORD)
    stranger = Vault(Seal([SECRET]))
    read = stranger.open(KEY, value)

    assert read == RECORD
    assert stranger.open(KEY, bytes(value)) is read


def test_other_bytes_are_proved_anew(sealed):
    """A changed value is refused although the true one is remembered; so is the true one under another key."""
    value = sealed.seal(KEY, RECORD)

    assert all(
        sealed.open(KEY, value[:i] + bytes([value[i] ^ 1]) + value[i + 1 :]) is None for i in range(len(value))
    )
    assert sealed.open(OTHER, value) is None
    assert sealed.open(KEY, value) is RECORD


def test_the_newest_value_is_remembered(sealed):
    """An older one is still good, and is read again."""
    old = sealed.seal(KEY, RECORD)
    sealed.seal(KEY, Dead(Reason.INVALIDATED))

    assert sealed.open(KEY, old) == RECORD
    assert sealed.open(KEY, old) is not RECORD


def test_memory_is_bounded(sealed, monkeypatch):
    """In number, the oldest going first, and in the size of each value."""
    monkeypatch.setattr(vault, "REMEMBERED", 1)
    value = sealed.seal(KEY, RECORD)
    sealed.seal(OTHER, RECORD)
    large = Live({"a": Entry(1, "w", "x" * 5_000)}, {}, 1, 2, 3)

    assert sealed.open(KEY, value) is not RECORD
    assert sealed.open(KEY, value) == RECORD
    assert sealed.open(OTHER, sealed.seal(OTHER, large)) is not large


class Bomb:
    """What an attacker would store, if anybody here read pickles."""

    exploded = False

    def __reduce__(self):
        return setattr, (Bomb, "exploded", True)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_never_read(sealed, protocol):
    """Neither as it is, nor where somebody who has the secret has sealed it."""
    value = pickle.dumps(Bomb(), protocol)

    assert sealed.open(KEY, value) is None
    assert sealed.open(KEY, Seal([SECRET]).seal(KEY, value)) is None
    assert decode(value) is None
    assert not Bomb.exploded
