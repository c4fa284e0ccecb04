"""What caches and browsers are told: for every way to touch a session, for writers, logins and logouts."""

import pytest

from memsession import Cookie
from tests.behaviour.adapters import Visitor
from tests.unit.test_session import ACCESSES

LOGS_OUT = {"clear"}
CHANGES = {"__delitem__", "__setitem__", "pop", "popitem"} | LOGS_OUT


def head(answer):
    """Vary, Cache-Control, and what became of the cookie."""
    return answer.header("vary"), answer.header("cache-control"), answer.cookie


UNTOUCHED = ([], [], "kept")
READ = (["Cookie"], [], "kept")
ISSUED = (["Cookie"], ["no-store"], "issued")
DELETED = (["Cookie"], ["no-store"], "deleted")


@pytest.mark.parametrize("use", ACCESSES)
def test_every_use_is_told_to_caches(server, use):
    """Of a session that is there, and of none; the cookie is touched by logouts only. `ACCESSES` is all of a dict."""
    visitor = Visitor(server)
    assert head(visitor.get("/fill")) == ISSUED

    assert head(visitor.get(f"/use/{use}")) == (DELETED if use in LOGS_OUT else READ)


@pytest.mark.parametrize("use", sorted(set(ACCESSES) - CHANGES - {"__getitem__", "setdefault"}))
def test_who_reads_an_empty_session_gets_no_cookie(server, spent, use):
    """The response depends on there being none; nothing is stored."""
    assert head(Visitor(server).get(f"/use/{use}")) == READ
    assert spent() == 0


@pytest.mark.parametrize("use", ["__setitem__", "setdefault"])
def test_who_writes_gets_one(server, use):
    """Once."""
    visitor = Visitor(server)

    assert head(visitor.get(f"/use/{use}")) == ISSUED
    assert head(visitor.get(f"/use/{use}")) == READ


def test_an_untouched_session_leaves_no_trace(visitor):
    """For strangers and for visitors with a session."""
    assert head(visitor.get("/untouched")) == UNTOUCHED
    visitor.get("/set?a=1")
    assert head(visitor.get("/untouched")) == UNTOUCHED


def test_readers_and_writers_of_a_session_send_no_cookie(visitor):
    """So a slow response never replaces a newer cookie."""
    visitor.get("/set?a=1")

    assert [head(visitor.get(path)) for path in ("/get", "/set?a=2", "/increment", "/save?b=1")] == [READ] * 4


def test_login_and_logout(visitor):
    """Both change the cookie."""
    visitor.get("/set?a=1")

    assert head(visitor.get("/login?user=anna")) == ISSUED
    assert head(visitor.get("/logout")) == DELETED
    assert visitor.cookies == {}


def test_vary_may_be_sent_always(start):
    """For caches before it that are set up too simply."""
    assert head(Visitor(start(vary="always")).get("/untouched")) == (["Cookie"], [], "kept")


def test_the_cookie_on_https_and_on_http(server):
    """A prefix and Secure on https; on http neither, and the other name is not looked at."""
    shop, home = Visitor(server), Visitor(server, scheme="http", host="localhost")

    assert shop.get("/set?a=1").header("set-cookie")[0].endswith("; Path=/; Secure; HttpOnly; SameSite=Lax")
    assert home.get("/set?a=2").header("set-cookie")[0].endswith("; Path=/; HttpOnly; SameSite=Lax")
    assert [*shop.cookies, *home.cookies] == ["__Host-session", "session"]
    assert home.get("/get", cookie=shop.header).json == {}
    assert shop.get("/get", cookie=home.header.replace("session=", "__Host-session=")).json == {"a": "2"}


def test_a_deletion_repeats_the_attributes(start):
    """Browsers take another cookie away otherwise, or none."""
    cookie = Cookie(name="sid", domain="shop.example", path="/shop", secure=True, same_site="none", partitioned=True)
    visitor = Visitor(start(cookie=cookie))
    issued = visitor.get("/set?a=1").header("set-cookie")[0]
    deleted = visitor.get("/logout").header("set-cookie")[0]
    attributes = "; Path=/shop; Domain=shop.example; Secure; HttpOnly; SameSite=None; Partitioned"

    assert issued.startswith("__Secure-sid=")
    assert issued.endswith(attributes)
    assert deleted == f"__Secure-sid=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT{attributes}"


def test_a_permanent_session_has_a_cookie_with_an_age(visitor):
    """By the key that Flask's `session.permanent` sets: as long as the session may live."""
    age = visitor.get("/remember").header("set-cookie")[0].split("; ")[1]

    assert age == f"Max-Age={12 * 3600}"
