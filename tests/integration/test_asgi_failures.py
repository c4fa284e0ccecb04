"""Two web servers and real memcached processes that die, hang, restart and forget, between and within requests."""

import asyncio
from datetime import timedelta

import pytest

from memsession.events import NodeBack, NodeOut, Unanswered
from tests.rounds import PATIENCE_S
from tests.web import STORES, Memcacheds, Visitor, web_server


class House:
    """Two web servers on the same nodes, and what they reported."""

    def __init__(self, store, flavour="starlette", **settings):
        self.store = store
        self.events = []
        self.servers = [
            web_server(store, flavour, observe=self.events.append, **settings)
            for _ in range(2 if store.shared else 1)
        ]
        self.turn = 0

    def visitor(self):
        return Visitor(self.servers[0])

    def next_server(self):
        """Round robin, as a balancer does."""
        self.turn += 1
        return self.servers[self.turn % len(self.servers)]

    async def visit(self, visitor, path="/increment"):
        """One request that has to succeed, however the nodes are."""
        async with asyncio.timeout(PATIENCE_S):
            answer = await visitor.get(path, app=self.next_server())
        assert (answer.status, answer.error) == (200, None)
        return answer

    def told(self, kind, node):
        return [event for event in self.events if isinstance(event, kind) and event.node == node]


BUSY = {"timeout": timedelta(seconds=0.5), "budget": timedelta(seconds=5)}
PATIENT = {"timeout": timedelta(seconds=20), "budget": timedelta(seconds=20)}
"""On a busy machine a healthy node may take its time; where none is made to hang, it gets it."""


@pytest.fixture
def house(memcached):
    return House(Memcacheds(memcached, **BUSY))


class Counter:
    """A visitor who counts along: the page must say the same, each time, and the cookie never changes."""

    def __init__(self, house):
        self.house = house
        self.visitor = house.visitor()
        self.count = 0

    async def visits(self, number):
        for _ in range(number):
            answer = await self.house.visit(self.visitor)
            self.count += 1
            assert answer.json == self.count
            assert answer.cookie == ("issued" if self.count == 1 else "kept")

    async def visits_until(self, condition):
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                await self.visits(1)
                await asyncio.sleep(0.01)


async def test_two_web_servers_see_each_others_sessions(house):
    """Whichever of them answers."""
    counter = Counter(house)
    await counter.visits(10)


@pytest.mark.parametrize("how", ["kill", "terminate"])
async def test_the_articles_sequence(house, how):
    """One node ends, comes back empty, the other one ends, comes back; the counter rises by 1 on every visit."""
    counter = Counter(house)
    first, second = house.store.nodes.values()
    await counter.visits(20)
    for node, other in ((first, second), (second, first)):
        name = next(name for name, held in house.store.nodes.items() if held is node)
        getattr(node, how)()
        await counter.visits(20)
        node.start()
        house.events.clear()
        await counter.visits_until(lambda name=name: len(house.told(NodeBack, name)) == 2)
        await counter.visits(1)
        assert int(node.stats()["curr_items"]) == 2
        getattr(other, how)()
        await counter.visits(20)
        other.start()
        other_name = next(held for held in house.store.nodes if held != name)
        house.events.clear()
        await counter.visits_until(lambda name=other_name: len(house.told(NodeBack, name)) == 2)
        await counter.visits(2)


async def test_a_node_that_restarts_between_two_requests_is_filled_again(house):
    """One visit restores its copy; then it alone is enough."""
    counter = Counter(house)
    first, second = house.store.nodes.values()
    await counter.visits(3)
    first.restart()
    await counter.visits_until(lambda: int(first.stats()["curr_items"]) == 2)
    second.kill()
    await counter.visits(3)


async def test_a_flushed_node_is_filled_again(house):
    """Its connections stay, its memory is gone."""
    counter = Counter(house)
    first, second = house.store.nodes.values()
    await counter.visits(3)
    first.flush()
    await counter.visits(1)
    second.kill()
    await counter.visits(3)


async def test_a_hung_node(house):
    """SIGSTOP: every visit is answered and counted; SIGCONT: it comes back with old data, and late writes.

    Then the other node dies, so that only what the hung one was told since counts.
    """
    counter = Counter(house)
    hung, other = house.store.names
    await counter.visits(3)
    house.store.nodes[hung].stop()
    await counter.visits(20)
    assert house.told(NodeOut, hung)
    house.store.nodes[hung].cont()
    house.events.clear()
    await counter.visits_until(lambda: len(house.told(NodeBack, hung)) == 2)
    await counter.visits(2)
    house.store.nodes[other].kill()
    await counter.visits(5)


