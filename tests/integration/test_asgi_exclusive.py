"""Exclusive mode: requests of one session take turns, on real memcached, from two web servers."""

import asyncio
from datetime import timedelta

import pytest

from memsession.asgi import SessionMiddleware
from memsession.errors import ConfigurationError, LockLost
from memsession.events import ChangesDropped, LockBusy, LockExpired
from memsession.exclusive import Exclusive
from tests.rounds import PATIENCE_S, until
from tests.web import SECRET, STORES, Memcacheds, Visitor, bare_app, web_server

PATIENT = timedelta(seconds=20)
SOON = timedelta(milliseconds=50)
REQUESTS = 20


class House:
    """Two web servers on two nodes, and a visitor who has a session with n = 0."""

    def __init__(self, store, flavour="bare", **options):
        self.store, self.events, self.middlewares = store, [], []
        attach = store.attach
        store.attach = lambda middleware: (self.middlewares.append(middleware), attach(middleware))
        self.servers = [
            web_server(store, flavour, observe=self.events.append, **options) for _ in range(2 if store.shared else 1)
        ]

    def server(self, number):
        return self.servers[number % len(self.servers)]

    async def member(self):
        visitor = Visitor(self.server(0))
        await visitor.get("/increment?by=0")
        self.events.clear()
        return visitor

    def told(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


class Holder:
    """A request that holds the lock, in its handler, until it is let go."""

    def __init__(self, visitor, server, path="/hold?k=held"):
        self.reached, self.go = asyncio.Event(), asyncio.Event()
        self.task = asyncio.ensure_future(visitor.copy().get(path, app=server, reached=self.reached, go=self.go))

    async def __aenter__(self):
        await self.reached.wait()
        return self

    async def __aexit__(self, *_):
        self.go.set()
        await asyncio.wait({self.task})


@pytest.fixture
def nodes(memcached):
    return Memcacheds(memcached, timeout=PATIENT, budget=PATIENT)


async def count_in_parallel(house, visitor, number=REQUESTS):
    answers = await asyncio.gather(
        *(visitor.copy().get("/plain-increment", app=house.server(turn)) for turn in range(number))
    )
    assert {(answer.status, answer.error) for answer in answers} == {(200, None)}
    return (await visitor.get("/get")).json["n"]


@pytest.mark.parametrize("flavour", ["bare", "starlette", "fastapi"])
async def test_parallel_read_and_write_adds_up(nodes, flavour):
    """`session["n"] = session["n"] + 1`, 20 times at once, from two web servers: exactly 20."""
    house = House(nodes, flavour, exclusive=Exclusive(wait=timedelta(seconds=PATIENCE_S)))
    visitor = await house.member()

    assert await count_in_parallel(house, visitor) == REQUESTS
    assert house.told(LockBusy) == []


async def test_without_it_some_are_lost(nodes):
    """What the mode is for: the same requests, merged."""
    house = House(nodes)

    assert await count_in_parallel(house, await house.member()) < REQUESTS


@pytest.mark.parametrize("store", STORES)
async def test_increments_need_no_lock(memcached, store):
    """They add up in any mode, and the two do not disturb each other."""
    house = House(STORES[store](memcached), exclusive=Exclusive())
    visitor = await house.member()
    await asyncio.gather(*(visitor.copy().get("/increment", app=house.server(turn)) for turn in range(5)))

    assert (await visitor.get("/get")).json["n"] == 5


class TestTimeOut:
    """What becomes of a request that waited in vain."""

    @pytest.mark.parametrize("store", STORES)
    async def test_error_answers_503(self, memcached, store):
        """Nothing read, nothing written, the cookie kept; and the session is as before when the lock is free."""
        house = House(STORES[store](memcached), exclusive=Exclusive(wait=SOON))
        visitor = await house.member()
        async with Holder(visitor, house.server(0)):
            answer = await visitor.get("/plain-increment", app=house.server(1))
            assert (answer.status, answer.cookie, answer.error) == (503, "kept", None)
            assert answer.header("retry-after") == ["1"]
        assert (await visitor.get("/get")).json == {"n": 0, "k": "held"}
        assert [event.outcome for event in house.told(LockBusy)] == ["error"]

    @pytest.mark.parametrize("store", STORES)
    async def test_read_only_shows_and_drops(self, memcached, store):
        """The page comes, its change does not stay; that is told."""
        house = House(STORES[store](memcached), exclusive=Exclusive(wait=SOON, on_timeout="read_only"))
        visitor = await house.member()
        async with Holder(visitor, house.server(0)):
            assert (await visitor.get("/get", app=house.server(1))).json == {"n": 0}
            assert house.told(ChangesDropped) == []
            assert (await visitor.get("/plain-increment", app=house.server(1))).status == 200
            assert len(house.told(ChangesDropped)) == 1
        assert (await visitor.get("/get")).json == {"n": 0, "k": "held"}

    @pytest.mark.parametrize("store", STORES)
    async def test_merge_goes_on(self, memcached, store):
        """As if there were no lock: both changes are kept."""
        house = House(STORES[store](memcached), exclusive=Exclusive(wait=SOON, on_timeout="merge"))
        visitor = await house.member()
        async with Holder(visitor, house.server(0)):
            assert (await visitor.get("/plain-increment", app=house.server(1))).status == 200
        assert (await visitor.get("/get")).json == {"n": 1, "k": "held"}
        assert [event.outcome for event in house.told(LockBusy)] == ["merge"]


class TestHolders:
    """Who holds the lock gives it back, whatever happens; or it expires."""

    @pytest.mark.parametrize(
        "path", ["/boom", "/unstorable", "/fail?status=500", "/logout", "/login?user=anna", "/get"]
    )
    @pytest.mark.parametrize("store", STORES)
    async def test_the_next_request_need_not_wait(self, memcached, store, path):
        """Neither after an exception of the handler nor after one of the commit."""
        house = House(STORES[store](memcached), exclusive=Exclusive(wait=timedelta()))
        visitor = await house.member()
        await visitor.get(path)

        assert (await visitor.get("/plain-increment", app=house.server(1))).status == 200
        assert house.told(LockBusy) == []

    async def test_a_stream_holds_it_only_until_its_head_has_left(self, nodes):
        """Otherwise a long answer would keep all other pages of its visitor waiting."""
        head, end = asyncio.Event(), asyncio.Event()

        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"one", "more_body": True})
            if scope["path"] == "/stream":
                head.set()
                await end.wait()
                scope["session"].increment("n")
                await scope["session"].save()
            await send({"type": "http.response.body", "body": b"two"})

        visitor = await House(nodes).member()
        middleware = SessionMiddleware(app, SECRET, pool=nodes.pool, exclusive=Exclusive(wait=timedelta()))
        streaming = asyncio.ensure_future(visitor.copy().get("/stream", app=middleware))
        await head.wait()
        assert (await visitor.get("/", app=middleware)).status == 200
        end.set()
        answer = await streaming

        assert (answer.status, answer.body, answer.error) == (200, b"onetwo", None)

    async def test_a_dead_web_server_keeps_others_waiting_until_it_expires(self, nodes):
        """Killed with the lock in its hands: nobody gives it back."""
        exclusive = Exclusive(expire=timedelta(seconds=1), wait=timedelta(seconds=PATIENCE_S))
        house = House(nodes, exclusive=exclusive)
        visitor = await house.member()
        dead, alive = house.middlewares
        [(name, value)] = visitor.cookies.items()
        visit = dead._lifecycle.arrive([f"{name}={value}".encode()], https=True)
        assert await dead._client.run(dead._lifecycle.claim(visit)) is None
        claims = []
        run = alive._client.run

        async def counted(plan, *, deadline=None):
            claims.append(plan)
            return await run(plan, deadline=deadline)

        alive._client.run = counted
        answer = await visitor.get("/plain-increment", app=house.servers[1])

        assert (answer.status, answer.error) == (200, None)
        assert len(claims) > 5

    async def test_who_held_it_too_long_saves_nothing(self, nodes):
        """The lock went on to another request: 503, and the other's change stands."""
        house = House(nodes, exclusive=Exclusive(expire=timedelta(seconds=1), wait=timedelta(seconds=PATIENCE_S)))
        visitor = await house.member()
        async with Holder(visitor, house.server(0), "/hold?n=99") as slow:
            assert (await visitor.get("/plain-increment", app=house.server(1))).status == 200
            slow.go.set()
            answer = await slow.task
        assert (answer.status, answer.cookie, answer.error) == (503, "kept", None)
        assert (await visitor.get("/get")).json == {"n": 1}
        assert len(house.told(LockExpired)) == 1

    async def test_save_of_who_held_it_too_long(self, nodes):
        """Raises in the handler, which may answer as it likes."""
        raised = []

        async def app(scope, receive, send):
            if scope["path"] == "/slow":
                reached.set()
                await go.wait()
                scope["session"]["n"] = 99
                try:
                    await scope["session"].save()
                except LockLost as error:
                    raised.append(error)
                    del scope["session"]["n"]
                    raise
            await bare_app([])(scope, receive, send)

        reached, go = asyncio.Event(), asyncio.Event()
        visitor = await House(nodes).member()
        exclusive = Exclusive(expire=timedelta(seconds=1), wait=timedelta(seconds=PATIENCE_S))
        middleware = SessionMiddleware(app, SECRET, pool=nodes.pool, exclusive=exclusive)
        slow = asyncio.ensure_future(visitor.copy().get("/slow", app=middleware))
        await reached.wait()
        assert (await visitor.get("/plain-increment", app=middleware)).status == 200
        go.set()

        assert (await slow).status == 503
        assert len(raised) == 1


