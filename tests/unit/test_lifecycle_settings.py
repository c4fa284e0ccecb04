"""From settings to a lifecycle, the headers of responses, and the warning about plain http."""

import dataclasses
import logging
import re
from datetime import timedelta

import pytest

from memsession.cookies import Cookie
from memsession.errors import ConfigurationError
from memsession.events import log
from memsession.exclusive import Exclusive
from memsession.lifecycle import ROTATE_ON, Lifecycle, Options, Placing, PlainHttp, Settings, build, pool_of, settings
from memsession.lifecycle.headers import headers_to_add
from memsession.lifetime import Lifetime
from memsession.memory import MemoryClient
from memsession.pool import Pool
from memsession.record import Dead, Reason
from memsession.seal import Seal
from memsession.secret import secret_keys
from memsession.session import AsyncSession
from memsession.vault import Vault
from tests.visits import SECRET

POOL = Pool("memory://")


def made(secret_key=SECRET, **options):
    """A lifecycle, as an adapter makes it."""
    given = settings(secret_key, options)
    return build(given, placing=Placing(POOL), senses=MemoryClient(POOL), make_session=AsyncSession)


def test_good_settings_make_a_lifecycle():
    """With clocks, random names, and the codec of production."""
    lifecycle = made()
    names = {lifecycle.world.nonce() for _ in range(1_000)}

    assert isinstance(lifecycle, Lifecycle)
    assert isinstance(lifecycle.world.codec, Vault)
    assert len(names) == 1_000
    assert {len(name) for name in names} == {12}


def test_every_option_has_a_setting_and_a_default():
    """What adapters take and what a lifecycle is built from are the same names."""
    given = settings(SECRET, {})
    names = {field.name for field in dataclasses.fields(Settings)} - {"secret_key"}

    assert names == set(Options.__annotations__)
    assert (given.pool, given.exclusive, given.debug, given.on_outage, given.vary) == (
        None,
        None,
        None,
        "error",
        "accessed",
    )
    assert (given.rotate_on, given.observe, given.lifetime) == (ROTATE_ON, log, Lifetime())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lifetme", "unknown option lifetme: did you mean lifetime?"),
        ("coockie", "unknown option coockie: did you mean cookie?"),
        (
            "zzz",
            "unknown option zzz: there are cookie, debug, exclusive, lifetime, observe, on_outage, ",
        ),
    ],
)
def test_an_unknown_option_is_named(name, message):
    """At start, with the one that was meant, or with all that there are."""
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        settings(SECRET, {name: None})


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("secret_key", "short", "secret_key"),
        ("secret_key", None, "secret_key"),
        ("cookie", "session", r"cookie is a str: give for instance cookie=Cookie\(name=\"session\"\)"),
        ("lifetime", timedelta(minutes=30), r"lifetime is a timedelta: .*Lifetime\(idle="),
        ("rotate_on", "user", r"rotate_on='user': give a list of keys"),
        ("rotate_on", None, "rotate_on=None: give a list of keys"),
        ("rotate_on", [1], r"rotate_on=\[1\]: give a list of keys"),
        ("rotate_on", {"user": 1, 2: 3}, "rotate_on=.* give a list of keys"),
        ("rotate_on", iter(["user"]), "rotate_on=.* give a list of keys"),
        ("on_outage", "ignore", "on_outage='ignore': use 'error'"),
        ("vary", "never", "vary='never': use 'accessed' or 'always'"),
        ("vary", None, "vary=None"),
        ("debug", "yes", "debug='yes': use True, False, or None"),
        ("exclusive", True, r"exclusive is a bool: give for instance exclusive=Exclusive\(wait="),
        ("observe", None, "observe=None"),
    ],
)
def test_bad_settings_are_named(setting, value, message):
    """At start, with the cure."""
    with pytest.raises(ConfigurationError, match=message):
        made(**{setting: value})


@pytest.mark.parametrize("keys", [[], (), {"user"}, ["user", "tenant"]])
def test_keys_to_rotate_on_may_be_any_collection(keys):
    """Also an empty one: then only `regenerate()` renews the ID."""
    assert isinstance(made(rotate_on=keys), Lifecycle)


def test_exclusive_may_be_left_out():
    """None is its default; an `Exclusive` switches it on."""
    cookie = [b"__Host-session=bad"]
    plain, exclusive = made(exclusive=None), made(exclusive=Exclusive())

    assert not plain.needs_turn(plain.arrive(cookie, https=True), "GET", "/")
    assert not exclusive.needs_turn(exclusive.arrive(cookie, https=True), "GET", "/")


async def test_an_observer_that_raises_does_no_harm(caplog):
    """The lifecycle tells it, and goes on."""
    lifecycle = made(observe=lambda event: 1 / 0)
    visit = lifecycle.arrive([b"__Host-session=bad"], https=True)

    assert visit.ticket is None
    assert "observe function" in caplog.text


