"""The three names of a session: ID, storage key, fingerprint."""

import base64
import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memsession.identity import SessionId, fingerprint, mark, short, storage_key

TEXT = "0aeojUcVX0kE3pYq-1Zt5fWm_9RsLbHd7nGiQw8ziKg"


def test_new_ids_are_random_and_well_formed() -> None:
    """Each new ID is another 43 base64url characters that stand for 256 bits."""
    ids = {SessionId.new().text for _ in range(1_000)}

    assert len(ids) == 1_000
    assert all(re.fullmatch("[A-Za-z0-9_-]{43}", text) for text in ids)
    assert {len(base64.urlsafe_b64decode(text + "=")) for text in ids} == {32}
    assert len({text[0] for text in ids}) > 50


@given(st.binary(min_size=32, max_size=32))
def test_every_256_bits_have_one_spelling(bits: bytes) -> None:
    """What an encoder writes is parsed; of the 64 last characters exactly one spells the same bits."""
    text = base64.urlsafe_b64encode(bits).decode().rstrip("=")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    same = [text[:-1] + last for last in alphabet if base64.urlsafe_b64decode(text[:-1] + last + "=") == bits]

    assert SessionId.parse(text) == SessionId(text)
    assert [spelling for spelling in same if SessionId.parse(spelling)] == [text]


@pytest.mark.parametrize(
    "bad",
    [
        *("", "a", TEXT[:-1], TEXT + "A", TEXT + "\n", " " + TEXT[1:], TEXT[:-1] + "h", TEXT[:-1] + "="),
        *("+" + TEXT[1:], "/" + TEXT[1:], "\u0661" + TEXT[1:], "é" + TEXT[1:], "\x00" + TEXT[1:], "%41" + TEXT[3:]),
        "\uff41" + TEXT[1:],
    ],
)
def test_anything_else_is_no_id(bad: str) -> None:
    """Wrong length, alphabet, last character or script: `parse` gives None, the class itself raises."""
    assert SessionId.parse(bad) is None
    with pytest.raises(ValueError, match="43 base64url"):
        SessionId(bad)


@given(st.text())
def test_parse_never_raises(text: str) -> None:
    """Any text is an ID or is not."""
    assert SessionId.parse(text) is None or re.fullmatch("[A-Za-z0-9_-]{43}", text)


def test_an_id_is_not_shown() -> None:
    """Neither `repr`, `str`, formatting nor the repr of a list shows the ID."""
    id_ = SessionId(TEXT)

    for shown in (repr(id_), str(id_), f"{id_}", f"{[id_]}", f"{id_!r}"):
        assert TEXT[:5] not in shown


def test_ids_are_values() -> None:
    """Equal texts are equal IDs, with equal hashes, and cannot be changed."""
    assert {SessionId(TEXT), SessionId(TEXT), SessionId.new()} >= {SessionId(TEXT)}
    assert len({SessionId(TEXT), SessionId(TEXT)}) == 1
    with pytest.raises(AttributeError):
        SessionId(TEXT).text = "x"  # type: ignore[misc]


def test_the_storage_key_hides_the_id() -> None:
    """The key is the prefix and SHA-256 of a purpose and the ID: another one for another ID or prefix."""
    digest = hashlib.sha256(b"memsession.storage-key:" + TEXT.encode()).digest()
    key = storage_key(SessionId(TEXT), "shop")

    assert key == b"shop:" + base64.urlsafe_b64encode(digest).rstrip(b"=")
    assert TEXT.encode() not in key
    assert key != storage_key(SessionId.new(), "shop")
    assert storage_key(SessionId(TEXT), "other").startswith(b"other:")
    assert re.fullmatch(rb"[!-~]{1,250}", storage_key(SessionId(TEXT), "p" * 100))


def test_the_fingerprint_is_the_key_without_its_prefix() -> None:
    """The public name is the same under any prefix, colons in it included; logs show its first 12 characters."""
    id_ = SessionId.new()
    names = {fingerprint(storage_key(id_, prefix)) for prefix in ("a", "a:b", "memsession", "p" * 100)}

    assert len(names) == 1
    assert len(names.pop()) == 43
    assert short(storage_key(id_, "a:b")) == fingerprint(storage_key(id_, "x"))[:12]
    assert SessionId.parse(fingerprint(storage_key(id_, "x"))) != id_


def test_a_foreign_key_has_a_fingerprint_too() -> None:
    """Keys that are no session's, even with bytes outside ASCII, are shown without an error."""
    assert fingerprint(b"memsession:node") == "node"
    assert fingerprint(b"no prefix") == "no prefix"
    assert fingerprint(b"p:\xff") == "\\xff"


def test_marks_tell_ids_apart_for_holders_of_the_secret() -> None:
    """A mark is 16 hex digits, the same for the same secret and ID, another one otherwise."""
    one, two = SessionId.new(), SessionId.new()
    marks = {mark(secret, id_) for secret in (b"s" * 32, b"t" * 32, b"s" * 90) for id_ in (one, two)}

    assert len(marks) == 6
    assert all(re.fullmatch("[0-9a-f]{16}", each) for each in marks)
    assert mark(b"s" * 32, one) == mark(b"s" * 32, SessionId(one.text))
