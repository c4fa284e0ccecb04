"""The thread behind the requests: how it starts, ends, forks and dies, on real memcached."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import flask
import pytest

from memsession import Lifetime, Pool
from memsession import caretaker as module
from memsession.caretaker import Caretaker
from memsession.events import NodeOut, RefillDone, RefillFailed, UpkeepFailed
from memsession.flask import MemSession, session
from memsession.plans import INVALIDATED
from memsession.secret import secret_keys
from memsession.upkeep import Keeper, Pause, Upkeep, keeper, lease, pace
from tests.web import SECRET

KEYS = secret_keys(SECRET)
OTHER = "another secret of more than thirty-two bytes"
PATIENCE_S = 30.0
PROJECT = Path(__file__).parents[2]

pytestmark = pytest.mark.upkeep


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch):
    monkeypatch.setattr(keeper, "TICK_S", 0.02)
    monkeypatch.setattr(pace, "AGAIN_S", 0.1)
    monkeypatch.setattr(lease, "RENEW_S", 0.1)
    monkeypatch.setattr(lease, "LEASE_S", 3.0)


def until(condition):
    give_up = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.005)


def threads():
    return [one for one in threading.enumerate() if one.name == "memsession upkeep"]


@pytest.fixture
def told():
    return []


@pytest.fixture
def nodes(memcached):
    return [memcached(), memcached()]


@pytest.fixture
def pool(nodes):
    return Pool(*(f"{name}=127.0.0.1:{node.port}" for name, node in zip("ab", nodes, strict=True)))


@pytest.fixture
def made(pool, told):
    """A caretaker; it is stopped in the end."""
    caretaker = Caretaker(pool, keys=KEYS, lifetime=Lifetime(), observe=told.append, options=Upkeep())
    yield caretaker
    caretaker.stop()


def has(told, kind, **fields):
    return [one for one in told if isinstance(one, kind) and all(getattr(one, k) == v for k, v in fields.items())]


def test_many_threads_start_one(made):
    """They all come with the first requests of a process."""
    barrier = threading.Barrier(16)

    def start():
        barrier.wait()
        made.start()

    before = len(threads())
    callers = [threading.Thread(target=start) for _ in range(16)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()

    assert len(threads()) == before + 1


def test_it_can_be_stopped_and_started_again(made, told):
    """As often as an application's lifespan comes and goes; the lease is given back each time."""
    before = len(threads())
    for turn in range(1, 4):
        made.start()
        shift = made._shift
        until(lambda shift=shift: shift.keeper._post.lease.is_held)
        made.stop()
        made.stop()
        assert len(threads()) == before, turn
    made.start()
    until(lambda: len(has(told, RefillDone)) >= 2)


def test_a_caretaker_that_nobody_has_ends_its_thread(pool):
    """Applications come and go in a test suite."""
    before = len(threads())
    caretaker = Caretaker(pool, keys=KEYS, lifetime=Lifetime(), observe=print, options=Upkeep())
    caretaker.start()
    assert len(threads()) == before + 1
    del caretaker
    gc.collect()
    until(lambda: len(threads()) == before)


def test_no_thread_to_be_had_is_no_error_of_a_request(made, told, monkeypatch):
    """It is told, and requests go on."""

    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    made.start()
    made.start()
    made.stop()

    assert [event.reason for event in has(told, UpkeepFailed)] == ["no thread can be started: can't start new thread"]


def test_a_stop_does_not_wait_for_a_refill_to_end(made, monkeypatch):
    """Whatever it does, it looks up between two steps."""
    reached = threading.Event()

    def endless(self):
        while True:
            reached.set()
            yield Pause(0.0)

    monkeypatch.setattr(Keeper, "run", endless)
    made.start()
    assert reached.wait(PATIENCE_S)
    thread = made._shift._thread
    made.stop()
    thread.join(PATIENCE_S)

    assert not thread.is_alive()


def test_a_stop_does_not_wait_for_a_listing_to_end(made, monkeypatch):
    """Nor for millions of keys."""
    reached = threading.Event()

    def endless(node, **_):
        while True:
            reached.set()
            yield [b"memsession:" + b"x" * 43]

    monkeypatch.setattr(module, "keys", endless)
    made.start()
    assert reached.wait(PATIENCE_S)
    thread = made._shift._thread
    made.stop()
    thread.join(PATIENCE_S)

    assert not thread.is_alive()


def test_a_node_that_left_the_pool_is_not_listed(made):
    """Whoever asks for it learns that it is gone."""
    made.start()
    with pytest.raises(ConnectionError, match="not in the pool"):
        next(made._shift._listed("gone"))


def test_an_observer_that_raises_stops_nothing(pool, nodes):
    """It is logged, and the work goes on."""
    heard = []

    def observe(event):
        heard.append(event)
        raise ValueError("not mine")

    caretaker = Caretaker(pool, keys=KEYS, lifetime=Lifetime(), observe=observe, options=Upkeep())
    caretaker.start()
    try:
        until(lambda: len(has(heard, RefillDone)) == 2)
        nodes[0].restart()
        until(lambda: len(has(heard, RefillDone, node="a")) == 2)
    finally:
        caretaker.stop()