async def test_a_hung_node_delays_nobody_twice(house):
    """Once it is known to be out, a visit waits for none of it: no command is sent there at all."""
    counter = Counter(house)
    hung = house.store.names[0]
    await counter.visits(2)
    house.store.nodes[hung].stop()
    await counter.visits(2)
    outs = len(house.told(NodeOut, hung))
    await counter.visits(50)

    assert outs == len(house.told(NodeOut, hung)) == 2
    house.store.nodes[hung].cont()


async def test_a_node_that_hangs_within_a_request(house):
    """Loaded from both, saved on one; the visit is counted."""
    counter = Counter(house)
    await counter.visits(2)
    held = asyncio.Event(), asyncio.Event()
    visiting = asyncio.ensure_future(
        counter.visitor.get("/hold?k=v", reached=held[0], go=held[1], app=house.servers[0])
    )
    await held[0].wait()
    hung = house.store.nodes[house.store.names[0]]
    hung.stop()
    held[1].set()
    answer = await visiting
    hung.cont()

    assert answer.status == 200
    assert (await house.visit(counter.visitor, "/get")).json == {"n": 2, "k": "v"}
    house.store.stop(house.store.names[0])
    assert (await house.visit(counter.visitor, "/get")).json == {"n": 2, "k": "v"}


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("count", [2, 3])
async def test_new_sessions_while_a_node_is_down(memcached, first, count):
    """A third of the users could not log in, in the article: here all do, and their sessions lie on live nodes."""
    house = House(Memcacheds(memcached, count, **PATIENT))
    down = house.store.names[first]
    house.store.stop(down)
    visitors = [house.visitor() for _ in range(30)]
    answers = await asyncio.gather(*(house.visit(visitor, "/login?user=anna") for visitor in visitors))
    again = await asyncio.gather(*(house.visit(visitor, "/get") for visitor in visitors))

    assert {answer.cookie for answer in answers} == {"issued"}
    assert [answer.json for answer in again] == [{"user_id": "anna"}] * 30
    if count == 3:
        live = [int(node.stats()["curr_items"]) for name, node in house.store.nodes.items() if name != down]
        assert min(live) >= 25


class TestNoNode:
    """All nodes are down."""

    @pytest.fixture(params=STORES)
    def house(self, request, memcached):
        return House(STORES[request.param](memcached), "bare")

    async def test_by_default_the_log_is_told(self, request, house, caplog):
        """Which node is out, and what that means for which session; and nothing else goes wrong on the way."""
        visitor = Visitor(web_server(house.store, "bare"))
        await visitor.get("/set?k=v")
        house.store.stop()
        await visitor.get("/get")
        lines = [record.getMessage() for record in caplog.records]

        assert [line for line in lines if line.startswith(f"memcached node {house.store.names[0]} is out")]
        assert [line for line in lines if line.startswith("no node of session ")]
        assert [line for line in lines if "failed" in line] == []

    async def test_an_observer_that_raises_takes_no_request_with_it(self, house):
        """Whatever it is told, of sessions or nodes."""

        def observe(event):
            raise ZeroDivisionError

        visitor = Visitor(web_server(house.store, "bare", observe=observe))
        await visitor.get("/set?k=v")
        house.store.stop()
        answer = await visitor.get("/get")

        assert (answer.status, answer.error) == (503, None)

    async def test_at_load_it_is_a_503(self, house):
        """The application is not even called; the cookie is kept; it is not to be cached, and to be tried again."""
        visitor = house.visitor()
        await visitor.get("/set?k=v")
        house.store.stop()
        answer = await visitor.get("/get")

        assert (answer.status, answer.cookie, answer.error) == (503, "kept", None)
        assert answer.header("cache-control") == ["no-store"]
        assert answer.header("retry-after") == ["1"]
        assert b"try again" in answer.body
        assert [event for event in house.events if isinstance(event, Unanswered)]

    @pytest.mark.parametrize("path", ["/noaccess", "/get", "/has"])
    async def test_who_has_no_cookie_does_not_notice(self, house, path):
        """Nothing to load, nothing to save."""
        house.store.stop()

        assert (await house.visitor().get(path)).status == 200

    async def test_a_first_write_is_a_503(self, house):
        """No cookie for what is not stored."""
        house.store.stop()
        visitor = house.visitor()
        answer = await visitor.get("/set?k=v")

        assert (answer.status, answer.cookie, visitor.cookies) == (503, "kept", {})

    @pytest.mark.parametrize("path", ["/hold?k=w", "/hold?user_id=1"])
    async def test_at_commit_it_is_a_503(self, house, path):
        """The application's own answer, its head and its body, does not get out."""
        visitor = house.visitor()
        await visitor.get("/set?k=v")
        reached, go = asyncio.Event(), asyncio.Event()
        visiting = asyncio.ensure_future(visitor.get(path, reached=reached, go=go))
        await reached.wait()
        house.store.stop()
        go.set()
        answer = await visiting

        assert (answer.status, answer.cookie, answer.error) == (503, "kept", None)
        assert b"done" not in answer.body
        assert answer.body.count(b"\n") == 1

    @pytest.mark.parametrize("path", ["/save?k=w", "/modify"])
    async def test_at_save_and_modify_it_is_a_503(self, house, path):
        """Unless the application catches it."""
        visitor = house.visitor()
        await visitor.get("/set?k=v")
        stopping = self.stopping(house)
        answer = await visitor.get(path, app=stopping)

        assert (answer.status, answer.cookie, answer.error) == (503, "kept", None)

    @staticmethod
    def stopping(house):
        """The same web server, with the nodes stopped when the application is reached."""
        middleware = house.servers[0]
        inner = middleware.app

        async def app(scope, receive, send):
            house.store.stop()
            await inner(scope, receive, send)

        middleware.app = app
        return middleware

    async def test_on_outage_empty(self, house):
        """The page comes with an empty session; the cookie is kept; a logout is a 503 all the same."""
        lenient = House(house.store, "bare", on_outage="empty")
        visitor = lenient.visitor()
        await visitor.get("/set?k=v")
        house.store.stop()
        answers = [await visitor.get(path) for path in ("/get", "/set?k=w", "/noaccess", "/logout", "/login?user=1")]

        assert [answer.status for answer in answers] == [200, 200, 200, 503, 503]
        assert {answer.cookie for answer in answers} == {"kept"}
        assert answers[0].json == {}


