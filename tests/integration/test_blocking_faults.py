"""Nodes that hang, die, come back or forget, as plans of the blocking client see it."""

import asyncio
import contextlib
import select
import socket
import threading
import time
from datetime import timedelta

import pytest

from memsession.blocking import BlockingClient, nodes
from memsession.blocking.exchange import Exchange
from memsession.commands import Add, Bury, Cas, Get, Token
from memsession.events import NodeBack, NodeForgot, NodeOut, SameProcess
from memsession.pool import Pool
from tests.replies import KEY, line, value
from tests.rounds import PATIENCE_S, InThreads, News, bury, kinds, rounds, visit
from tests.scripted import ScriptedNode, silent, write_and_close
from tests.servers import free_port

SHORT = timedelta(milliseconds=250)


class Bench:
    """A client of some nodes, with everything it reported."""

    def __init__(self, *nodes, timeout=SHORT, addresses=()):
        self.pool = Pool(*(addresses or (node.address for node in nodes)), timeout=timeout)
        self.names = [node.name for node in self.pool.nodes]
        self.events = News()
        self.client = BlockingClient(self.pool, observe=self.events)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()

    def ask(self, *commands, deadline=None):
        return self.client.run(rounds(commands), deadline=deadline)

    def ask_while(self, condition, *commands):
        """Ask again and again, as requests do that come one after the other; all replies."""
        give_up, asked = time.monotonic() + PATIENCE_S, []
        while condition():
            assert time.monotonic() < give_up
            asked.append(self.ask(*commands))
            time.sleep(0.001)
        return asked

    def until_answered(self, command, kind):
        """Ask until the reply is of a kind."""
        give_up = time.monotonic() + PATIENCE_S
        while kinds(self.ask(command)) != [kind]:
            assert time.monotonic() < give_up
            time.sleep(0.005)

    def told(self, kind):
        return [event.node for event in self.events if isinstance(event, kind)]


@pytest.fixture
def waits(monkeypatch):
    """The waits, in seconds, that sockets were told to make; `ports` has where each of them was connected."""

    class Waits(list):
        def __init__(self):
            super().__init__()
            self.ports = []

        def clear(self):
            super().clear()
            self.ports.clear()

    told = Waits()

    class Telling(socket.socket):
        def settimeout(self, seconds):
            if seconds:
                told.append(seconds)
                with contextlib.suppress(OSError):  # it is not connected
                    told.ports.append(self.getpeername()[1])
            super().settimeout(seconds)

    monkeypatch.setattr(socket, "socket", Telling)
    return told


def test_a_hung_node_is_met_once_then_skipped_and_comes_back_by_a_probe(memcached, waits):
    """SIGSTOP: one round times out, later ones do not wait; SIGCONT: a probe that requests look after finds it."""
    a, b = memcached(), memcached()
    with Bench(a, b) as bench:
        hung, healthy = bench.names
        get = [Get(hung, KEY), Get(healthy, KEY)]
        bench.client.run(bury(bench.names, KEY, b"v"))
        a.stop()
        replies = bench.ask(*get)
        assert kinds(replies) == ["Unreachable", "Hit"]
        assert "no reply within 0.25 s" in replies[0].reason
        for command in (Get(hung, KEY), Add(hung, KEY, b"", 9), Cas(hung, KEY, b"", 9, Token(1, 1))):
            waits.clear()
            assert kinds(bench.ask(command, Get(healthy, KEY))) == ["Skipped", "Hit"]
            assert len(waits) <= 1, "only the healthy one is waited for"
        waits.clear()
        insisting = bench.ask(Get(hung, KEY, force=True), Bury(hung, KEY, b"", 9))
        assert kinds(insisting) == ["Unreachable", "Unreachable"]
        assert "is out, and does not answer a knock" in insisting[0].reason
        assert max(waits) <= 0.05
        assert [bench.client.is_up(name) for name in bench.names] == [False, True]

        a.cont()
        bench.until_answered(Get(hung, KEY), "Hit")
        assert kinds(bench.ask(*get)) == ["Hit", "Hit"]
        assert bench.events == [NodeOut(hung, "no reply within 0.25 s"), NodeBack(hung)]


