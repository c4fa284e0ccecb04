"""Cookies as anybody may send them: refused without an error, without a store command, without anybody's data."""

import base64
import json
import pickle

import pytest
from itsdangerous import TimestampSigner

from memsession.asgi import SessionMiddleware
from memsession.cookies import Cookie
from memsession.pool import Pool
from tests.web import SECRET, InProcess, Visitor, bare_app, web_server

NAME = b"__Host-session"
OTHER_SECRET = "0ther-5c9e2846-7d0f1b3a-8ac1f0e2-k3y"


@pytest.fixture
def store():
    return InProcess(None)


@pytest.fixture
def app(store):
    return web_server(store, "bare")


@pytest.fixture
async def visitor(app):
    visitor = Visitor(app)
    await visitor.get("/set?k=secret-of-anna")
    return visitor


@pytest.fixture
def good(visitor):
    """The value of a good cookie."""
    return visitor.cookies[NAME.decode()].encode()


TAMPERED = {
    "empty": lambda good: b"",
    "one character": lambda good: b"x",
    "the id alone": lambda good: good[:43],
    "no id": lambda good: good[43:],
    "no dot": lambda good: good.replace(b".", b""),
    "short signature": lambda good: good[:-1],
    "long signature": lambda good: good + b"A",
    "empty signature": lambda good: good[:44],
    "other signature": lambda good: good[:44] + b"A" * 43,
    "other id": lambda good: b"A" * 43 + good[43:],
    "swapped case": lambda good: good.swapcase(),
    "trailing dot": lambda good: good + b".",
    "trailing equals": lambda good: good + b"=",
    "plus for minus": lambda good: good.replace(b"-", b"+").replace(b"_", b"/") + b"+",
    "percent-encoded": lambda good: b"".join(b"%%%02x" % byte for byte in good),
    "quoted": lambda good: b'"' + good + b'"',
    "4,096 bytes": lambda good: (good * 50)[:4_096],
    "8,192 bytes": lambda good: b"x" * 8_192,
    "65,536 bytes": lambda good: b"x" * 65_536,
    "NUL": lambda good: good[:20] + b"\x00" + good[21:],
    "CR LF": lambda good: good + b"\r\nset-cookie: evil=1",
    "TAB inside": lambda good: good[:20] + b"\t" + good[21:],
    "DEL": lambda good: good[:20] + b"\x7f" + good[21:],
    "high bytes": lambda good: bytes(range(0x80, 0x100)),
    "invalid UTF-8": lambda good: b"\xc3\x28" * 20,
    "emoji": lambda good: "😀".encode() * 22,
    "right-to-left mark": lambda good: "\u200f".encode() + good,
    "foreign digits": lambda good: "٣".encode() * 20,
    "JSON": lambda good: json.dumps({"user_id": 1}).encode(),
    "pickle": lambda good: base64.b64encode(pickle.dumps({"user_id": 1})),
    "a path": lambda good: b"../../../etc/passwd",
    "a command": lambda good: b"x\r\nflush_all\r\n",
    "Starlette's own": lambda good: TimestampSigner(SECRET).sign(base64.b64encode(b'{"user_id": 1}')),
}


@pytest.mark.parametrize("kind", TAMPERED)
async def test_what_we_did_not_sign_is_refused(store, app, good, kind):
    """An empty session, no command, no error; what is written goes to a session of its own."""
    store.client.commands.clear()
    bad = TAMPERED[kind](good)
    answer = await Visitor(app).get("/get", headers=[(b"cookie", NAME + b"=" + bad)])

    assert (answer.error, answer.status, answer.json, answer.cookie) == (None, 200, {}, "kept")
    assert store.client.commands == {}
    answer = await Visitor(app).get("/set?k=1", headers=[(b"cookie", NAME + b"=" + bad)])
    [cookie] = answer.header("set-cookie")
    assert answer.cookie == "issued"
    assert "evil" not in cookie
    assert good.decode() not in cookie


@pytest.mark.parametrize(
    "header",
    [
        b"%s=%s",
        b"  %s=%s",
        b"a=b; %s=%s; c=d",
        b"a=b;%s=%s",
        b";;;=;;; %s=%s;;;",
        b"=; %s=%s; =",
        b"x__Host-session=1; %s=%s; __Host-sessionx=2",
        b"; ".join(b"c%d=%d" % (number, number) for number in range(500)) + b"; %s=%s",
        b"\xff\xfe=\x00; %s=%s",
        b"%s=%s; " + NAME + b"=bad",
        NAME + b"=bad; %s=%s",
        NAME + b"=; %s=%s",
    ],
)
async def test_a_good_cookie_is_found_among_others(app, good, header):
    """Whatever stands around it."""
    answer = await Visitor(app).get("/get", headers=[(b"cookie", header % (NAME, good))])

    assert (answer.error, answer.json) == (None, {"k": "secret-of-anna"})


@pytest.mark.parametrize(
    "headers",
    [
        lambda pair: [(b"cookie", b"a=b"), (b"cookie", pair)],
        lambda pair: [(b"cookie", pair), (b"accept", b"*/*"), (b"cookie", b"a=b")],
        lambda pair: [(b"cookie", pair), (b"cookie", pair)],
    ],
)
async def test_several_cookie_headers(app, good, headers):
    """HTTP/2 allows to split them (RFC 9113, section 8.2.3)."""
    answer = await Visitor(app).get("/get", headers=headers(NAME + b"=" + good))

    assert answer.json == {"k": "secret-of-anna"}


