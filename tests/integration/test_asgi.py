"""The middleware before Starlette, FastAPI and bare ASGI, on memcached and in the process: what a visitor gets."""

import logging

import pytest

from memsession.asgi import SessionMiddleware
from memsession.errors import ConfigurationError, SessionTooLarge, UnstorableValue
from memsession.pool import Pool
from tests.web import FLAVOURS, SECRET, STORES, Visitor, http_scope, request, web_server


@pytest.fixture(params=STORES)
def store(request, memcached):
    return STORES[request.param](memcached)


@pytest.fixture(params=FLAVOURS)
def flavour(request):
    return request.param


@pytest.fixture
def app(store, flavour):
    return web_server(store, flavour)


@pytest.fixture
def visitor(app):
    return Visitor(app)


async def test_a_session_lives_from_first_write_to_logout(store, visitor):
    """Nothing, a value, more values, a new ID at login, nothing."""
    assert (await visitor.get("/get")).json == {}
    assert (await visitor.get("/set?k=v")).cookie == "issued"
    assert (await visitor.get("/set?l=w")).cookie == "kept"
    before = visitor.copy()
    assert (await visitor.get("/login?user=anna")).cookie == "issued"
    assert (await visitor.get("/get")).json == {"k": "v", "l": "w", "user_id": "anna"}
    assert (await before.get("/get")).json == {}
    during = visitor.copy()
    assert (await visitor.get("/logout")).cookie == "deleted"
    assert visitor.cookies == {}
    assert (await visitor.get("/get")).json == {}
    assert (await during.get("/get")).json == {}


async def test_visitors_have_sessions_of_their_own(app):
    """Each sees what is theirs."""
    anna, bert = Visitor(app), Visitor(app)
    await anna.get("/set?name=anna")
    await bert.get("/set?name=bert")

    assert [(await anna.get("/get")).json, (await bert.get("/get")).json] == [{"name": "anna"}, {"name": "bert"}]


async def test_increments_of_one_visitor(visitor):
    """First visit 1, then 2, then 3; the cookie is set once."""
    answers = [await visitor.get("/increment") for _ in range(3)]

    assert [answer.json for answer in answers] == [1, 2, 3]
    assert [answer.cookie for answer in answers] == ["issued", "kept", "kept"]


async def test_modify_and_save(visitor):
    """Both from within a handler."""
    await visitor.get("/set?k=v")

    assert [(await visitor.get("/modify")).json for _ in range(3)] == [1, 2, 3]
    assert (await visitor.get("/save?k=w")).json == "done"
    assert (await visitor.get("/get")).json == {"k": "w", "m": 3}


@pytest.mark.parametrize("path", ["/noaccess", "/get", "/has", "/regenerate", "/clear", "/logout", "/set"])
async def test_an_untouched_or_empty_new_session_leaves_no_trace(store, app, path):
    """No cookie, nothing stored, however many visitors come."""
    answers = [await Visitor(app).get(path) for _ in range(20)]

    assert {(answer.status, answer.cookie) for answer in answers} == {(200, "kept")}
    assert store.items() == 0


@pytest.mark.parametrize(
    ("path", "vary"),
    [
        ("/noaccess", False),
        ("/get", True),
        ("/has", True),
        ("/set?k=w", True),
        ("/logout", True),
        ("/regenerate", True),
    ],
)
@pytest.mark.parametrize("known", [True, False], ids=["known", "stranger"])
async def test_vary_follows_access(store, path, vary, known):
    """A response that depends on the session says so to caches, also when there was none; one that does not, not.

    In bare ASGI, where nothing but the session itself can notice it: `in` alone is enough.
    """
    visitor = Visitor(web_server(store, "bare"))
    if known:
        await visitor.get("/set?k=v")
    answer = await visitor.get(path)

    assert answer.header("vary") == (["Cookie"] if vary else [])


async def test_vary_can_be_sent_always(store, flavour):
    """For those who cache more cleverly than they should."""
    answer = await Visitor(web_server(store, flavour, vary="always")).get("/noaccess")

    assert answer.header("vary") == ["Cookie"]
    assert answer.header("cache-control") == []


