"""The keeper: whom it refills and when, what it says of pools, and that nothing it does is the cause of more."""

from collections import Counter

import pytest

from memsession.errors import ConfigurationError
from memsession.events import (
    MoveDone,
    NodeBack,
    NodeForgot,
    NodeOut,
    PoolReplaced,
    PoolsDiffer,
    RefillBegan,
    RefillDone,
    RefillFailed,
    RefillProgress,
    TombstoneDelivered,
    UpkeepFailed,
)
from memsession.plans import INVALIDATED
from memsession.upkeep import Keeper, Upkeep, keeper, moving, pace, status, tending
from memsession.upkeep.fingerprint import fingerprint, in_use
from memsession.upkeep.status import moved_put, note, pool_put, read_status
from tests.behind import THEIRS, Behind, homed, pool

LEFT = "it is left to another process, or to another pool"


class Team:
    """Keepers of one pool that take turns, each a look at a time."""

    def __init__(self, behind):
        self.behind = behind
        self.chores = []

    def keeper(self, pool=None, secret="ours"):
        made = Keeper(
            pool or self.behind.pool, site_for=lambda pool: self.behind.site(pool, secret), chance=lambda: 0.5
        )
        self.chores.append(made.run())
        return made

    def go_on(self, seconds):
        """All of them, for so long; each goes on as far as its next rest."""
        until = self.behind.now + seconds
        while self.behind.now < until:
            now = self.behind.now
            for chore in self.chores:
                self.behind.now = now
                rests = len(self.behind.pauses)
                self.behind.perform(chore, lambda rests=rests: len(self.behind.pauses) > rests)
            self.behind.now = now + keeper.TICK_S


@pytest.fixture
def behind():
    return Behind()


@pytest.fixture
def team(behind):
    return Team(behind)


def status_of(behind, site=None):
    site = site or behind.site()
    return behind.run(read_status(site.status_world, site.status_key))


def say(behind, other, ago_s=0.0):
    """A web server with another pool says that it uses it."""
    site = behind.site()
    put = pool_put(fingerprint(other), in_use(other, behind.now_ms() - int(ago_s * 1000)))
    behind.run(note(site.status_world, site.status_key, lambda _: put, site.deadline))


def test_new_nodes_are_refilled_once(behind, team):
    """Then there is peace."""
    team.keeper()
    team.go_on(30)

    assert Counter(event.node for event in behind.of(RefillDone)) == {"a": 1, "b": 1, "c": 1}
    assert {event.why for event in behind.of(RefillBegan)} == {"forgot"}
    assert {type(event) for event in behind.told} == {RefillBegan, RefillDone}


def test_a_restarted_node_is_refilled(behind, team):
    """By the one that has the lease."""
    team.keeper()
    team.keeper()
    team.go_on(20)
    key = homed(behind.pool, "a", "b")
    behind.store(key)
    behind.nodes["a"].restart()
    behind.told.clear()
    team.go_on(10)

    assert [type(event) for event in behind.told if type(event) is not RefillProgress] == [RefillBegan, RefillDone]
    assert "a" in behind.held(key)


def test_what_was_missed_is_looked_for(behind, team):
    """By a scan, after whoever noticed it has noted it."""
    first = team.keeper()
    second = team.keeper()
    team.go_on(20)
    behind.told.clear()
    key = homed(behind.pool, "a", "b")
    behind.store(key, "a")
    behind.put(key, INVALIDATED, "b")
    second.heard(NodeOut("a", "test"))
    second.heard(NodeBack("unknown"))
    first.heard(NodeForgot("b"))
    team.go_on(10)

    assert [(event.node, event.why) for event in behind.of(RefillBegan)] == [("a", "missed")]
    assert behind.held(key) == {"a": INVALIDATED, "b": INVALIDATED}


def test_a_missed_tombstone_is_delivered_and_looked_for(behind, team):
    """The node is told at once; others may have missed the same, so it is scanned as well."""
    made = team.keeper()
    team.go_on(20)
    made.missed(b"s1", INVALIDATED, ("a",))
    behind.told.clear()
    team.go_on(3)

    assert [type(event) for event in behind.told] == [TombstoneDelivered, RefillBegan, RefillDone]


