"""`memsession refill`: nodes get what they lack, now, by the chores and the lease of the web servers' upkeep."""

import json
import sys
import time

import pytest
from rich.console import Console

from memsession.caretaker import Caretaker
from memsession.command import progress, refilling
from memsession.command.chores import performed
from memsession.events import NodeBack
from memsession.lifetime import Lifetime
from memsession.plans import Ended
from memsession.record import Dead, Live, Reason
from memsession.secret import secret_keys
from memsession.upkeep import Upkeep, keeper, lease, pace, refill
from memsession.upkeep.lease import Lease, LeaseLost
from memsession.upkeep.status import Unread, read_status
from tests.command_line import SECRET, memsession, process
from tests.listeners import listener, says, speaks_tls
from tests.pools import RealPool
from tests.servers import PATIENCE_S, free_port

TOMBSTONE = Dead(Reason.INVALIDATED)
OTHER = "another-secret-0123456789-0123456789"


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
def three(nodes):
    """Three nodes, two copies."""
    stage = RealPool(nodes)
    yield stage
    stage.close()


def refilled(stage, *arguments, **environment):
    """What is told to programs, by node, and the exit code."""
    answer = memsession("refill", "--json", *arguments, **{**stage.settings(), **environment})
    data = json.loads(answer.out)
    assert data["complete"] is (answer.code == 0)
    return {node["node"]: node for node in data["nodes"]}, answer.code


def leased(stage):
    """Another worker, which has the lease."""
    other = Lease(stage.site.status_world, stage.site.status_key, "another")
    assert performed(other.get(), stage.client, stage.pool)
    return other


def is_free(stage):
    """Whether a new worker would get the lease at once."""
    return performed(Lease(stage.site.status_world, stage.site.status_key, "anybody").get(), stage.client, stage.pool)


def status_of(stage):
    return stage.run(read_status(stage.site.status_world, stage.site.status_key))


