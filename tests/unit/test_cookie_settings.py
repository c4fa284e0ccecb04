"""The session cookie as it is set and deleted, and the settings that are refused."""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from datetime import timedelta
from itertools import product
from typing import Any

import pytest

from memsession.cookies import Cookie, CookieSigner
from memsession.errors import ConfigurationError
from memsession.identity import SessionId

KEY = b"k" * 32
ID = SessionId("0aeojUcVX0kE3pYq-1Zt5fWm_9RsLbHd7nGiQw8ziKg")
SIGNER = CookieSigner(Cookie(), (KEY,))
DERIVED = hmac.digest(KEY, b"memsession.cookie.session", "sha256")
SIGNATURE = urlsafe_b64encode(hmac.digest(DERIVED, ID.text.encode(), "sha256")).rstrip(b"=")
VALUE = ID.text.encode() + b"." + SIGNATURE


def test_the_default_cookie_on_https() -> None:
    """On https the cookie has the __Host- prefix, Secure, HttpOnly, SameSite=Lax and no age."""
    assert SIGNER.issue(ID, https=True) == (b"__Host-session=" + VALUE + b"; Path=/; Secure; HttpOnly; SameSite=Lax")
    assert SIGNER.delete(https=True) == (
        b"__Host-session=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/; Secure; HttpOnly; SameSite=Lax"
    )


def test_the_default_cookie_on_http() -> None:
    """On http the name is plain and the cookie not Secure, or browsers would drop it."""
    assert SIGNER.issue(ID, https=False) == b"session=" + VALUE + b"; Path=/; HttpOnly; SameSite=Lax"
    assert SIGNER.delete(https=False).startswith(b"session=; Max-Age=0; Expires=Thu, 01 Jan 1970")


@pytest.mark.parametrize(
    ("settings", "https", "http"),
    [
        ({}, "__Host-session", "session"),
        ({"secure": True}, "__Host-session", "__Host-session"),
        ({"secure": False}, "session", "session"),
        ({"domain": "example.com"}, "__Secure-session", "session"),
        ({"path": "/shop"}, "__Secure-session", "session"),
        ({"name": "sid", "secure": True, "path": "/shop"}, "__Secure-sid", "__Secure-sid"),
        ({"name": "__Host-sid"}, "__Host-sid", "__Host-sid"),
        ({"name": "__Secure-sid", "domain": "example.com"}, "__Secure-sid", "__Secure-sid"),
        ({"name": "__Host-Http-sid", "secure": True}, "__Host-Http-sid", "__Host-Http-sid"),
    ],
)
def test_the_prefix_follows_the_settings(settings: dict[str, Any], https: str, http: str) -> None:
    """The strongest prefix that browsers honour is added, one that is there is kept, and Secure goes with it."""
    cookie = Cookie(**settings)
    signer = CookieSigner(cookie, (KEY,))

    assert (cookie.full_name(https=True), cookie.full_name(https=False)) == (https, http)
    for scheme, name in ((True, https), (False, http)):
        for header in (signer.issue(ID, https=scheme), signer.delete(https=scheme)):
            assert header.startswith(name.encode() + b"=")
            assert (b"; Secure;" in header) == cookie.is_secure(https=scheme)
            assert b"; HttpOnly;" in header
        assert cookie.is_secure(https=scheme) or not name.startswith("__")


def test_deleting_repeats_the_attributes() -> None:
    """What deletes the cookie has the name, domain, path and flags of what set it, or browsers keep the cookie."""
    cookie = Cookie(domain="example.com", path="/shop", same_site="strict", max_age=timedelta(days=2))
    signer = CookieSigner(cookie, (KEY,))
    attributes = b"; Path=/shop; Domain=example.com; Secure; HttpOnly; SameSite=Strict"

    assert signer.issue(ID, https=True) == b"__Secure-session=" + VALUE + b"; Max-Age=172800" + attributes
    assert signer.delete(https=True).endswith(b"GMT" + attributes)
    assert b"172800" not in signer.delete(https=True)


def every_cookie() -> Iterator[Cookie]:
    """Every combination of settings that is no contradiction."""
    for name, same_site, secure, domain, path, max_age, partitioned in product(
        ("session", "__Secure-sid", "__Host-sid"),
        ("lax", "strict", "none"),
        ("auto", True, False),
        (None, "example.com"),
        ("/", "/shop"),
        (None, timedelta(days=2)),
        (False, True),
    ):
        try:
            yield Cookie(
                name=name,
                same_site=same_site,
                secure=secure,
                domain=domain,
                path=path,
                max_age=max_age,
                partitioned=partitioned,
            )
        except ConfigurationError:
            continue