def test_what_could_not_be_noted_is_noted_later(behind, team):
    """While no node answers, it is kept."""
    made = team.keeper()
    team.go_on(20)
    behind.silent = {"a", "b", "c"}
    made.heard(NodeOut("a", "test"))
    team.go_on(5)
    behind.silent = set()
    behind.told.clear()
    team.go_on(20)

    assert [(event.node, event.why) for event in behind.of(RefillBegan)] == [("a", "missed")]


def test_what_could_not_be_noted_for_an_error_is_kept(behind, team):
    """The next run of the keeper notes it."""
    made = team.keeper()
    team.go_on(20)
    made.heard(NodeOut("a", "test"))

    def fail():
        raise RuntimeError("sabotage")

    behind.before_round = fail
    with pytest.raises(RuntimeError):
        team.go_on(2)
    behind.before_round = lambda: None
    team.chores[:] = [made.run()]
    behind.told.clear()
    team.go_on(10)

    assert [event.node for event in behind.of(RefillBegan)] == ["a"]


def test_long_work_does_not_keep_others_from_being_told(behind, team):
    """During a refill of an hour tombstones are delivered, misses noted, and the pool is said to be in use."""
    made = team.keeper()
    team.go_on(20)
    for n in range(60_000):
        behind.store(f"s{n}".encode(), "b")
    behind.nodes["a"].restart()
    behind.told.clear()
    chore = team.chores[0]
    behind.perform(chore, lambda: behind.of(RefillProgress))
    assert behind.of(RefillDone) == []
    made.missed(b"x1", INVALIDATED, ("b",))
    made.heard(NodeOut("c", "test"))
    begun = behind.now
    behind.perform(chore, lambda: behind.now > begun + moving.SAY_S + 1)

    assert behind.of(RefillDone) == []
    assert behind.held(b"x1") == {"b": INVALIDATED}
    assert {*status_of(behind).missed} == {"b", "c"}
    assert status_of(behind).pools[fingerprint(behind.pool)].at_ms > behind.now_ms() - moving.SAY_S * 1000 - 1000


def test_another_pool_breaks_off_what_is_done_for_the_former_one(behind, team):
    """It goes on with the new one at once, and says that it left the other."""
    made = team.keeper()
    team.go_on(20)
    for n in range(20_000):
        behind.store(f"s{n}".encode(), "b")
    behind.nodes["a"].restart()
    chore = team.chores[0]
    behind.perform(chore, lambda: behind.of(RefillProgress))
    made.adopt(pool("abcd", previous=behind.pool))
    behind.told.clear()
    behind.perform(chore, lambda: behind.of(RefillBegan))

    assert behind.now < 1_000 + 40
    assert behind.of(RefillDone) == []
    assert [(event.node, event.reason) for event in behind.of(RefillFailed)] == [("a", LEFT)]


def test_another_pool_breaks_off_a_move(behind, team):
    """It says that it left it."""
    made = team.keeper(pool("bcd", previous=behind.pool))
    for n in range(20_000):
        behind.store(f"s{n}".encode(), "b")
    chore = team.chores[0]
    behind.perform(chore, lambda: [event for event in behind.of(RefillProgress) if event.node == moving.ALL])
    made.adopt(pool("cde", previous=pool("bcd", previous=behind.pool)))
    behind.told.clear()
    behind.perform(chore, lambda: behind.of(RefillBegan))

    assert [(event.node, event.reason) for event in behind.of(RefillFailed)] == [(moving.ALL, LEFT)]


def test_a_scan_is_not_the_cause_of_another_scan(behind, team):
    """What the keeper's own client meets in the middle of a refill is not taken for something missed."""
    made = team.keeper()
    team.go_on(20)
    begun = Counter(event.node for event in behind.of(RefillBegan))
    made.heard(NodeOut("a", "test"))
    behind.before_listing = lambda name: (made.overheard(NodeOut(name, "slow")), made.overheard(NodeBack(name)))
    team.go_on(3_600)

    assert Counter(event.node for event in behind.of(RefillBegan)) - begun == {"a": 1}