def test_pools_may_be_given_as_text():
    """A URL, or a Pool as it is."""
    assert pool_of("memory://?nodes=3") == Pool("memory://?nodes=3")
    assert pool_of(POOL) is POOL


def test_without_a_pool_there_is_a_warning(caplog):
    """Sessions in one process are for development."""
    pool = pool_of(None)
    [record] = caplog.records

    assert pool.in_process
    assert (record.levelno, "set pool=Pool" in record.getMessage()) == (logging.WARNING, True)


@pytest.mark.parametrize("pool", [["10.0.0.94", "10.0.0.95"], 11211, b"memory://"])
def test_other_pools_are_refused(pool):
    """The message shows how to give one."""
    with pytest.raises(ConfigurationError, match=r"pool is a \w+: give for instance pool=Pool\("):
        pool_of(pool)


def test_the_vault_binds_records_to_their_key():
    """What was sealed under one key opens under no other, and garbage opens nowhere."""
    vault = Vault(Seal(secret_keys(SECRET)))
    value = vault.seal(b"key", Dead(Reason.INVALIDATED))

    assert vault.open(b"key", value) == Dead(Reason.INVALIDATED)
    assert vault.open(b"other", value) is None
    assert vault.open(b"key", Seal(secret_keys(SECRET)).seal(b"key", b"no record")) is None


COOKIE = b"session=x"


@pytest.mark.parametrize(
    ("before", "cookie", "added"),
    [
        ([], None, [(b"vary", b"Cookie")]),
        ([(b"vary", b"Accept-Encoding")], None, [(b"vary", b"Cookie")]),
        ([(b"vary", b"accept, COOKIE ,origin")], None, []),
        ([(b"Vary", b"*")], None, []),
        ([(b"vary", b"Cookie-Consent")], None, [(b"vary", b"Cookie")]),
        ([], COOKIE, [(b"vary", b"Cookie"), (b"set-cookie", COOKIE), (b"cache-control", b"no-store")]),
        (
            [(b"cache-control", b"public, max-age=60"), (b"vary", b"cookie")],
            COOKIE,
            [(b"set-cookie", COOKIE), (b"cache-control", b"no-store")],
        ),
        ([(b"Cache-Control", b"private, No-Store"), (b"vary", b"*")], COOKIE, [(b"set-cookie", COOKIE)]),
        (
            [(b"set-cookie", b"theme=dark"), (b"vary", b"*"), (b"cache-control", b"no-store")],
            COOKIE,
            [(b"set-cookie", COOKIE)],
        ),
        ([(b"cache-control", b"no-cache")], None, [(b"vary", b"Cookie")]),
    ],
)
def test_headers_are_added_and_never_weakened(before, cookie, added):
    """What the application said stands; what is missing follows."""
    headers = list(before)

    assert headers_to_add(iter(headers), cookie=cookie) == added
    assert headers == before


class TestPlainHttp:
    """One warning when a cookie leaves without Secure over http."""

    @pytest.mark.parametrize(
        "host",
        [
            b"localhost",
            b"LOCALHOST:8000",
            b"app.localhost",
            b"127.0.0.1",
            b"127.8.9.1:80",
            b"[::1]",
            b"[::1]:8000",
            b"testserver",
            b"",
        ],
    )
    def test_this_machine_is_not_warned_about(self, caplog, host):
        """Development needs no https."""
        PlainHttp(Cookie()).sent([(b"host", host)] if host else [])

        assert caplog.records == []

    @pytest.mark.parametrize(
        "host", [b"shop.example", b"10.0.0.94:8000", b"127.evil.example", b"localhost.evil.example", b"\xff\r\n" * 99]
    )
    def test_others_are_warned_about_once(self, caplog, host):
        """Once for an application, whatever follows, and in one line."""
        plain = PlainHttp(Cookie())
        for _ in range(3):
            plain.sent([(b"accept", b"*/*"), (b"host", host)])
        [record] = caplog.records

        assert record.levelno == logging.WARNING
        assert "without Secure" in record.getMessage()
        assert "\n" not in record.getMessage()
        assert len(record.getMessage()) < 1_000

    def test_this_machine_first_does_not_use_the_warning_up(self, caplog):
        """A health check on loopback, then a visitor."""
        plain = PlainHttp(Cookie())
        plain.sent([(b"host", b"localhost")])
        plain.sent([(b"host", b"shop.example")])

        assert len(caplog.records) == 1

    def test_a_secure_cookie_is_not_warned_about(self, caplog):
        """`secure=True` on http: a proxy ends TLS, and the cookie is Secure."""
        PlainHttp(Cookie(secure=True)).sent([(b"host", b"shop.example")])

        assert caplog.records == []
