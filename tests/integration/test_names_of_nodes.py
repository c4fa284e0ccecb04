"""Nodes given by name, as both clients reach them: a resolver that hangs, fails, or tells another address."""

import asyncio
import socket
import threading
import time
from datetime import timedelta

import pytest

from memsession import resolver
from memsession.commands import Bury, Get
from memsession.events import NodeBack, NodeOut, NodeSlow
from memsession.pool import Pool
from tests.replies import KEY
from tests.rounds import kinds, until
from tests.servers import PATIENCE_S
from tests.stages import STAGES, Stage, are, ask, ask_until

NAME = "cache.example"


@pytest.fixture(params=STAGES)
def stage(request):
    """The asyncio client in both loops, and the blocking one in threads."""
    stage = Stage(request.param)
    with stage.runner:
        yield stage


class Names:
    """In the place of the system's resolver: the name is at these `ports` of this machine."""

    def __init__(self, monkeypatch):
        self.ports = []
        self.asked = 0
        self.go_on = threading.Event()
        self.go_on.set()
        self._system = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._getaddrinfo)
        monkeypatch.setattr(resolver, "AGAIN_S", 0.05)

    def _getaddrinfo(self, host, port, *arguments, **options):
        if host != NAME:
            return self._system(host, port, *arguments, **options)
        self.asked += 1
        assert self.go_on.wait(PATIENCE_S)
        if not self.ports:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in self.ports]


@pytest.fixture
def names(monkeypatch):
    names = Names(monkeypatch)
    yield names
    names.go_on.set()
    for thread in threading.enumerate():
        if thread.name == "memsession-resolver":
            thread.join(PATIENCE_S)


def pool_of(other, timeout_ms=250):
    return Pool(NAME, other.address, timeout=timedelta(milliseconds=timeout_ms))


def test_a_resolver_that_hangs_costs_one_request_one_time_out(stage, names, memcached):
    """Then the node is out, for a reason that says it; nobody else waits, and it is found when the answer comes."""
    node, other = memcached(), memcached()
    names.ports = [node.port]
    names.go_on.clear()
    pool = pool_of(other)
    named, healthy = (node.name for node in pool.nodes)

    async def main():
        client = stage.client(pool)
        first = await ask(client, Get(named, KEY), Get(healthy, KEY))
        assert kinds(first) == ["Unreachable", "Miss"]
        assert first[0].reason == f"cannot connect to {NAME}:11211: the resolver has not answered yet"
        for _ in range(5):
            assert kinds(await ask(client, Get(named, KEY), Get(healthy, KEY))) == ["Skipped", "Miss"]
        [insisting] = await ask(client, Get(named, KEY, force=True))
        assert insisting.reason == first[0].reason, "at once, not for lack of time"
        assert names.asked == 1
        assert stage.told(NodeOut) == [named]
        assert stage.told(NodeSlow) == []

        names.go_on.set()
        await ask_until(client, are("Miss"), Get(named, KEY))
        assert stage.told(NodeBack) == [named]
        await client.aclose()

    stage.run(main())


def test_many_that_come_together_wait_together(stage, names, memcached):
    """Ten requests at once cost each of them one time-out at most, and ask the resolver once."""
    other = memcached()
    names.go_on.clear()
    pool = pool_of(other)
    named, healthy = (node.name for node in pool.nodes)

    async def main():
        client = stage.client(pool)
        replies = await asyncio.gather(*(ask(client, Get(named, KEY), Get(healthy, KEY)) for _ in range(10)))
        assert {tuple(kinds(reply)) for reply in replies} <= {("Unreachable", "Miss"), ("Skipped", "Miss")}
        assert names.asked == 1
        assert stage.told(NodeOut) == [named]
        await client.aclose()

    stage.run(main())


def test_a_resolver_that_fails_is_a_clear_reason(stage, names, memcached):
    """The node is out, the log says why; when the name is known, the node is found."""
    node, other = memcached(), memcached()
    pool = pool_of(other)
    named, healthy = (node.name for node in pool.nodes)

    async def main():
        client = stage.client(pool)
        first = await ask(client, Get(named, KEY), Get(healthy, KEY))
        assert kinds(first) == ["Unreachable", "Miss"]
        why = f"its name cannot be resolved: [Errno {socket.EAI_NONAME}] Name or service not known"
        assert first[0].reason == f"cannot connect to {NAME}:11211: {why}"
        assert [event.reason for event in stage.events] == [first[0].reason]
        names.ports = [node.port]
        await ask_until(client, are("Miss"), Get(named, KEY, force=True))
        await client.aclose()

    stage.run(main())


