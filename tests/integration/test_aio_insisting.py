"""Commands that insist on a node that is out, and meeting the nodes before the first request."""

import asyncio
from datetime import timedelta

from memsession.aio import AsyncClient
from memsession.asgi import SessionMiddleware
from memsession.blocking import BlockingClient
from memsession.commands import Add, Get
from memsession.health import OUT_TIMEOUT_S, Fault
from memsession.pool import Pool
from tests.replies import line
from tests.rounds import kinds, rounds
from tests.scripted import ScriptedNode

KEY = b"memsession:insisting"
SECRET = "a-secret-of-the-tests-0123456789abcdef"


def test_a_forced_add_reaches_a_node_that_is_thought_out(runner, memcached):
    """So a first visit succeeds at once after all nodes have restarted, not only when they are asked again."""
    node = memcached()
    pool = Pool(node.address)
    [name] = (node.name for node in pool.nodes)

    async def main():
        client = AsyncClient(pool)
        await client.run(rounds([Get(name, KEY)]))
        node.kill()
        for _ in range(2):
            await client.run(rounds([Get(name, KEY, force=True)]))
        assert not client.is_up(name)
        node.start()
        assert kinds(await client.run(rounds([Add(name, KEY, b"v", 60, force=True)]))) == ["Stored"]
        assert client.is_up(name)
        await client.aclose()

    runner.run(main())


def test_the_last_node_that_is_left_is_waited_for(runner):
    """It refused, and is back, and busy: the 0.05 s that a silent one gets might not be enough."""

    async def main():
        async with ScriptedNode(lambda kind, key, opaque: line(b"EN")(key, opaque)) as node:
            pool = node.pool(timeout=timedelta(seconds=10), budget=timedelta(seconds=10))
            [name] = (one.name for one in pool.nodes)
            plain, blocking = AsyncClient(pool), BlockingClient(pool)
            await plain.greet()
            plain._exchange.health.failed(name, Fault.REFUSED, "as if it had refused")
            await plain.aclose()
            await asyncio.to_thread(blocking.greet)
            blocking._process.nodes.health.failed(name, Fault.REFUSED, "as if it had refused")
            node.sleeps_s = 4 * OUT_TIMEOUT_S
            plan = rounds([Get(name, KEY, force=True)])
            assert kinds(await plain.run(plan)) == ["Miss"]
            assert kinds(await asyncio.to_thread(blocking.run, rounds([Get(name, KEY, force=True)]))) == ["Miss"]
            await plain.aclose()
            blocking.close()

    runner.run(main())


def test_nodes_are_met_before_the_first_request(runner, memcached):
    """When the application has started, it is known which nodes are out, and what time the others say it is."""
    up, dead = memcached(), memcached()
    dead.kill()
    pool = Pool(up.address, dead.address)
    names = [node.name for node in pool.nodes]
    told = []

    async def application(scope, receive, send):
        await send({"type": "lifespan.startup.complete"})

    async def main():
        before = int(up.stats()["total_connections"])
        middleware = SessionMiddleware(application, secret_key=SECRET, pool=pool, observe=told.append)

        async def send(message):
            assert [middleware._client.is_up(name) for name in names] == [True, False]

        await middleware({"type": "lifespan"}, None, send)
        assert [event.node for event in told] == [names[1]]
        assert middleware._client.incarnations.keys() == {names[0]}
        assert int(up.stats()["total_connections"]) == before + 2  # the client's, and that of this question
        await middleware._client.aclose()

    runner.run(main())
