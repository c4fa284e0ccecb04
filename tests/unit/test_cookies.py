"""The session cookie found again: its signature, and everything else that may stand in a Cookie header."""

import hashlib
import hmac
import json
import pickle
import threading
from base64 import urlsafe_b64encode

import itsdangerous
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memsession.cookies import Cookie, CookieSigner, Found
from memsession.identity import SessionId, storage_key

KEY, OLD, FOREIGN = b"k" * 32, b"o" * 32, b"f" * 32
ID, OTHER = SessionId("0aeojUcVX0kE3pYq-1Zt5fWm_9RsLbHd7nGiQw8ziKg"), SessionId("B" * 42 + "A")
SIGNER = CookieSigner(Cookie(), (KEY, OLD))
NOTHING, BAD, CONFLICT = Found(), Found(bad=True), Found(conflict=True)
NAMES = {True: b"__Host-session", False: b"session"}


def signed(id_: SessionId = ID, key: bytes = KEY, salt: bytes = b"memsession.cookie.session") -> bytes:
    """Return the cookie value by a computation of its own: HMAC-SHA-256 with a key derived for the purpose."""
    derived = hmac.digest(key, salt, "sha256")
    signature = hmac.digest(derived, id_.text.encode(), "sha256")
    return id_.text.encode() + b"." + urlsafe_b64encode(signature).rstrip(b"=")


VALUE = signed()


def test_a_cookie_of_another_name_is_not_one_of_ours():
    """Two applications that share secret and pool, but not the cookie's name, do not take each other's visitors."""
    shop = CookieSigner(Cookie(name="shop"), [KEY])
    value = shop.issue(ID, https=True).partition(b"=")[2].partition(b";")[0]

    assert shop.find(b"__Host-shop=" + value, https=True).id == ID
    assert CookieSigner(Cookie(name="admin"), [KEY]).find(b"__Host-admin=" + value, https=True) == Found(bad=True)


def test_the_value_is_signed_by_the_first_secret() -> None:
    """The value is ID, dot, HMAC-SHA-256 by the first secret; all secrets verify, a removed one does not."""
    for key in (KEY, OLD):
        assert SIGNER.find(b"session=" + signed(key=key), https=False) == Found(ID)
    assert SIGNER.find(b"session=" + signed(key=FOREIGN), https=False) == BAD
    assert CookieSigner(Cookie(), (KEY,)).find(b"session=" + signed(key=OLD), https=False) == BAD
    assert CookieSigner(Cookie(), (OLD, KEY)).issue(ID, https=False).startswith(b"session=" + signed(key=OLD))


def test_what_is_issued_is_found() -> None:
    """A new ID comes back from the cookie that carries it, once computed and then remembered."""
    for https in (True, False):
        id_ = SessionId.new()
        header = SIGNER.issue(id_, https=https).partition(b";")[0]

        assert [SIGNER.find(header, https=https) for _ in range(3)] == [Found(id_)] * 3


def test_other_purposes_and_settings_of_itsdangerous_are_refused() -> None:
    """Signatures by the same secret with another salt, digest or key derivation do not verify."""
    text = ID.text
    for value in (
        signed(salt=b"cookie-session"),
        itsdangerous.Signer(KEY).sign(text),
        itsdangerous.Signer(KEY, salt=b"memsession.cookie.session").sign(text),
        itsdangerous.Signer(KEY, salt=b"memsession.cookie.session", digest_method=hashlib.sha256).sign(text),
        itsdangerous.TimestampSigner(KEY, salt=b"memsession.cookie.session", key_derivation="hmac").sign(text),
    ):
        assert SIGNER.find(b"session=" + value, https=False) == BAD


@pytest.mark.parametrize(
    "header",
    [
        b"session=%b",
        b"a=1; session=%b",
        b"session=%b; a=1",
        b"a=1;session=%b;b=2",
        b"a=1;\t session=%b",
        b"  session=%b",
        b"; ;;session=%b;",
        b"xsession=no; session=%b; sessionx=no; a=session=no",
        b'a="b; session=%b',
        b"a; session=%b",
        b"\xff\x00\x80=\xfe; session=%b",
        b"session=%b; session=%b",
        b"; ".join([b"other%d=%d" % (at, at) for at in range(500)]) + b"; session=%b",
    ],
)
def test_the_cookie_is_found_among_others(header: bytes) -> None:
    """Other cookies, separators and junk around the session cookie do not hide it."""
    assert SIGNER.find(header.replace(b"%b", VALUE), https=False) == Found(ID)


