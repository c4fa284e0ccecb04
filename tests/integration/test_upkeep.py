"""Behind the requests, on real memcached: refill, return, hints, lease, moves, and the thread that does it all."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from memsession import Lifetime, Pool
from memsession.blocking import BlockingClient
from memsession.caretaker import Caretaker
from memsession.events import (
    MoveDone,
    NodeForgot,
    PoolReplaced,
    PoolsDiffer,
    RefillBegan,
    RefillDone,
    RefillFailed,
    TombstoneDelivered,
    UpkeepFailed,
)
from memsession.identity import SessionId, storage_key
from memsession.plans import INVALIDATED, Absent, Ended, Found, create, end, load
from memsession.plans.together import together
from memsession.record import Changes, Live, apply
from memsession.secret import secret_keys
from memsession.surroundings import world_of
from memsession.upkeep import Upkeep, keeper, lease, moving, pace, tending
from tests.servers import Memcached
from tests.web import SECRET

PATIENCE_S = 30.0
KEYS = secret_keys(SECRET)
LIFETIME = Lifetime()

pytestmark = pytest.mark.upkeep


class Ears:
    """Hears events, and waits for those that have not come yet."""

    def __init__(self) -> None:
        self.heard: list[object] = []
        self._news = threading.Condition()

    def __call__(self, event: object) -> None:
        with self._news:
            self.heard.append(event)
            self._news.notify_all()

    def all(self, kind: type, **fields: object) -> list[object]:
        return [one for one in self.heard if _fits(one, kind, fields)]

    def wait_for(self, kind: type, times: int = 1, **fields: object) -> object:
        with self._news:
            assert self._news.wait_for(lambda: len(self.all(kind, **fields)) >= times, PATIENCE_S), self.heard
        return self.all(kind, **fields)[times - 1]


def _fits(event: object, kind: type, fields: dict[str, object]) -> bool:
    return isinstance(event, kind) and all(getattr(event, name) == value for name, value in fields.items())


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch):
    """The same work at a quicker pace."""
    monkeypatch.setattr(keeper, "TICK_S", 0.02)
    monkeypatch.setattr(keeper, "SAY_S", 0.1)
    monkeypatch.setattr(moving, "SAY_S", 0.1)
    monkeypatch.setattr(moving, "ALIVE_S", 2.0)
    monkeypatch.setattr(pace, "AGAIN_S", 0.1)
    monkeypatch.setattr(lease, "RENEW_S", 0.1)
    monkeypatch.setattr(lease, "LEASE_S", 3.0)


class Team:
    """Caretakers of one pool, and a client to look at it with."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.client = BlockingClient(pool)
        self.world = world_of(KEYS, LIFETIME, self.client, pool.homes)
        self.caretakers: list[Caretaker] = []

    def start(self, pool: Pool | None = None, rate: int = 50_000) -> tuple[Caretaker, Ears]:
        ears = Ears()
        caretaker = Caretaker(
            pool or self.pool, keys=KEYS, lifetime=LIFETIME, observe=ears, options=Upkeep(rate=rate)
        )
        self.caretakers.append(caretaker)
        caretaker.start()
        return caretaker, ears

    def store(self, count: int) -> list[bytes]:
        keys = [storage_key(SessionId.new(), self.pool.prefix) for _ in range(count)]
        now_ms = self.world.now_ms()
        empty = Live({}, {}, now_ms, now_ms + 1_000_000, now_ms)
        record = apply(empty, Changes({"user": 7}), {}, writer="w", now_ms=now_ms)
        for at in range(0, count, 100):
            self.client.run(together([create(self.world, key, record) for key in keys[at : at + 100]]))
        return keys

    def found(self, keys: list[bytes]) -> list[type]:
        loaded = []
        for at in range(0, len(keys), 100):
            loaded += self.client.run(together([load(self.world, key) for key in keys[at : at + 100]]))
        return [type(one) for one in loaded]

    def logout(self, key: bytes, caretaker: Caretaker | None = None) -> tuple[str, ...]:
        missed = self.client.run(end(self.world, key)).missed
        if caretaker is not None and missed:
            caretaker.missed(key, INVALIDATED, missed)
        return missed


@pytest.fixture
def nodes(memcached) -> list[Memcached]:
    return [memcached() for _ in range(3)]


@pytest.fixture
def team_of() -> Iterator[Callable[[Pool], Team]]:
    teams: list[Team] = []

    def make(pool: Pool) -> Team:
        teams.append(Team(pool))
        return teams[-1]

    yield make
    for team in teams:
        for caretaker in team.caretakers:
            caretaker.stop()
        team.client.close()


