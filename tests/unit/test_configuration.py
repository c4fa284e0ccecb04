"""Every mistake in the settings stops the start of an application, by an error that names the setting and the cure.

One table for all of them, started as an application would: settings and middleware in one expression. What a setting
may be in detail is tested beside it. What only the network can tell stops no start.
"""

import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from memsession import ConfigurationError, Cookie, Lifetime, Pool
from memsession.asgi import SessionMiddleware
from memsession.exclusive import Exclusive
from tests.servers import free_port

SECRET = secrets.token_urlsafe(32)
SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Never called."""


def start(**options: Any) -> SessionMiddleware:
    """What stands at the end of an application's main module."""
    return SessionMiddleware(app, **{"secret_key": SECRET, "pool": "memory://", **options})


def row(name: str, message: str, settings: Callable[[], dict[str, Any]]) -> Any:
    """A mistake, what the error must say of it, and the settings with the mistake in them."""
    return pytest.param(settings, message, id=name)


POOL = [
    row("no nodes", r"no nodes: .*Pool\(", lambda: {"pool": Pool()}),
    row("no nodes in a list", "no nodes.*empty entry", lambda: {"pool": Pool("")}),
    row("no nodes in a URL", "no nodes", lambda: {"pool": "memcached://"}),
    row("empty text", "no nodes", lambda: {"pool": ""}),
    row("a list instead of a pool", r"pool is a list.*pool=Pool\(", lambda: {"pool": ["a", "b"]}),
    row("a list as a node", r"a node is given as a str.*Pool\(", lambda: {"pool": Pool(["a", "b"])}),  # type: ignore[arg-type]
    row("copies 0", r"Pool\(copies=0\): use at least 1", lambda: {"pool": Pool("a", copies=0)}),
    row("copies 0 in a URL", 'copies "0" must be a number', lambda: {"pool": "memcached://a?copies=0"}),
    row("copies -1", r"Pool\(copies=-1\): use at least 1", lambda: {"pool": Pool("a", copies=-1)}),
    row("copies above nodes", r"Pool\(copies=3\).*name more nodes", lambda: {"pool": Pool("a", "b", copies=3)}),
    row("copies as text", "copies='2'.*whole number", lambda: {"pool": Pool("a", "b", copies="2")}),  # type: ignore[arg-type]
    row("copies twice", r"copies=1\) contradicts", lambda: {"pool": Pool("memcached://a,b?copies=2", copies=1)}),
    row("the same node twice", '"a:11211" is listed twice', lambda: {"pool": Pool("a", "a")}),
    row("the same name twice", '"a" is listed twice', lambda: {"pool": Pool("a=10.0.0.1", "a=10.0.0.2")}),
    row("the same address twice", "same address", lambda: {"pool": Pool("a=10.0.0.1", "b=10.0.0.1")}),
    row("port 0", 'port "0" must be', lambda: {"pool": "10.0.0.94:0"}),
    row("port 70000", 'port "70000" must be', lambda: {"pool": "10.0.0.94:70000"}),
    row("port 11211x", 'port "11211x" must be', lambda: {"pool": "10.0.0.94:11211x"}),
    row("IPv6 without brackets", "put an IPv6 address in brackets", lambda: {"pool": "::1"}),
    row("IPv6 and port without brackets", "in brackets", lambda: {"pool": "fe80::1:11211"}),
    row("no unix path", "unix socket needs an absolute path", lambda: {"pool": "unix://"}),
    row("relative unix path", "unix socket needs an absolute path", lambda: {"pool": "unix://run/mc.sock"}),
    row("another store", "redis:// is unknown; use memcached://", lambda: {"pool": "redis://a:6379"}),
    row("user and password", "no user and no password here", lambda: {"pool": "memcached://u:p@a"}),
    row("mistyped option in a URL", 'did you mean "copies"', lambda: {"pool": "memcached://a?copys=1"}),
    row("prefix with a space", r"Pool\(prefix='my shop'\)", lambda: {"pool": Pool("a", prefix="my shop")}),
    row("prefix with a control", r"Pool\(prefix='a\\x00'\)", lambda: {"pool": Pool("a", prefix="a\0")}),
    row("prefix too long", r"Pool\(prefix=.*1 to 100", lambda: {"pool": Pool("a", prefix="p" * 101)}),
    row("cap too high", r"Pool\(max_bytes=1000001\)", lambda: {"pool": Pool("a", max_bytes=1_000_001)}),
    row("cap too low", r"Pool\(max_bytes=0\)", lambda: {"pool": Pool("a", max_bytes=0)}),
    row("no time-out", r"Pool\(timeout=None\)", lambda: {"pool": Pool("a", timeout=None)}),  # type: ignore[arg-type]
    row("time-out 0", r"Pool\(timeout=.*above zero", lambda: {"pool": Pool("a", timeout=timedelta())}),
    row("time-out below 0", r"Pool\(timeout=.*above zero", lambda: {"pool": Pool("a", timeout=-SECOND)}),
    row("time-out above budget", "must not exceed the budget", lambda: {"pool": Pool("a", timeout=2 * SECOND)}),
    row("budget as number", r"Pool\(budget=1\).*timedelta", lambda: {"pool": Pool("a", budget=1)}),  # type: ignore[arg-type]
    row("budget endless", r"Pool\(budget=.*an hour", lambda: {"pool": Pool("a", budget=timedelta.max)}),
    row("previous as text", "previous=.* is a str", lambda: {"pool": Pool("a", previous="b")}),  # type: ignore[arg-type]
]