class TestHangingUp:
    """The visitor hangs up."""

    @pytest.mark.parametrize("store", STORES)
    async def test_while_the_handler_runs(self, memcached, store):
        """The lock is given back."""
        house = House(STORES[store](memcached), exclusive=Exclusive(wait=timedelta(seconds=PATIENCE_S)))
        visitor = await house.member()
        holder = Holder(visitor, house.server(0))
        await holder.reached.wait()
        holder.task.cancel()
        await asyncio.wait({holder.task})

        async with asyncio.timeout(PATIENCE_S / 3):  # the lock would expire later
            assert (await visitor.get("/plain-increment", app=house.server(1))).status == 200
        assert (await visitor.get("/get")).json == {"n": 1}

    async def test_while_it_waits_for_its_turn(self, nodes):
        """It leaves the queue, and the holder is not disturbed."""
        house = House(nodes, exclusive=Exclusive(wait=timedelta(seconds=PATIENCE_S)))
        visitor = await house.member()
        async with Holder(visitor, house.server(0)):
            waiting = asyncio.ensure_future(visitor.copy().get("/plain-increment", app=house.server(1)))
            await asyncio.sleep(0.05)
            waiting.cancel()
            await asyncio.wait({waiting})
        assert waiting.cancelled()
        assert (await visitor.get("/get")).json == {"n": 0, "k": "held"}

    async def test_at_every_moment(self, nodes):
        """Cancelled after 0, 1, 2, ... turns of the loop: the next request never waits for the lock to expire."""
        house = House(nodes, exclusive=Exclusive(expire=timedelta(hours=1), wait=timedelta(seconds=PATIENCE_S)))
        visitor = await house.member()
        before, outcomes = 0, set()
        async with asyncio.timeout(3 * PATIENCE_S):
            moment = -1
            while "answered" not in outcomes:
                moment += 1
                visiting = asyncio.ensure_future(visitor.copy().get("/plain-increment"))
                for _ in range(moment):
                    await asyncio.sleep(0)
                visiting.cancel()
                [outcome] = await asyncio.gather(visiting, return_exceptions=True)
                answer = await visitor.get("/get", app=house.server(1))
                assert answer.status == 200
                outcomes.add("cancelled" if isinstance(outcome, asyncio.CancelledError) else "answered")
                outcomes.add(counted := answer.json["n"] - before)
                assert counted in (0, 1)
                before = answer.json["n"]
        await until(lambda: not house.middlewares[0]._client._finishing)

        assert outcomes == {"cancelled", "answered", 0, 1}
        assert house.told(LockBusy) == []