def test_while_a_node_hangs_no_request_but_the_first_waits_for_it(memcached, waits):
    """Through several probes that nobody answers, requests wait only for the node that is healthy."""
    a, b = memcached(), memcached()
    with Bench(a, b, timeout=timedelta(seconds=0.05)) as bench:
        hung, healthy = bench.names
        bench.client.run(bury(bench.names, KEY, b"v"))
        a.stop()
        bench.ask(Get(hung, KEY))
        outage = bench.client._process.nodes.health._outages
        waits.clear()
        asked = bench.ask_while(lambda: outage[hung].probes < 2, Get(hung, KEY), Get(healthy, KEY))
        assert {tuple(kinds(replies)) for replies in asked} == {("Skipped", "Hit")}
        assert set(waits.ports) <= {b.port}, "each waited for the healthy one only"
        a.cont()


def test_nodes_that_hang_together_cost_one_time_out(memcached, waits):
    """The time-out runs for all nodes at once, whether they were connected or are being connected to."""
    hung = [memcached(), memcached(), memcached()]
    with Bench(*hung) as bench, Bench(*hung) as stranger:
        bench.client.run(bury(bench.names, KEY, b"v"))
        for node in hung:
            node.stop()
        for of in (bench, stranger):
            waits.clear()
            assert set(kinds(of.ask(*(Get(name, KEY) for name in of.names)))) == {"Unreachable"}
            assert sum(wait for wait in waits if wait > 0.2) < 0.3
        for node in hung:
            node.cont()


def test_a_time_that_lay_in_a_probe_is_not_taken(memcached, monkeypatch):
    """A probe's answer that is read long after it came says what time it was, not what time it is."""
    a = memcached()
    with Bench(a) as bench:
        [name] = bench.names
        bench.ask(Get(name, KEY))
        a.stop()
        openings = bench.client._process.nodes._openings
        bench.ask_while(lambda: not openings, Get(name, KEY))
        opening = openings[name]
        while opening._connection._unsent:
            assert opening.look(0.0, 1) is None
        a.cont()
        select.select([opening._connection._door], [], [], PATIENCE_S)
        opening.due = time.monotonic()
        heard = []
        monkeypatch.setattr(bench.client._clock, "observe", lambda *what: heard.append(what))
        assert kinds(bench.ask(Get(name, KEY))) == ["Miss"]
        assert heard == []


def test_late_replies_of_a_hung_node_reach_nobody(memcached):
    """What a node answers after the time-out is never read: everyone gets their own value afterwards."""
    node = memcached()
    with Bench(node) as bench:
        [name] = bench.names
        for number in range(20):
            bench.ask(Bury(name, b"k%d" % number, b"v%d" % number, 60))
        node.stop()
        assert kinds(bench.ask(*(Get(name, b"k%d" % number) for number in range(20)))) == ["Unreachable"] * 20
        node.cont()
        bench.until_answered(Get(name, b"k0"), "Hit")
        found = bench.ask(*(Get(name, b"k%d" % number) for number in range(19, -1, -1)))
        assert [hit.value for hit in found] == [b"v%d" % number for number in range(19, -1, -1)]


def test_a_process_that_was_stopped_finds_its_replies(memcached, monkeypatch):
    """Time is up before the first read: what is in the socket is read, however long, and the node stays up."""
    a, b = memcached(), memcached()
    with Bench(a, b) as bench:
        bench.client.run(bury(bench.names, KEY, b"x" * 900_000))
        send = Exchange._send

        def paused(exchange, asked, replies):
            send(exchange, asked, replies)
            for name in asked:
                select.select([exchange._connections[name]._door], [], [], PATIENCE_S)
                exchange._connections[name].due = time.monotonic() - 1.0

        monkeypatch.setattr(Exchange, "_send", paused)
        replies = bench.ask(*(Get(name, KEY) for name in bench.names))
        assert [len(hit.value) for hit in replies] == [900_000, 900_000]
        assert bench.events == []