def test_several_headers_are_one() -> None:
    """HTTP/2 may split cookies over several headers; they count as one, however they are grouped."""
    assert SIGNER.find([b"a=1", b"session=" + VALUE, b"b=2"], https=False) == Found(ID)
    assert SIGNER.find((b"session=" + VALUE, b"session=" + signed(OTHER)), https=False) == CONFLICT
    assert SIGNER.find([], https=False) == NOTHING
    assert SIGNER.find([b"", b"a=1"], https=False) == NOTHING


def test_the_scheme_decides_the_name() -> None:
    """On https a cookie without prefix is not looked at, for plain http could have planted it; nor the reverse."""
    assert SIGNER.find(b"session=" + VALUE, https=True) == NOTHING
    assert SIGNER.find(b"__Host-session=" + VALUE, https=False) == NOTHING
    assert SIGNER.find(b"session=" + signed(OTHER) + b"; __Host-session=" + VALUE, https=True) == Found(ID)
    assert SIGNER.find(b"__host-session=" + VALUE, https=True) == NOTHING


def test_every_cookie_of_the_name_is_tried() -> None:
    """A planted cookie of the same name does not hide the good one, in either order; two good ones exclude both."""
    good, forged, other, again = (b"session=" + value for value in (VALUE, b"x", signed(OTHER), signed(key=OLD)))

    assert SIGNER.find(good + b"; " + forged, https=False) == Found(ID, bad=True)
    assert SIGNER.find(forged + b"; " + good, https=False) == Found(ID, bad=True)
    assert SIGNER.find(good + b"; " + other, https=False) == CONFLICT
    assert SIGNER.find(other + b"; " + good + b";" + forged, https=False) == Found(bad=True, conflict=True)
    assert SIGNER.find(good + b"; " + again, https=False) == Found(ID)
    assert SIGNER.find(forged + b"; session=y", https=False) == BAD


def test_many_forgeries_are_not_all_computed() -> None:
    """Beyond 16 different well-shaped values none is taken; badly shaped ones cost nothing and do not count."""
    forged = [b"session=" + signed(SessionId.new(), FOREIGN) for _ in range(16)]
    shapeless = [b"session=%d" % number for number in range(1_000)]
    good = b"session=" + VALUE

    assert SIGNER.find(b"; ".join([*shapeless, *forged[:15], good]), https=False) == Found(ID, bad=True)
    assert SIGNER.find(b"; ".join([*forged, good]), https=False) == BAD
    assert SIGNER.find(b"; ".join([good] * 300), https=False) == Found(ID)


ID_TEXT, SIGNATURE = VALUE.split(b".")
BAD_VALUES = [
    *(b"", b"x", b".", b"=", b'""', ID_TEXT, ID_TEXT + b".", b"." + SIGNATURE, SIGNATURE, VALUE[:-1], VALUE + b"A"),
    *(
        ID_TEXT + b"." + SIGNATURE[:20],
        VALUE + SIGNATURE,
        VALUE.swapcase(),
        VALUE.upper(),
        VALUE + b".",
        VALUE + b"=",
    ),
    *(
        VALUE + b" ",
        b" " + VALUE,
        VALUE + b"\t",
        b'"' + VALUE + b'"',
        VALUE.replace(b".", b".."),
        VALUE.replace(b".", b"%2E"),
    ),
    *(VALUE.replace(b"-", b"+"), VALUE.replace(b"_", b"/"), b"%30" + VALUE[1:], VALUE.replace(b".", b"-")),
    *(signed(OTHER).split(b".")[0] + b"." + SIGNATURE, ID_TEXT + b"." + signed(OTHER).split(b".")[1]),
    *(signed(key=FOREIGN), ID_TEXT[:-1] + b"h." + SIGNATURE, ID_TEXT + b"." + SIGNATURE[:-1] + b"_"),
    *(b"s" * size for size in (43, 86, 87, 88, 128, 129, 4_096, 8_192, 65_536)),
    *(VALUE[:10] + bytes([byte]) + VALUE[11:] for byte in [0, 9, 10, 13, 127, *range(128, 256)]),
    *(VALUE[:43] + bytes([byte]) + VALUE[44:] for byte in (0, 10, 44, 45, 47, 58, 255)),
    *("😀é\u200f".encode(), "\u0661".encode() * 43, "\uff10".encode() + VALUE[3:], b"\xc3\x28", b"\xed\xa0\x80"),
    *(
        storage_key(ID, "memsession"),
        storage_key(ID, "m") + b"." + SIGNATURE,
        storage_key(ID, "")[1:] + b"." + SIGNATURE,
    ),
    *(json.dumps({"id": ID.text}).encode(), pickle.dumps({"id": ID.text}).replace(b";", b""), b"../../etc/passwd"),
    *(b"\r\nSet-Cookie: a=b", b"x\r\nflush_all", b"deleted", b"null", b"0", b"a" * 43 + b"." + b"a" * 42 + b"\n"),
    *(b"".join(b"%%%02X" % byte for byte in VALUE), b"session=" + VALUE, VALUE + b"," + VALUE, VALUE + b"%00"),
    *(b"\xff" * 87, b"\xe2\x80\x8f" + VALUE[3:], VALUE[:-3] + b"\xe2\x80\x8e", b"A" * 43 + b"." + b"A" * 43),
    *(signed(salt=b"memsession.cookie.shop"), signed(salt=b"memsession.cookie."), signed(salt=b"")),
    *(SIGNATURE + b"." + ID_TEXT, VALUE[::-1], b"." + VALUE, VALUE + b"\x00", b"\xef\xbb\xbf" + VALUE),
]


