"""`memsession end`: a session is over on all nodes, and those that missed it are told by the upkeep."""

import json
import time
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from memsession.caretaker import Caretaker
from memsession.command import ending
from memsession.command.program import app
from memsession.events import RefillBegan, RefillDone
from memsession.lifetime import Lifetime
from memsession.plans import Ended, Found
from memsession.record import Dead, Live, Reason
from memsession.upkeep import Upkeep, keeper
from memsession.upkeep.status import Status, read_status
from tests.command_line import SECRET, memsession
from tests.listeners import listener, says, speaks_tls
from tests.pools import RealPool
from tests.servers import PATIENCE_S, free_port

NOWHERE = "A" * 43
TOMBSTONE = Dead(Reason.INVALIDATED)


@pytest.fixture
def nodes(memcached):
    return [memcached(), memcached(), memcached()]


@pytest.fixture
def stage(nodes):
    """Two nodes."""
    stage = RealPool(nodes[:2])
    yield stage
    stage.close()


@pytest.fixture
def strict(nodes):
    """Three nodes that have to agree by majority."""
    stage = RealPool(nodes, copies=3, consistency="majority")
    yield stage
    stage.close()


def until(condition):
    give_up = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.005)


def ended(stage, key, *more, **environment):
    """What is told to programs, and the exit code."""
    arguments = ("--yes", "--json", *more, "--", stage.names(key))
    answer = memsession("end", *arguments, **{**stage.settings(), **environment})
    return json.loads(answer.out), answer.code


def test_it_is_over_everywhere(stage):
    """A tombstone lies on all nodes, and nobody finds the session any more."""
    key, other = stage.born(), stage.born()
    data, code = ended(stage, key)

    assert code == 0
    assert data == {
        "session": stage.names(key),
        "ended": True,
        "nodes": ["a", "b"],
        "missed": [],
        "also_ended": [],
        "word_left": False,
    }
    assert stage.held(key) == {"a": TOMBSTONE, "b": TOMBSTONE}
    assert isinstance(stage.loaded(key), Ended)
    assert isinstance(stage.loaded(other), Found)


def test_the_tombstone_outlives_every_session(stage):
    """Whatever lifetime the application gives: it is kept for 30 days."""
    key = stage.born()
    ended(stage, key)
    for node in stage.nodes.values():
        reply = node.ask(b"mg %b t" % key).split()
        assert int(reply[1].removeprefix(b"t")) > 29 * 86_400


def test_what_it_says(stage):
    """On which nodes."""
    answer = memsession("end", "--yes", "--", stage.names(stage.born()), **stage.settings())

    assert (answer.code, answer.out) == (0, "Ended on a, b.\n")


def test_the_session_it_was_begun_in_doubt_about(stage):
    """Ends with it, as by a logout: it may be the same visitor's."""
    before = stage.born()
    key = stage.born(doubted=before.decode())
    data, code = ended(stage, key)
    answer = memsession("end", "--yes", "--", stage.names(stage.born(doubted=before.decode())), **stage.settings())

    assert code == answer.code == 0
    assert data["also_ended"] == [stage.names(before)]
    assert isinstance(stage.loaded(before), Ended)
    assert f"With it: {stage.names(before)}" in answer.words


def test_it_has_ended_before(stage):
    """All is well, and nothing is written."""
    key = stage.born()
    ended(stage, key)
    before = [node.ask(b"mg %b c" % key) for node in stage.nodes.values()]
    data, code = ended(stage, key)
    answer = memsession("end", "--", stage.names(key), **stage.settings())

    assert code == answer.code == 0
    assert data["ended"] is True
    assert "has ended already" in answer.words
    assert [node.ask(b"mg %b c" % key) for node in stage.nodes.values()] == before


def test_there_is_no_such_session(stage):
    """Nothing is written under a mistyped ID."""
    answer = memsession("end", "--yes", NOWHERE, **stage.settings())

    assert (answer.code, answer.out) == (1, "")
    assert "there is no such session" in answer.err
    assert stage.held(f"memsession:{NOWHERE}".encode()) == {"a": None, "b": None}