def test_a_killed_node_is_refused_then_skipped_and_comes_back(memcached):
    """SIGKILL: the next round knows it without waiting; later ones leave the node alone for a second."""
    a, b = memcached(), memcached()
    with Bench(a, b, timeout=timedelta(seconds=1)) as bench:
        dead, healthy = bench.names
        bench.client.run(bury(bench.names, KEY, b"v"))
        a.kill()
        assert kinds(bench.ask(Bury(dead, KEY, b"w", 60), Get(healthy, KEY))) == ["Unreachable", "Hit"]
        [reply] = bench.ask(Get(dead, KEY, force=True))
        assert f"cannot connect to {a.address}: [Errno " in reply.reason
        assert kinds(bench.ask(Get(dead, KEY), Get(healthy, KEY))) == ["Skipped", "Hit"]
        assert bench.told(NodeOut) == [dead]

        a.start()
        bench.until_answered(Get(dead, KEY), "Miss")
        assert bench.told(NodeBack) == bench.told(NodeForgot) == [dead]


@pytest.mark.parametrize("command", ["get", "add", "bury"])
def test_a_connection_that_was_closed_idle_is_opened_anew(memcached, monkeypatch, command):
    """A restart, or memcached's idle time-out, is no loss of the node: nobody is told so, and no command fails."""
    monkeypatch.setattr(nodes, "RETRY_S", 0.0)
    node = memcached()
    with Bench(node) as bench:
        [name] = bench.names
        bench.ask(Bury(name, KEY, b"v", 60))
        [old] = bench.ask(Get(name, KEY))
        node.restart()
        commands = {"get": Get(name, KEY), "add": Add(name, KEY, b"w", 60), "bury": Bury(name, KEY, b"w", 60)}
        assert kinds(bench.ask(commands[command])) == ["Miss" if command == "get" else "Stored"]
        assert kinds(bench.ask(Cas(name, KEY, b"x", 60, old.token))) == ["Conflict"]
        assert bench.events == [NodeForgot(name)]


def test_a_cas_on_a_connection_that_was_closed_meanwhile_is_a_conflict(memcached, monkeypatch):
    """It is not sent over another connection: after a restart its number may mean another value."""
    monkeypatch.setattr(nodes, "RETRY_S", 0.0)
    node = memcached()
    with Bench(node) as bench:
        [name] = bench.names
        bench.ask(Bury(name, KEY, b"v", 60))
        [old] = bench.ask(Get(name, KEY))
        node.restart()
        assert kinds(bench.ask(Cas(name, KEY, b"x", 60, old.token))) == ["Conflict"]
        assert node.stats()["cmd_set"] == "0"


def test_a_node_that_closes_every_connection_does_not_get_one_from_every_request(runner):
    """It counts as lost, and is tried once a second."""

    async def main():
        async with ScriptedNode(lambda _kind, key, opaque: value(b"v")(key, opaque)) as node:
            node.write = write_and_close
            client = InThreads(BlockingClient(node.pool(), observe=lambda event: None))
            name = node.pool().nodes[0].name
            seen = [kinds(await client.run(rounds([Get(name, KEY)])))[0] for _ in range(30)]
            assert seen[0] == "Hit"
            assert "Skipped" in seen
            assert node.connections < 10
            await client.aclose()

    runner.run(main())


def test_a_node_that_dies_with_commands_in_flight_is_unreachable(runner):
    """A connection that breaks answers everything that was waiting on it, at once."""

    async def main():
        async with ScriptedNode(silent) as node:
            pool = node.pool(timeout=timedelta(seconds=20), budget=timedelta(seconds=20))
            client = InThreads(BlockingClient(pool, observe=lambda event: None))
            name = pool.nodes[0].name
            waiting = asyncio.ensure_future(client.run(rounds([Get(name, KEY), Bury(name, KEY, b"v", 60)])))
            while len(node.commands) < 2:  # noqa: ASYNC110 - a thread sends them
                await asyncio.sleep(0.001)
            await node.__aexit__()
            replies = await waiting
            assert kinds(replies) == ["Unreachable", "Unreachable"]
            assert "lost" in replies[0].reason or "closed" in replies[0].reason
            await client.aclose()

    runner.run(main())