class TestHere:
    """Nobody has the lease, so it is done here."""

    def test_a_node_that_was_emptied(self, stage):
        """Has all its copies again, of living sessions and of ended ones."""
        living = [stage.born() for _ in range(40)]
        dead = stage.new_key()
        stage.put("a", dead, TOMBSTONE)
        stage.nodes["b"].restart()
        answer = memsession("refill", "--node", "b", **stage.settings())

        assert answer.code == 0
        assert "b: done: 41 sessions looked at, 41 copied, in " in answer.out
        assert "1 of 1 nodes complete." in answer.out
        assert all(isinstance(stage.held(key)["b"], Live) for key in living)
        assert stage.held(dead)["b"] == TOMBSTONE

    def test_all_nodes(self, three):
        """Each gets what belongs there, and nothing else."""
        keys = [three.born() for _ in range(60)]
        three.nodes["b"].restart()
        on_b = [key for key in keys if "b" in three.pool.homes(key)]
        told, code = refilled(three)

        assert code == 0
        assert [*told] == ["a", "b", "c"]
        assert {name: node["state"] for name, node in told.items()} == dict.fromkeys("abc", "done")
        assert sum(node["written"] for node in told.values()) == len(on_b)
        assert told["b"]["looked_at"] == len(on_b)
        assert all(None not in three.held(key).values() for key in keys)

    def test_it_is_noted_as_web_servers_do(self, stage):
        """So they do not do it once more."""
        stage.born()
        assert refilled(stage)[1] == 0
        assert status_of(stage).sound.keys() == {"a", "b"}

    def test_the_lease_is_given_back(self, stage):
        """At once, so that no web server has to wait."""
        refilled(stage)
        assert is_free(stage)

    def test_sessions_that_are_rarely_used(self, stage):
        """Are copied, whatever idle limit the application has; so is what lives by a limit of its own."""
        key = stage.new_key()
        stage.put("a", key, stage.live(seen_s=7_200))
        assert refilled(stage)[1] == 0
        assert isinstance(stage.held(key)["b"], Live)
        assert self.kept_s(stage, key) > 86_400

    def test_with_the_idle_limit_of_the_application(self, stage):
        """What is over is left, and what is copied is kept no longer than needed."""
        over, alive = stage.new_key(), stage.new_key()
        stage.put("a", over, stage.live(seen_s=7_200))
        stage.put("a", alive, stage.live(seen_s=60))
        assert refilled(stage, "--idle", "30m")[1] == 0
        assert stage.held(over)["b"] is None
        assert self.kept_s(stage, alive) < 2_000

    def kept_s(self, stage, key):
        return int(stage.nodes["b"].ask(b"mg %b t" % key).split()[1].removeprefix(b"t"))

    def test_progress_without_a_terminal(self, stage, monkeypatch):
        """Is told in lines."""
        monkeypatch.setattr(refill, "REPORT_S", 0.0)
        for _ in range(40):
            stage.born()
        answer = memsession("refill", "--node", "b", **stage.settings())

        assert "b: begins\n" in answer.out
        assert "b: 32 of 40 sessions, 0 copied\n" in answer.out
        assert "\x1b" not in answer.out

    def test_progress_on_a_terminal(self, stage, monkeypatch):
        """Is a bar for each node."""
        monkeypatch.setattr(refill, "REPORT_S", 0.0)
        monkeypatch.setattr(
            progress, "console", lambda: Console(file=sys.stdout, force_terminal=True, width=80, highlight=False)
        )
        for _ in range(40):
            stage.born()
        answer = memsession("refill", **stage.settings())

        assert answer.code == 0
        assert answer.out.count("40/40") >= 2
        assert "2 of 2 nodes complete." in answer.out

    def test_other_events(self, capsys):
        """Are none of a refill, so nothing is said of them."""
        telling = progress.Telling(quiet=False)
        telling(NodeBack("a"))

        assert telling.outcomes == {}
        assert capsys.readouterr().out == ""

    def test_another_one_takes_over(self, stage, monkeypatch):
        """What is under way is left, and said to be left."""
        stage.born()

        def lost(_):
            raise LeaseLost
            yield

        monkeypatch.setattr(Lease, "keep", lost)
        told, code = refilled(stage)

        assert code == 1
        assert "left to another process" in told["a"]["reason"]
        assert told["b"]["state"] == "left"

    def test_ctrl_c(self, stage, monkeypatch):
        """The lease is given back."""
        stage.born()

        def interrupted(_):
            raise KeyboardInterrupt
            yield

        monkeypatch.setattr(Lease, "keep", interrupted)
        assert memsession("refill", **stage.settings()).code == 130
        monkeypatch.undo()
        assert is_free(stage)

    def test_as_a_process(self, stage):
        """As people call it: the pool as an argument."""
        stage.born()
        answer = process("refill", stage.text, MEMSESSION_SECRET=SECRET)

        assert answer.code == 0
        assert "2 of 2 nodes complete." in answer.out

    def test_while_the_pool_changes(self, three):
        """Every session gets its copies where the new pool wants them."""
        before = RealPool([*three.nodes.values()][:2])
        keys = [before.born() for _ in range(30)]
        told, code = refilled(three, "--previous", before.text)
        before.close()

        assert code == 0
        moved = sum("c" in three.pool.homes(key) for key in keys)
        assert sum(node["written"] for node in told.values()) == moved > 0
        assert all(None not in three.held(key).values() for key in keys)


