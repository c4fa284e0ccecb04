"""A node that has been silent for a fifth of the time-out: the first ones wait on, the others do without it."""

import asyncio
import time
from datetime import timedelta

import pytest

from memsession.blocking.connection import Connection
from memsession.commands import Add, Bury, Cas, Get, Token
from memsession.events import NodeBack, NodeOut, NodeSlow
from memsession.plans import Found, load
from memsession.pool import Pool
from tests.replies import KEY
from tests.rounds import bury, kinds, until
from tests.stages import STAGES, Stage, a_session, ask, ask_until, world_of

LONG = timedelta(seconds=5)
"""So slow after a second; whatever a busy machine does in the other four is in time."""

OTHER = b"memsession:other"


@pytest.fixture(params=STAGES)
def stage(request):
    """The asyncio client in both loops, and the blocking one in threads."""
    stage = Stage(request.param)
    with stage.runner:
        yield stage


class Bench:
    """Two memcached of which one hangs, and a client."""

    def __init__(self, stage, memcached):
        self.stage = stage
        self.hung, self.healthy = memcached(), memcached()
        self.pool = Pool(self.hung.address, self.healthy.address, timeout=LONG, budget=LONG)
        self.names = [node.name for node in self.pool.nodes]
        self.client = stage.client(self.pool)

    def ask(self, *commands):
        return ask(self.client, *commands)

    async def met_by_one(self):
        """A request that was there when the node began to hang, as a task, once it has waited long enough."""
        self.hung.stop()
        first = asyncio.ensure_future(self.ask(*(Get(name, KEY) for name in self.names)))
        await until(lambda: self.stage.told(NodeSlow))
        return first


def test_others_do_without_it_until_it_answers(stage, memcached):
    """Gets are skipped and writes unanswered, at once; with the first reply all is as before, nothing was lost."""
    bench = Bench(stage, memcached)
    hung, healthy = bench.names

    async def main():
        await bench.client.run(bury(bench.names, KEY, b"v"))
        await bench.client.run(bury(bench.names, OTHER, b"w"))
        first = await bench.met_by_one()
        assert not bench.client.is_up(hung)
        assert bench.client.is_up(healthy)
        for _ in range(3):
            assert kinds(await bench.ask(Get(hung, OTHER), Get(healthy, OTHER))) == ["Skipped", "Hit"]
        write = "Skipped" if stage.blocking else "Unreachable"
        assert kinds(await bench.ask(Get(healthy, KEY), Add(hung, b"new", b"", 9))) == ["Hit", write]
        assert kinds(await bench.ask(Cas(hung, KEY, b"", 9, Token(1, 1)), Get(healthy, KEY))) == [write, "Hit"]
        assert not first.done()
        bench.hung.cont()
        assert [hit.value for hit in await first] == [b"v", b"v"]
        await until(lambda: bench.client.is_up(hung))
        assert [hit.value for hit in await bench.ask(Get(hung, OTHER), Get(hung, KEY))] == [b"w", b"v"]
        assert (stage.told(NodeSlow), stage.told(NodeOut), stage.told(NodeBack)) == ([hung], [], [])
        await bench.client.aclose()

    stage.run(main())


def test_who_insists_or_has_nobody_else_waits(stage, memcached):
    """A forced read, a tombstone, and a round for this node alone are answered by the node."""
    bench = Bench(stage, memcached)
    hung, healthy = bench.names

    async def main():
        await bench.client.run(bury(bench.names, KEY, b"v"))
        first = await bench.met_by_one()
        waiting = [
            asyncio.ensure_future(bench.ask(*commands))
            for commands in (
                [Get(hung, KEY, force=True), Get(healthy, KEY)],
                [Bury(hung, OTHER, b"dead", 9), Bury(healthy, OTHER, b"dead", 9)],
                [Add(hung, b"forced", b"", 9, force=True), Get(healthy, KEY)],
                [Get(hung, KEY)],
            )
        ]
        done, _ = await asyncio.wait(waiting, timeout=0.1)
        assert done == set()
        bench.hung.cont()
        answers = [kinds(await task) for task in waiting]
        assert answers == [["Hit", "Hit"], ["Stored", "Stored"], ["Stored", "Hit"], ["Hit"]]
        assert kinds(await first) == ["Hit", "Hit"]
        assert stage.told(NodeOut) == []
        await bench.client.aclose()

    stage.run(main())