class TestRaces:
    """Requests of one visitor at the same time, on both web servers."""

    @pytest.fixture
    def house(self, memcached):
        return House(Memcacheds(memcached, **PATIENT))

    @pytest.mark.parametrize("flavour", ["bare", "starlette"])
    async def test_five_hundred_increments(self, memcached, flavour):
        """50 at once, ten times: 500 more, exactly."""
        house = House(Memcacheds(memcached, **PATIENT), flavour)
        visitor = house.visitor()
        await house.visit(visitor)
        for _ in range(10):
            answers = await asyncio.gather(*(house.visit(visitor) for _ in range(50)))
            assert {answer.cookie for answer in answers} == {"kept"}

        assert (await house.visit(visitor, "/get")).json == {"n": 501}

    async def test_increments_while_a_node_dies_and_returns(self, house):
        """Every answered visit counts once, whatever the nodes do meanwhile; the rest at most once."""
        visitor = house.visitor()
        await house.visit(visitor)
        node = house.store.nodes[house.store.names[0]]
        answered = 1
        for number in range(6):
            visits = [asyncio.ensure_future(house.visit(visitor)) for _ in range(20)]
            await asyncio.sleep(0)
            node.kill() if number % 2 == 0 else node.start()
            answered += len(await asyncio.gather(*visits))

        assert (await house.visit(visitor, "/get")).json == {"n": answered} == {"n": 121}

    async def test_slow_requests_of_one_visitor_do_not_wait_for_each_other(self, house):
        """Ten are in their handlers at once, on both servers; nothing is lost when they end."""
        visitor = house.visitor()
        await house.visit(visitor, "/set?first=1")
        go, slow = asyncio.Event(), []
        for number in range(10):
            reached = asyncio.Event()
            app = house.servers[number % len(house.servers)]
            going = visitor.copy().get(f"/hold?k{number}=v", app=app, reached=reached, go=go)
            slow.append(asyncio.ensure_future(going))
            await asyncio.wait_for(reached.wait(), 10)
        go.set()

        assert {answer.status for answer in await asyncio.gather(*slow)} == {200}
        assert len((await house.visit(visitor, "/get")).json) == 11

    async def test_parallel_writers_of_different_keys(self, house):
        """All are kept."""
        visitor = house.visitor()
        await house.visit(visitor, "/set?first=1")
        await asyncio.gather(*(house.visit(visitor, f"/set?k{number}=v") for number in range(40)))

        assert len((await house.visit(visitor, "/get")).json) == 41

    async def test_parallel_modifications(self, house):
        """One orderer: exact."""
        visitor = house.visitor()
        await house.visit(visitor, "/set?first=1")
        answers = await asyncio.gather(*(house.visit(visitor, "/modify") for _ in range(40)))

        assert sorted(answer.json for answer in answers) == list(range(1, 41))

    @pytest.mark.parametrize("end", ["/logout", "/clear", "/login?user=anna", "/regenerate"])
    @pytest.mark.parametrize("slow", ["/hold?k=w", "/hold?user_id=2", "/hold"])
    async def test_a_slow_request_brings_nothing_back(self, house, end, slow):
        """It loaded before the end and commits after it, elsewhere: no cookie, and the old ID stays dead.

        A login is the exception, unless the end was a logout: its answer may be the only one that is seen.
        """
        visitor = house.visitor()
        await house.visit(visitor, "/set?k=v")
        old, third = visitor.copy(), visitor.copy()
        reached, go = asyncio.Event(), asyncio.Event()
        visiting = asyncio.ensure_future(old.get(slow, app=house.servers[1], reached=reached, go=go))
        await reached.wait()
        await visitor.get(end, app=house.servers[0])
        go.set()
        answer = await visiting

        is_second_login = "user_id" in slow and end not in ("/logout", "/clear")
        assert (answer.status, answer.cookie) == (200, "issued" if is_second_login else "kept")
        if is_second_login:
            assert (await old.get("/get")).json == {"k": "v", "user_id": "2"}
        for app in house.servers:
            assert (await third.get("/get", app=app)).json == {}
        expected = {} if end in ("/logout", "/clear") else {"k": "v"}
        if end.startswith("/login"):
            expected["user_id"] = "anna"
        assert (await house.visit(visitor, "/get")).json == expected

    async def test_many_logouts_against_many_writers(self, house):
        """Once one logout is answered, no later request finds the session, though writers are under way."""
        for _ in range(10):
            visitor = house.visitor()
            await house.visit(visitor, "/set?k=v")
            old = visitor.copy()
            writers = [asyncio.ensure_future(house.visit(old.copy())) for _ in range(10)]
            await house.visit(visitor, "/logout")
            after = [(await old.copy().get("/get", app=app)).json for app in house.servers]
            await asyncio.gather(*writers)
            after += [(await old.copy().get("/get", app=app)).json for app in house.servers]

            assert after == [{}] * 4


