"""Requests are cancelled at any moment, while others use the same connections: nobody gets another's value."""

import asyncio
import os
from collections import Counter
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest

from memsession.aio import AsyncClient
from memsession.commands import Bury, Cas, Get
from memsession.errors import PoolUnavailable
from memsession.pool import Pool
from tests.proxy import SlowProxy
from tests.replies import KEY, line, value
from tests.rounds import PATIENCE_S, bury, kinds, rounds, until, visit
from tests.scripted import ScriptedNode, silent

MOMENTS = 520
TURNS = 65
PIECE = 24
USERS = 5


async def turns(number):
    for _ in range(number):
        await asyncio.sleep(0)


def open_files():
    return len(os.listdir("/dev/fd"))


class User:
    """Visits without end, and checks that every visit finds exactly what the one before it stored."""

    def __init__(self, client, names, number):
        self.client, self.names, self.number = client, names, number
        self.key = b"memsession:user-%d" % number
        self.visits = 0

    def marker(self):
        return b"of user %d, visit %d " % (self.number, self.visits) + b"." * (17 * self.number)

    async def begin(self):
        await self.client.run(bury(self.names, self.key, self.marker()))

    async def visit_until(self, ended):
        while not ended.is_set():
            before, self.visits = self.marker(), self.visits + 1
            found, replies = await self.client.run(visit(self.names, self.key, self.marker()))
            assert found == before, "foreign or stale"
            assert kinds(replies) == ["Stored", "Stored"]


