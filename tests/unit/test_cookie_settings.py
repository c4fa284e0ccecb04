"""The session cookie as it is set and deleted, and the settings that are refused."""

import hmac
from base64 import urlsafe_b64encode
from datetime import timedelta
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