def test_who_calls_the_roll_notices_an_outage_that_no_request_has_met(behind, team):
    """Those who do not have the lease leave it to him."""
    made, other = team.keeper(), team.keeper()
    team.go_on(20)
    behind.told.clear()
    assert made._post.lease.is_held
    other.overheard(NodeOut("b", "test"))
    made.overheard(NodeOut("a", "test"))
    team.go_on(10)

    assert [event.node for event in behind.of(RefillBegan)] == ["a"]


def test_a_node_that_comes_and_goes_is_not_scanned_all_the_time(behind, team):
    """Noticed by 20 web servers each time: at most one scan for each rest."""
    keepers = [team.keeper() for _ in range(20)]
    team.go_on(20)
    behind.told.clear()
    for _ in range(20):
        for made in keepers:
            made.heard(NodeOut("a", "test"))
        team.go_on(3)
    assert 5 <= len(behind.of(RefillBegan)) <= 60 / pace.AGAIN_S + 1


def test_a_refill_that_fails_is_tried_ever_more_seldom(behind, team):
    """Until something changes."""
    behind.unlisted = {"a", "b", "c"}
    team.keeper()
    team.go_on(3_600)
    failed = Counter(event.node for event in behind.of(RefillFailed))

    assert all(6 <= failed[node] <= 20 for node in "abc")
    behind.told.clear()
    behind.unlisted = set()
    behind.nodes["a"].restart()
    team.go_on(10)
    assert [event.node for event in behind.of(RefillDone)] == ["a"]


def test_a_refill_is_tried_again_as_soon_as_another_node_is_back(behind, team):
    """What it waits for may be there."""
    team.keeper()
    team.go_on(20)
    behind.silent = {"b", "c"}
    behind.nodes["a"].restart()
    team.go_on(600)
    behind.told.clear()
    behind.silent = {"c"}
    team.go_on(10)

    assert [event.node for event in behind.of(RefillFailed)][:1] == ["a"]
    assert "c: does not list" in behind.of(RefillFailed)[0].reason
    behind.told.clear()
    behind.silent = set()
    team.go_on(10)
    assert "a" in {event.node for event in behind.of(RefillDone)}
    assert behind.of(RefillFailed) == []


def test_a_source_that_cannot_be_asked_yet_is_named(behind, team):
    """Of two that were away, one is back."""
    team.keeper()
    team.go_on(20)
    behind.silent = {"b"}
    behind.unlisted = {"c"}
    behind.nodes["a"].restart()
    team.go_on(10)
    behind.unlisted = set()
    site = behind.site()
    mark = behind.nodes["a"].items[site.mark_key][0].decode()
    puts = {"sound": {"a": [mark, "", ["b", "c"]]}}
    behind.run(note(site.status_world, site.status_key, lambda _: puts, site.deadline))
    behind.told.clear()
    team.go_on(600)

    reasons = [event.reason for event in behind.of(RefillFailed) if event.node == "a"]
    assert any("b cannot be asked yet" in reason for reason in reasons)


def test_too_many_sources_that_cannot_be_asked_are_a_failure(behind, team, monkeypatch):
    """The status is no place for long lists."""
    monkeypatch.setattr(tending, "SOURCES_MAX", 0)
    behind.unlisted = {"b"}
    team.keeper()
    team.go_on(5)

    assert behind.of(RefillFailed)[0].reason == "1 nodes could not be asked"


def test_a_node_that_is_emptied_during_its_refill_is_refilled_again(behind, team):
    """What was written first is gone."""
    team.keeper()
    team.go_on(20)
    behind.told.clear()
    behind.nodes["a"].restart()
    times = iter([True])
    behind.before_listing = lambda name: next(times, False) and behind.nodes["a"].restart()
    team.go_on(20)

    assert [type(event) for event in behind.told] == [RefillBegan, RefillFailed, RefillBegan, RefillDone]
    assert "meanwhile" in behind.told[1].reason


def test_a_refill_that_cannot_be_noted_has_failed(behind, team, monkeypatch):
    """And is done again."""
    true, refusals = tending.note, iter([False])

    def refuses(world, key, change, deadline):
        for refusal in refusals:
            return refusal
        return (yield from true(world, key, change, deadline))

    monkeypatch.setattr(tending, "note", refuses)
    team.keeper()
    team.go_on(30)

    assert [event.reason for event in behind.of(RefillFailed)] == [
        "the nodes that keep the pool's status do not answer"
    ]
    assert len(behind.of(RefillDone)) == 3


