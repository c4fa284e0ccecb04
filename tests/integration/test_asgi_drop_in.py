"""In the place of Starlette's own SessionMiddleware: its options, and what stands around one or several of ours."""

import json
import logging
import sys
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from starlette.applications import Starlette
from starlette.datastructures import Secret
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount, Route

from memsession.asgi import SessionMiddleware, session_of
from memsession.cookies import Cookie
from memsession.errors import ConfigurationError
from memsession.lifetime import Lifetime
from tests.web import SECRET, STORES, InProcess, Visitor, bare_app

HOUR = 3_600
DAY = 24 * HOUR


def layer(*args, **options):
    return SessionMiddleware(bare_app([]), *args, **({"pool": "memory://"} | options))


async def set_cookie(middleware, *, scheme="https"):
    """The attributes of the cookie that a first write sends, its name first."""
    [cookie] = (await Visitor(middleware, scheme=scheme).get("/set?k=v")).header("set-cookie")
    return [cookie.partition("=")[0], *cookie.split("; ")[1:]]


class TestStarletteOptions:
    """Those that `starlette.middleware.sessions.SessionMiddleware` takes."""

    @pytest.mark.parametrize(
        ("options", "attributes"),
        [
            ({}, ["__Host-session", "Path=/", "Secure", "HttpOnly", "SameSite=Lax"]),
            ({"session_cookie": "sid"}, ["__Host-sid", "Path=/", "Secure", "HttpOnly", "SameSite=Lax"]),
            ({"path": "/app"}, ["__Secure-session", "Path=/app", "Secure", "HttpOnly", "SameSite=Lax"]),
            ({"same_site": "strict"}, ["__Host-session", "Path=/", "Secure", "HttpOnly", "SameSite=Strict"]),
            (
                {"same_site": "none", "https_only": True, "partitioned": True},
                ["__Host-session", "Path=/", "Secure", "HttpOnly", "SameSite=None", "Partitioned"],
            ),
            (
                {"domain": ".shop.example"},
                ["__Secure-session", "Path=/", "Domain=shop.example", "Secure", "HttpOnly", "SameSite=Lax"],
            ),
            (
                {"max_age": 14 * DAY},
                ["__Host-session", "Max-Age=1209600", "Path=/", "Secure", "HttpOnly", "SameSite=Lax"],
            ),
            (
                {"max_age": HOUR},
                ["__Host-session", "Max-Age=43200", "Path=/", "Secure", "HttpOnly", "SameSite=Lax"],
            ),
            ({"max_age": None}, ["__Host-session", "Path=/", "Secure", "HttpOnly", "SameSite=Lax"]),
        ],
        ids=str,
    )
    async def test_they_shape_the_cookie(self, options, attributes):
        """As our own `Cookie` would."""
        assert await set_cookie(layer(SECRET, **options)) == attributes

    @pytest.mark.parametrize(
        ("https_only", "attributes"), [(False, ["session"]), (True, ["__Host-session", "Secure"])]
    )
    async def test_https_only_on_http(self, https_only, attributes):
        """False sends it in the clear, as Starlette's does; True never does."""
        cookie = await set_cookie(layer(SECRET, https_only=https_only), scheme="http")

        assert [part for part in cookie if part not in ("Path=/", "HttpOnly", "SameSite=Lax")] == attributes

    @pytest.mark.parametrize(
        ("options", "lifetime"),
        [
            ({}, Lifetime()),
            ({"max_age": None}, Lifetime()),
            ({"max_age": 60}, Lifetime(idle=timedelta(minutes=1), absolute=timedelta(hours=12))),
            ({"max_age": 30 * DAY}, Lifetime(idle=timedelta(days=30), absolute=timedelta(days=30))),
            ({"max_age": DAY, "lifetime": Lifetime(idle=timedelta(hours=2))}, Lifetime(idle=timedelta(hours=2))),
        ],
        ids=str,
    )
    def test_max_age_limits_the_session(self, options, lifetime):
        """On the server: idle as it says, absolute twelve hours or as it says; a `lifetime` overrules it."""
        assert layer(SECRET, **options)._lifecycle.world.lifetime == lifetime

    async def test_the_cookie_lasts_as_long_as_the_lifetime_that_overrules_max_age(self):
        """For it must not outlive the session by days, nor end before it."""
        lifetime = Lifetime(idle=timedelta(hours=1), absolute=timedelta(hours=5))

        assert "Max-Age=18000" in await set_cookie(layer(SECRET, max_age=DAY, lifetime=lifetime))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"max_age": 30 * DAY + 1}, r"max_age=2592001: use 2 to 2592000 seconds \(30 days"),
            ({"max_age": 0}, "max_age=0: use 2 to"),
            ({"max_age": -1}, "max_age=-1: use 2 to"),
            ({"max_age": True}, "max_age=True: use 2 to"),
            ({"max_age": timedelta(days=1)}, "max_age=datetime.timedelta"),
            ({"https_only": "yes"}, "https_only='yes': use True or False"),
            ({"same_site": "none"}, r"SessionMiddleware\(same_site=.none.\).*add https_only=True"),
            ({"partitioned": True}, r"SessionMiddleware\(partitioned=True\).*add https_only=True"),
            ({"session_cookie": "a b"}, r"SessionMiddleware\(session_cookie='a b'\)"),
            ({"path": "app"}, r"SessionMiddleware\(path='app'\)"),
            ({"domain": "shop.example:80"}, r"SessionMiddleware\(domain='shop.example:80'\)"),
            ({"domain": 7}, r"SessionMiddleware\(domain=7\)"),
            ({"session_cookie": "sid", "path": "/", "cookie": Cookie()}, "session_cookie, path and cookie= both"),
            ({"max_age": DAY, "cookie": Cookie()}, "max_age and cookie= both"),
            ({"scope_key": ""}, "scope_key=''"),
            ({"scope_key": "path"}, "scope_key='path': give a name that ASGI does not use"),
            ({"scope_key": 7}, "scope_key=7"),
        ],
        ids=str,
    )
    def test_what_is_wrong_is_said_at_start(self, options, message):
        """In the words of the option that was given."""
        with pytest.raises(ConfigurationError, match=message):
            layer(SECRET, **options)

    def test_without_starlette(self, monkeypatch):
        """It is not needed: then there is no `Secret` to unwrap."""
        monkeypatch.delitem(sys.modules, "starlette.datastructures")

        assert layer(SECRET, session_cookie="sid").cookie == Cookie(name="sid")

    async def test_the_secret_of_starlettes_config(self):
        """Its `Secret` hides the text from logs; the cookies are the same as with the text itself."""
        store = InProcess(None)
        for wrapped in (Secret(SECRET), [Secret(SECRET), "0ther-" * 6 + "k3y"]):
            visitor = Visitor(SessionMiddleware(bare_app([]), wrapped, pool=store.pool))
            await visitor.get("/set?k=v")
            [value] = visitor.cookies.values()
            found = layer(SECRET)._lifecycle._signer.find(f"__Host-session={value}".encode(), https=True)
            assert found.id is not None


