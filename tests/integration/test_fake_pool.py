"""`FakePool`: its faults are those of real memcached processes, and what it says of its nodes is true."""

import asyncio
import itertools
import multiprocessing
import secrets
import socket
import threading
import warnings
from contextlib import contextmanager

import pytest
from flask import Flask
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from memsession import ConfigurationError, Pool
from memsession.aio import AsyncClient
from memsession.asgi import SessionMiddleware
from memsession.blocking import BlockingClient
from memsession.blocking.listing import keys
from memsession.commands import Bury, Get
from memsession.events import NodeBack, NodeOut
from memsession.flask import MemSession
from memsession.flask import session as flask_session
from memsession.testing import FakePool
from memsession.testing import fake_node as nodes_of_fakes
from tests.rounds import InThreads, kinds, rounds
from tests.servers import Memcached
from tests.web import SECRET

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that it prefers httpx's successor
    from starlette.testclient import TestClient

PATIENCE_S = 30.0
KEY = b"memsession:k"


class Fake:
    """A fake node, with the names that the tests use for a process."""

    def __init__(self):
        self.pool = FakePool(nodes=1)
        self.port = self.pool.pool.nodes[0].port

    def kill(self):
        self.pool.stop(0)

    def start(self):
        self.pool.start(0)

    def flush(self):
        self.pool.empty(0)

    def pause(self):
        self.pool.pause(0)

    def resume(self):
        self.pool.resume(0)

    def close(self):
        self.pool.close()


class Real(Memcached):
    """A memcached process."""

    def __init__(self):
        super().__init__()
        super().start()

    def pause(self):
        super().stop()

    def resume(self):
        super().cont()

    def close(self):
        super().kill()


@pytest.fixture(params=[Fake, Real])
def node(request):
    node = request.param()
    yield node
    node.close()


@pytest.fixture
def fake():
    with FakePool(nodes=3, copies=2) as fake:
        yield fake


def connected(port):
    """A connection, whether or not somebody serves it."""
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)


def port_of(fake, name):
    """The port of a node."""
    return next(node.port for node in fake.pool.nodes if node.name == name)


def ask(door, line, end=b"\r\n"):
    """Send a line; the reply to it."""
    door.sendall(line + b"\r\n")
    return hear(door, end)


def hear(door, end):
    """What comes, up to and with `end`; less if the connection ends."""
    answer = bytearray()
    while not answer.endswith(end):
        piece = door.recv(65_536)
        if not piece:
            break
        answer += piece
    return bytes(answer)


def is_silent(door):
    """Nothing comes. A loop that runs would have answered within this time."""
    door.settimeout(0.1)
    try:
        return door.recv(1, socket.MSG_PEEK) is None
    except TimeoutError:
        return True
    finally:
        door.settimeout(PATIENCE_S)


def has_ended(door):
    """The other side has closed the connection, or reset it."""
    try:
        return door.recv(1) == b""
    except ConnectionResetError:
        return True


def test_a_stopped_node_refuses_and_comes_back_empty(node):
    """Killed: open connections end, new ones are refused; started: the same port, nothing there, numbers from 1."""
    with connected(node.port) as door:
        assert ask(door, b"ms k 1 c T60\r\nv") == b"HD c1\r\n"
        node.kill()
        assert has_ended(door)
    with pytest.raises(ConnectionRefusedError):
        connected(node.port)
    node.start()
    with connected(node.port) as door:
        assert ask(door, b"mg k v") == b"EN\r\n"
        assert ask(door, b"ms k 1 c T60\r\nv") == b"HD c1\r\n"


def test_a_paused_node_answers_later_what_was_sent(node):
    """Hung: it takes connections and bytes and is silent; afterwards it answers all of that, and forgot nothing."""
    with connected(node.port) as before:
        ask(before, b"ms k 3 c T60\r\nold")
        node.pause()
        with connected(node.port) as meanwhile:
            before.sendall(b"mg k v\r\nms k 3 T60\r\nnew\r\n")
            assert is_silent(before)
            node.resume()
            assert hear(before, b"HD\r\n") == b"VA 3\r\nold\r\nHD\r\n"
            assert ask(meanwhile, b"mg k v", b"new\r\n") == b"VA 3\r\nnew\r\n"


def test_half_a_command_waits_for_its_other_half(node):
    """Also over a pause."""
    with connected(node.port) as door:
        door.sendall(b"ms k 5 T60\r\nva")
        node.pause()
        door.sendall(b"lu")
        node.resume()
        assert ask(door, b"e") == b"HD\r\n"
        assert ask(door, b"mg k v", b"e\r\n") == b"VA 5\r\nvalue\r\n"