@pytest.mark.parametrize(("names", "options"), [("a", {}), ("abc", {"copies": 1})])
def test_where_no_node_has_what_another_one_lost_nothing_is_refilled(names, options):
    """And nothing of the kind is told."""
    behind = Behind(names, **options)
    team = Team(behind)
    made = team.keeper()
    team.go_on(10)
    behind.nodes["a"].restart()
    made.heard(NodeBack("a"))
    team.go_on(10)

    assert behind.told == []
    assert behind.listings == []


def test_one_node_with_a_former_pool_of_one_node():
    """Nobody is there to be asked, but for the former node."""
    behind = Behind("a", copies=1)
    team = Team(behind)
    behind.store(b"s1", "a")
    team.keeper(pool("b", copies=1, previous=pool("a", copies=1)))
    team.go_on(60)

    assert {*behind.held(b"s1")} == {"a", "b"}
    assert behind.of(MoveDone)


def test_a_pool_of_one_node_that_has_a_former_life():
    """The same node, but other copies: nothing to ask."""
    behind = Behind("a")
    team = Team(behind)
    team.keeper(pool("a", previous=pool("a")))
    team.go_on(60)

    assert behind.of(RefillBegan)[0].node == moving.ALL


def test_all_nodes_down_at_the_start(behind, team):
    """Nothing is told, and it begins when they come."""
    behind.silent = {"a", "b", "c"}
    team.keeper()
    team.go_on(60)
    assert behind.told == []
    behind.silent = set()
    team.go_on(30)
    assert len(behind.of(RefillDone)) == 3


def test_a_node_that_never_answers_keeps_nobody_from_the_rest(behind, team):
    """The others are refilled, and it is told what is missing."""
    behind.silent = {"a"}
    team.keeper()
    team.go_on(30)

    assert {event.node for event in behind.of(RefillFailed)} == {"b", "c"}
    assert all("a: does not list" in event.reason for event in behind.of(RefillFailed))
    assert len(behind.of(RefillBegan)) == 2


def test_another_secret_is_told_of_once(behind, team):
    """By the web server that does not get the lease; it goes on asking, and does no harm."""
    team.keeper(secret=THEIRS)
    team.go_on(20)
    behind.told.clear()
    team.keeper()
    team.go_on(200)

    assert ["secret_key" in event.reason for event in behind.of(UpkeepFailed)] == [True]
    assert {type(event) for event in behind.told} == {UpkeepFailed}


def test_a_changed_secret_begins_anew_when_the_lease_of_the_former_has_run_out(behind, team):
    """Nobody is told of anything but refills."""
    team.keeper(secret=THEIRS)
    team.go_on(20)
    team.chores.clear()
    behind.told.clear()
    behind.now += 30
    team.keeper()
    team.go_on(40)

    assert len(behind.of(RefillDone)) == 3
    assert behind.of(UpkeepFailed) == []


def test_a_lost_status_costs_a_refill(behind, team):
    """No more."""
    team.keeper()
    team.go_on(20)
    for node in behind.nodes.values():
        node.evict(behind.site().status_key)
    behind.told.clear()
    team.go_on(30)

    assert len(behind.of(RefillDone)) == 3
    assert behind.of(RefillFailed) == []


def moves(behind, team, old, new, **options):
    team.keeper(old)
    team.go_on(30)
    behind.told.clear()
    team.chores.clear()
    return team.keeper(pool(new, previous=old, **options))


def test_a_move_is_told_when_it_is_done(behind, team):
    """By everyone, once."""
    key = homed(behind.pool, "a", "b")
    behind.store(key)
    made = moves(behind, team, behind.pool, "bcd")
    second = team.keeper(pool("bcd", previous=behind.pool))
    team.go_on(100)

    assert len(behind.of(MoveDone)) == 2
    assert made.has_moved
    assert second.has_moved
    assert behind.held(key).keys() >= {*pool("bcd").homes(key)}
    assert behind.of(PoolsDiffer) == behind.of(PoolReplaced) == []