async def _sessions(request: Request) -> JSONResponse:
    """Count in each session that the query names."""
    return JSONResponse({key: session_of(request, key).increment("n") for key in request.query_params})


def stack(store, *keys, routes=None, cookies=None, **options):
    """Starlette with one middleware for each key, its cookie of that name."""
    return Starlette(
        routes=routes or [Route("/", _sessions)],
        middleware=[
            Middleware(
                SessionMiddleware, secret_key=SECRET, pool=store.pool, session_cookie=cookie, scope_key=key, **options
            )
            for key, cookie in zip(keys, cookies or keys, strict=True)
        ],
    )


class TestSeveral:
    """Several of them around one application."""

    @pytest.mark.parametrize("store", STORES)
    async def test_each_has_its_own_session_and_cookie(self, memcached, store):
        """One is used, the other sends nothing; both are used, both are saved."""
        visitor = Visitor(stack(STORES[store](memcached), "session", "admin"))

        answers = [await visitor.get(path) for path in ("/?session", "/?admin", "/?session&admin")]
        assert [answer.json for answer in answers] == [{"session": 1}, {"admin": 1}, {"session": 2, "admin": 2}]
        assert sorted(visitor.cookies) == ["__Host-admin", "__Host-session"]
        assert [len(answer.header("set-cookie")) for answer in answers] == [1, 1, 0]
        assert [answer.header("vary") for answer in answers] == [["Cookie"]] * 3

    async def test_a_cookie_of_one_opens_nothing_at_the_other(self, memcached):
        """The same secret and the same pool: the name is part of what is signed."""
        visitor = Visitor(stack(STORES["memcached"](memcached), "session", "admin"))
        await visitor.get("/?session")
        visitor.cookies["__Host-admin"] = visitor.cookies.pop("__Host-session")

        assert (await visitor.get("/?admin&session")).json == {"admin": 1, "session": 1}

    @pytest.mark.parametrize(
        ("keys", "cookies", "message"),
        [
            (("session", "session"), ("a", "b"), "two SessionMiddlewares with scope_key='session'"),
            (("session", "other"), ("a", "a"), "two SessionMiddlewares with the cookie name 'a'"),
        ],
    )
    def test_they_must_differ(self, keys, cookies, message):
        """Or one of them would be hidden by the other, or take its cookie away."""
        with pytest.raises(ConfigurationError, match=message):
            stack(InProcess(None), *keys, cookies=cookies).build_middleware_stack()

    def test_session_of_names_the_key(self):
        """Where there is none under it."""
        request = Request({"type": "http", "session": {}})

        with pytest.raises(ConfigurationError, match="add it, with scope_key='admin'"):
            session_of(request, "admin")