def test_it_goes_on_under_another_id(stage):
    """To end the old ID would end nothing, and that is said."""
    key = stage.new_key()
    stage.put("a", key, Dead(Reason.REGENERATED, "mark"))
    answer = memsession("end", "--yes", "--", stage.names(key), **stage.settings())

    assert (answer.code, answer.out) == (1, "")
    assert "goes on" in answer.err
    assert stage.held(key)["a"] == Dead(Reason.REGENERATED, "mark")


def test_it_moves_in_this_moment(stage, monkeypatch):
    """Between the look and the end a login gives it another ID."""
    key = stage.born()
    monkeypatch.setattr(ending, "_confirm", lambda *_: stage.put("b", key, Dead(Reason.REGENERATED, "mark")))
    answer = memsession("end", "--", stage.names(key), **stage.settings())

    assert answer.code == 1
    assert "goes on" in answer.err
    assert isinstance(stage.held(key)["a"], Live)


def test_another_secret(stage):
    """Its tombstone would be understood by nobody, so none is written."""
    key = stage.born()
    other = "another-secret-0123456789-0123456789"
    answer = memsession("end", "--yes", "--", stage.names(key), **{**stage.settings(), "MEMSESSION_SECRET": other})

    assert (answer.code, answer.out) == (1, "")
    assert "give the application's secret key" in answer.err
    assert isinstance(stage.loaded(key), Found)


class TestAsking:
    """Whether it is meant is asked, where there is somebody to be asked."""

    @pytest.fixture
    def terminal(self, monkeypatch):
        """Somebody sits there; what he is asked, and what he answers."""

        class Somebody:
            says = True
            asked = ""

            def isatty(self):
                return True

            def confirm(self, text, *, err):
                self.asked = text
                return self.says

        somebody = Somebody()
        monkeypatch.setattr(ending, "sys", SimpleNamespace(stdin=somebody))
        monkeypatch.setattr(ending.typer, "confirm", somebody.confirm)
        return somebody

    def test_nobody_is_there(self, stage):
        """`--yes` is needed; exit code 2."""
        key = stage.born()
        answer = memsession("end", "--", stage.names(key), **stage.settings())

        assert answer.code == 2
        assert "--yes" in answer.err
        assert isinstance(stage.loaded(key), Found)

    @pytest.mark.parametrize(("says", "code", "found"), [(True, 0, Ended), (False, 1, Found)])
    def test_somebody_is(self, stage, terminal, says, code, found):
        """And it is done as he says."""
        terminal.says, key = says, stage.born()
        answer = memsession("end", "--", stage.names(key), **stage.settings())

        assert answer.code == code
        assert stage.names(key) in terminal.asked
        assert isinstance(stage.loaded(key), found)
        assert ("nothing was ended" in answer.err) is not says

    def test_a_silent_node_is_told_first(self, stage, terminal):
        """He may rather want to wait."""
        key = stage.born()
        stage.nodes["b"].kill()
        terminal.says = False
        answer = CliRunner().invoke(app, ["end", "--", stage.names(key)], env=stage.settings())

        assert answer.exit_code == 1
        assert "No answer from b: " in answer.stderr