@pytest.mark.parametrize("https", [True, False])
@pytest.mark.parametrize("value", BAD_VALUES, ids=range(len(BAD_VALUES)))
def test_bad_values_are_bad_and_nothing_else(value: bytes, https: bool) -> None:
    """A value nobody here signed is reported as bad, alone and beside a good one, whose ID is found all the same."""
    name = NAMES[https]

    assert SIGNER.find(name + b"=" + value, https=https) == BAD
    assert SIGNER.find(b"a=1; " + name + b"=" + value + b"; b=2", https=https) == BAD
    assert SIGNER.find(name + b"=" + value + b"; " + name + b"=" + VALUE, https=https) == Found(ID, bad=True)
    assert SIGNER.find(name + b"=" + VALUE + b"; " + name + b"=" + value, https=https) == Found(ID, bad=True)


@pytest.mark.parametrize("https", [True, False])
@pytest.mark.parametrize("value", BAD_VALUES, ids=range(len(BAD_VALUES)))
def test_bad_values_are_bad_in_headers_of_their_own_too(value: bytes, https: bool) -> None:
    """HTTP/2 may send each cookie in a header of its own: the answers are those of one header."""
    name = NAMES[https]
    bad, good = name + b"=" + value, name + b"=" + VALUE

    assert SIGNER.find([bad], https=https) == BAD
    assert SIGNER.find([bad, bad], https=https) == BAD
    assert SIGNER.find((b"a=1", bad, b"b=2"), https=https) == BAD
    assert SIGNER.find([bad, good], https=https) == Found(ID, bad=True)
    assert SIGNER.find([good, bad], https=https) == Found(ID, bad=True)
    assert SIGNER.find([good, bad, name + b"=" + signed(OTHER)], https=https) == Found(bad=True, conflict=True)


@pytest.mark.parametrize("at", range(len(VALUE)))
def test_headers_are_not_glued_together(at: int) -> None:
    """A cookie never spans two headers: what the first one holds is a value cut short, the rest is no cookie."""
    assert SIGNER.find([b"session=" + VALUE[:at], VALUE[at:]], https=False) == BAD
    assert SIGNER.find([b"session", b"=" + VALUE], https=False) == NOTHING


@pytest.mark.parametrize("https", [True, False])
@pytest.mark.parametrize(
    "header",
    [
        *(b"", b";", b";;;=;", b"=", b"session", b"__Host-session", b"sessions=" + VALUE, b"xsession=" + VALUE),
        *(b"x=session=" + VALUE, b"session =" + VALUE, b"SESSION=" + VALUE, b"a=1, session=" + VALUE, b"=" + VALUE),
        *(b"\x00session=" + VALUE, b"\xa0session=" + VALUE, VALUE),
        *(byte * 65_536 for byte in (b"x", b";", b" ", b"\xff")),
    ],
    ids=range(20),
)
def test_headers_without_our_cookie_hold_nothing(header: bytes, https: bool) -> None:
    """Nearly the right name is another name."""
    assert SIGNER.find(header, https=https) == NOTHING