class TestElsewhere:
    """Another worker has the lease: usually a web server."""

    @pytest.fixture(autouse=True)
    def _in_a_hurry(self, monkeypatch):
        monkeypatch.setattr(refilling, "LOOK_S", 0.02)
        monkeypatch.setattr(lease, "RENEW_S", 0.1)
        monkeypatch.setattr(keeper, "TICK_S", 0.02)
        monkeypatch.setattr(pace, "AGAIN_S", 0.1)
        monkeypatch.setattr(pace, "REST", 0.1)

    def test_it_has_not_done_it_yet(self, stage):
        """Nothing is done here; exit code 1, and how to wait."""
        key = stage.new_key()
        stage.put("a", key, stage.live())
        leased(stage)
        answer = memsession("refill", **stage.settings())

        assert answer.code == 1
        assert "another worker has the lease: a web server's upkeep" in answer.words
        assert "--wait 10m" in answer.words
        assert stage.held(key)["b"] is None

    def test_it_has_done_it(self, stage):
        """All is well."""
        assert refilled(stage)[1] == 0
        leased(stage)
        answer = memsession("refill", **stage.settings())
        told, code = refilled(stage)

        assert answer.code == code == 0
        assert "b: done\n" in answer.out
        assert told["b"] == {
            "node": "b",
            "state": "done",
            "looked_at": None,
            "written": None,
            "seconds": None,
            "reason": "",
        }

    @pytest.mark.upkeep
    def test_it_is_asked_and_waited_for(self, stage):
        """The upkeep of a web server looks through nodes that are sound as far as it knows, and copies."""
        upkeep = Caretaker(stage.pool, keys=stage.keys, lifetime=Lifetime(), observe=lambda _: None, options=Upkeep())
        upkeep.start()
        try:
            self.until(lambda: getattr(status_of(stage), "sound", {}).keys() == {"a", "b"})
            key = stage.new_key()
            stage.put("a", key, stage.live())
            answer = memsession("refill", "--wait", "30s", **stage.settings())
        finally:
            upkeep.stop()

        assert answer.code == 0
        assert "It is asked to look through a, b." in answer.words
        assert "2 of 2 nodes complete." in answer.out
        assert status_of(stage).missed.keys() == {"a", "b"}
        assert isinstance(stage.held(key)["b"], Live)

    def until(self, condition):
        give_up = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < give_up
            time.sleep(0.005)

    def test_it_dies(self, stage, monkeypatch):
        """The lease falls to us, and the work is done here."""
        monkeypatch.setattr(lease, "LEASE_S", 0.5)
        key = stage.new_key()
        stage.put("a", key, stage.live())
        leased(stage)
        told, code = refilled(stage, "--wait", "30s")

        assert code == 0
        assert told["b"]["written"] == 1
        assert isinstance(stage.held(key)["b"], Live)

    def test_it_takes_too_long(self, stage):
        """Exit code 1."""
        leased(stage)
        told, code = refilled(stage, "--wait", "0.05s")

        assert code == 1
        assert {node["state"] for node in told.values()} == {"left"}
        assert "not done in time" in told["a"]["reason"]

    def test_with_a_node_down(self, stage):
        """That one is named; the other is as its worker says."""
        assert refilled(stage)[1] == 0
        leased(stage)
        stage.nodes["b"].kill()
        told, code = refilled(stage)

        assert code == 1
        assert (told["a"]["state"], told["b"]["state"]) == ("done", "silent")

    def test_nobody_can_be_asked(self, stage, monkeypatch):
        """The nodes that would know answer no more."""
        leased(stage)

        def refused(*_):
            return False
            yield

        monkeypatch.setattr(refilling, "note", refused)
        answer = memsession("refill", "--wait", "1m", **stage.settings())

        assert answer.code == 1
        assert "the nodes that keep the pool's status do not answer" in answer.err