def test_a_node_that_was_never_there_is_refused():
    """Nobody listens: the first request is told so, those in the same second do not try again."""
    with Bench(addresses=[f"127.0.0.1:{free_port()}"]) as bench:
        [name] = bench.names
        bench.client.greet()
        assert not bench.client.is_up(name)
        assert kinds(bench.ask(Get(name, KEY), Add(name, KEY, b"", 9))) == ["Skipped", "Skipped"]
        assert kinds(bench.ask(Get(name, KEY, force=True))) == ["Unreachable"]
        assert bench.told(NodeOut) == [name]


@pytest.mark.parametrize("host", ["nowhere.invalid", "x" * 90])
def test_a_name_that_does_not_resolve_is_a_node_that_is_out(host):
    """A host unknown to the resolver, or one that no host can have, is a node without an answer."""
    with Bench(addresses=[f"{host}:11211"], timeout=timedelta(seconds=1)) as bench:
        assert kinds(bench.ask(Get(bench.names[0], KEY))) == ["Unreachable"]


@pytest.fixture(params=["nobody", "somebody who hangs up"])
def bad_port(request):
    """A port that is of no use, because of this one there."""
    if request.param == "nobody":
        yield free_port()
        return
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def hang_up():
            listening.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        yield listening.getsockname()[1]
        thread.join(PATIENCE_S)


def test_of_a_hosts_addresses_the_next_is_tried(memcached, monkeypatch, bad_port):
    """A name may stand for an address that is of no use, and one that is good."""
    node = memcached()
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda *_, **__: [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", bad_port)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", node.port)),
        ],
    )
    with Bench(addresses=["several:11211"]) as bench:
        assert kinds(bench.ask(Get(bench.names[0], KEY))) == ["Miss"]
        assert bench.events == []


def test_a_round_after_the_deadline_is_not_sent(memcached):
    """Too late is unreachable without a command; a tombstone is sent and waited for all the same."""
    node = memcached()
    with Bench(node) as bench:
        [name] = bench.names
        now = time.monotonic()
        assert kinds(bench.ask(Get(name, KEY), deadline=now)) == ["Unreachable"]
        assert node.stats()["cmd_get"] == "0"
        assert kinds(bench.ask(Bury(name, KEY, b"dead", 60), deadline=now)) == ["Stored"]
        assert kinds(bench.ask(Get(name, KEY), deadline=now + PATIENCE_S)) == ["Hit"]


def test_no_round_waits_beyond_the_deadline(runner):
    """What has answered by the deadline counts, the rest is unreachable; the node stays up and is asked anew."""

    def script(_kind, key, opaque):
        return line(b"EN")(key, opaque) if key == b"fast" else b""

    async def main():
        async with ScriptedNode(script) as node:
            pool = node.pool(timeout=timedelta(seconds=20), budget=timedelta(seconds=20))
            client = InThreads(BlockingClient(pool, observe=lambda event: None))
            name = pool.nodes[0].name
            await client.run(rounds([Get(name, b"fast")]))
            ask = rounds([Get(name, b"fast"), Get(name, b"slow")])
            replies = await client.run(ask, deadline=time.monotonic() + 0.2)
            assert kinds(replies) == ["Miss", "Unreachable"]
            assert "deadline" in replies[1].reason
            assert client.is_up(name)
            assert kinds(await client.run(rounds([Get(name, b"fast")]))) == ["Miss"]
            assert node.connections == 2
            await client.aclose()

    runner.run(main())