def test_every_changed_bit_is_refused() -> None:
    """No value that differs from a signed one in a single bit is good."""
    for bit in range(len(VALUE) * 8):
        changed = bytearray(VALUE)
        changed[bit // 8] ^= 1 << bit % 8

        assert SIGNER.find(b"session=" + changed, https=False).id is None


HEADERS = st.lists(
    st.sampled_from([b"session", b"__Host-session", b"=", b";", b"; ", b" ", b".", b"a", VALUE, ID_TEXT, SIGNATURE])
    | st.binary(max_size=20)
).map(b"".join)


@given(HEADERS | st.lists(HEADERS), st.booleans())
def test_no_header_raises_or_gives_a_foreign_id(header: bytes | list[bytes], https: bool) -> None:
    """Whatever bytes arrive, the answer is the one signed ID or none, as a plain split of the header finds it."""
    headers = [header] if isinstance(header, bytes) else header
    pairs = [pair.lstrip(b" \t").partition(b"=") for each in headers for pair in each.split(b";")]
    values = {value for name, equals, value in pairs if name == NAMES[https] and equals}
    found = SIGNER.find(header, https=https)

    assert found.id == (ID if VALUE in values else None)
    assert found.bad == bool(values - {VALUE})
    assert not found.conflict


NEARLY = st.tuples(st.integers(0, len(VALUE)), st.integers(0, 3), st.binary(max_size=4)).map(
    lambda cut: VALUE[: cut[0]] + cut[2] + VALUE[cut[0] + cut[1] :]
)


@given(st.binary() | st.binary(min_size=87, max_size=87) | NEARLY, st.binary(max_size=20), st.booleans())
def test_no_bytes_give_an_id_that_was_not_signed(value: bytes, beside: bytes, https: bool) -> None:
    """Random bytes, and signed ones with a few bytes changed, are no session, in one header and in two."""
    pair = NAMES[https] + b"=" + value
    genuine = value.partition(b";")[0] == VALUE

    for headers in (pair, beside + b";" + pair, [pair], [beside, pair], [pair, beside]):
        assert SIGNER.find(headers, https=https).id == (ID if genuine else None)


def test_hostile_headers_take_linear_time() -> None:
    """Each part of a header is passed once: a megabyte of near misses is answered like any other."""
    for header in (b"session=" * 131_072, b" session=;" * 104_857, b"xsession=" + b" " * 1_048_576 + b"session=x"):
        assert SIGNER.find(header, https=False) in (NOTHING, BAD)


def test_forgeries_displace_no_remembered_cookie() -> None:
    """Only verified values are remembered, so a flood of forged ones leaves the good ones where they are."""
    signer = CookieSigner(Cookie(), (KEY,))
    signer.find(b"session=" + VALUE, https=False)
    for _ in range(5_000):
        signer.find(b"session=" + SessionId.new().text.encode() + b"." + SIGNATURE, https=False)

    assert signer._verified.cache_info().currsize == 1


def test_remembered_cookies_are_bounded() -> None:
    """At most 4,096 verified values are kept in memory, and what was forgotten verifies again."""
    signer = CookieSigner(Cookie(), (KEY,))
    headers = [signer.issue(SessionId.new(), https=False).partition(b";")[0] for _ in range(4_200)]

    assert all(signer.find(header, https=False).id for header in headers + headers[:5])
    assert signer._verified.cache_info().currsize == 4_096


def test_threads_may_share_a_signer() -> None:
    """Many threads that find and issue at once each get their own ID back."""
    signer = CookieSigner(Cookie(), (KEY,))
    wrong: list[SessionId] = []

    def visit() -> None:
        for _ in range(200):
            id_ = SessionId.new()
            if signer.find(signer.issue(id_, https=True).partition(b";")[0], https=True) != Found(id_):
                wrong.append(id_)

    threads = [threading.Thread(target=visit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


def test_nothing_shows_an_id_or_a_secret() -> None:
    """Neither the result of a search nor the signer shows an ID, and a signer shows no secret."""
    found = SIGNER.find(b"session=" + VALUE, https=False)

    assert ID.text not in repr(found)
    assert "kkkk" not in repr(SIGNER)
