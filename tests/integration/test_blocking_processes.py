"""One blocking client in many threads, greenlets and processes: who has which connection, and that none is left."""

import gc
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from memsession.blocking import BlockingClient, client
from memsession.commands import Bury, Cas, Get
from memsession.pool import Pool
from tests.replies import KEY
from tests.rounds import kinds, rounds, visit
from tests.servers import PATIENCE_S

PROJECT = Path(__file__).parents[2]


def client_of(*nodes, **options):
    pool = Pool(*(node.address for node in nodes), timeout=timedelta(seconds=1))
    return BlockingClient(pool, **options), [node.name for node in pool.nodes]


def until_alone(node):
    """Wait until memcached has noticed that everybody is gone."""
    node.await_connections(0, 0)


def run_program(name, *arguments):
    done = subprocess.run(
        [sys.executable, "-W", "error", str(PROJECT / "tests" / "programs" / name), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_forked_processes_leave_their_parents_connections_alone(memcached):
    """As with gunicorn's --preload: each process has connections of its own; every visit finds its own value."""
    nodes = [memcached(), memcached()]
    run_program("fork_and_visit_blocking.py", *(node.address for node in nodes))
    for node in nodes:
        until_alone(node)


def test_greenlets_that_are_interrupted_anywhere_harm_nobody(memcached):
    """gevent: 300 visits, each interrupted some turns after it began, while five others check their own markers."""
    pytest.importorskip("gevent")
    nodes = [memcached(), memcached()]
    run_program("gevent_visits.py", *(node.port for node in nodes))
    for node in nodes:
        until_alone(node)


def test_what_another_process_opened_is_closed_and_not_used(memcached):
    """A client that finds itself in another process connects anew; nothing is said over what it found."""
    node = memcached()
    client, names = client_of(node)
    client.run(rounds([Bury(names[0], KEY, b"v", 60)]))
    parents = client._process
    parents.number = 0
    client._processes[0] = client._processes.pop(os.getpid())
    assert client.is_up(names[0])
    client.close()
    assert kinds(client.run(rounds([Get(names[0], KEY)]))) == ["Hit"]
    assert client._process is not parents
    assert parents._idle == []
    node.await_connections(1, 1)
    client.close()


def test_eight_threads_have_their_own_values_and_connections(memcached):
    """200 plans each, all at once: every visit finds its thread's value, over at most eight connections."""
    nodes = [memcached(), memcached()]
    client, names = client_of(*nodes)
    together = threading.Barrier(8, timeout=PATIENCE_S)

    def visits(number):
        key, before = b"memsession:thread-%d" % number, None
        together.wait()
        for turn in range(200):
            value = b"thread %d, turn %d" % (number, turn)
            found, replies = client.run(visit(names, key, value))
            assert (found, kinds(replies)) == (before, ["Stored", "Stored"])
            before = value

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(visits, range(8)))
    for node in nodes:
        node.await_connections(1, 8)
    client.close()
    for node in nodes:
        until_alone(node)


def test_one_after_the_other_is_one_connection(memcached):
    """Plans that never run at the same moment share one connection to each node, in whatever threads."""
    node = memcached()
    client, names = client_of(node)
    for _ in range(5):
        thread = threading.Thread(target=client.run, args=(visit(names, KEY, b"v"),))
        thread.start()
        thread.join(PATIENCE_S)
    node.await_connections(1, 1)
    client.close()


def test_a_save_goes_over_the_connection_that_its_token_came_from(memcached):
    """Several are idle, and another one was used last: the plan whose first round has a token gets the right one."""
    node = memcached()
    client, [name] = client_of(node)
    client.run(rounds([Bury(name, KEY, b"v", 60)]))
    hits = []

    def plan(depth):
        [hit] = yield [Get(name, KEY)]
        hits.append(hit)
        if depth:
            client.run(plan(depth - 1))

    client.run(plan(3))
    node.await_connections(4, 4)
    assert len({hit.token.connection for hit in hits}) == 4
    for number, hit in enumerate([hits[2], hits[0], hits[3], hits[1]]):
        [before] = client.run(rounds([Get(name, KEY)]))
        token = hit.token._replace(cas=before.token.cas)
        assert kinds(client.run(rounds([Cas(name, KEY, b"%d" % number, 60, token)]))) == ["Stored"]
    client.close()


def test_no_more_are_kept_than_needed(memcached, monkeypatch):
    """Connections of a rush hour are closed when it is over, but for as many as are worth keeping."""
    monkeypatch.setattr(client, "IDLE_MAX", 2)
    node = memcached()
    blocking, [name] = client_of(node)

    def plan(depth):
        yield [Get(name, KEY)]
        if depth:
            blocking.run(plan(depth - 1))

    blocking.run(plan(5))
    assert len(blocking._process._idle) == 2
    blocking.close()
    until_alone(node)


def test_it_closes_and_can_be_used_again(memcached):
    """close is repeatable, before the first use and after the last; what is in use is closed when it comes back."""
    node = memcached()
    client, [name] = client_of(node)
    client.close()
    for _ in range(2):
        assert kinds(client.run(rounds([Bury(name, KEY, b"v", 60)]))) == ["Stored"]
        node.await_connections(1, 1)
        client.close()
        client.close()
        until_alone(node)

    def plan():
        yield [Get(name, KEY)]
        client.close()
        return (yield [Get(name, KEY)])

    assert kinds(client.run(plan())) == ["Hit"]
    until_alone(node)


def test_a_forgotten_client_closes_its_connections(memcached):
    """A client that nobody holds any more does not keep a node busy."""
    node = memcached()
    client, [name] = client_of(node)
    client.run(rounds([Get(name, KEY)]))
    del client
    gc.collect()
    until_alone(node)


def test_nodes_are_met_before_the_first_plan(memcached):
    """greet finds out who is there and who is not, and the first plan uses what it opened."""
    up, dead = memcached(), memcached()
    dead.kill()
    told = []
    client, names = client_of(up, dead, observe=told.append)
    client.greet()
    assert [client.is_up(name) for name in names] == [True, False]
    assert [event.node for event in told] == [names[1]]
    assert client.incarnations.keys() == {names[0]}
    total = int(up.stats()["total_connections"])
    assert kinds(client.run(rounds([Get(names[0], KEY)]))) == ["Miss"]
    assert int(up.stats()["total_connections"]) == total + 1, "only the one that asks this"
    client.close()


def test_a_plan_that_asks_nothing_needs_no_connection(memcached):
    """A plan without rounds, and a round without commands."""
    node = memcached()
    client, _ = client_of(node)

    def nothing():
        return "at once"
        yield []

    assert client.run(nothing()) == "at once"
    assert client.run(rounds([])) == []
    until_alone(node)
    client.close()
