"""Where the copies of a session are: what is found on each of its nodes, and that nothing is changed by looking."""

from datetime import timedelta

import pytest

from memsession.blocking import BlockingClient
from memsession.commands import Add, Bury, Miss
from memsession.identity import SessionId, fingerprint, storage_key
from memsession.inspection import CopyReport, CopyState, SessionReport, locate
from memsession.lifetime import Lifetime
from memsession.pool import Pool
from memsession.record import Dead, Entry, Live, Reason
from memsession.seal import Seal
from memsession.vault import Vault
from tests.servers import PATIENCE_S

KEYS = (b"a-secret-of-the-tests-0123456789abcdef",)
HOUR_MS = 3_600_000


class Stage:
    """Two real nodes that hold one session, `a` and `b`; what they have is put there as one likes."""

    def __init__(self, memcached):
        self.nodes = [memcached(), memcached()]
        addresses = [f"{name}={node.address}" for name, node in zip("ab", self.nodes, strict=True)]
        self.pool = Pool(*addresses, timeout=timedelta(seconds=1))
        self.client = BlockingClient(self.pool, observe=lambda _: None)
        self.key = storage_key(SessionId.new(), self.pool.prefix)
        self.vault = Vault(Seal(KEYS))
        self.client.greet()
        self.now_ms = self.client.now_ms()

    def live(self, version=3, *, seen_ms=0, ends_ms=HOUR_MS, idle_ms=0):
        entries = {"user": Entry(1, "w", "ann")}
        return Live(
            entries, {}, self.now_ms, self.now_ms + ends_ms, self.now_ms + seen_ms, idle_ms=idle_ms, modified=version
        )

    def put(self, node, record, key=None):
        value = record if isinstance(record, bytes) else self.vault.seal(key or self.key, record)

        def plan():
            kind = Bury if isinstance(record, Dead) else Add
            yield [kind(node, self.key, value, 600)]

        self.client.run(plan(), deadline=self.client_deadline())

    @staticmethod
    def client_deadline():
        import time

        return time.monotonic() + PATIENCE_S

    def found(self, **options):
        report = locate(self.pool, self.key, keys=KEYS, lifetime=Lifetime(), **options)
        return report, {copy.node: copy for copy in report.copies}


@pytest.fixture
def stage(memcached):
    stage = Stage(memcached)
    yield stage
    stage.client.close()


def test_two_copies_that_agree(stage):
    """Both are live, in the same version, with the time that is left."""
    for node in "ab":
        stage.put(node, stage.live(seen_ms=-600_000))
    report, copies = stage.found()

    assert report.agree
    assert report.silent == ()
    assert report.session == fingerprint(stage.key)
    assert [copy.node for copy in report.copies] == [*stage.pool.homes(stage.key)]
    for copy in copies.values():
        assert (copy.state, copy.version) == (CopyState.LIVE, 3)
        assert 1_200 - PATIENCE_S < copy.idle_left_s <= 1_201
        assert 3_600 - PATIENCE_S < copy.absolute_left_s <= 3_601
        assert copy.bytes > 50


def test_an_older_copy_and_a_missing_one(stage):
    """Do not agree, and nothing is repaired by looking."""
    stage.put("a", stage.live(3))
    assert [(copy.state, copy.version) for copy in stage.found()[1].values()].count((CopyState.MISSING, None)) == 1
    stage.put("b", stage.live(2))
    for _ in range(2):
        report, copies = stage.found()
        assert not report.agree
        assert (copies["a"].version, copies["b"].version) == (3, 2)


def test_a_limit_of_its_own(stage):
    """Counts instead of the application's."""
    stage.put("a", stage.live(idle_ms=HOUR_MS))
    stage.put("b", stage.live(seen_ms=-HOUR_MS))
    _, copies = stage.found()
    assert copies["a"].idle_left_s > 1_800
    assert (copies["b"].state, copies["b"].idle_left_s) == (CopyState.EXPIRED, 0.0)


def test_ended_sessions(stage):
    """One that was ended, and one that goes on under another ID."""
    stage.put("a", Dead(Reason.INVALIDATED))
    stage.put("b", Dead(Reason.REGENERATED, "mark"))
    report, copies = stage.found()
    assert (copies["a"].state, copies["b"].state) == (CopyState.ENDED, CopyState.MOVED)
    assert (copies["a"].version, copies["a"].idle_left_s) == (None, None)
    assert not report.agree


def test_what_cannot_be_read(stage):
    """Something else under the key, and a value of another session."""
    stage.put("a", b"nonsense")
    stage.put("b", stage.live(), key=b"memsession:another")
    _, copies = stage.found()
    assert {copy.state for copy in copies.values()} == {CopyState.UNREADABLE}
    assert copies["a"].bytes == 8


def test_a_node_that_is_down(stage):
    """It is said so, and the copies count as not agreeing."""
    for node in "ab":
        stage.put(node, stage.live())
    stage.nodes[1].kill()
    report, copies = stage.found()
    assert report.silent == ("b",)
    assert not report.agree
    assert (copies["a"].state, copies["b"].state) == (CopyState.LIVE, CopyState.SILENT)


def test_a_client_that_is_given_is_left_open(stage):
    """It may be asked again."""
    stage.put("a", stage.live())
    assert stage.found(client=stage.client)[1]["a"].state is CopyState.LIVE
    assert stage.found(client=stage.client)[1]["a"].state is CopyState.LIVE


def test_different_content_under_one_version(stage):
    """Does not agree: the copies have numbers by what they hold."""
    stage.put("a", stage.live(3))
    stage.put("b", stage.live(3, seen_ms=-1))
    report, copies = stage.found()
    assert not report.agree
    assert {copy.variant for copy in copies.values()} == {1, 2}
    assert {copy.version for copy in copies.values()} == {3}


def test_the_same_content_has_one_number(stage):
    """Whichever secret it was sealed with; what cannot be read has none, and agrees with nothing."""
    for node in "ab":
        stage.put(node, stage.live(seen_ms=-5))
    report, copies = stage.found()
    assert {copy.variant for copy in copies.values()} == {1}
    assert report.agree
    assert not SessionReport(
        session="", copies=tuple(CopyReport(node=node, state=CopyState.UNREADABLE) for node in "ab")
    ).agree


def test_copies_that_are_being_written_are_read_again(stage, monkeypatch):
    """A request that has written one of them so far does not make them disagree."""
    for node in "ab":
        stage.put(node, stage.live())
    replies, run = [], BlockingClient.run

    def meddled(client, plan, **options):
        def between():
            """The first reading finds one of the copies not written yet."""
            asked = next(plan)
            while True:
                answers = yield asked
                replies.append(answers)
                try:
                    asked = plan.send([Miss(), *answers[1:]] if len(replies) == 1 else answers)
                except StopIteration as done:
                    return done.value

        return run(client, between(), **options)

    monkeypatch.setattr(BlockingClient, "run", meddled)
    assert stage.found()[0].agree
    assert len(replies) == 2


def test_why_a_node_is_silent(stage):
    """The reason is told with it."""
    stage.nodes[1].kill()
    assert "127.0.0.1" in stage.found()[1]["b"].problem
    assert stage.found()[1]["a"].problem == ""