SECRETS = [
    row("no secret", "secret_key must be a str.*not None", lambda: {"secret_key": None}),
    row("empty secret", "secret_key has 0 bytes", lambda: {"secret_key": ""}),
    row("empty list of secrets", "secret_key is an empty list", lambda: {"secret_key": []}),
    row("short secret", "secret_key has 31 bytes, at least 32", lambda: {"secret_key": SECRET[:31]}),
    row("one character", "secret_key is the same piece", lambda: {"secret_key": "7" * 64}),
    row("secret", "secret_key is a placeholder", lambda: {"secret_key": "secret"}),
    row("changeme", "secret_key is a placeholder", lambda: {"secret_key": "changeme" * 8}),
    row("number", "secret_key must be a str.*not int", lambda: {"secret_key": 42}),
    row("bad second secret", "secret_key no. 2 has 5 bytes", lambda: {"secret_key": [SECRET, "short"]}),
]

LIFETIMES = [
    row("idle 0", r"Lifetime\(idle=0:00:00\)", lambda: {"lifetime": Lifetime(idle=timedelta())}),
    row("idle below 0", r"Lifetime\(idle=", lambda: {"lifetime": Lifetime(idle=-SECOND)}),
    row("idle below 2 s", r"Lifetime\(idle=0:00:01\): use 2", lambda: {"lifetime": Lifetime(idle=SECOND)}),
    row("idle none", r"Lifetime\(idle=None\)", lambda: {"lifetime": Lifetime(idle=None)}),  # type: ignore[arg-type]
    row("idle above absolute", "idle must not exceed absolute", lambda: {"lifetime": Lifetime(idle=DAY)}),
    row("absolute above 30 days", r"Lifetime\(absolute=31 days", lambda: {"lifetime": Lifetime(absolute=31 * DAY)}),
    row("absolute none", r"Lifetime\(absolute=None\)", lambda: {"lifetime": Lifetime(absolute=None)}),  # type: ignore[arg-type]
    row("seconds", r"Lifetime\(idle=1800\): use a timedelta", lambda: {"lifetime": Lifetime(idle=1800)}),  # type: ignore[arg-type]
    row("a timedelta instead", r"lifetime is a timedelta.*Lifetime\(", lambda: {"lifetime": HOUR}),
]

COOKIES = [
    row("__Host- with domain", "allows no domain", lambda: {"cookie": Cookie(name="__Host-s", domain="a.com")}),
    row("__Host- with path", "no path but /", lambda: {"cookie": Cookie(name="__Host-s", path="/shop")}),
    row("__Host- not secure", "secure=False", lambda: {"cookie": Cookie(name="__Host-s", secure=False)}),
    row("__host-", "write the prefix as", lambda: {"cookie": Cookie(name="__host-s")}),
    row("SameSite=None", r'same_site="none".*secure=True', lambda: {"cookie": Cookie(same_site="none")}),
    row("Partitioned", "partitioned=True.*secure=True", lambda: {"cookie": Cookie(partitioned=True)}),
    row("SameSite unknown", r"Cookie\(same_site='Lax'", lambda: {"cookie": Cookie(same_site="Lax")}),  # type: ignore[arg-type]
    row("secure as text", r"Cookie\(secure='no'", lambda: {"cookie": Cookie(secure="no")}),  # type: ignore[arg-type]
    row("no token", r"Cookie\(name='my session'", lambda: {"cookie": Cookie(name="my session")}),
    row("no name", r"Cookie\(name=''", lambda: {"cookie": Cookie(name="")}),
    row("name that ends a line", r"Cookie\(name='a\\r\\nb'", lambda: {"cookie": Cookie(name="a\r\nb")}),
    row("domain with a dot", r"Cookie\(domain='.a.com'", lambda: {"cookie": Cookie(domain=".a.com")}),
    row("path without slash", r"Cookie\(path='shop'", lambda: {"cookie": Cookie(path="shop")}),
    row("age as number", r"Cookie\(max_age=3600\)", lambda: {"cookie": Cookie(max_age=3600)}),  # type: ignore[arg-type]
    row("age 0", r"Cookie\(max_age=", lambda: {"cookie": Cookie(max_age=timedelta())}),
    row("a name instead", r"cookie is a str.*Cookie\(", lambda: {"cookie": "session"}),
]