@pytest.mark.parametrize("split", [True, False], ids=["two headers", "one header"])
async def test_two_good_cookies_of_different_sessions_are_refused(store, app, good, split):
    """One was planted; neither is shown, in either order, and a write begins a third session."""
    other = Visitor(app)
    await other.get("/set?k=secret-of-eve")
    store.client.commands.clear()
    pairs = [NAME + b"=" + good, NAME + b"=" + other.cookies[NAME.decode()].encode()]
    for both in (pairs, pairs[::-1]):
        headers = [(b"cookie", pair) for pair in both] if split else [(b"cookie", b"; ".join(both))]
        answer = await Visitor(app).get("/get", headers=headers)

        assert (answer.json, answer.cookie) == ({}, "kept")
    assert store.client.commands == {}
    third = await Visitor(app).get("/set?k=third", headers=[(b"cookie", b"; ".join(pairs))])

    assert third.cookie == "issued"
    assert (await other.get("/get")).json == {"k": "secret-of-eve"}


@pytest.mark.parametrize(
    "headers",
    [
        lambda good: [(b"x-session", good)],
        lambda good: [(b"authorization", b"Bearer " + good)],
        lambda good: [(b"cookie", b"session=" + good)],
        lambda good: [(b"cookie", b"__host-session=" + good)],
        lambda good: [(b"cookie", b"__Secure-session=" + good)],
        lambda good: [(b"cookie", b"__Host-Session=" + good)],
        lambda good: [(b"cookie2", NAME + b"=" + good)],
    ],
    ids=["X-Session", "Authorization", "plain name", "lower-case prefix", "other prefix", "upper case", "Cookie2"],
)
async def test_only_the_cookie_of_the_right_name_counts(store, app, good, headers):
    """Not a header, and no variant that another page could plant."""
    store.client.commands.clear()
    answer = await Visitor(app).get("/get", headers=headers(good))

    assert (answer.json, store.client.commands) == ({}, {})


async def test_the_url_is_no_place_for_an_id(store, app, good):
    """Neither query nor path is looked at."""
    store.client.commands.clear()
    for path in ("/get?__Host-session=", "/get?session=", "/get;jsessionid="):
        answer = await Visitor(app).get(path + good.decode(), headers=[])
        assert answer.json in ({}, "done")

    assert store.client.commands == {}


async def test_an_old_cookie_of_an_ended_session_is_good_for_nothing(app, visitor):
    """Logged out, renewed: replaying the cookie shows an empty session."""
    first = visitor.copy()
    await visitor.get("/regenerate")
    second = visitor.copy()
    await visitor.get("/logout")

    assert [(await old.get("/get")).json for old in (first, second)] == [{}, {}]


async def test_the_storage_key_opens_nothing(store, app, visitor):
    """What memcached lists, and what `session.id` shows, is no ID."""
    [key] = {key for node in store.client.nodes.values() for key in node._items}
    name = key.rpartition(b":")[2]
    for value in (key, name, name + b"." + b"A" * 43):
        answer = await Visitor(app).get("/get", headers=[(b"cookie", NAME + b"=" + value)])
        assert answer.json == {}


class TestSecrets:
    """Another secret, and a change of secret."""

    def app(self, store, secret):
        return web_server(store, "bare", secret_key=secret)

    async def test_another_applications_cookie(self, store, good):
        """Signed with another key: refused."""
        other = InProcess(None)
        visitor = Visitor(self.app(other, OTHER_SECRET))
        await visitor.get("/set?k=1")
        value = visitor.cookies[NAME.decode()].encode()
        answer = await Visitor(web_server(store, "bare")).get("/get", headers=[(b"cookie", NAME + b"=" + value)])

        assert answer.json == {}

    async def test_a_secret_is_changed_without_logging_anybody_out(self, memcached):
        """New secret first, old one behind it; when the old one is taken away, its cookies are void."""
        pool = Pool(memcached().address)

        def app(*secrets):
            return SessionMiddleware(bare_app([]), secret_key=list(secrets), pool=pool)

        visitor = Visitor(app(SECRET))
        await visitor.get("/set?k=v")
        both = app(OTHER_SECRET, SECRET)
        assert (await visitor.get("/get", app=both)).json == {"k": "v"}
        assert (await visitor.copy().get("/get", app=app(OTHER_SECRET))).json == {}
        await visitor.get("/regenerate", app=both)
        assert (await visitor.get("/get", app=app(OTHER_SECRET))).json == {"k": "v"}


async def test_settings_of_the_cookie_reach_the_browser(store):
    """Name, SameSite, domain and path."""
    cookie = Cookie(name="sid", same_site="strict", domain="shop.example", path="/app")
    visitor = Visitor(web_server(store, "bare", cookie=cookie))
    [first] = (await visitor.get("/set?k=v")).header("set-cookie")
    [last] = (await visitor.get("/logout")).header("set-cookie")

    assert first.startswith("__Secure-sid=")
    assert last.startswith("__Secure-sid=; Max-Age=0")
    assert first.split("; ")[1:] == ["Path=/app", "Domain=shop.example", "Secure", "HttpOnly", "SameSite=Strict"]
    assert last.split("; ")[3:] == first.split("; ")[1:]