def test_two_names_for_one_process_are_an_error(memcached):
    """The incarnation shows that two addresses are one memcached."""
    node = memcached()
    addresses = [f"one=127.0.0.1:{node.port}", f"two=localhost:{node.port}"]
    with Bench(addresses=addresses, timeout=timedelta(seconds=1)) as bench:
        bench.ask(*(Get(name, KEY) for name in bench.names))
        assert bench.events == [SameProcess(("one", "two"))]
        assert len(set(bench.client.incarnations.values())) == 1


def test_the_clock_is_the_pools(runner):
    """A connection brings the node's time, which is what the client's clock then shows."""

    async def main():
        async with ScriptedNode(lambda _kind, key, opaque: line(b"EN")(key, opaque)) as node:
            client = InThreads(BlockingClient(node.pool()))
            assert abs(client.now_ms() - time.time_ns() // 1_000_000) < 5_000
            await client.greet()
            assert abs(client.now_ms() - 1_795_177_655_500) < 5_000
            await client.aclose()

    runner.run(main())


def test_an_observer_that_fails_harms_nobody(memcached, caplog):
    """What an application's observe function raises is logged; the request goes on."""
    node = memcached()

    def failing(event):
        raise LookupError(event)

    pool = Pool(f"one=127.0.0.1:{node.port}", f"two=localhost:{node.port}", timeout=timedelta(seconds=1))
    client = BlockingClient(pool, observe=failing)
    assert kinds(client.run(rounds([Get("one", KEY), Get("two", KEY)]))) == ["Miss", "Miss"]
    client.close()
    assert ["observe function" in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize("where", ["unix", "ipv6"])
def test_nodes_may_be_unix_sockets_and_ipv6_addresses(memcached, tmp_path, where):
    """A visit works the same over them, and errors name the address as people write it."""
    if where == "unix":
        node = memcached(path=str(tmp_path / "m.sock"))
        address = node.path
    else:
        node = memcached(options=["-l", "::1"])
        address = f"[::1]:{node.port}"
    with Bench(addresses=[address]) as bench:
        for found in (None, b"1", b"2"):
            before, replies = bench.client.run(visit(bench.names, KEY, b"%d" % (int(found or 0) + 1)))
            assert (before, kinds(replies)) == (found, ["Stored"])
        node.kill()
        for _ in range(2):
            [reply] = bench.ask(Get(bench.names[0], KEY, force=True))
        assert f"cannot connect to {address}: " in reply.reason


def test_a_long_value_is_written_and_read_on_all_nodes(memcached):
    """What does not fit into the sockets at once is sent on while replies are awaited."""
    a, b = memcached(), memcached()
    with Bench(a, b, timeout=timedelta(seconds=1)) as bench:
        writes = [Bury(name, b"k%d" % number, b"x" * 1_000_000, 60) for number in range(8) for name in bench.names]
        assert set(kinds(bench.ask(*writes))) == {"Stored"}
        reads = bench.ask(*(Get(write.node, write.key) for write in writes))
        assert {len(hit.value) for hit in reads} == {1_000_000}
        assert bench.events == []


@pytest.mark.parametrize("stray", [b"EN k O2\r\n", b"x", b"ERROR Too many open connections\r\n"])
def test_what_comes_unasked_between_two_rounds_is_never_read_as_a_reply(runner, stray):
    """A node that speaks while nothing was asked is not to be trusted: the connection is closed, the node is out."""
    writers = []

    async def write(writer, reply):
        writers.append(writer)
        writer.write(reply)

    async def main():
        async with ScriptedNode(lambda _kind, key, opaque: value(b"mine")(key, opaque)) as node:
            node.write = write
            client = InThreads(BlockingClient(node.pool(), observe=lambda event: None))
            name = node.pool().nodes[0].name
            await client.run(rounds([Get(name, KEY)]))
            connection = client._process._idle[0]._connections[name]
            writers[0].write(stray)
            await asyncio.to_thread(select.select, [connection._door], [], [], PATIENCE_S)
            assert kinds(await client.run(rounds([Get(name, KEY)]))) == ["Skipped"]
            await node.closed.wait()
            assert node.commands == ["get"]
            await client.aclose()

    runner.run(main())
