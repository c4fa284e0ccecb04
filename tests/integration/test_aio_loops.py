"""One client object in many event loops and processes: each has its own connections, and none is left behind."""

import asyncio
import gc
import os
import socket
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from memsession.aio import AsyncClient
from memsession.aio.connection import Connection
from memsession.commands import Bury, Get
from memsession.pool import Pool
from tests.conftest import LOOPS
from tests.replies import KEY, value
from tests.rounds import kinds, rounds, until, visit
from tests.scripted import ScriptedNode
from tests.servers import PATIENCE_S

NO_GREETING = dict.fromkeys(("version", "mark", "incarnation", "stats"), b"")
PROJECT = Path(__file__).parents[2]


def client_of(*nodes, **options):
    pool = Pool(*(node.address for node in nodes), timeout=timedelta(seconds=1))
    return AsyncClient(pool, **options), [node.name for node in pool.nodes]


def connections(node):
    """Connections that memcached counts, without the one that asks."""
    return int(node.stats()["curr_connections"]) - 1


def until_alone(node):
    """Wait until memcached has noticed that everybody is gone."""
    for _ in range(2_000):
        if connections(node) == 0:
            return
        threading.Event().wait(0.005)
    raise AssertionError(f"{connections(node)} connections are left")


def run(factory, main):
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)


@pytest.mark.parametrize("factory", LOOPS.values(), ids=LOOPS)
def test_one_client_serves_a_new_loop_every_time(memcached, factory):
    """As test clients do: a loop for each call and no farewell. Each loop's end closes its connections."""
    node = memcached()
    client, names = client_of(node)

    found = [run(factory, client.run(visit(names, KEY, b"%d" % number)))[0] for number in range(5)]

    assert found == [None, b"0", b"1", b"2", b"3"]
    until_alone(node)
    assert len(client._exchanges) == 1, "closed loops are forgotten"