def test_a_dead_node_is_replaced_though_it_cannot_be_asked(behind, team):
    """Each of its sessions has another copy, which is enough."""
    keys = [f"s{n}".encode() for n in range(50)]
    for key in keys:
        behind.store(key)
    behind.nodes["c"].restart()
    behind.silent = {"c"}
    moves(behind, team, behind.pool, "abd")
    team.go_on(200)

    assert behind.of(MoveDone)
    assert all(behind.held(key).keys() >= {*pool("abd").homes(key)} for key in keys)


def test_a_move_waits_for_the_nodes_of_the_new_pool(behind, team):
    """They have to take what belongs to them."""
    behind.store(homed(pool("abd"), "a", "d"), "a", "b", "c")
    behind.silent = {"d"}
    made = moves(behind, team, behind.pool, "abd")
    team.go_on(100)
    assert "d did not answer any more" in behind.of(RefillFailed)[0].reason or behind.of(RefillFailed)
    assert not made.has_moved
    behind.silent = set()
    team.go_on(400)
    assert made.has_moved


def test_too_many_silent_nodes_stop_a_move(behind, team):
    """Sessions may lie there alone. It is tried ever more seldom; when all of them have expired it is done."""
    moves(behind, team, behind.pool, "ade")
    behind.silent = {"b", "c"}
    team.go_on(3_000)
    failed = [event for event in behind.of(RefillFailed) if event.node == moving.ALL]
    assert "too many nodes could not be asked" in failed[0].reason
    assert 5 <= len(failed) <= 20
    assert behind.of(MoveDone) == []
    behind.now += behind.site().world.lifetime.longest_ms / 1000
    team.go_on(400)
    assert behind.of(MoveDone)


def test_a_move_that_cannot_be_noted_is_not_done(behind, team, monkeypatch):
    """It is tried again."""
    made = moves(behind, team, behind.pool, "bcd")
    true, refusals = moving.note, iter(range(2))

    def refuses(world, key, change, deadline):
        if "moved" in change(None) and next(refusals, None) is not None:
            return False
        return (yield from true(world, key, change, deadline))

    monkeypatch.setattr(moving, "note", refuses)
    team.go_on(200)

    assert len([event for event in behind.of(RefillFailed) if event.node == moving.ALL]) == 2
    assert made.has_moved


def test_a_move_waits_for_those_that_use_the_former_pool(behind, team):
    """And what they do later undoes it for those who come."""
    made = moves(behind, team, behind.pool, "bcd")
    for _ in range(20):
        say(behind, behind.pool)
        team.go_on(5)
    assert not made.has_moved
    team.go_on(100)
    assert made.has_moved
    say(behind, behind.pool)
    late = team.keeper(pool("bcd", previous=behind.pool))
    team.go_on(10)
    assert not late.has_moved


def test_a_lost_status_lets_others_speak_before_a_move(behind, team):
    """Whoever uses the former pool says so within seconds."""
    made = moves(behind, team, behind.pool, "bcd")
    team.go_on(8)
    for node in behind.nodes.values():
        node.evict(behind.site().status_key)
    team.go_on(moving.ALIVE_S)
    assert not made.has_moved
    team.go_on(100)
    assert made.has_moved


def test_back_to_the_former_pool(behind, team):
    """And forth again: each time all sessions are looked at anew."""
    one, other = pool("abc"), pool("bcd")
    for old, new in ((one, "bcd"), (other, "abc"), (one, "bcd")):
        made = moves(behind, team, old, new)
        team.go_on(100)
        assert made.has_moved
        assert [event.node for event in behind.of(RefillBegan)].count(moving.ALL) == 1
        assert behind.of(PoolsDiffer) == behind.of(PoolReplaced) == []


def test_a_pool_changed_twice(behind, team):
    """The first change was not done yet."""
    key = homed(behind.pool, "a", "b")
    behind.store(key)
    made = team.keeper(pool("cde", previous=pool("bcd", previous=behind.pool)))
    team.go_on(100)

    assert made.has_moved
    assert behind.held(key).keys() >= {*pool("cde").homes(key)}


