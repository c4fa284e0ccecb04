"""`memsession bench`: a short load on sessions of its own, its figures, and that it leaves nothing behind."""

import json
import re
import sys
import time
from array import array

import pytest
from rich.console import Console

from memsession.command import bench, load
from memsession.command.load import LoadTest, percentile
from memsession.plans import Found, Gone, Unconfirmed
from tests.command_line import memsession, process
from tests.listeners import listener, says, speaks_tls
from tests.pools import RealPool
from tests.servers import free_port

SHORT = ("--seconds", "0.2", "--threads", "2", "--sessions", "20")


@pytest.fixture
def stage(memcached):
    stage = RealPool([memcached(), memcached()])
    yield stage
    stage.close()


def benched(stage, *arguments):
    """What is told to programs, and the exit code."""
    answer = memsession("bench", stage.text, "--json", *SHORT, *arguments)
    return json.loads(answer.out), answer.code


def items(node):
    """The keys that a node holds, and for how many seconds more."""
    lines = node.ask(b"lru_crawler metadump all", until=b"END\r\n").decode().splitlines()
    rows = [dict(pair.split("=", 1) for pair in line.split()) for line in lines if line.startswith("key=")]
    return {row["key"].replace("%3A", ":"): int(row["exp"]) - time.time() for row in rows}


def test_the_figures(stage):
    """Reading and writing, each with its count and times; no secret is needed."""
    data, code = benched(stage)

    assert code == 0
    assert data["errors"] == {}
    assert data["threads"] == 2
    assert data["seconds"] >= 0.2
    assert data["requests"] == data["load"]["count"] > 20
    assert 0 < data["save"]["count"] < data["load"]["count"]
    for kind in ("load", "save"):
        assert 0 < data[kind]["p50_ms"] <= data[kind]["p99_ms"] <= data[kind]["max_ms"]
    assert data["requests_per_s"] == pytest.approx(data["requests"] / data["seconds"], rel=0.01)
    assert data["nodes"] == [{"name": name, "state": "up", "problem": "", "went_out": 0} for name in stage.nodes]


def test_the_table(stage):
    """The same for people."""
    answer = memsession("bench", stage.text, *SHORT)

    assert answer.code == 0
    assert re.search(r"requests/s: 2 threads, 0\.\d s, 20 sessions of 1,000 bytes, 50 % with", answer.words)
    assert re.search(r"^load +[\d,]+ +[\d,]+ +\d+\.\d\d +\d+\.\d\d +\d+\.\d\d", answer.out, re.MULTILINE)
    assert "no errors" in answer.out
    assert "a: up." in answer.out


def test_nothing_is_left(stage):
    """What it stored is over, and memcached forgets it in two seconds; real sessions are as they were."""
    key = stage.born()
    before = stage.held(key)
    assert benched(stage)[1] == 0
    for node in stage.nodes.values():
        left = items(node)
        assert {name: left_s for name, left_s in left.items() if "-bench-" in name and left_s > 2.0} == {}
        assert key.decode() in left
    assert stage.held(key) == before


def test_its_sessions_lie_under_a_prefix_of_their_own(stage, monkeypatch):
    """Drawn anew each time; and they expire soon, should nobody end them."""
    monkeypatch.setattr(LoadTest, "_end", lambda *_: None)
    for _ in range(2):
        benched(stage)
    left = items(stage.nodes["a"])
    ours = {name: left_s for name, left_s in left.items() if "-bench-" in name}

    assert len(ours) == 40
    assert len({name.partition(":")[0] for name in ours}) == 2
    assert all(re.fullmatch(r"memsession-bench-[0-9a-f]{8}:[\w-]{43}", name) for name in ours)
    assert max(ours.values()) < 120


def test_only_reading(stage):
    """There is nothing to say of writing then."""
    data, code = benched(stage, "--writes", "0")
    answer = memsession("bench", stage.text, *SHORT, "--writes", "0")

    assert code == answer.code == 0
    assert data["save"] == {"count": 0, "per_s": 0.0, "p50_ms": None, "p99_ms": None, "max_ms": None}
    assert re.search(r"^save +0 +0 *$", answer.out, re.MULTILINE)


def test_strict_mode(memcached):
    """The pool as the application has it."""
    stage = RealPool([memcached(), memcached(), memcached()], copies=3, consistency="majority")
    data, code = benched(stage, "--consistency", "majority")
    stage.nodes["b"].kill()
    stage.nodes["c"].kill()
    lost, failed = benched(stage, "--consistency", "majority")
    stage.close()

    assert (code, failed) == (0, 1)
    assert data["errors"] == {}
    assert lost["errors"]["load: nomajority"] > 0


def test_more_threads_than_sessions(stage):
    """Each thread has one at least."""
    data, code = benched(stage, "--sessions", "1", "--threads", "3")

    assert code == 0
    assert data["sessions"] == 3