class TestNodesThatDoNotAnswer:
    """What cannot be done is said, with the reason."""

    def test_one_of_two(self, stage):
        """It cannot be filled, and the other one cannot be filled from it."""
        stage.born()
        stage.nodes["b"].kill()
        answer = memsession("refill", **stage.settings())
        told, code = refilled(stage)

        assert answer.code == code == 1
        assert "b: not complete: no answer from b: " in answer.words
        assert "a: not complete: none of the nodes that have its copies answers" in answer.words
        assert "0 of 2 nodes complete." in answer.out
        assert (told["a"]["state"], told["b"]["state"]) == ("incomplete", "silent")

    def test_one_of_three(self, three):
        """The others are filled from each other; that they are not complete is noted for when it is back."""
        keys = [three.born() for _ in range(30)]
        three.nodes["c"].kill()
        three.nodes["a"].restart()
        told, code = refilled(three, "--node", "a")

        assert code == 1
        assert "c cannot be asked yet" in told["a"]["reason"]
        assert status_of(three).sound["a"].sources == ("c",)
        for key in keys:
            if three.pool.homes(key) in (("a", "b"), ("b", "a")):
                assert isinstance(three.held(key)["a"], Live)

    def test_one_that_goes_meanwhile(self, stage, monkeypatch):
        """It answered in the beginning."""
        stage.born()

        class Deadly(refilling.Tending):
            def perform(self, *arguments):
                stage.nodes["b"].kill()
                return super().perform(*arguments)

        monkeypatch.setattr(refilling, "Tending", Deadly)
        monkeypatch.setattr(refill, "RETRY_S", 0.0)
        told, code = refilled(stage)

        assert code == 1
        assert told["a"]["state"] == "incomplete"
        assert (told["b"]["state"], told["b"]["reason"]) == ("silent", "it did not answer any more")

    def test_one_that_lists_nothing(self, memcached, monkeypatch):
        """Its own words are shown."""
        monkeypatch.setattr(refill, "RETRY_S", 0.0)
        stage = RealPool([memcached(options=["-X"]), memcached()])
        answer = memsession("refill", "--node", "b", **stage.settings())
        stage.close()

        assert answer.code == 1
        assert "start memcached without -X" in answer.words

    def test_all(self, stage):
        """Exit code 3."""
        for node in stage.nodes.values():
            node.kill()
        answer = memsession("refill", **stage.settings())

        assert (answer.code, answer.out) == (3, "")
        assert "no node answers: a: " in answer.err

    def test_those_that_keep_the_status(self, stage, monkeypatch):
        """Without it nobody knows who does what."""

        def silent(*_):
            return Unread.SILENT
            yield

        monkeypatch.setattr(refilling, "read_status", silent)
        answer = memsession("refill", **stage.settings())

        assert answer.code == 1
        assert "the nodes that keep the pool's status do not answer" in answer.err

    @pytest.mark.parametrize(
        ("serve", "told"), [(says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "web server"), (speaks_tls, "TLS")]
    )
    def test_something_else_listens_there(self, stage, serve, told):
        """It is said what it is."""
        with listener(serve) as port:
            pool = f"a={stage.nodes['a'].address},b=127.0.0.1:{port}"
            beside = memsession("refill", pool, MEMSESSION_SECRET=SECRET)
            alone = memsession("refill", f"a=127.0.0.1:{port},b=127.0.0.1:{free_port()}", MEMSESSION_SECRET=SECRET)

        assert (beside.code, alone.code) == (1, 3)
        assert told in beside.words
        assert told in alone.err


class TestCalledWrongly:
    """Is told in one line; exit code 2, or that there is nothing to do."""

    def test_another_secret(self, stage):
        """Nothing is read as lost, and nothing is written."""
        key = stage.born()
        refilled(stage)
        answer = memsession("refill", **{**stage.settings(), "MEMSESSION_SECRET": OTHER})

        assert (answer.code, answer.out) == (1, "")
        assert "another secret" in answer.err
        assert isinstance(stage.held(key)["a"], Live)
        assert secret_keys(OTHER) != stage.keys

    def test_one_copy_only(self, memcached):
        """What one node has no other one has."""
        node = memcached()
        answer = memsession("refill", node.address, MEMSESSION_SECRET=SECRET)

        assert answer.code == 0
        assert "nothing to refill from" in answer.out

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (("--node", "z"), 'the pool has no "z"; it has a, b'),
            (("--rate", "0"), "--rate"),
            (("--wait", "soon"), "--wait"),
            (("--idle", "1s"), "2 seconds or more"),
        ],
    )
    def test_options(self, stage, arguments, told):
        """The option is named."""
        answer = memsession("refill", *arguments, **stage.settings())

        assert (answer.code, answer.out) == (2, "")
        assert told in answer.err

    def test_no_secret(self):
        """It is said what to set."""
        answer = memsession("refill", "127.0.0.1,127.0.0.2")

        assert answer.code == 2
        assert "MEMSESSION_SECRET" in answer.err


def test_an_ended_session_stays_ended(stage):
    """A refill never brings back what a node alone still believes alive."""
    key = stage.born()
    stage.put("a", key, TOMBSTONE)
    assert refilled(stage)[1] == 0
    assert isinstance(stage.loaded(key), Ended)
    assert stage.held(key) == {"a": TOMBSTONE, "b": TOMBSTONE}
