"""What every client and node must do alike: model, fake and real memcached, asyncio and blocking, same tests."""

import asyncio
from datetime import timedelta

import pytest

from memsession.aio import AsyncClient
from memsession.blocking import BlockingClient
from memsession.commands import Add, Bury, Cas, Get, Hit, Token
from memsession.memory import BlockingMemoryClient, MemoryClient
from memsession.pool import Pool
from memsession.testing import FakePool
from tests.rounds import InThreads, kinds, rounds

KEY = b"memsession:contract"


class InProcess:
    """The in-process model under test."""

    def __init__(self, _memcached):
        self.client = self.new_client(Pool("memory://?nodes=2"))
        self.names = list(self.client.nodes)

    def new_client(self, pool):
        return MemoryClient(pool)

    def restart(self, name):
        self.client.nodes[name].restart()

    def flush(self, name):
        self.client.nodes[name].flush()

    def close(self):
        """Nothing is open."""


class RealNodes:
    """A client and two memcached processes under test."""

    def __init__(self, memcached):
        nodes = [memcached(), memcached()]
        pool = Pool(*(node.address for node in nodes), timeout=timedelta(seconds=1))
        self.client = self.new_client(pool)
        self.names = [node.name for node in pool.nodes]
        self.nodes = dict(zip(self.names, nodes, strict=True))

    def new_client(self, pool):
        return AsyncClient(pool, observe=lambda event: None)

    def restart(self, name):
        self.nodes[name].restart()

    def flush(self, name):
        self.nodes[name].flush()

    def close(self):
        """Whoever started the processes ends them."""


class FakeNodes(RealNodes):
    """A client and the fake nodes that users have for their own tests."""

    def __init__(self, _memcached):
        self.fake = FakePool(nodes=2, timeout=timedelta(seconds=1))
        self.client = self.new_client(self.fake.pool)
        self.names = list(self.fake.nodes)

    def restart(self, name):
        self.fake.stop(name)
        self.fake.start(name)

    def flush(self, name):
        self.fake.empty(name)

    def close(self):
        self.fake.close()


class InProcessBlocking(InProcess):
    """The same model, asked by threads."""

    def new_client(self, pool):
        return InThreads(BlockingMemoryClient(pool))


class RealNodesBlocking(RealNodes):
    """The same processes, asked by threads."""

    def new_client(self, pool):
        return InThreads(BlockingClient(pool, observe=lambda event: None))


class FakeNodesBlocking(FakeNodes):
    """The same fake nodes, asked by threads."""

    def new_client(self, pool):
        return InThreads(BlockingClient(pool, observe=lambda event: None))


@pytest.fixture(params=[InProcess, RealNodes, FakeNodes, InProcessBlocking, RealNodesBlocking, FakeNodesBlocking])
def world(request, memcached):
    world = request.param(memcached)
    yield world
    world.close()


async def ask(world, *commands):
    """One round; its replies."""
    return await world.client.run(rounds(commands))


async def test_a_value_is_read_with_its_token(world):
    """Nothing there is a miss; what was added is read as it was written."""
    a, b = world.names
    value = b"\x00\r\n VA 3 \xff" * 50

    assert kinds(await ask(world, Get(a, KEY), Get(b, KEY))) == ["Miss", "Miss"]
    assert kinds(await ask(world, Add(a, KEY, value, 60))) == ["Stored"]
    hit, miss = await ask(world, Get(a, KEY), Get(b, KEY))
    assert (hit.value, type(hit), kinds([miss])) == (value, Hit, ["Miss"])
    await world.client.aclose()


async def test_add_stores_where_nothing_is(world):
    """A second add is refused and changes nothing."""
    a, _ = world.names
    replies = await ask(world, Add(a, KEY, b"first", 60), Add(a, KEY, b"second", 60), Get(a, KEY))

    assert kinds(replies) == ["Stored", "Conflict", "Hit"]
    assert replies[2].value == b"first"
    await world.client.aclose()


async def test_cas_stores_over_what_was_read_and_nothing_else(world):
    """A token counts once: the second write with it is refused, also when it writes the same."""
    a, _ = world.names
    await ask(world, Add(a, KEY, b"0", 60))
    [hit] = await ask(world, Get(a, KEY))

    replies = await ask(
        world,
        Cas(a, KEY, b"1", 60, hit.token),
        Cas(a, KEY, b"1", 60, hit.token),
        Cas(a, b"memsession:none", b"1", 60, hit.token),
        Get(a, KEY),
    )

    assert kinds(replies) == ["Stored", "Conflict", "NotFound", "Hit"]
    assert replies[3].value == b"1"
    assert replies[3].token != hit.token
    await world.client.aclose()


async def test_a_token_of_another_connection_never_counts(world):
    """A token with the right number from elsewhere is refused without being sent."""
    a, b = world.names
    await ask(world, Add(a, KEY, b"0", 60), Add(b, KEY, b"0", 60))
    on_a, on_b = await ask(world, Get(a, KEY), Get(b, KEY))
    foreign = [
        on_b.token,
        Token(on_a.token.cas, on_b.token.connection),
        Token(on_a.token.cas, on_a.token.connection + 1_000),
    ]

    replies = await ask(world, *(Cas(a, KEY, b"1", 60, token) for token in foreign), Get(a, KEY))

    assert kinds(replies) == ["Conflict", "Conflict", "Conflict", "Hit"]
    assert replies[-1] == on_a
    await world.client.aclose()