OTHERS = [
    row("rotate_on a str", r"rotate_on='user': give a list", lambda: {"rotate_on": "user"}),
    row("rotate_on none", "rotate_on=None: give a list", lambda: {"rotate_on": None}),
    row("rotate_on numbers", r"rotate_on=\[1\]: give a list", lambda: {"rotate_on": [1]}),
    row("on_outage unknown", "on_outage='ignore': use", lambda: {"on_outage": "ignore"}),
    row("vary unknown", "vary='never': use", lambda: {"vary": "never"}),
    row("no observer", "observe=None: give a function", lambda: {"observe": None}),
    row("exclusive a flag", r"exclusive is a bool.*Exclusive\(", lambda: {"exclusive": True}),
    row("wait below 0", r"Exclusive\(wait=", lambda: {"exclusive": Exclusive(wait=-SECOND)}),
    row("lock without end", r"Exclusive\(expire=", lambda: {"exclusive": Exclusive(expire=DAY)}),
    row("on_timeout unknown", r"Exclusive\(on_timeout=", lambda: {"exclusive": Exclusive(on_timeout="wait")}),  # type: ignore[arg-type]
    row("paths a str", r"Exclusive\(paths='/a'\)", lambda: {"exclusive": Exclusive(paths="/a")}),
    row("debug a text", "debug='yes': use True, False", lambda: {"debug": "yes"}),
    row("longest below absolute", r"longest=1:00:00\)", lambda: {"lifetime": Lifetime(longest=HOUR)}),
    row("longest above 30 days", r"Lifetime\(longest=31", lambda: {"lifetime": Lifetime(longest=31 * DAY)}),
    row("skip a str", "skip='/static': give a list", lambda: {"skip": "/static"}),
    row("on_server_error unknown", "on_server_error='drop': use", lambda: {"on_server_error": "drop"}),
    row("never Secure", r"Cookie\(secure=False\).*\"auto\"", lambda: {"cookie": Cookie(secure=False)}),
    row("mistyped Cookie", r"Cookie\(samesite=.*did you mean same_site", lambda: {"cookie": Cookie(samesite="lax")}),  # type: ignore[call-arg]
    row("mistyped Pool", r"Pool\(copy=.*there are budget, consistency, c", lambda: {"pool": Pool("a", copy=2)}),  # type: ignore[call-arg]
    row("mistyped Lifetime", r"Lifetime\(idel=.*did you mean idle", lambda: {"lifetime": Lifetime(idel=HOUR)}),  # type: ignore[call-arg]
    row("of the cookie", r"unknown option secure: write cookie=Cookie\(secure", lambda: {"secure": True}),
    row("of the lifetime", r"unknown option idle: write lifetime=Lifetime\(idle", lambda: {"idle": HOUR}),
    row("of the pool", r"unknown option copies: write pool=Pool\(copies", lambda: {"copies": 2}),
    row("mistyped secret", "unknown option secret: did you mean secret_key", lambda: {"secret": "x"}),
    row("like nothing", "unknown option servers: there are cookie, ", lambda: {"servers": []}),
    row("mistyped option", "unknown option lifetme.*did you mean lifetime", lambda: {"lifetme": Lifetime()}),
]


@pytest.mark.parametrize(("settings", "message"), [*POOL, *SECRETS, *LIFETIMES, *COOKIES, *OTHERS])
def test_a_mistake_stops_the_start(settings: Callable[[], dict[str, Any]], message: str) -> None:
    """The error is a ConfigurationError in one line that names the setting, and shows no secret."""
    with pytest.raises(ConfigurationError, match=message) as refused:
        start(**settings())

    assert "\n" not in str(refused.value)
    assert SECRET[:20] not in str(refused.value)


def test_without_mistakes_there_is_a_start() -> None:
    """The settings that the table varies are good by themselves."""
    assert isinstance(start(), SessionMiddleware)


@pytest.mark.parametrize("node", ["127.0.0.1:{port}", "no-such-host.invalid:{port}", "/nowhere/memcached.sock"])
def test_a_node_that_cannot_be_reached_stops_no_start(node: str) -> None:
    """Web servers start while a node is down, and in any order: who is there is found out at the first contact."""
    assert isinstance(start(pool=Pool(node.format(port=free_port()), "memory=127.0.0.1:1")), SessionMiddleware)


def test_a_cookie_without_secure_is_for_development() -> None:
    """With `debug=True`, which says so."""
    SessionMiddleware(lambda *_: None, SECRET, pool="memory://", cookie=Cookie(secure=False), debug=True)
