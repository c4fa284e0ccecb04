"""Plans that are interrupted at any moment: no connection is used again with an unread reply."""

import gc
import linecache
import os
import socket
import sys
from datetime import timedelta

import pytest

from memsession import blocking
from memsession.blocking import BlockingClient
from memsession.commands import Get
from memsession.events import NodeOut
from memsession.pool import Pool
from tests.replies import KEY, value
from tests.rounds import InThreads, News, bury, kinds, rounds, visit
from tests.scripted import ScriptedNode

HOUSE = os.path.dirname(blocking.__file__)
STEPS_MAX = 5_000


class Interrupt(BaseException):
    """What a signal handler or a greenlet's time-out may raise."""


class Fuse:
    """Counts steps, and burns at the one with this number."""

    def __init__(self, step):
        self.left = step

    def step(self):
        self.left -= 1
        if self.left == 0:
            raise Interrupt


class Bench:
    """A client on slow terms with two nodes, and values that are known to be there."""

    def __init__(self, memcached):
        self.nodes = [memcached(), memcached()]
        pool = Pool(*(node.address for node in self.nodes), timeout=timedelta(seconds=5), budget=timedelta(seconds=5))
        self.names = [node.name for node in pool.nodes]
        self.told = News()
        self.client = BlockingClient(pool, observe=self.told)
        for number in range(2):
            self.client.run(bury(self.names, b"user-%d" % number, b"of user %d" % number))

    def check(self):
        """Everybody finds their own, in whatever order they come."""
        for number in range(2):
            hits = self.client.run(rounds([Get(name, b"user-%d" % number) for name in self.names]))
            assert [hit.value for hit in hits] == [b"of user %d" % number] * 2

    def sweep(self, interrupted_visit, *, anew):
        """Interrupt a visit at its first step, at its second, and so on, until one has no step left.

        `anew`: each visit connects first, in so many steps that every third will do.
        """
        for step in range(1, STEPS_MAX, 3 if anew else 1):
            if anew:
                self.client.close()
            fuse = Fuse(step)
            try:
                interrupted_visit(fuse, lambda: self.client.run(visit(self.names, KEY, b"victim")))
            except Interrupt:
                self.check()
            else:
                return step
        raise AssertionError("it never ends")


@pytest.mark.parametrize("anew", [False, True], ids=["connected", "connecting"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_interrupt_at_each_call_of_a_socket_leaves_nothing_dirty(memcached, monkeypatch, when, anew):
    """Before and after every send, read, connect and setting of a socket, with what was read lost."""
    bench = Bench(memcached)
    fuse = Fuse(0)

    def mined(name):
        real = getattr(socket.socket, name)

        def call(self, *arguments):
            if when == "before":
                fuse.step()
            result = real(self, *arguments)
            if when == "after":
                fuse.step()
            return result

        return call

    names = ("send", "recv", "settimeout", "connect", "setsockopt")
    Mined = type("Mined", (socket.socket,), {name: mined(name) for name in names})  # noqa: N806
    bench.client.close()
    monkeypatch.setattr(socket, "socket", Mined)

    def interrupted(burning, run):
        fuse.left = burning.left
        try:
            run()
        finally:
            fuse.left = 0

    files = len(os.listdir("/dev/fd"))
    assert bench.sweep(interrupted, anew=anew) > 10
    bench.client.close()
    assert len(os.listdir("/dev/fd")) == files
    assert not [event for event in bench.told if isinstance(event, NodeOut)]


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("anew", [False, True], ids=["connected", "connecting"])
def test_an_interrupt_at_each_line_leaves_nothing_dirty(memcached, anew):
    """At every line of the client and of the parser. What it leaves open then, the garbage collector closes."""
    bench = Bench(memcached)

    def interrupted(fuse, run):
        def each(frame, event, _argument):
            if not frame.f_code.co_filename.startswith((HOUSE, HOUSE.replace("blocking", "wire"))):
                return None
            # Python tells of the line of a `with` again when it leaves, where no handler of a signal is ever called.
            line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
            if event == "line" and not line.strip().startswith("with "):
                fuse.step()
            return each

        before = sys.gettrace()
        sys.settrace(each)
        try:
            run()
        finally:
            sys.settrace(before)

    files = len(os.listdir("/dev/fd"))
    assert bench.sweep(interrupted, anew=anew) > 100
    bench.check()
    bench.client.close()
    gc.collect()
    assert len(os.listdir("/dev/fd")) <= files
    assert not [event for event in bench.told if isinstance(event, NodeOut)]


@pytest.mark.parametrize("kind", [TimeoutError, ConnectionResetError, OSError])
def test_what_a_signal_handler_raises_is_not_taken_for_the_sockets(memcached, monkeypatch, kind):
    """An alarm whose handler raises TimeoutError is raised to the application, and the node stays up."""
    bench = Bench(memcached)
    real, calls = socket.socket.recv, []

    def alarmed(self, *arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise kind("from a handler")
        return real(self, *arguments)

    monkeypatch.setattr(socket.socket, "recv", alarmed)
    with pytest.raises(kind, match="from a handler"):
        bench.client.run(rounds([Get(name, KEY) for name in bench.names]))
    bench.check()
    bench.client.close()
    assert bench.told == []


def test_a_plan_that_fails_between_rounds_leaves_its_connections_in_use(runner):
    """Nothing is unread then."""

    def failing(name):
        yield [Get(name, KEY)]
        raise LookupError

    async def main():
        async with ScriptedNode(lambda _kind, key, opaque: value(b"v")(key, opaque)) as node:
            pool = node.pool()
            client = InThreads(BlockingClient(pool))
            name = pool.nodes[0].name
            for _ in range(3):
                with pytest.raises(LookupError):
                    await client.run(failing(name))
            assert kinds(await client.run(rounds([Get(name, KEY)]))) == ["Hit"]
            assert node.connections == 1
            await client.aclose()

    runner.run(main())