def pool_of(nodes: list[Memcached], names: str = "abcdef", **options) -> Pool:
    return Pool(*(f"{name}=127.0.0.1:{node.port}" for name, node in zip(names, nodes, strict=False)), **options)


def test_a_node_that_comes_back_empty_gets_its_copies_without_traffic(nodes, team_of):
    """Restart one, then kill another: nobody visited in between, and nothing is lost."""
    team = team_of(pool_of(nodes))
    keys = team.store(1_000)
    ended = keys.pop()
    team.logout(ended)
    _, ears = team.start()
    ears.wait_for(RefillDone, 3)
    nodes[0].restart()
    done = ears.wait_for(RefillDone, times=len(ears.all(RefillDone, node="a")) + 1, node="a")
    nodes[1].kill()

    assert done.written > 0
    assert set(team.found(keys)) == {Found}
    assert team.found([ended]) == [Ended]


def test_a_flushed_node_is_noticed(nodes, team_of):
    """It closes no connection, and yet it has forgotten everything."""
    team = team_of(pool_of(nodes))
    keys = team.store(200)
    _, ears = team.start()
    ears.wait_for(RefillDone, 3)
    nodes[1].flush()
    ears.wait_for(RefillDone, times=len(ears.all(RefillDone, node="b")) + 1, node="b")
    nodes[0].kill()

    assert set(team.found(keys)) == {Found}


def test_a_node_that_missed_a_logout_is_told_when_it_is_back(nodes, team_of):
    """By the process that knows; then it may be the only one left."""
    pool = pool_of(nodes[:2])
    team = team_of(pool)
    (key,) = team.store(1)
    caretaker, ears = team.start()
    ears.wait_for(RefillDone, 2)
    nodes[0].stop()
    missed = team.logout(key, caretaker)
    nodes[0].cont()
    told = ears.wait_for(TombstoneDelivered)
    nodes[1].kill()

    assert missed == ("a",)
    assert told.node == "a"
    assert team.found([key]) == [Ended]


def test_another_process_scans_the_node_when_the_one_that_knew_has_died(nodes, team_of):
    """The hint is lost with its process; that the node missed something is noted in the pool."""
    team = team_of(pool_of(nodes[:2]))
    (key,) = team.store(1)
    first, ears = team.start()
    ears.wait_for(RefillDone, 2)
    nodes[0].stop()
    team.logout(key)  # nobody keeps a hint
    first.missed(b"memsession:another", INVALIDATED, ("a",))
    first._shift.keeper.hints._waiting.clear()
    _until(lambda: not first._shift.keeper._troubled)
    first.stop()
    nodes[0].cont()
    _, others = team.start()
    others.wait_for(RefillDone, node="a")
    nodes[1].kill()

    assert team.found([key]) == [Ended]


def test_one_worker_at_a_time_and_another_when_it_dies(nodes, team_of):
    """The lease runs out by itself."""
    team = team_of(pool_of(nodes))
    first, ears = team.start()
    ears.wait_for(RefillDone, 3)
    _, others = team.start()
    nodes[0].restart()
    ears.wait_for(NodeForgotOrRefill, node="a", times=2)
    assert others.all(RefillBegan) == []
    first._shift.over.set()  # it ends as if killed: the lease is not given back
    first._shift.keeper.farewell = lambda: iter(())
    nodes[1].restart()

    others.wait_for(RefillDone, node="b")


NodeForgotOrRefill = (NodeForgot, RefillDone)


def test_a_node_that_does_not_list_is_named(memcached, team_of):
    """Its crawler is off: what only it knows cannot be copied, and that is said."""
    nodes = [memcached(options=["-o", "no_lru_crawler"]), memcached()]
    team = team_of(pool_of(nodes))
    _, ears = team.start()
    failed = ears.wait_for(RefillFailed, node="b")

    assert "a: " in failed.reason
    assert "crawler" in failed.reason


def test_a_move_is_told_when_it_is_done(memcached, team_of):
    """One node is added and one taken away; then what was before may be forgotten."""
    nodes = [memcached() for _ in range(4)]
    old, new = pool_of(nodes[:3], "abc"), pool_of([nodes[1], nodes[2], nodes[3]], "bcd")
    team = team_of(old)
    keys = team.store(500)
    caretaker, ears = team.start()
    ears.wait_for(RefillDone, 3)
    caretaker.adopt(new.following(old))
    ears.wait_for(MoveDone)
    nodes[0].kill()
    after = team_of(new)

    assert caretaker.has_moved
    assert set(after.found(keys)) == {Found}