def test_a_rolling_deploy_with_previous_is_no_news(behind, team):
    """In either direction, also when `previous` is taken away again."""
    new = pool("bcd", previous=behind.pool)
    old_keeper = team.keeper()
    team.go_on(30)
    team.keeper(new)
    team.go_on(30)
    old_keeper.adopt(new)
    team.go_on(100)
    team.keeper(pool("bcd"))
    team.go_on(60)

    assert behind.of(PoolsDiffer) == behind.of(PoolReplaced) == []


def test_a_restart_with_another_pool_is_no_difference(behind, team):
    """What this very web server said a moment ago is no other web server."""
    team.keeper()
    team.go_on(30)
    team.chores.clear()
    team.keeper(pool("abcd"))
    team.go_on(60)

    assert behind.of(PoolsDiffer) == behind.of(PoolReplaced) == []


def test_a_rolling_deploy_without_previous_is_told(behind, team):
    """To both sides, once."""
    team.keeper()
    team.go_on(30)
    team.keeper(pool("bcd"))
    team.go_on(60)

    assert sorted((event.ours, event.theirs) for event in behind.of(PoolsDiffer)) == [
        (("a",), ("d",)),
        (("d",), ("a",)),
    ]
    assert behind.of(PoolReplaced) == []


@pytest.mark.parametrize("ago_s", [3, 3_600])
def test_a_pool_that_was_replaced_at_once_is_told(behind, team, ago_s):
    """By the first that comes with the new one, once nobody uses the former any more."""
    team.keeper()
    team.go_on(30)
    team.chores.clear()
    behind.told.clear()
    behind.now += ago_s
    team.keeper(pool("ade"))
    team.keeper(pool("ade"))
    team.go_on(60)

    assert {(event.ours, event.theirs) for event in behind.of(PoolReplaced)} == {(("d", "e"), ("b", "c"))}
    assert behind.of(PoolsDiffer) == []


def test_one_node_more_or_less_is_no_news(behind, team):
    """Each session has another copy."""
    team.keeper()
    team.go_on(30)
    team.chores.clear()
    behind.now += 3_600
    team.keeper(pool("bcd"))
    team.go_on(60)

    assert behind.of(PoolsDiffer) == behind.of(PoolReplaced) == []


def test_a_web_server_whose_clock_was_ahead_is_believed_again(behind, team):
    """What it said will be true some time; it does not count as in use all that time for the alarm."""
    team.keeper()
    team.go_on(30)
    behind.skew_ms = 3_600_000
    say(behind, pool("xyz"))
    say(behind, behind.pool)
    behind.skew_ms = 0
    team.chores.clear()
    team.keeper()
    team.go_on(60)

    assert behind.of(PoolsDiffer) == []
    assert status_of(behind).pools[fingerprint(behind.pool)].at_ms <= behind.now_ms()


def test_a_move_that_was_noted_is_told_again_to_those_that_come_later(behind, team):
    """Also when the scan was somebody else's."""
    new = pool("bcd", previous=behind.pool)
    say(behind, new)
    site = behind.site(new)
    puts = moved_put(status_of(behind), fingerprint(new), behind.now_ms())
    behind.run(note(site.status_world, site.status_key, lambda _: puts, site.deadline))
    made = team.keeper(new)
    team.go_on(5)

    assert made.has_moved


def test_who_leaves_gives_the_lease_to_the_next(behind, team):
    """Without waiting for it to run out."""
    made = team.keeper()
    team.go_on(20)
    behind.perform(made.farewell())
    team.chores.clear()
    other = team.keeper()
    team.go_on(3)

    assert other._post.lease.is_held


def test_the_status_is_tidied(behind, team):
    """By the one that has the lease."""
    team.keeper()
    for n, letter in enumerate("defghijklmnopqrstuvwxyz"):
        say(behind, pool(f"ab{letter}"), 1_000 + n)
    team.go_on(keeper.TIDY_S + 5)

    assert len(status_of(behind).pools) == status.POOLS_MAX


@pytest.mark.parametrize("rate", [0, 100_001, True, 1.5, "1"])
def test_a_rate_out_of_range(rate):
    """It is said what would be good."""
    with pytest.raises(ConfigurationError, match=r"Upkeep\(rate=.*1 to 100,000"):
        Upkeep(rate=rate)