async def test_bury_stores_over_anything(world):
    """A tombstone needs neither token nor absence, and tokens from before it are void."""
    a, _ = world.names
    await ask(world, Add(a, KEY, b"live", 60))
    [hit] = await ask(world, Get(a, KEY))

    replies = await ask(
        world, Bury(a, KEY, b"dead", 60), Cas(a, KEY, b"late", 60, hit.token), Add(a, KEY, b"late", 60), Get(a, KEY)
    )

    assert kinds(replies) == ["Stored", "Conflict", "Conflict", "Hit"]
    assert replies[3].value == b"dead"
    await world.client.aclose()


async def test_replies_come_in_the_order_of_the_commands(world):
    """A round over several nodes is answered in the order in which it was written."""
    a, b = world.names
    order = [a, b, b, a, b, a, a]
    await ask(world, *(Bury(node, b"k%d" % number, b"v%d" % number, 60) for number, node in enumerate(order)))

    replies = await ask(world, *(Get(node, b"k%d" % number) for number, node in enumerate(order)))

    assert [reply.value for reply in replies] == [b"v%d" % number for number in range(len(order))]
    await world.client.aclose()


async def test_a_flushed_node_is_empty_and_its_numbers_go_on(world):
    """`flush_all`: what was there is a miss, and a token from before finds nothing."""
    a, _ = world.names
    await ask(world, Bury(a, KEY, b"v", 60))
    [hit] = await ask(world, Get(a, KEY))
    world.flush(a)

    assert kinds(await ask(world, Get(a, KEY), Cas(a, KEY, b"w", 60, hit.token))) == ["Miss", "NotFound"]
    await world.client.aclose()


async def test_a_token_from_before_a_restart_never_counts(world):
    """After a restart the numbers begin again; a write with an old token of the same number is refused."""
    a, _ = world.names
    for _ in range(10):
        await ask(world, Bury(a, KEY, b"old", 60))
    [old] = await ask(world, Get(a, KEY))
    world.restart(a)
    await asyncio.sleep(0.01)

    for _ in range(20):
        _, new = await ask(world, Bury(a, KEY, b"new", 60), Get(a, KEY, force=True))
        if new.token.cas == old.token.cas:
            break
    replies = await ask(world, Cas(a, KEY, b"lost", 60, old.token), Get(a, KEY))

    assert new.token.cas == old.token.cas, "or else the test shows nothing"
    assert kinds(replies) == ["Conflict", "Hit"]
    assert replies[1] == new
    await world.client.aclose()


async def test_a_value_is_gone_after_its_ttl(world):
    """With a ttl of one second a value is read first and missed soon."""
    a, _ = world.names
    await ask(world, Bury(a, KEY, b"short", 1), Bury(a, b"memsession:long", b"long", 2_592_000))
    for _ in range(400):
        [reply] = await ask(world, Get(a, KEY))
        if kinds([reply]) == ["Miss"]:
            break
        await asyncio.sleep(0.01)

    assert kinds(await ask(world, Get(a, KEY), Get(a, b"memsession:long"))) == ["Miss", "Hit"]
    await world.client.aclose()


@pytest.mark.parametrize("command", [Get("?", b"a b"), Add("?", b"k" * 251, b"", 60), Bury("?", b"k", b"", 0)])
async def test_what_memcached_would_misread_is_an_error_in_the_program(world, command):
    """A bad key or ttl raises, nothing is sent, and the client goes on working."""
    a, _ = world.names
    with pytest.raises(ValueError, match=r"storage key|ttl"):
        await ask(world, Get(a, KEY), command._replace(node=a))

    assert kinds(await ask(world, Get(a, KEY))) == ["Miss"]
    await world.client.aclose()


async def test_a_plan_without_rounds_and_one_that_fails(world):
    """A plan may end before its first round, and what it raises is raised to the caller."""

    def nothing():
        return "at once"
        yield []

    def failing():
        yield [Get(world.names[0], KEY)]
        raise LookupError("from the plan")

    assert await world.client.run(nothing()) == "at once"
    with pytest.raises(LookupError, match="from the plan"):
        await world.client.run(failing())
    await world.client.aclose()


async def test_sixteen_workers_count_exactly_by_cas(world):
    """Parallel read, add one, write by CAS on two nodes: each node has every step, whatever the order."""
    await ask(world, *(Bury(node, KEY, b"0", 60) for node in world.names))

    def add_one(node):
        while True:
            [hit] = yield [Get(node, KEY)]
            value = b"%d" % (int(hit.value) + 1)
            [reply] = yield [Cas(node, KEY, value, 60, hit.token)]
            if kinds([reply]) == ["Stored"]:
                return

    async def worker():
        for _ in range(10):
            await asyncio.gather(*(world.client.run(add_one(node)) for node in world.names))

    await asyncio.gather(*(worker() for _ in range(16)))

    assert [hit.value for hit in await ask(world, *(Get(node, KEY) for node in world.names))] == [b"160", b"160"]
    await world.client.aclose()