async def test_a_response_with_a_cookie_is_not_stored(visitor):
    """no-store when the cookie is set or deleted, and only then."""
    answers = [await visitor.get(path) for path in ("/set?k=v", "/get", "/set?k=w", "/regenerate", "/logout")]

    assert [answer.header("cache-control") for answer in answers] == [
        ["no-store"],
        [],
        [],
        ["no-store"],
        ["no-store"],
    ]
    assert [answer.header("vary") for answer in answers] == [["Cookie"]] * 5


async def test_the_cookie_on_https(visitor):
    """__Host-, Secure, HttpOnly, SameSite=Lax, Path=/, and no Domain or age."""
    [cookie] = (await visitor.get("/set?k=v")).header("set-cookie")
    name, _, rest = cookie.partition("=")

    assert name == "__Host-session"
    assert rest.split("; ")[1:] == ["Path=/", "Secure", "HttpOnly", "SameSite=Lax"]
    assert len(cookie) < 200


async def test_the_cookie_on_http(app, caplog):
    """A plain name without Secure; one warning, for the first visitor from elsewhere, and none for loopback."""
    await Visitor(app, scheme="http", host="127.0.0.1:8000").get("/set?k=v")
    quiet = [record for record in caplog.records if "without Secure" in record.getMessage()]
    visitor = Visitor(app, scheme="http")
    answer = await visitor.get("/set?k=v")
    for _ in range(3):
        await Visitor(app, scheme="http").get("/set?k=v")
    loud = [record for record in caplog.records if "without Secure" in record.getMessage()]
    [cookie] = answer.header("set-cookie")

    assert quiet == []
    assert [record.levelno for record in loud] == [logging.WARNING]
    assert cookie.startswith("session=")
    assert cookie.split("; ")[1:] == ["Path=/", "HttpOnly", "SameSite=Lax"]
    assert (await visitor.get("/get")).json == {"k": "v"}


async def test_https_gives_no_warning(app, caplog):
    """Nothing is wrong there."""
    await Visitor(app).get("/set?k=v")

    assert "without Secure" not in caplog.text


@pytest.mark.parametrize("path", ["/fail?status=404&k=v", "/fail?status=403&k=v", "/fail?status=500&k=v"])
async def test_any_response_the_application_makes_saves(visitor, path):
    """Whatever its status."""
    answer = await visitor.get(path)

    assert answer.status == int(path[13:16])
    assert answer.cookie == "issued"
    assert (await visitor.get("/get")).json == {"status": path[13:16], "k": "v"}


@pytest.mark.parametrize(("status", "saves"), [(404, True), (499, True), (500, False), (503, False)])
async def test_server_errors_may_discard(store, flavour, status, saves):
    """For applications that answer their own failures."""
    visitor = Visitor(web_server(store, flavour, on_server_error="discard"))
    answer = await visitor.get(f"/fail?status={status}&k=v")

    assert (answer.status, answer.cookie) == (status, "issued" if saves else "kept")
    assert (await visitor.get("/get")).json == ({"status": str(status), "k": "v"} if saves else {})


@pytest.mark.parametrize("known", [True, False], ids=["known", "stranger"])
async def test_an_unhandled_exception_saves_nothing(store, visitor, known):
    """No cookie, no write; the exception comes out for the server to log."""
    if known:
        await visitor.get("/set?k=v")
    answer = await visitor.get("/boom")

    assert (answer.status, answer.cookie) == (500, "kept")
    assert isinstance(answer.error, ZeroDivisionError)
    assert (await visitor.get("/get")).json == ({"k": "v"} if known else {})


async def test_what_cannot_be_stored_is_an_error_of_the_application(store, visitor):
    """It names the place, and nothing is saved."""
    await visitor.get("/set?k=v")
    answer = await visitor.get("/unstorable")

    assert answer.status == 500
    assert isinstance(answer.error, UnstorableValue)
    assert answer.error.path == "bad[0]"
    assert (await visitor.get("/get")).json == {"k": "v"}