def test_loops_in_two_threads_have_their_own_connections(memcached):
    """Two loops at the same time, one client: every visit of either finds its own value."""
    node = memcached()
    client, names = client_of(node)
    meeting = threading.Barrier(2, timeout=PATIENCE_S)
    found = {}

    async def visits(who):
        await client.run(visit(names, b"key-of-" + who, who))
        meeting.wait()
        seen = {(await client.run(visit(names, b"key-of-" + who, who)))[0] for _ in range(200)}
        meeting.wait()
        found[who] = seen
        if who == b"one":
            found["connections"] = connections(node)
        meeting.wait()
        await client.aclose()

    threads = [threading.Thread(target=asyncio.run, args=(visits(who),)) for who in (b"one", b"two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)

    assert found == {b"one": {b"one"}, b"two": {b"two"}, "connections": 2}
    until_alone(node)


@pytest.mark.parametrize("kind", LOOPS)
def test_forked_processes_leave_their_parents_connections_alone(memcached, kind):
    """After a fork each process has its own connections; none is shared, closed or spoken over by another."""
    nodes = [memcached(), memcached()]
    program = PROJECT / "tests" / "programs" / "fork_and_visit.py"

    done = subprocess.run(
        [sys.executable, "-W", "error", str(program), kind, *(node.address for node in nodes)],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    for node in nodes:
        until_alone(node)


def test_what_another_process_opened_is_never_touched(runner, memcached):
    """A client that finds itself in another process connects anew and leaves everything old as it is."""
    node = memcached()
    client, names = client_of(node)

    async def main():
        await client.run(rounds([Bury(names[0], KEY, b"v", 60)]))
        parents = client._exchange
        parents.process = client._process = 0
        await client.aclose()
        assert kinds(await client.run(rounds([Get(names[0], KEY)]))) == ["Hit"]
        await client.aclose()
        assert client._exchange is not parents
        await until(lambda: connections(node) == 1)
        await parents.close()

    runner.run(main())


def test_a_connection_closed_before_it_was_made_is_given_up(runner, memcached):
    """When connecting is given up at the very moment it succeeds, the socket is closed all the same."""
    node = memcached()

    async def main():
        loop = asyncio.get_running_loop()
        connection = Connection(loop, 1.0, lambda *_: None)
        await connection.close("given up")
        transport, _ = await loop.create_connection(lambda: connection, "127.0.0.1", node.port)
        assert transport.is_closing()
        await asyncio.sleep(0)

    runner.run(main())
    until_alone(node)


def test_it_closes_and_can_be_used_again(runner, memcached):
    """aclose is repeatable, before the first use and after the last, and a later request connects anew."""
    node = memcached()
    client, names = client_of(node)

    async def main():
        await client.aclose()
        for _ in range(2):
            assert kinds(await client.run(rounds([Bury(names[0], KEY, b"v", 60)]))) == ["Stored"]
            assert connections(node) == 1
            await client.aclose()
            await client.aclose()

    runner.run(main())
    until_alone(node)


def test_closing_while_connecting_leaves_nothing_open(runner):
    """A node that is silent in its greeting does not hold up the end, and what waited for it is told."""

    async def main():
        async with ScriptedNode(**NO_GREETING) as node:
            pool = node.pool(timeout=timedelta(seconds=1))
            client = AsyncClient(pool)
            request = asyncio.ensure_future(client.run(rounds([Get(pool.nodes[0].name, KEY)])))
            await until(lambda: node.connections)
            await client.aclose()
            [reply] = await request
            assert reply.reason == "the client was closed"
            await node.closed.wait()

    runner.run(main())


def test_closing_answers_what_is_in_flight(runner):
    """A request that waits for a reply when the client is closed is unreachable, at once."""

    async def main():
        async with ScriptedNode() as node:
            pool = node.pool(timeout=timedelta(seconds=1))
            client = AsyncClient(pool)
            request = asyncio.ensure_future(client.run(rounds([Get(pool.nodes[0].name, KEY)])))
            await until(lambda: node.commands)
            await client.aclose()
            [reply] = await request
            assert reply.reason == "the client was closed"

    runner.run(main())


def test_a_probe_ends_with_the_client_and_begins_with_its_next_use(runner, memcached):
    """After aclose nobody knocks at a hung node any more, until somebody asks for it again."""
    node = memcached()
    pool = Pool(node.address, timeout=timedelta(milliseconds=250))
    client = AsyncClient(pool, observe=lambda event: None)
    name = pool.nodes[0].name

    async def main():
        await client.run(rounds([Get(name, KEY)]))
        node.stop()
        await client.run(rounds([Get(name, KEY)]))
        assert not client.is_up(name)
        await client.aclose()
        node.cont()
        before = int(node.stats()["total_connections"])
        await asyncio.sleep(0.4)
        assert int(node.stats()["total_connections"]) == before + 1
        assert kinds(await client.run(rounds([Get(name, KEY)]))) == ["Skipped"]
        await until(lambda: client.is_up(name))
        await client.aclose()

    runner.run(main())


def test_a_forgotten_client_closes_its_connections(memcached):
    """A client that nobody holds any more does not keep a node busy once its loop has ended."""
    node = memcached()

    async def main():
        client, names = client_of(node)
        await client.run(rounds([Get(names[0], KEY)]))
        del client
        gc.collect()

    asyncio.run(main())
    gc.collect()
    until_alone(node)


def test_commands_of_one_turn_leave_in_one_write(runner):
    """However many requests ask in a turn of the loop, a node gets one packet, and without delay."""

    async def main():
        async with ScriptedNode(lambda _kind, key, opaque: value(b"v")(key, opaque)) as node:
            pool = node.pool()
            client = AsyncClient(pool)
            name = pool.nodes[0].name
            await client.run(rounds([Get(name, KEY)]))
            connection = client._exchange._links[name].connection
            real, written = connection._transport, []

            class Noting:
                def write(self, data):
                    written.append(data)
                    real.write(data)

                def abort(self):
                    real.abort()

            connection._transport = Noting()
            await asyncio.gather(*(client.run(rounds([Get(name, KEY), Get(name, KEY)])) for _ in range(10)))
            assert [data.count(b"mg ") for data in written] == [20]
            assert real.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            await client.aclose()

    runner.run(main())


def test_nothing_asked_is_answered_without_a_turn(memcached):
    """A round whose replies are all known needs no node, no future and no turn of the loop."""
    client, names = client_of(memcached())

    async def main():
        turned = []
        asyncio.get_running_loop().call_soon(turned.append, True)
        replies = await client.run(rounds([]), deadline=None)
        assert (replies, turned) == ([], [])
        assert client.is_up(names[0])

    assert client.is_up(names[0])
    asyncio.run(main())