@pytest.mark.parametrize("how", ["kill", "stop"])
async def test_a_web_server_starts_without_its_nodes(house, how):
    """Dead or hung: start-up goes through, pages without a session are served, and shutdown goes through."""
    for node in house.store.nodes.values():
        getattr(node, how)()
    words = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    statuses, told = [], []

    async def receive():
        word = next(words)
        if word["type"] == "lifespan.shutdown":
            statuses.append((await house.visitor().get("/noaccess")).status)
        return word

    async def send(message):
        told.append(message["type"])

    async with asyncio.timeout(PATIENCE_S):
        await house.servers[0]({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)

    assert (told, statuses) == (["lifespan.startup.complete", "lifespan.shutdown.complete"], [200])


async def test_the_session_is_there_when_the_nodes_are(house):
    """Nodes that hang, all of them: an outage, nothing is lost, and the cookie is still good when they go on."""
    visitor = house.visitor()
    await house.visit(visitor, "/set?k=v")
    for node in house.store.nodes.values():
        node.stop()
    outage = await visitor.get("/get")
    for node in house.store.nodes.values():
        node.cont()
    answers = []
    async with asyncio.timeout(PATIENCE_S):
        while not answers or answers[-1].status == 503:
            answers.append(await visitor.get("/get"))

    assert outage.status == 503
    assert answers[-1].json == {"k": "v"}


async def test_the_budget_bounds_what_a_request_waits(memcached):
    """All nodes hang in the middle: the answer is a 503 while they still hang, and not only when they go on."""
    house = House(Memcacheds(memcached))
    visitor = house.visitor()
    await house.visit(visitor, "/set?k=v")
    for node in house.store.nodes.values():
        node.stop()
    async with asyncio.timeout(PATIENCE_S):
        answers = await asyncio.gather(*(visitor.copy().get("/increment", app=app) for app in house.servers))
    for node in house.store.nodes.values():
        node.cont()

    assert [answer.status for answer in answers] == [503, 503]