def test_a_move_waits_for_web_servers_that_use_the_old_pool(memcached, team_of):
    """As long as one of them says that it does."""
    nodes = [memcached() for _ in range(3)]
    old, new = pool_of(nodes[:2], "ab"), pool_of(nodes[1:], "bc")
    team = team_of(old)
    slow, slow_ears = team.start()
    slow_ears.wait_for(RefillDone, 2)
    _, ears = team.start(new.following(old))
    ears.wait_for(RefillDone, node="c") if ears.all(RefillBegan) else None
    assert ears.all(MoveDone) == []
    slow.adopt(new.following(old))

    ears.wait_for(MoveDone)
    slow_ears.wait_for(MoveDone)


def test_web_servers_with_different_pools_are_told(memcached, team_of):
    """Neither knows the other's nodes."""
    nodes = [memcached() for _ in range(3)]
    team = team_of(pool_of(nodes[:2], "ab"))
    _, ears = team.start()
    ears.wait_for(RefillDone, 2)
    _, others = team.start(pool_of(nodes[1:], "bc"))

    differ = others.wait_for(PoolsDiffer)
    assert (differ.ours, differ.theirs) == (("c",), ("a",))
    ears.wait_for(PoolsDiffer)


def test_a_pool_that_was_replaced_without_previous_is_told(memcached, team_of, monkeypatch):
    """Two of three nodes are others than before: with two copies that loses sessions."""
    monkeypatch.setattr(moving, "ALIVE_S", -3_600.0)
    nodes = [memcached() for _ in range(5)]
    team = team_of(pool_of(nodes[:3], "abc"))
    caretaker, ears = team.start()
    ears.wait_for(RefillDone, 3)
    caretaker.stop()
    _, others = team.start(pool_of([nodes[0], nodes[3], nodes[4]], "ade"))

    replaced = others.wait_for(PoolReplaced)
    assert (replaced.ours, replaced.theirs) == (("d", "e"), ("b", "c"))


def test_one_node_more_or_less_is_no_news(memcached, team_of, monkeypatch):
    """Every session has another copy."""
    monkeypatch.setattr(moving, "ALIVE_S", -3_600.0)
    nodes = [memcached() for _ in range(4)]
    team = team_of(pool_of(nodes[:3], "abc"))
    caretaker, ears = team.start()
    ears.wait_for(RefillDone, 3)
    caretaker.stop()
    _, others = team.start(pool_of(nodes[1:], "bcd"))
    others.wait_for(RefillDone, node="d")

    assert others.all(PoolReplaced) == []


def test_without_options_nothing_is_done(nodes):
    """No thread is started."""
    before = threading.active_count()
    caretaker = Caretaker(pool_of(nodes), keys=KEYS, lifetime=LIFETIME, observe=print, options=None)
    caretaker.start()
    caretaker.missed(b"memsession:x", INVALIDATED, ("a",))
    caretaker.stop()

    assert threading.active_count() == before


def test_an_error_is_told_and_the_work_goes_on(nodes, team_of, monkeypatch):
    """Whatever goes wrong behind the requests, requests go on, and so does the caretaker."""
    monkeypatch.setattr("memsession.caretaker.AFTER_FAILURE_S", 0.01)
    failures = iter([RuntimeError("sabotage")])
    true = tending.Tending.errand

    def fails_once(self, *arguments):
        for failure in failures:
            raise failure
        return (yield from true(self, *arguments))

    monkeypatch.setattr(tending.Tending, "errand", fails_once)
    _, ears = team_of(pool_of(nodes)).start()

    assert "sabotage" in ears.wait_for(UpkeepFailed).reason
    ears.wait_for(RefillDone, 3)


def test_expired_sessions_are_not_copied(nodes, team_of):
    """A refill prolongs nobody's session."""
    team = team_of(pool_of(nodes[:2]))
    (key,) = team.store(1)
    now_ms = team.world.now_ms()
    old = Live({}, {}, now_ms - 10_000_000, now_ms + 1_000_000, now_ms - LIFETIME.idle_ms)
    idle = storage_key(SessionId.new(), "memsession")
    team.client.run(create(team.world, idle, old))
    _, ears = team.start()
    ears.wait_for(RefillDone, 2)
    nodes[0].restart()
    done = ears.wait_for(RefillDone, times=len(ears.all(RefillDone, node="a")) + 1, node="a")

    assert done.written == 1
    assert team.found([key, idle]) == [Found, Absent]


def _until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)