class TestMounted:
    """Applications within applications."""

    @pytest.mark.parametrize("store", STORES)
    async def test_without_a_middleware_of_its_own(self, memcached, store):
        """It shares the session of the application around it."""
        inner = Starlette(routes=[Route("/", _sessions)])
        routes = [Route("/", _sessions), Mount("/sub", app=inner)]
        visitor = Visitor(stack(STORES[store](memcached), "session", routes=routes))

        assert [(await visitor.get(path)).json["session"] for path in ("/?session", "/sub/?session")] == [1, 2]

    @pytest.mark.parametrize("store", STORES)
    async def test_with_a_middleware_of_its_own(self, memcached, store):
        """Within it `request.session` is its own, with its own cookie; outside it is as before."""
        store = STORES[store](memcached)
        inner = stack(store, "session", cookies=["sub"])
        visitor = Visitor(stack(store, "session", routes=[Route("/", _sessions), Mount("/sub", app=inner)]))

        for count in (1, 2):
            assert (await visitor.get("/?session")).json == {"session": count}
            assert (await visitor.get("/sub/?session")).json == {"session": count}
        assert sorted(visitor.cookies) == ["__Host-session", "__Host-sub"]

    @pytest.mark.parametrize("store", STORES)
    async def test_with_the_same_middleware(self, memcached, store):
        """The same settings twice, as by one function that makes both: one session, loaded and saved once."""
        store = STORES[store](memcached)
        inner = stack(store, "session")
        visitor = Visitor(stack(store, "session", routes=[Route("/", _sessions), Mount("/sub", app=inner)]))

        answers = [await visitor.get(path) for path in ("/sub/?session", "/?session", "/sub/?session")]
        assert [answer.json["session"] for answer in answers] == [1, 2, 3]
        assert [len(answer.header("set-cookie")) for answer in answers] == [1, 0, 0]

    async def test_with_the_same_cookie_and_other_settings(self):
        """Neither would understand the other's cookie: said by the first request."""
        inner = stack(InProcess(None), "session", lifetime=Lifetime(), same_site="strict")
        visitor = Visitor(stack(InProcess(None), "session", routes=[Mount("/sub", app=inner)]))
        answer = await visitor.get("/sub/?session")

        assert isinstance(answer.error, ConfigurationError)
        assert "cookie name 'session' in different ways" in str(answer.error)

    async def test_a_layer_that_asks_twice(self):
        """The same scope again, as a layer that retries does it: each is a visit of its own."""
        store = InProcess(None)
        inner = stack(store, "session")

        async def twice(scope, receive, send):
            async def nowhere(message):
                pass

            await inner(scope, receive, nowhere)
            await inner(scope, receive, send)

        visitor = Visitor(inner)
        await visitor.get("/?session")
        visitor.app = twice

        assert [(await visitor.get("/?session")).json["session"] for _ in range(2)] == [3, 5]