async def test_what_is_too_large_is_an_error_of_the_application(store, flavour):
    """The old content stands."""
    visitor = Visitor(web_server(store, flavour))
    await visitor.get("/set?k=v")
    answer = await visitor.get("/set?k=" + "x" * 70_000)

    assert answer.status == 500
    assert isinstance(answer.error, SessionTooLarge)
    assert (await visitor.get("/get")).json == {"k": "v"}


async def test_nothing_leaves_before_the_commit(store, app):
    """When the head of the response goes out, another request already sees what this one wrote, and not before."""
    visitor = Visitor(app)
    await visitor.get("/set?k=old")
    other, seen = visitor.copy(), []

    async def look(message):
        seen.append((message["type"], (await other.get("/get")).json["k"]))

    cookie = (b"cookie", "; ".join(f"{name}={value}" for name, value in visitor.cookies.items()).encode())
    await request(app, http_scope("/set?k=new", [cookie], "https", "shop.example"), on_message=look)

    assert seen[0] == ("http.response.start", "new")
    assert {value for _, value in seen} == {"new"}


async def test_the_new_id_is_confirmed_before_its_cookie_leaves(store, app):
    """At the moment the head goes out, the new ID works and the old one does not."""
    visitor = Visitor(app)
    await visitor.get("/set?k=v")
    old, seen = visitor.copy(), []

    async def look(message):
        if message["type"] == "http.response.start":
            fresh = visitor.copy()
            for name, value in message["headers"]:
                if name == b"set-cookie":
                    fresh.obey(value.decode())
            seen.append(((await old.get("/get")).json, (await fresh.get("/get")).json))

    cookie = (b"cookie", "; ".join(f"{name}={value}" for name, value in visitor.cookies.items()).encode())
    await request(app, http_scope("/regenerate", [cookie], "https", "shop.example"), on_message=look)

    assert seen == [({}, {"k": "v"})]


async def test_changes_found_by_comparing(visitor):
    """Plain reads and writes of a counter, one visitor after the other: no lost visit."""
    for _ in range(5):
        await visitor.get("/plain-increment")

    assert (await visitor.get("/get")).json == {"n": 5}


class TestSettings:
    """What is wrong is said at start."""

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"secret_key": ""}, "secret_key"),
            ({"secret_key": "x" * 40}, "secret_key"),
            ({"vary": "never"}, "vary='never'"),
            ({"on_outage": "panic"}, "on_outage='panic'"),
            ({"cookie": "session"}, "cookie is a str"),
            ({"pool": "10.0.0.94:99999"}, "99999"),
            ({"pool": 7}, "pool is a int"),
        ],
    )
    def test_wrong_settings_are_named(self, settings, message):
        """With the cure."""
        with pytest.raises(ConfigurationError, match=message):
            SessionMiddleware(lambda *_: None, **({"secret_key": SECRET, "pool": "memory://"} | settings))

    def test_a_misspelt_option_is_refused(self):
        """With the one that was meant, of memsession's or Starlette's."""
        for wrong, meant in (("coockie", "cookie"), ("max_ages", "max_age"), ("scopekey", "scope_key")):
            with pytest.raises(ConfigurationError, match=rf"unknown option {wrong}: did you mean {meant}\?"):
                SessionMiddleware(lambda *_: None, SECRET, **{wrong: None})

    async def test_without_a_pool_it_works_and_warns(self, caplog):
        """For the first five minutes."""
        visitor = Visitor(SessionMiddleware(FLAVOURS["bare"]([]), secret_key=SECRET))
        await visitor.get("/set?k=v")

        assert (await visitor.get("/get")).json == {"k": "v"}
        assert "no pool given" in caplog.text

    async def test_a_pool_may_be_a_url(self, memcached):
        """As it stands in an environment variable."""
        nodes = [memcached(), memcached()]
        url = "memcached://" + ",".join(node.address for node in nodes) + "?copies=2"
        visitor = Visitor(SessionMiddleware(FLAVOURS["bare"]([]), secret_key=SECRET, pool=url))
        await visitor.get("/set?k=v")

        assert (await visitor.get("/get")).json == {"k": "v"}
        assert Pool(url).copies == 2