class TestScope:
    """Where it applies."""

    @pytest.mark.parametrize(
        ("settings", "path", "method", "waits"),
        [
            ({}, "/get", "GET", True),
            ({"methods": ["POST"]}, "/get", "GET", False),
            ({"methods": ["post"]}, "/get", "POST", True),
            ({"paths": ["/cart"]}, "/get", "GET", False),
            ({"paths": ["/get"]}, "/get", "GET", True),
            ({"paths": ["/get"]}, "/getaway", "GET", False),
        ],
    )
    async def test_paths_and_methods(self, nodes, settings, path, method, waits):
        """Elsewhere requests of the same session go on while the lock is held."""
        house = House(nodes)
        visitor = await house.member()
        everywhere = web_server(nodes, "bare", exclusive=Exclusive())
        here = web_server(nodes, "bare", exclusive=Exclusive(wait=timedelta(), **settings))
        async with Holder(visitor, everywhere):
            answer = await visitor.get(path, app=here, method=method)
        assert answer.status == (503 if waits else 200)

    async def test_other_sessions_and_strangers_do_not_wait(self, nodes):
        """It is one lock for each session."""
        house = House(nodes, exclusive=Exclusive(wait=timedelta()))
        visitor, other = await house.member(), await house.member()
        async with Holder(visitor, house.server(0)):
            assert (await other.get("/plain-increment")).status == 200
            assert (await Visitor(house.server(1)).get("/plain-increment")).status == 200

    def test_it_is_checked_at_start(self):
        """What it is not."""
        with pytest.raises(ConfigurationError, match="exclusive is a bool"):
            SessionMiddleware(bare_app([]), SECRET, pool="memory://", exclusive=True)