def taken_apart(header: bytes) -> tuple[bytes, list[bytes], list[bytes]]:
    """The name of a Set-Cookie, its attributes in their order, and those of them that tell an age."""
    pair, *attributes = header.split(b"; ")
    ages = [one for one in attributes if one.startswith((b"Max-Age=", b"Expires="))]
    return pair.partition(b"=")[0], [one for one in attributes if one not in ages], ages


def test_every_deletion_repeats_all_attributes() -> None:
    """For all settings that are allowed, setting and deleting differ in the value and the age and in nothing else."""
    cookies = list(every_cookie())
    for cookie, https, age in product(cookies, (True, False), (None, 60)):
        signer = CookieSigner(cookie, (KEY,))
        issued, deleted = signer.issue(ID, https=https, max_age_s=age), signer.delete(https=https)

        assert taken_apart(issued)[:2] == taken_apart(deleted)[:2]
        assert taken_apart(issued)[2] == ([b"Max-Age=60"] if age else [b"Max-Age=172800"] if cookie.max_age else [])
        assert taken_apart(deleted)[2] == [b"Max-Age=0", b"Expires=Thu, 01 Jan 1970 00:00:00 GMT"]
        assert deleted.split(b"; ")[0].endswith(b"=")
    assert len(cookies) == 200


def test_browsers_would_keep_every_cookie() -> None:
    """For all settings that are allowed: what browsers ask of prefixes, SameSite=None and Partitioned is there."""
    for cookie, https in product(every_cookie(), (True, False)):
        name, attributes, _ = taken_apart(CookieSigner(cookie, (KEY,)).issue(ID, https=https))

        assert b"HttpOnly" in attributes
        assert attributes.count(b"Secure") == cookie.is_secure(https=https)
        if name.startswith(b"__") or {b"SameSite=None", b"Partitioned"} & {*attributes}:
            assert b"Secure" in attributes
        if name.startswith(b"__Host-"):
            assert b"Path=/" in attributes
            assert not any(one.startswith(b"Domain=") for one in attributes)


@pytest.mark.parametrize(
    ("max_age", "max_age_s", "sent"),
    [
        (None, None, b""),
        (timedelta(days=2), None, b"; Max-Age=172800"),
        (None, 3_600, b"; Max-Age=3600"),
        (timedelta(days=2), 1, b"; Max-Age=1"),
        (timedelta(days=2), 34_560_000, b"; Max-Age=34560000"),
        (None, 34_560_001, b"; Max-Age=34560000"),
    ],
)
def test_a_cookie_may_have_an_age_of_its_own(max_age: timedelta | None, max_age_s: int | None, sent: bytes) -> None:
    """It counts instead of the settings', up to 400 days; everything else is as ever."""
    signer = CookieSigner(Cookie(max_age=max_age), (KEY,))
    header = signer.issue(ID, https=True, max_age_s=max_age_s)

    assert header == b"__Host-session=" + VALUE + sent + b"; Path=/; Secure; HttpOnly; SameSite=Lax"


@pytest.mark.parametrize("max_age_s", [0, -1])
def test_an_age_that_deletes_is_refused(max_age_s: int) -> None:
    """A cookie that is issued to be dropped at once is a mistake of the caller."""
    with pytest.raises(ValueError, match="delete"):
        SIGNER.issue(ID, https=True, max_age_s=max_age_s)


def test_a_partitioned_cookie_says_so_last() -> None:
    """Partitioned is sent on issue and deletion, on http too, with every prefix."""
    for settings in ({"secure": True}, {"name": "__Host-x"}, {"name": "__Secure-x", "domain": "example.com"}):
        signer = CookieSigner(Cookie(same_site="none", partitioned=True, **settings), (KEY,))
        for https in (True, False):
            for header in (signer.issue(ID, https=https), signer.delete(https=https)):
                assert header.endswith(b"; Secure; HttpOnly; SameSite=None; Partitioned")


def test_the_age_ends_at_400_days() -> None:
    """A longer age is sent as 400 days, at which browsers cut it anyway."""
    signer = CookieSigner(Cookie(max_age=timedelta.max), (KEY,))

    assert b"; Max-Age=34560000;" in signer.issue(ID, https=True)