def test_an_emptied_node_keeps_connections_and_numbers(node):
    """Flushed: the same connection finds nothing, and CAS numbers go on."""
    with connected(node.port) as door:
        ask(door, b"ms k 1 T60\r\nv")
        node.flush()
        assert ask(door, b"mg k v") == b"EN\r\n"
        assert int(ask(door, b"ms k 1 c T60\r\nv")[4:-2]) > 1


def test_a_killed_node_that_hung_is_gone(node):
    """A process may be killed while it hangs."""
    with connected(node.port):
        node.pause()
        node.kill()
    with pytest.raises(ConnectionRefusedError):
        connected(node.port)


def test_long_values_and_many_commands_at_once(node):
    """More than the sockets hold, sent before anything is read."""
    value = b"v" * 1_000_000
    with connected(node.port) as door:
        sender = threading.Thread(target=door.sendall, args=(b"ms k %d\r\n%b\r\n" % (len(value), value),))
        sender.start()
        assert hear(door, b"\r\n") == b"HD\r\n"
        sender.join()
        door.sendall(b"mg k v\r\n" * 40 + b"mn\r\n")
        answer = hear(door, b"MN\r\n")
        assert len(answer) == 40 * (len(b"VA 1000000\r\n") + len(value) + 2) + 4


def test_a_cut_node_is_silent_and_loses_what_was_sent(fake):
    """Cut off: silence on old and new connections; healed: these are reset, nothing of it was done, all is kept."""
    port = port_of(fake, "fake-0")
    with connected(port) as before:
        ask(before, b"ms k 3 T60\r\nold")
        fake.cut(0)
        with connected(port) as meanwhile:
            for door in (before, meanwhile):
                door.sendall(b"ms k 3 T60\r\nnew\r\n")
                assert is_silent(door)
            fake.heal(0)
            for door in (before, meanwhile):
                with pytest.raises(ConnectionResetError):
                    door.recv(1)
    with connected(port) as door:
        assert ask(door, b"mg k v", b"old\r\n") == b"VA 3\r\nold\r\n"


def test_nobody_sees_behind_a_cut_road(fake):
    """A process that stops or starts meanwhile is silent like one that runs; afterwards it is as it was left."""
    port = port_of(fake, "fake-0")
    with connected(port) as door:
        fake.cut(0)
        fake.stop(0)
        assert is_silent(door)
        with connected(port) as another:
            assert is_silent(another)
            assert fake.state(0) == "stopped, cut"
            fake.heal(0)
            with pytest.raises(ConnectionResetError):
                another.recv(1)
    with pytest.raises(ConnectionRefusedError):
        connected(port)
    fake.cut(0)
    fake.start(0)
    assert fake.state("fake-0") == "up, cut"
    fake.heal(0)
    with connected(port) as door:
        assert ask(door, b"mn") == b"MN\r\n"


def test_a_node_that_is_cut_and_paused_needs_both_cures(fake):
    """Healed alone it still hangs."""
    port = port_of(fake, "fake-0")
    fake.cut(0)
    fake.pause(0)
    fake.heal(0)
    with connected(port) as door:
        door.sendall(b"mn\r\n")
        assert is_silent(door)
        fake.resume(0)
        assert hear(door, b"\r\n") == b"MN\r\n"


def test_a_stopped_node_keeps_its_port(fake):
    """Nobody else gets it, so the node comes back where it was."""
    port = port_of(fake, "fake-1")
    fake.stop(1)
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    fake.start(1)
    with connected(port) as door:
        assert ask(door, b"mn") == b"MN\r\n"


def test_what_is_done_twice_is_done_once(fake):
    """A start of what runs changes nothing, nor a second stop, cut, heal, pause or resume."""
    with connected(port_of(fake, "fake-0")) as door:
        ask(door, b"ms k 1 T60\r\nv")
        for step in (fake.start, fake.resume, fake.heal, fake.pause, fake.pause, fake.resume, fake.resume):
            step(0)
        assert ask(door, b"mg k") == b"HD\r\n"
    for step, state in ((fake.cut, "up, cut"), (fake.heal, "up"), (fake.stop, "stopped"), (fake.start, "up")):
        step(0)
        step(0)
        assert fake.state(0) == state