class Victim:
    """Visits that are cancelled. Its copies must be alike again, whenever that happens."""

    def __init__(self, client, names):
        self.client, self.names, self.key = client, names, b"memsession:victim"
        self.value = b"victim 0"
        self.ends = Counter()

    async def begin(self):
        await self.client.run(bury(self.names, self.key, self.value))

    async def visit_cancelled_after(self, number, moment):
        new = b"victim %d" % moment
        task = asyncio.ensure_future(self.client.run(visit(self.names, self.key, new)))
        await turns(number)
        task.cancel()
        [outcome] = await asyncio.gather(task, return_exceptions=True)
        stored = await self.settled({self.value, new})
        self.ends[type(outcome).__name__, "saved" if stored == new else "untouched"] += 1
        self.value = stored

    async def settled(self, expected):
        """The value of both copies as soon as no plan goes on in the background."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                await self.client.run(rounds([Get(name, self.key) for name in self.names]))
                if not self.client._finishing:
                    break
        one, two = await self.client.run(rounds([Get(name, self.key) for name in self.names]))
        assert one.value == two.value, "half a save"
        assert one.value in expected, "foreign or stale"
        return one.value


def test_a_sweep_of_cancellations_harms_nobody(runner, memcached):
    """520 visits, each cancelled some turns of the loop after it began: from none to more than most visits take.

    Five others check their own markers on the same two connections, which are slow. No foreign and no stale value,
    no half save, no connection lost or left open.
    """
    nodes = [memcached(), memcached()]

    async def main():
        async with SlowProxy(nodes[0].port, piece=PIECE):
            pass  # Some event loops open files of their own for their first server, and keep them.
        files = open_files()
        async with AsyncExitStack() as stack:
            proxies = [await stack.enter_async_context(SlowProxy(node.port, piece=PIECE)) for node in nodes]
            addresses = [f"127.0.0.1:{proxy.port}" for proxy in proxies]
            pool = Pool(*addresses, timeout=timedelta(seconds=20), budget=timedelta(seconds=20))
            names = [node.name for node in pool.nodes]
            client = AsyncClient(pool)
            users = [User(client, names, number) for number in range(USERS)]
            victim = Victim(client, names)
            await asyncio.gather(*(person.begin() for person in (*users, victim)))
            ended = asyncio.Event()
            visits = asyncio.gather(*(user.visit_until(ended) for user in users))
            for moment in range(MOMENTS):
                await victim.visit_cancelled_after(moment % TURNS, moment)
            ended.set()
            await visits
            assert [proxy.connections for proxy in proxies] == [1, 1], "no connection was ever dropped"
            assert all(user.visits > MOMENTS / 10 for user in users)
            assert victim.ends["CancelledError", "untouched"] > 0
            assert victim.ends["CancelledError", "saved"] > MOMENTS / 20
            await client.aclose()
        for node in nodes:
            await until(lambda node=node: node.stats()["curr_connections"] == "1")
        assert open_files() == files

    runner.run(main())


class Gate:
    """A node that keeps every reply until it is told to give them out."""

    def __init__(self):
        self.waiting = []

    async def write(self, writer, reply):
        self.waiting.append((writer, reply))

    def open(self):
        for writer, reply in self.waiting:
            writer.write(reply)
        self.waiting.clear()


def gated(kind, key, opaque):
    return value(b"v")(key, opaque) if kind == "get" else line(b"HD")(key, opaque)


@pytest.mark.parametrize("at", ["get", "cas"])
def test_a_cancelled_save_goes_on_in_the_background(runner, at):
    """The caller is told at once; load and save are finished, and aclose waits for that."""

    async def main():
        async with ScriptedNode(gated) as node:
            gate = Gate()
            node.write = gate.write
            pool = node.pool(timeout=timedelta(seconds=1))
            client = AsyncClient(pool)
            task = asyncio.ensure_future(client.run(visit([pool.nodes[0].name], KEY, b"w")))
            await until(lambda: gate.waiting)
            if at == "cas":
                gate.open()
                await until(lambda: gate.waiting)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            closing = asyncio.ensure_future(client.aclose())
            while not closing.done():
                gate.open()
                await asyncio.sleep(0)
            assert node.commands == ["get", "cas"]

    runner.run(main())


def test_aclose_waits_for_cancelled_saves_no_longer_than_a_request_may_take(runner):
    """A save that cannot end is given up when the budget is spent."""

    async def main():
        async with ScriptedNode(silent) as node:
            pool = node.pool(timeout=timedelta(seconds=0.05), budget=timedelta(seconds=0.05))
            client = AsyncClient(pool)
            name = pool.nodes[0].name

            def without_end():
                while True:
                    yield [Bury(name, KEY, b"v", 60)]

            task = asyncio.ensure_future(client.run(without_end()))
            await until(lambda: node.commands)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            async with asyncio.timeout(PATIENCE_S):
                await client.aclose()
            assert not client._finishing

    runner.run(main())


@pytest.mark.parametrize(
    ("outcome", "logged"), [(PoolUnavailable("no node"), "PoolUnavailable"), (KeyError("x"), "failed")]
)
def test_how_a_cancelled_plan_ends_is_logged(runner, caplog, outcome, logged):
    """Nobody waits for it any more, but what it raises is not lost without a trace."""

    async def main():
        async with ScriptedNode(gated) as node:
            gate = Gate()
            node.write = gate.write
            pool = node.pool()
            client = AsyncClient(pool)
            name = pool.nodes[0].name

            def failing():
                yield [Get(name, KEY)]
                raise outcome

            task = asyncio.ensure_future(client.run(failing()))
            await until(lambda: gate.waiting)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            gate.open()
            await client.aclose()

    with caplog.at_level("INFO", "memsession"):
        runner.run(main())
    assert [logged in record.getMessage() for record in caplog.records] == [True]


def test_a_request_cancelled_before_it_began_sends_nothing(runner, memcached):
    """A task that never ran has not asked anybody."""
    node = memcached()

    async def main():
        pool = Pool(node.address)
        client = AsyncClient(pool)
        name = pool.nodes[0].name
        plan = rounds([Bury(name, KEY, b"v", 60)])
        task = asyncio.ensure_future(client.run(plan))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        plan.close()
        assert node.stats()["cmd_set"] == "0"
        await client.aclose()

    runner.run(main())


def test_a_plan_is_never_stepped_twice(runner):
    """When the last reply and the cancellation come in the same turn, the plan goes on once."""
    steps = []

    def watched(name):
        steps.append("get")
        [hit] = yield [Get(name, KEY)]
        steps.append("cas")
        yield [Cas(name, KEY, b"w", 60, hit.token)]
        steps.append("end")

    async def main():
        async with ScriptedNode(gated) as node:
            gate = Gate()
            node.write = gate.write
            pool = node.pool()
            client = AsyncClient(pool)
            for wait in range(6):
                steps.clear()
                task = asyncio.ensure_future(client.run(watched(pool.nodes[0].name)))
                await until(lambda: gate.waiting)
                gate.open()
                await turns(wait)
                task.cancel()
                await until(lambda: gate.waiting)
                gate.open()
                await until(lambda: "end" in steps)
                await asyncio.gather(task, return_exceptions=True)
                assert steps == ["get", "cas", "end"]
            await client.aclose()

    runner.run(main())