def test_a_load_that_finds_nothing_elsewhere_asks_it_and_waits(stage, memcached):
    """No false doubt: the session lies on the slow node alone, and is found there."""
    bench = Bench(stage, memcached)
    key = b"memsession:" + b"k" * 43

    async def main():
        world, session = world_of(bench.client, bench.pool), a_session(bench.client)
        await bench.ask(Bury(bench.names[0], key, world.codec.seal(key, session), 60))
        first = await bench.met_by_one()
        loading = asyncio.ensure_future(bench.client.run(load(world, key)))
        done, _ = await asyncio.wait({loading}, timeout=0.1)
        assert done == set()
        bench.hung.cont()
        found = await loading
        assert isinstance(found, Found)
        assert found.record.entries == session.entries
        await first
        await bench.client.aclose()

    stage.run(main())


def test_it_is_out_when_the_time_out_comes(stage, memcached):
    """Suspicion ends there; then it is as with every hung node."""
    bench = Bench(stage, memcached)
    bench.pool = Pool(bench.hung.address, bench.healthy.address, timeout=timedelta(milliseconds=250))
    bench.client = stage.client(bench.pool)
    hung, healthy = bench.names

    async def main():
        await bench.client.run(bury(bench.names, KEY, b"v"))
        first = await bench.met_by_one()
        assert kinds(await first) == ["Unreachable", "Hit"]
        assert kinds(await bench.ask(Get(hung, KEY), Get(healthy, KEY))) == ["Skipped", "Hit"]
        assert (stage.told(NodeSlow), stage.told(NodeOut)) == ([hung], [hung])
        bench.hung.cont()
        await ask_until(bench.client, lambda replies: kinds(replies) == ["Hit"], Get(hung, KEY))
        assert bench.client.is_up(hung)
        await bench.client.aclose()

    stage.run(main())


def test_a_node_that_is_silent_in_its_greeting_is_slow_as_well(stage, memcached):
    """A process that begins while a node hangs: its first request waits, the others do not."""
    bench = Bench(stage, memcached)
    hung, healthy = bench.names

    async def main():
        first = await bench.met_by_one()
        assert kinds(await bench.ask(Get(hung, KEY), Get(healthy, KEY))) == ["Skipped", "Miss"]
        assert not first.done()
        bench.hung.cont()
        assert kinds(await first) == ["Miss", "Miss"]
        assert bench.client.is_up(hung)
        await bench.client.aclose()

    stage.run(main())


@pytest.mark.parametrize("kind", [kind for kind in STAGES if kind != "blocking"])
def test_when_all_are_slow_they_are_waited_for(kind, memcached):
    """There is nobody to do with."""
    stage = Stage(kind)
    bench = Bench(stage, memcached)

    async def main():
        await bench.client.run(bury(bench.names, KEY, b"v"))
        bench.healthy.stop()
        first = await bench.met_by_one()
        await until(lambda: len(stage.told(NodeSlow)) == 2)
        second = asyncio.ensure_future(bench.ask(*(Get(name, KEY) for name in bench.names)))
        done, _ = await asyncio.wait({first, second}, timeout=0.1)
        assert done == set()
        bench.hung.cont()
        bench.healthy.cont()
        assert kinds(await first) == kinds(await second) == ["Hit", "Hit"]
        await bench.client.aclose()

    with stage.runner:
        stage.run(main())


class TestBlocking:
    """Who waits may be interrupted, and must not leave a suspicion behind that nobody will end."""

    @pytest.fixture
    def bench(self, memcached):
        stage = Stage("blocking")
        bench = Bench(stage, memcached)
        bench.client = bench.client.blocking
        with stage.runner:
            yield bench
        bench.hung.cont()
        bench.client.close()

    def asking(self, bench, deadline=None):
        def plan():
            return (yield [Get(name, KEY) for name in bench.names])

        return bench.client.run(plan(), deadline=deadline)

    def test_by_its_deadline(self, bench):
        """The node is not out, for nobody has waited for the whole time-out; and nobody waits any more."""
        assert kinds(self.asking(bench)) == ["Miss", "Miss"]
        bench.hung.stop()
        assert kinds(self.asking(bench, time.monotonic() + 1.2)) == ["Unreachable", "Miss"]
        assert bench.stage.told(NodeSlow) == bench.names[:1]
        assert bench.client.is_up(bench.names[0])

    def test_by_an_interrupt(self, bench, monkeypatch):
        """As by ctrl-C, or a greenlet's time-out, after the others were told."""
        assert kinds(self.asking(bench)) == ["Miss", "Miss"]
        bench.hung.stop()
        take = Connection.take

        def interrupted(*arguments):
            if bench.stage.told(NodeSlow):
                raise KeyboardInterrupt
            return take(*arguments)

        with monkeypatch.context() as patched:
            patched.setattr(Connection, "take", interrupted)
            with pytest.raises(KeyboardInterrupt):
                self.asking(bench)
        assert bench.stage.told(NodeSlow) == bench.names[:1]
        assert bench.client.is_up(bench.names[0])
