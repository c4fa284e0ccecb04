"""What a request costs, counted on the wire before real memcached nodes; and in rounds, by the client."""

from contextlib import AsyncExitStack

import pytest

from memsession.asgi import SessionMiddleware
from memsession.pool import Pool
from tests.counting import CountingProxy
from tests.web import SECRET, Visitor, bare_app

COPIES = 2


class Wire:
    """An application whose nodes lie behind counting proxies."""

    def __init__(self, proxies, nodes):
        self.proxies = proxies
        self.nodes = nodes
        pool = Pool(*(f"127.0.0.1:{proxy.port}" for proxy in proxies), copies=COPIES)
        self.app = SessionMiddleware(bare_app([]), secret_key=SECRET, pool=pool)
        self.rounds = []
        run = self.app._client.run

        async def counted(plan, *, deadline=None):
            return await run(self._rounds_of(plan), deadline=deadline)

        self.app._client.run = counted

    def _rounds_of(self, plan):
        """The plan itself, its rounds noted on their way."""
        replies = None
        while True:
            try:
                commands = plan.send(replies)
            except StopIteration as finished:
                return finished.value
            self.rounds.append(len(commands))
            replies = yield commands

    async def cost(self, visitor, path):
        """Commands by kind, on all nodes together, and the number of rounds."""
        self.counted()
        await visitor.get(path)
        return self.counted()

    def counted(self):
        total = {}
        for proxy in self.proxies:
            for kind, number in proxy.counted().items():
                total[kind] = total.get(kind, 0) + number
        rounds, self.rounds = self.rounds, []
        return total, len(rounds)

    def writes(self):
        """What the nodes themselves counted: stored items, ever."""
        return sum(int(node.stats()["total_items"]) for node in self.nodes)


@pytest.fixture(params=[2, 3], ids=["2 nodes", "3 nodes"])
async def wire(request, memcached):
    nodes = [memcached() for _ in range(request.param)]
    async with AsyncExitStack() as stack:
        proxies = [await stack.enter_async_context(CountingProxy(node.port)) for node in nodes]
        wire = Wire(proxies, nodes)
        yield wire
        await wire.app._client.aclose()


@pytest.fixture
async def visitor(wire):
    """Somebody who has a session."""
    visitor = Visitor(wire.app)
    await visitor.get("/set?k=v")
    return visitor


@pytest.mark.parametrize("path", ["/noaccess", "/get", "/has", "/regenerate", "/logout", "/clear"])
async def test_no_cookie_costs_nothing(wire, path):
    """Nothing to load, nothing to save: no command, and not even a connection."""
    assert await wire.cost(Visitor(wire.app), path) == ({}, 0)
    assert [int(node.stats()["cmd_meta"]) for node in wire.nodes] == [0] * len(wire.nodes)


@pytest.mark.parametrize("path", ["/noaccess", "/get", "/logout"])
async def test_a_bad_signature_costs_nothing(wire, visitor, path):
    """The signature is looked at before any node is asked."""
    [(name, value)] = visitor.cookies.items()
    visitor.cookies[name] = value[:-1] + ("A" if value[-1] != "A" else "E")

    assert await wire.cost(visitor, path) == ({}, 0)


@pytest.mark.parametrize("path", ["/noaccess", "/get", "/has", "/set?k=v"])
async def test_an_unchanged_session_costs_one_round_of_reads(wire, visitor, path):
    """R reads, and no write; assigning what is there already is no change."""
    before = wire.writes()

    assert await wire.cost(visitor, path) == ({"get": COPIES}, 1)
    assert wire.writes() == before


@pytest.mark.parametrize("path", ["/set?k=w", "/increment", "/plain-increment", "/del?k=1", "/set?a=1&b=2&c=3"])
async def test_a_change_costs_one_round_of_writes_more(wire, visitor, path):
    """R reads and R writes in two rounds, increments included."""
    await visitor.get("/set?other=1")

    assert await wire.cost(visitor, path) == ({"get": COPIES, "cas": COPIES}, 2)


async def test_the_first_save_costs_one_round_of_writes(wire):
    """R writes, and nothing is read."""
    assert await wire.cost(Visitor(wire.app), "/set?k=v") == ({"add": COPIES}, 1)
    assert await wire.cost(Visitor(wire.app), "/increment") == ({"add": COPIES}, 1)


@pytest.mark.parametrize("path", ["/regenerate", "/login?user=anna"])
async def test_a_new_id_costs_three_rounds(wire, visitor, path):
    """Read, stored under the new ID, ended under the old one."""
    assert await wire.cost(visitor, path) == ({"get": COPIES, "add": COPIES, "cas": COPIES}, 3)


async def test_taking_the_last_key_is_a_change_as_any_other(wire, visitor):
    """Only invalidate() and clear() end a session."""
    assert await wire.cost(visitor, "/del?k=1") == ({"get": COPIES, "cas": COPIES}, 2)


@pytest.mark.parametrize("path", ["/logout", "/clear"])
async def test_a_logout_costs_two_rounds(wire, visitor, path):
    """Read, and a tombstone at every home."""
    assert await wire.cost(visitor, path) == ({"get": COPIES, "bury": COPIES}, 2)


async def test_modify_costs_one_round_more_than_a_change(wire, visitor):
    """The orderer first, then the other home."""
    assert await wire.cost(visitor, "/modify") == ({"get": COPIES, "cas": COPIES}, 3)


async def test_after_a_logout_the_old_cookie_costs_one_round_of_reads(wire, visitor):
    """The tombstone is everywhere already."""
    old = visitor.copy()
    await visitor.get("/logout")

    assert await wire.cost(old, "/get") == ({"get": COPIES}, 1)


async def test_a_forgetful_node_costs_one_repair(wire, visitor):
    """Read, put back, read again; then nothing more."""
    for node in wire.nodes:
        if int(node.stats()["curr_items"]) > 1:
            node.flush()
            break
    first = await wire.cost(visitor, "/get")

    assert first == ({"get": COPIES + 1, "add": 1}, 3)
    assert await wire.cost(visitor, "/get") == ({"get": COPIES}, 1)


async def test_a_thousand_anonymous_visits_leave_nothing(wire):
    """Robots and monitors: no item, no command, no cookie."""
    for number in range(1_000):
        answer = await Visitor(wire.app).get(("/noaccess", "/get", "/has", "/clear")[number % 4])
        assert answer.cookie == "kept"

    assert wire.counted() == ({}, 0)
    assert [int(node.stats()["curr_items"]) for node in wire.nodes] == [0] * len(wire.nodes)