def test_requests_tell_it_what_they_met(made, told):
    """Before it has begun, it is not told; their observer is told in any case."""
    tell = made.listening(told.append)
    tell(NodeOut("a", "test"))
    made.missed(b"memsession:x", INVALIDATED, ("a",))
    made.start()
    until(lambda: len(has(told, RefillDone)) >= 2)
    tell(NodeOut("a", "test"))
    until(lambda: len(has(told, RefillDone, node="a")) >= 2)

    assert len(has(told, NodeOut)) == 2


def test_other_secrets_count_behind_the_requests_as_well(made):
    """Sessions sealed with the new one are read there."""
    made.start()
    shift = made._shift
    before = shift.keeper._post
    made.go_by(KEYS, Lifetime())
    assert shift.keeper._post is before
    made.go_by(secret_keys(OTHER), Lifetime())
    assert shift.keeper._post is not before


def test_flask_passes_changed_configuration_on(pool):
    """A secret that was put in front at run time."""
    app = flask.Flask(__name__)
    app.secret_key = SECRET
    extension = MemSession(app, pool=pool)

    @app.get("/")
    def visit():
        return str(session.increment("n"))

    client = app.test_client()
    client.get("/", base_url="https://localhost")
    caretaker = extension._sessions(app)._service.caretaker
    try:
        post = caretaker._shift.keeper._post
        app.config.update(SECRET_KEY=OTHER, SECRET_KEY_FALLBACKS=[SECRET])
        assert client.get("/", base_url="https://localhost").text == "2"
        assert caretaker._shift.keeper._post is not post
    finally:
        caretaker.stop()


def test_nothing_misleading_is_told_when_all_ends_at_once(made, told, nodes):
    """memcached and the web server are stopped together."""
    made.start()
    until(lambda: len(has(told, RefillDone)) == 2)
    told.clear()
    for node in nodes:
        node.kill()
    made.stop()

    assert [event for event in told if not isinstance(event, RefillFailed)] == []


@pytest.fixture
def alone(pool):
    """Processes with a caretaker; what they print can be read."""
    begun = []

    def start():
        where = ",".join(f"{node.name}={node.host}:{node.port}" for node in pool.nodes)
        begun.append(
            subprocess.Popen(
                [sys.executable, "-m", "tests.programs.upkeep_alone", where],
                cwd=PROJECT,
                env={**os.environ, "PYTHONPATH": str(PROJECT)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return begun[-1]

    yield start
    for process in begun:
        if process.poll() is None:
            process.kill()
        process.communicate()


def lines_until(process, wanted):
    for line in process.stdout:
        if line.strip() == wanted:
            return
    raise AssertionError(process.communicate())


def test_a_worker_that_is_killed_is_replaced(alone, made, told, nodes):
    """It had the lease, which runs out."""
    process = alone()
    lines_until(process, "RefillDone b")
    made.start()
    os.kill(process.pid, signal.SIGKILL)
    nodes[0].restart()
    until(lambda: has(told, RefillDone, node="a"))


def test_the_interpreter_ends_quietly_while_it_works(alone, made, told, nodes):
    """No traceback, no hang; and the lease is free at once."""
    process = alone()
    lines_until(process, "RefillDone b")
    _, errors = process.communicate("end\n", timeout=PATIENCE_S)

    assert (process.returncode, errors) == (0, "")


def test_a_forked_process_starts_its_own(made, told):
    """gunicorn with --preload: what the parent began does not run in its children."""
    made.start()
    until(lambda: len(has(told, RefillDone)) == 2)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            made.missed(b"memsession:x", INVALIDATED, ("a",))
            made.adopt(made._pool)
            if made._here() is None and not made.has_moved:
                made.start()
                shift = made._here()
                until(lambda: shift.keeper._post.lease._asked_at is not None)
                made.stop()
                status = 0
        finally:
            os._exit(status)

    assert os.waitpid(pid, 0)[1] == 0
    assert made._shift._thread.is_alive()


def test_the_end_of_the_interpreter_ends_all(made):
    """In time, before daemon threads are cut off."""
    made.start()
    thread = made._shift._thread
    module._end_all()

    assert not thread.is_alive()


def test_a_farewell_that_fails_is_nobodys_concern(made, told, monkeypatch):
    """The lease runs out by itself."""

    def fail(self):
        raise RuntimeError("sabotage")

    monkeypatch.setattr(Keeper, "farewell", fail)
    made.start()
    thread = made._shift._thread
    made.stop()

    assert not thread.is_alive()
    assert has(told, UpkeepFailed) == []


def test_an_error_is_not_waited_out_when_it_ends(made, told, monkeypatch):
    """The pause after an error ends with the process."""

    def fail(self):
        raise RuntimeError("sabotage")
        yield

    monkeypatch.setattr(Keeper, "run", fail)
    made.start()
    thread = made._shift._thread
    until(lambda: has(told, UpkeepFailed))
    made.stop()

    assert not thread.is_alive()