class TestOneNodeDown:
    """The others take the end; the silent one is brought it when it is back."""

    def down(self, stage):
        """A session whose copy on b is out of reach: the node hangs, and keeps its memory."""
        key = stage.born()
        stage.nodes["b"].stop()
        return key

    def test_it_is_named(self, stage):
        """Exit code 1; with what will become of it."""
        key = self.down(stage)
        answer = memsession("end", "--yes", "--", stage.names(key), **stage.settings())
        stage.nodes["b"].cont()

        assert answer.code == 1
        assert "Ended on a." in answer.words
        assert "Not taken by b: " in answer.words
        assert "a web server's upkeep brings the end there when it is back" in answer.words

    def test_word_of_it_is_in_the_status(self, stage):
        """So it does not matter whether any web server has seen the node fail."""
        key = self.down(stage)
        data, code = ended(stage, key)
        stage.nodes["b"].cont()
        status = stage.run(read_status(stage.site.status_world, stage.site.status_key))

        assert code == 1
        assert (data["ended"], data["nodes"], data["missed"], data["word_left"]) == (True, ["a"], ["b"], True)
        assert isinstance(status, Status)
        assert status.missed.keys() == {"b"}

    @pytest.mark.upkeep
    def test_the_upkeep_brings_it_there(self, stage, monkeypatch):
        """A node that is sound as far as all web servers know is scanned, because of that word alone."""
        monkeypatch.setattr(keeper, "TICK_S", 0.02)
        key, told = stage.born(), []
        assert memsession("refill", **stage.settings()).code == 0  # both nodes are sound now
        stage.nodes["b"].stop()
        ended(stage, key)
        stage.nodes["b"].cont()
        assert isinstance(stage.held(key)["b"], Live)

        upkeep = Caretaker(stage.pool, keys=stage.keys, lifetime=Lifetime(), observe=told.append, options=Upkeep())
        upkeep.start()
        until(lambda: any(isinstance(event, RefillDone) for event in told))
        upkeep.stop()

        assert [event for event in told if isinstance(event, RefillBegan)] == [RefillBegan("b", "missed")]
        assert stage.held(key)["b"] == TOMBSTONE

    def test_no_word_can_be_left(self, stage, monkeypatch):
        """Then it is up to who called."""
        key = self.down(stage)

        def refused(*_):
            return False
            yield

        monkeypatch.setattr(ending, "note", refused)
        answer = memsession("end", "--yes", "--", stage.names(key), **stage.settings())
        stage.nodes["b"].cont()

        assert answer.code == 1
        assert "No word of that could be left" in answer.words

    def test_the_session_may_be_on_it_alone(self, stage):
        """What the others know is nothing, but they take the end, which is found first."""
        key = stage.new_key()
        stage.put("b", key, stage.live())
        stage.nodes["b"].stop()
        _, code = ended(stage, key)
        stage.nodes["b"].cont()

        assert code == 1
        assert isinstance(stage.loaded(key), Ended)

    def test_strict_mode_with_one_node_down(self, strict):
        """A majority has taken it: it is confirmed, and the rest is as ever."""
        key = strict.born()
        strict.nodes["c"].kill()
        data, code = ended(strict, key, "--consistency", "majority")

        assert code == 1
        assert (data["ended"], data["nodes"], data["missed"]) == (True, ["a", "b"], ["c"])

    def test_strict_mode_with_most_nodes_down(self, strict):
        """It is not confirmed, and that is said."""
        key = strict.born()
        strict.nodes["b"].kill()
        strict.nodes["c"].kill()
        environment = {**strict.settings(), "MEMSESSION_CONSISTENCY": "majority"}
        answer = memsession("end", "--yes", "--", strict.names(key), **environment)

        assert answer.code == 1
        assert "not the majority" in answer.words


def test_all_nodes_down(stage):
    """Exit code 3."""
    key = stage.born()
    for node in stage.nodes.values():
        node.kill()
    answer = memsession("end", "--yes", "--", stage.names(key), **stage.settings())

    assert (answer.code, answer.out) == (3, "")
    assert "no node of this session answers" in answer.err


def test_no_node_takes_it(stage, monkeypatch):
    """They answered, and then they did not."""
    key = stage.born()

    def kill(*_):
        for node in stage.nodes.values():
            node.kill()

    monkeypatch.setattr(ending, "_confirm", kill)
    answer = memsession("end", "--", stage.names(key), **stage.settings())

    assert (answer.code, answer.out) == (1, "")
    assert "no node took the end of the session: " in answer.err


@pytest.mark.parametrize(
    ("serve", "told"), [(says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "web server"), (speaks_tls, "TLS")]
)
def test_something_else_listens_there(serve, told):
    """It is said what it is."""
    with listener(serve) as port:
        answer = memsession("end", "--yes", NOWHERE, "--pool", f"127.0.0.1:{port}", MEMSESSION_SECRET=SECRET)

    assert answer.code == 3
    assert told in answer.err


def test_a_wrong_address_and_no_settings():
    """Are told in one line."""
    address = f"127.0.0.1:{free_port()}"
    assert memsession("end", "--yes", NOWHERE, "--pool", address, MEMSESSION_SECRET=SECRET).code == 3
    assert memsession("end", "--yes", NOWHERE, "--pool", address).code == 2
    assert memsession("end", "--yes", NOWHERE).code == 2