def test_names_and_places_and_many_at_once(fake):
    """A node is named by its place, from either end, or by its name."""
    fake.stop(0, "fake-1", -1)
    assert repr(fake) == "<FakePool fake-0 stopped; fake-1 stopped; fake-2 stopped>"
    fake.start(*fake.nodes)
    fake.pause(2)
    assert [fake.state(name) for name in fake.nodes] == ["up", "up", "paused"]


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        (lambda fake: fake.stop(3), "there is no node 3: name one of 0 or 'fake-0', 1 or 'fake-1', 2 or 'fake-2'"),
        (lambda fake: fake.stop(-4), "there is no node -4"),
        (lambda fake: fake.stop(True), "there is no node True"),
        (lambda fake: fake.cut("cache-a"), "there is no node 'cache-a'"),
        (lambda fake: fake.stop(0, 7), "there is no node 7"),
        (lambda fake: fake.stop(), "which node"),
        (lambda fake: (fake.stop(0), fake.pause(0)), "fake-0 is stopped and cannot hang"),
        (lambda fake: (fake.stop(0), fake.empty(0)), "fake-0 is stopped and holds nothing"),
        (lambda fake: (fake.pause(0), fake.start(0)), r"use resume\(\), or stop\(\) before start\(\)"),
    ],
)
def test_what_makes_no_sense_is_an_error_that_says_why(fake, step, problem):
    """With the cure; of a call for several nodes with one that is unknown nothing is done."""
    with pytest.raises(ConfigurationError, match=problem):
        step(fake)
    assert "fake-2 up" in repr(fake)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"nodes": 0}, "no nodes"),
        ({"nodes": ["a", "a"]}, "different names"),
        ({"nodes": "abc"}, "different names"),
        ({"nodes": ["a b"]}, "name"),
        ({"copies": 3}, "copies=3"),
        ({"copie": 1}, "did you mean copies"),
    ],
)
def test_wrong_settings_are_errors_at_once(settings, problem):
    """As in `Pool`; no thread and no port is left."""
    threads = threading.active_count()
    with pytest.raises(ConfigurationError, match=problem):
        FakePool(**settings)
    assert threading.active_count() == threads


def test_settings_are_those_of_a_pool():
    """Names that decide where sessions lie, and whatever else `Pool` knows."""
    with FakePool(nodes=["a", "b", "c"], copies=3, prefix="shop") as fake:
        assert [node.name for node in fake.pool.nodes] == ["a", "b", "c"] == list(fake.nodes)
        assert (fake.pool.copies, fake.pool.prefix) == (3, "shop")
        assert fake.homes("x" * 43) == Pool("a=10.0.0.1", "b=10.0.0.2", "c=10.0.0.3", copies=3).homes(
            b"shop:" + b"x" * 43
        )


def test_after_its_end_nothing_is_left():
    """No port, no thread, no open connection; a second end is harmless, everything else an error that says why."""
    threads = threading.active_count()
    with FakePool(nodes=2) as fake:
        port = port_of(fake, "fake-0")
        door = connected(port)
        assert ask(door, b"mn") == b"MN\r\n"
        fake.pause(0)
        fake.cut(1)
    fake.close()

    with door, pytest.raises(ConnectionResetError):
        door.recv(1)
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
    assert threading.active_count() == threads
    assert repr(fake) == "<FakePool, closed>"
    with pytest.raises(ConfigurationError, match="is closed"):
        fake.stop(0)


def test_a_forked_process_may_ask_but_not_command():
    """The nodes live in the process that made them; another one is told so instead of waiting for ever."""
    with FakePool(nodes=1) as fake:
        context = multiprocessing.get_context("fork")
        told = context.SimpleQueue()

        def child():
            with connected(port_of(fake, "fake-0")) as door:
                told.put(ask(door, b"mn"))
            try:
                fake.stop(0)
            except ConfigurationError as error:
                told.put(str(error))

        process = context.Process(target=child)
        process.start()
        process.join(PATIENCE_S)
        assert told.get() == b"MN\r\n"
        assert "belongs to the process that forked this one" in told.get()
        assert fake.state(0) == "up"


def test_too_many_connections_are_told_so(fake, monkeypatch):
    """As memcached tells it, and then they are closed."""
    monkeypatch.setattr(nodes_of_fakes, "CONNECTIONS_MAX", 2)
    port = port_of(fake, "fake-0")
    with connected(port) as first, connected(port) as second, connected(port) as third:
        assert ask(first, b"mn") == ask(second, b"mn") == b"MN\r\n"
        assert hear(third, b"never") == b"ERROR Too many open connections\r\n"


def test_a_full_node_forgets_the_least_used():
    """`items_max` of them stay."""
    with FakePool(nodes=1, items_max=3) as fake, connected(port_of(fake, "fake-0")) as door:
        for key in (b"a", b"b", b"c"):
            ask(door, b"ms %b 1\r\nv" % key)
        ask(door, b"mg a")
        ask(door, b"ms d 1\r\nv")
        assert [ask(door, b"mg " + key) for key in (b"a", b"b", b"c", b"d")] == [
            *(b"HD\r\n", b"EN\r\n", b"HD\r\n", b"HD\r\n")
        ]
        assert b"STAT evictions 1\r\n" in ask(door, b"stats", b"END\r\n")