def test_a_node_that_moved_is_found_without_another_configuration(stage, names, memcached):
    """Its name is its identity: the old address fails, the new one is tried next."""
    old, new, other = memcached(), memcached(), memcached()
    names.ports = [old.port]
    pool = pool_of(other, 1_000)
    named = pool.nodes[0].name

    async def main():
        client = stage.client(pool)
        await ask(client, Bury(named, KEY, b"old", 60))
        new.ask(b"set %b 0 60 3\r\nnew" % KEY)
        names.ports = [new.port]
        assert [hit.value for hit in await ask(client, Get(named, KEY))] == [b"old"]
        old.kill()
        [hit] = await ask_until(client, are("Hit"), Get(named, KEY, force=True))
        assert hit.value == b"new"
        await client.aclose()

    stage.run(main())


def test_a_known_address_is_used_while_the_resolver_is_away(stage, names, memcached):
    """It hangs, and then fails, while the node restarts again and again: every time it is found where it was."""
    node, other = memcached(), memcached()
    names.ports = [node.port]
    pool = pool_of(other, 1_000)
    named = pool.nodes[0].name

    async def main():
        client = stage.client(pool)
        await ask(client, Get(named, KEY))
        names.ports = []
        for hangs in (True, False, False):
            (names.go_on.clear if hangs else names.go_on.set)()
            node.restart()
            await ask_until(client, are("Miss"), Get(named, KEY, force=True))
        assert client.is_up(named)
        await client.aclose()

    stage.run(main())


def test_of_several_addresses_the_next_is_tried(stage, names, memcached):
    """One of them refuses."""
    dead, node = memcached(), memcached()
    dead.kill()
    names.ports = [dead.port, node.port]
    pool = Pool(NAME, timeout=timedelta(seconds=1))

    async def main():
        client = stage.client(pool)
        assert kinds(await ask(client, Get(pool.nodes[0].name, KEY))) == ["Miss"]
        assert stage.told(NodeOut) == []
        await client.aclose()

    stage.run(main())


def test_addresses_never_touch_the_resolver(stage, memcached, tmp_path, monkeypatch):
    """Of IP addresses and unix sockets it is not asked."""
    nodes = [memcached(), memcached(path=str(tmp_path / "m.sock")), memcached(options=["-l", "::1"])]
    pool = Pool(nodes[0].address, nodes[1].path, f"[::1]:{nodes[2].port}", timeout=timedelta(seconds=1))

    def nobody_asks(host, *_, **__):
        raise AssertionError(host)

    async def main():
        client = stage.client(pool)
        with monkeypatch.context() as without:
            without.setattr(resolver, "places_of", nobody_asks)
            assert kinds(await ask(client, *(Get(node.name, KEY) for node in pool.nodes))) == ["Miss"] * 3
        await client.aclose()

    stage.run(main())


def test_waiting_for_the_resolver_is_no_slowness_of_the_node(stage, names, memcached):
    """It takes longer than a node may be silent; then the node answers at once."""
    node = memcached()
    names.ports = [node.port]
    names.go_on.clear()
    pool = Pool(NAME, timeout=timedelta(seconds=2), budget=timedelta(seconds=2))

    async def main():
        client = stage.client(pool)
        asking = asyncio.ensure_future(ask(client, Get(pool.nodes[0].name, KEY)))
        await until(lambda: names.asked)
        begun_at = time.monotonic()
        await until(lambda: time.monotonic() > begun_at + 0.6)
        names.go_on.set()
        assert kinds(await asking) == ["Miss"]
        assert stage.told(NodeSlow) == stage.told(NodeOut) == []
        await client.aclose()

    stage.run(main())


def test_a_loop_that_ends_while_the_resolver_hangs_leaves_no_error(stage, names, caplog):
    """The answer comes when nobody is there any more."""
    names.go_on.clear()
    pool = Pool(NAME, timeout=timedelta(milliseconds=250))

    async def main():
        client = stage.client(pool)
        await ask(client, Get(pool.nodes[0].name, KEY))
        await client.aclose()

    stage.run(main())
    stage.runner.close()
    names.go_on.set()
    for thread in threading.enumerate():
        if thread.name == "memsession-resolver":
            thread.join(PATIENCE_S)
    assert caplog.records == []