class TestFromOutside:
    """Wrapped around a whole Starlette application instead of added to it."""

    @pytest.mark.parametrize("store", STORES)
    async def test_sessions_and_lifespan(self, memcached, store):
        """Sessions as ever; and start and end of the server pass through."""
        seen = []

        async def lifespan(app):
            seen.append("up")
            yield
            seen.append("down")

        store = STORES[store](memcached)
        app = Starlette(routes=[Route("/", _sessions)], lifespan=asynccontextmanager(lifespan))
        middleware = SessionMiddleware(app, SECRET, pool=store.pool)
        words = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
        visitor, numbers = Visitor(middleware), []

        async def receive():
            if len(words) == 1:
                numbers.extend([(await visitor.get("/?session")).json["session"] for _ in range(3)])
            return words.pop(0)

        async def send(message):
            seen.append(message["type"])

        await middleware({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)

        assert seen == ["up", "lifespan.startup.complete", "down", "lifespan.shutdown.complete"]
        assert numbers == [1, 2, 3]

    @pytest.mark.parametrize(("options", "saves"), [({}, True), ({"on_server_error": "discard"}, False)], ids=str)
    async def test_starlettes_page_for_an_exception_is_a_response(self, options, saves):
        """It passes through, so it saves, unless responses of its status do not."""

        async def boom(request: Request) -> PlainTextResponse:
            request.session["k"] = "v"
            raise ZeroDivisionError

        async def show(request: Request) -> JSONResponse:
            return JSONResponse(dict(request.session))

        app = Starlette(routes=[Route("/", boom), Route("/show", show)])
        visitor = Visitor(SessionMiddleware(app, SECRET, pool="memory://", **options))
        answer = await visitor.get("/")

        assert (answer.status, answer.cookie) == (500, "issued" if saves else "kept")
        assert isinstance(answer.error, ZeroDivisionError)
        assert (await visitor.get("/show")).json == ({"k": "v"} if saves else {})


class TestSkipping:
    """Paths where there is no session."""

    @pytest.mark.parametrize(("path", "has_one"), [("/get", True), ("/static", False), ("/static/site.css", False)])
    async def test_there_is_none_there(self, path, has_one):
        """Nothing is loaded, nothing is put into the scope; a WebSocket is treated alike."""
        store, seen = InProcess(None), []

        async def app(scope, receive, send):
            seen.append("session" in scope)
            if scope["type"] == "http":
                await send({"type": "http.response.start", "status": 200, "headers": []})

        middleware = SessionMiddleware(bare_app([]), SECRET, pool=store.pool, skip=["/static"])
        store.attach(middleware)
        visitor = Visitor(middleware)
        await visitor.get("/set?k=v")
        middleware.app = app
        store.client.commands.clear()
        await visitor.get(path)
        await visitor.get(path, type="websocket")

        assert seen == [has_one] * 2
        assert bool(store.client.commands) == has_one


async def test_nothing_is_logged_of_the_secret(caplog):
    """Nor of an ID, whatever happens."""
    caplog.set_level(logging.DEBUG, "memsession")
    store = InProcess(None)
    visitor = Visitor(SessionMiddleware(bare_app([]), SECRET, pool=store.pool))
    ids = []
    for path in ("/set?k=v", "/login?user=anna", "/logout", "/get"):
        await visitor.get(path)
        ids += [value[:43] for value in visitor.cookies.values()]

    assert len(set(ids)) == 2
    assert len(caplog.records) > 3
    assert not any(secret in caplog.text for secret in (SECRET, *ids))


@pytest.mark.parametrize(("content", "cookie"), [({"b": 2}, "kept"), ({}, "deleted"), ({"user_id": 1}, "issued")])
async def test_a_dict_in_the_place_of_the_session_is_taken_over(content, cookie):
    """As Starlette's own middleware saves whatever lies in the scope: its keys, a logout, a login."""

    async def app(scope, receive, send):
        if scope["path"] == "/replace":
            scope["session"] = dict(content)
        elif scope["path"] == "/begin":
            scope["session"].update(a=1, b=1)
        body = json.dumps(dict(scope["session"])).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    visitor = Visitor(SessionMiddleware(app, SECRET, pool="memory://"))
    await visitor.get("/begin")
    page = await visitor.get("/replace")

    assert page.cookie == cookie
    assert (await visitor.get("/get")).json == content


async def test_a_server_is_told_that_the_start_failed():
    """Starlette makes its middleware at the first call, when raising is not enough: a server may go on."""
    app = Starlette(middleware=[Middleware(SessionMiddleware, secret_key="changeme", pool="memory://")])
    sent = []

    async def receive():
        return {"type": "lifespan.startup"}

    async def send(message):
        sent.append(message)

    with pytest.raises(ConfigurationError, match="secret_key is a placeholder"):
        await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
    assert [message["type"] for message in sent] == ["lifespan.startup.failed"]
    assert "secret_key is a placeholder" in sent[0]["message"]
    assert isinstance((await Visitor(app).get("/")).error, ConfigurationError)
