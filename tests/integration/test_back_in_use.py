"""Which nodes a client asks when they fail and come back, and that a busy web server does not take them for dead."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from memsession.aio import AsyncClient
from memsession.commands import Bury, Get
from memsession.events import NodeBack, NodeForgot, NodeOut
from memsession.plans import Absent, Found, Outage, load
from memsession.pool import Pool
from tests.replies import KEY
from tests.rounds import News, bury, kinds, until
from tests.servers import PATIENCE_S
from tests.stages import STAGES, Stage, a_session, are, ask, ask_until, world_of

PROJECT = Path(__file__).parents[2]
SESSION = b"memsession:" + b"s" * 43


@pytest.fixture(params=STAGES)
def stage(request):
    """The asyncio client in both loops, and the blocking one in threads."""
    stage = Stage(request.param)
    with stage.runner:
        yield stage


def test_a_node_that_was_killed_is_back_with_its_next_tries(stage, memcached):
    """Three times over: out once, back once, forgot once each time, and nobody waits in between."""
    dies, lives = memcached(), memcached()
    pool = Pool(dies.address, lives.address)
    dead, healthy = (node.name for node in pool.nodes)

    async def main():
        client = stage.client(pool)
        await client.run(bury([dead, healthy], KEY, b"v"))
        for times in (1, 2, 3):
            dies.kill()
            await ask_until(client, are("Skipped", "Hit"), Get(dead, KEY), Get(healthy, KEY))
            dies.start()
            await ask_until(client, are("Miss", "Hit"), Get(dead, KEY), Get(healthy, KEY))
            told = [stage.told(kind) for kind in (NodeOut, NodeBack, NodeForgot)]
            assert told == [[dead] * times] * 3
        await client.aclose()

    stage.run(main())


def test_a_node_that_hung_is_back_with_its_memory(stage, memcached):
    """Twice over: out once and back once each time, with what it held, and with the value of who asks."""
    hangs, lives = memcached(), memcached()
    pool = Pool(hangs.address, lives.address)
    hung, healthy = (node.name for node in pool.nodes)

    async def main():
        client = stage.client(pool)
        for key in (KEY, b"memsession:other"):
            await client.run(bury([hung, healthy], key, key))
        for times in (1, 2):
            hangs.stop()
            await ask_until(client, are("Skipped", "Hit"), Get(hung, KEY), Get(healthy, KEY))
            await until(lambda: not client.is_up(hung))
            for _ in range(20):
                assert kinds(await ask(client, Get(hung, KEY), Get(healthy, KEY)))[1] == "Hit"
            await ask_until(client, lambda _, times=times: len(stage.told(NodeOut)) == times, Get(healthy, KEY))
            hangs.cont()
            replies = await ask_until(client, are("Hit", "Hit"), Get(hung, KEY), Get(healthy, b"memsession:other"))
            assert [hit.value for hit in replies] == [KEY, b"memsession:other"]
            assert [stage.told(kind) for kind in (NodeOut, NodeBack, NodeForgot)] == [[hung] * times] * 2 + [[]]
        await client.aclose()

    stage.run(main())


@pytest.mark.parametrize("how", ["killed", "hung"])
def test_when_all_homes_are_out_they_are_asked_all_the_same(stage, memcached, how):
    """An outage while they are away; the first load after that finds the session, or says that it is gone."""
    nodes = [memcached(), memcached()]
    pool = Pool(*(node.address for node in nodes))
    names = [node.name for node in pool.nodes]

    async def main():
        client = stage.client(pool)
        world, session = world_of(client, pool), a_session(client)
        await ask(client, *(Bury(name, SESSION, world.codec.seal(SESSION, session), 60) for name in names))
        for node in nodes:
            (node.kill if how == "killed" else node.stop)()
        # A killed node is lost by the first request, and refuses the second.
        for _ in range(2):
            assert isinstance(await client.run(load(world, SESSION)), Outage)
        assert not any(map(client.is_up, names))
        for node in nodes:
            (node.start if how == "killed" else node.cont)()
        async with asyncio.timeout(PATIENCE_S):
            while isinstance(found := await client.run(load(world, SESSION)), Outage):
                assert how == "hung", "a node that listens takes a connection at once"
        if how == "killed":
            assert found == Absent()
        else:
            assert isinstance(found, Found)
            assert found.record.entries == session.entries
        await client.aclose()

    stage.run(main())


@pytest.mark.parametrize("blocked_s", [0.06, 0.12, 0.6])
def test_a_blocked_event_loop_throws_no_node_out(runner, memcached, blocked_s):
    """Fifty requests are under way to three nodes when the loop is blocked, again and again: all are answered."""
    nodes = [memcached() for _ in range(3)]
    pool = Pool(*(node.address for node in nodes))
    names = [node.name for node in pool.nodes]
    told = News()

    async def main():
        client = AsyncClient(pool, observe=told)
        await client.run(bury(names, KEY, b"x" * 5_000))
        for turns in range(4):
            requests = [asyncio.ensure_future(ask(client, *(Get(name, KEY) for name in names))) for _ in range(50)]
            for _ in range(turns):
                await asyncio.sleep(0)
            time.sleep(blocked_s)  # noqa: ASYNC251 - the blocked loop is what is tested
            answers = [kinds(await request) for request in requests]
            assert [kind for answer in answers for kind in answer if kind == "Unreachable"] == []
        assert told == []
        await client.aclose()

    runner.run(main())


@pytest.mark.parametrize("kind", STAGES)
def test_a_process_that_was_stopped_throws_no_node_out(kind, memcached):
    """SIGSTOP in the middle of traffic, longer than the time-out, and SIGCONT, several times: nothing is amiss."""
    nodes = [memcached(), memcached()]
    program = PROJECT / "tests" / "programs" / "stopped_visits.py"
    process = subprocess.Popen(
        [sys.executable, "-W", "error", str(program), kind, *(node.address for node in nodes)],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "ready\n"
        for tenths in (6, 1, 3, 6):
            process.send_signal(signal.SIGSTOP)
            time.sleep(tenths / 10)
            process.send_signal(signal.SIGCONT)
            time.sleep(0.05)
        _, errors = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, errors) == (0, "")
    finally:
        process.kill()
        process.wait(PATIENCE_S)