@pytest.fixture(params=["asyncio", "blocking"])
def client_of(request):
    """Makes a client of a pool."""
    if request.param == "asyncio":
        return lambda pool, observe: AsyncClient(pool, observe=observe)
    return lambda pool, observe: InThreads(BlockingClient(pool, observe=observe))


@pytest.mark.parametrize(("fault", "cure"), [("stop", "start"), ("pause", "resume"), ("cut", "heal")])
async def test_both_clients_notice_every_fault_and_its_end(fake, client_of, fault, cure):
    """A node that is stopped, hangs or is cut off is out of use, the others answer; afterwards it is back in use."""
    told = []
    client = client_of(fake.pool, lambda event: told.append(type(event)))
    try:
        await client.run(rounds([Bury(name, KEY, b"v", 60) for name in fake.nodes]))
        getattr(fake, fault)(0)
        lost, *others = await client.run(rounds([Get(name, KEY) for name in fake.nodes]))
        assert (kinds([lost])[0] in ("Unreachable", "Skipped"), kinds(others)) == (True, ["Hit", "Hit"])
        assert told.count(NodeOut) == 1
        getattr(fake, cure)(0)
        async with asyncio.timeout(PATIENCE_S):
            while NodeBack not in told:
                await client.run(rounds([Get("fake-0", KEY)]))
                await asyncio.sleep(0.001)
        replies = await client.run(rounds([Get("fake-0", KEY)]))
        assert kinds(replies) == (["Miss"] if fault == "stop" else ["Hit"])
    finally:
        await client.aclose()


def flask_visits(pool, observe):
    """Visits of one browser to a Flask application."""
    app = Flask(__name__)
    app.secret_key = SECRET
    MemSession(app, pool=pool, observe=observe)
    app.add_url_rule("/", view_func=lambda: str(flask_session.increment("n")))
    client = app.test_client()
    yield lambda: int(client.get("/").text)


def starlette_visits(pool, observe):
    """Visits of one browser to a Starlette application."""

    async def count(request):
        return PlainTextResponse(str(request.session.increment("n")))

    middleware = [Middleware(SessionMiddleware, secret_key=SECRET, pool=pool, observe=observe)]
    with TestClient(Starlette(routes=[Route("/", count)], middleware=middleware)) as client:
        yield lambda: int(client.get("/").text)


@pytest.mark.parametrize("visits", [flask_visits, starlette_visits])
@pytest.mark.parametrize(("fault", "cure"), [("stop", "start"), ("pause", "resume"), ("cut", "heal"), ("empty", "")])
def test_a_visitor_notices_nothing(fake, visits, fault, cure):
    """What users test: one home of a session fails and returns, then the other one dies, and the count goes on."""
    told, count = [], itertools.count(1)
    with contextmanager(visits)(fake.pool, lambda event: told.append(type(event))) as visit:
        assert visit() == next(count)
        [session_id] = fake.sessions()
        first, second = fake.homes(session_id)
        assert set(fake.holders(session_id)) == {first, second}
        getattr(fake, fault)(first)
        assert [visit(), visit()] == [next(count), next(count)]
        if cure:
            assert NodeOut in told
            getattr(fake, cure)(first)
            while NodeBack not in told:
                assert visit() == next(count)
        assert [visit(), visit()] == [next(count), next(count)]
        assert set(fake.holders(session_id)) == {first, second}
        fake.stop(second)
        assert [visit(), visit()] == [next(count), next(count)]
        assert fake.holders(session_id) == (first,)


def test_listings_list_the_sessions(fake):
    """The upkeep's way to ask works here as well."""
    door_keys = [b"memsession:" + secrets.token_urlsafe(32).encode() for _ in range(2_000)]
    with connected(port_of(fake, "fake-0")) as door:
        door.sendall(b"".join(b"ms %b 1 T60 q\r\nv\r\n" % key for key in [*door_keys, b"memsession:node", b"x"]))
        assert ask(door, b"mn") == b"MN\r\n"

    listed = keys(fake.pool.nodes[0], timeout_s=PATIENCE_S, prefix="memsession")
    assert sorted(key for batch in listed for key in batch) == sorted(door_keys)
    assert fake.sessions(0) == {key[11:].decode() for key in door_keys} == fake.sessions()
    assert fake.sessions(1, 2) == frozenset()


def test_two_pools_at_once_are_two_pools():
    """Each has nodes, ports and contents of its own."""
    with FakePool(nodes=1) as one, FakePool(nodes=1) as other:
        with connected(port_of(one, "fake-0")) as door:
            ask(door, b"ms k 1\r\nv")
        with connected(port_of(other, "fake-0")) as door:
            assert ask(door, b"mg k") == b"EN\r\n"