class TestNodesThatDoNotAnswer:
    """Errors are counted by their kind, and each node's state is told."""

    def test_one_node_down(self, stage):
        """No request fails, but something is wrong."""
        stage.nodes["b"].kill()
        data, code = benched(stage)
        answer = memsession("bench", stage.text, *SHORT)

        assert code == answer.code == 1
        assert data["errors"] == {}
        assert data["requests"] > 0
        assert [(node["name"], node["state"]) for node in data["nodes"]] == [("a", "up"), ("b", "refused")]
        assert data["nodes"][1]["went_out"] >= 1
        assert "b: " in answer.out
        assert "Went out 1 x: " in answer.words

    def test_all_go_meanwhile(self, stage, monkeypatch):
        """Requests fail, and so it is told."""
        run = LoadTest.run

        def killing(test, made):
            for node in stage.nodes.values():
                node.kill()
            return run(test, made)

        monkeypatch.setattr(LoadTest, "run", killing)
        answer = memsession("bench", stage.text, *SHORT)

        assert answer.code == 1
        assert re.search(r"\d x load: outage: none of the session's nodes answered", answer.words)

    def test_they_forget_meanwhile(self, stage, monkeypatch):
        """Sessions that are gone are errors."""
        run = LoadTest.run

        def emptying(test, made):
            for node in stage.nodes.values():
                node.flush()
            return run(test, made)

        monkeypatch.setattr(LoadTest, "run", emptying)
        data, code = benched(stage)

        assert code == 1
        assert data["errors"]["load: absent"] > 0

    def test_nothing_can_be_stored(self, stage, monkeypatch):
        """Nor is anything read; it ends all the same."""
        greet = bench.BlockingClient.greet

        def killing(client):
            greet(client)
            for node in stage.nodes.values():
                node.kill()

        monkeypatch.setattr(bench.BlockingClient, "greet", killing)
        data, code = benched(stage)

        assert code == 1
        assert data["errors"]["not created"] == 20

    @pytest.mark.parametrize("outcome", [Unconfirmed(), Gone()])
    def test_saves_that_fail(self, stage, monkeypatch, outcome):
        """Are told from loads that fail."""

        def failing(*_):
            return outcome
            yield

        monkeypatch.setattr(load, "save", failing)
        data, code = benched(stage, "--writes", "100")

        assert code == 1
        assert [*data["errors"]] == [f"save: {type(outcome).__name__.lower()}"]

    def test_every_kind_of_error_is_explained(self):
        """Whatever loading and saving can come to."""
        from memsession.plans import Loaded, SaveOutcome

        kinds = [
            *(f"load: {kind.__name__.lower()}" for kind in Loaded.__args__ if kind is not Found),
            *(f"save: {kind.__name__.lower()}" for kind in (Gone, Unconfirmed)),
        ]
        assert {*kinds, "not created"} == bench._CAUSES.keys()
        assert len(SaveOutcome.__args__) == 3

    def test_all_nodes_down(self, stage):
        """Exit code 3, and nothing is begun."""
        for node in stage.nodes.values():
            node.kill()
        answer = memsession("bench", stage.text, *SHORT)

        assert (answer.code, answer.out) == (3, "")
        assert "no node answers: a: " in answer.err

    @pytest.mark.parametrize(
        ("serve", "told"), [(says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "web server"), (speaks_tls, "TLS")]
    )
    def test_something_else_listens_there(self, stage, serve, told):
        """It is said what it is."""
        with listener(serve) as port:
            alone = memsession("bench", f"127.0.0.1:{port}", *SHORT)
            beside = memsession("bench", f"a={stage.nodes['a'].address},b=127.0.0.1:{port}", *SHORT)

        assert (alone.code, beside.code) == (3, 1)
        assert told in alone.err
        assert told in beside.words


class TestCalledWrongly:
    """Exit code 2, in one line."""

    def test_sessions_that_are_too_large(self, stage):
        """The pool would not take them."""
        answer = memsession("bench", stage.text, "--size", "70000")

        assert (answer.code, answer.out) == (2, "")
        assert "at most 65,536 bytes" in answer.err

    def test_two_names_for_one_node(self, stage):
        """Would measure something else."""
        port = stage.nodes["a"].port
        answer = memsession("bench", f"a=127.0.0.1:{port},b=localhost:{port}", *SHORT)

        assert (answer.code, answer.out) == (2, "")
        assert "one memcached process" in answer.err

    def test_no_pool_and_a_wrong_address(self):
        """What to set, and what to check."""
        assert memsession("bench").code == 2
        assert memsession("bench", f"127.0.0.1:{free_port()}").code == 3


def test_ctrl_c(stage, monkeypatch):
    """The sessions are ended all the same."""

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(LoadTest, "run", interrupted)
    answer = memsession("bench", stage.text, *SHORT)
    left = items(stage.nodes["a"])

    assert answer.code == 130
    assert max((left_s for name, left_s in left.items() if "-bench-" in name), default=0.0) <= 2.0


def test_on_a_terminal(stage, monkeypatch):
    """Somebody who waits sees that something is done."""
    told = []

    def recording(*, err=False):
        told.append(err)
        return Console(file=sys.stderr, force_terminal=False)

    monkeypatch.setattr(bench, "_somebody_looks", lambda: True)
    monkeypatch.setattr(bench, "console", recording)

    assert memsession("bench", stage.text, *SHORT).code == 0
    assert told == [True]


def test_as_a_process(stage):
    """As people call it."""
    answer = process("bench", *SHORT, MEMSESSION_POOL=stage.text)

    assert answer.code == 0
    assert "no errors" in answer.out


def test_percentiles():
    """Of a hundred times, the 99th percentile is the greatest but one or greater; of none there is none."""
    times = array("d", [at / 1_000 for at in range(1, 101)])

    assert percentile(times, 0.5) == pytest.approx(51.0)
    assert percentile(times, 0.99) == pytest.approx(100.0)
    assert percentile(times, 1.0) == pytest.approx(100.0)
    assert percentile(array("d"), 0.5) is None