def test_same_site_none_goes_with_secure() -> None:
    """SameSite=None is possible where the cookie is always Secure."""
    for cookie in (Cookie(same_site="none", secure=True), Cookie(same_site="none", name="__Host-x")):
        assert b"Secure; HttpOnly; SameSite=None" in CookieSigner(cookie, (KEY,)).issue(ID, https=False)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": ""}, "name=''"),
        ({"name": "my session"}, "name='my session'"),
        ({"name": "a;b"}, "name="),
        ({"name": "a=b"}, "name="),
        ({"name": "a\r\nSet-Cookie"}, "name="),
        ({"name": "sid\n"}, "name="),
        ({"name": "sitzung-ü"}, "name="),
        ({"name": None}, "name=None"),
        ({"name": "s" * 4_003}, "browsers drop"),
        ({"name": "s" * 5_000}, "name="),
        ({"name": "__host-session"}, "write the prefix as __Host-"),
        ({"name": "__SECURE-session"}, "write the prefix as __Host-"),
        ({"name": "__Host-session", "domain": "example.com"}, "__Host- allows no domain"),
        ({"name": "__Host-session", "path": "/shop"}, "__Host- allows no domain"),
        ({"name": "__Host-Http-session", "path": "/shop"}, "__Host-Http- allows no domain"),
        ({"name": "__Host-session", "secure": False}, "drop it without Secure"),
        ({"name": "__Secure-session", "secure": False}, "drop it without Secure"),
        ({"same_site": "none"}, "add secure=True"),
        ({"same_site": "none", "secure": False}, "add secure=True"),
        ({"partitioned": True}, r"partitioned=True\).*add secure=True"),
        ({"partitioned": True, "secure": False}, r"partitioned=True\).*add secure=True"),
        ({"partitioned": True, "same_site": "none"}, "add secure=True"),
        ({"partitioned": 1, "secure": True}, "partitioned=1.*True or False"),
        ({"partitioned": None}, "partitioned=None"),
        ({"partitioned": "yes"}, "partitioned='yes'"),
        ({"priority": "High"}, "priority='High'"),
        ({"priority": 1}, "priority=1"),
        ({"same_site": ["lax"]}, "same_site="),
        ({"same_site": "Lax"}, 'same_site=\'Lax\'.*"lax", "strict" or "none"'),
        ({"same_site": None}, "same_site=None"),
        ({"secure": "yes"}, "secure='yes'.*\"auto\", True or False"),
        ({"secure": 1}, "secure=1"),
        ({"domain": ".example.com"}, "without leading dot"),
        ({"domain": "example.com:8000"}, "without leading dot or port"),
        ({"domain": "https://example.com"}, "domain="),
        ({"domain": "a;b"}, "domain="),
        ({"domain": ""}, "domain="),
        ({"domain": "x" * 1_025}, "domain="),
        ({"domain": 5}, "domain=5"),
        ({"path": "shop"}, "path='shop'"),
        ({"path": ""}, "path=''"),
        ({"path": "/a;b"}, "path="),
        ({"path": "/a b"}, "path="),
        ({"path": "/a\r\n"}, "path="),
        ({"path": "/" * 1_025}, "path="),
        ({"path": None}, "path=None"),
        ({"max_age": 3600}, "max_age=3600.*timedelta"),
        ({"max_age": timedelta()}, "max_age="),
        ({"max_age": timedelta(seconds=-5)}, "max_age="),
    ],
)
def test_settings_that_browsers_would_punish_are_refused(settings: dict[str, Any], message: str) -> None:
    """Malformed or contradictory settings are start-up errors that name the setting, not cookies that vanish."""
    with pytest.raises(ConfigurationError, match=message):
        Cookie(**settings)


def test_name_and_value_stay_within_4096_bytes() -> None:
    """The longest name allowed fills exactly what browsers accept."""
    header = CookieSigner(Cookie(name="s" * 4_002), (KEY,)).issue(ID, https=True)

    assert len(header.partition(b";")[0]) - len(b"=") == 4_096


@pytest.mark.parametrize("priority", ["low", "medium", "high"])
def test_a_priority_goes_with_the_cookie_and_its_deletion(priority: str) -> None:
    """Chromium's attribute; without the setting there is none."""
    signer = CookieSigner(Cookie(priority=priority), (KEY,))  # type: ignore[arg-type]
    said = f"; Priority={priority.capitalize()}".encode()

    assert signer.issue(SessionId.new(), https=True).endswith(said)
    assert signer.delete(https=True).endswith(said)
    assert b"Priority" not in CookieSigner(Cookie(), (KEY,)).delete(https=True)
