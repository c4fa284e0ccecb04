"""What the web servers know of the pool together: the status, the lease, the hints."""

import pytest

from memsession.events import TombstoneDelivered
from memsession.plans import INVALIDATED
from memsession.plans.tell import TRIES_MAX, tell
from memsession.record import Dead, Entry, Live, Reason
from memsession.record.payload import encode
from memsession.upkeep import hints as hinting
from memsession.upkeep import lease as leasing
from memsession.upkeep.fingerprint import chain, fingerprint, in_use
from memsession.upkeep.hints import Hints
from memsession.upkeep.lease import Lease, LeaseLost
from memsession.upkeep.status import (
    POOLS_MAX,
    InUse,
    Sound,
    Status,
    Unread,
    begin_anew,
    moved_put,
    note,
    pool_put,
    read_status,
    sound_put,
    tidy,
)
from tests.behind import THEIRS, Behind, Sealed, pool

REGENERATED = Dead(Reason.REGENERATED, "mark")


def told(behind, site=None):
    site = site or behind.site()
    return behind.run(read_status(site.status_world, site.status_key))


def noted(behind, puts, site=None):
    site = site or behind.site()
    return behind.run(note(site.status_world, site.status_key, lambda _: puts, site.deadline))


def test_what_is_noted_is_known():
    """By every web server."""
    behind = Behind()
    sound = Sound("m", "x", ("b",))
    use = InUse(("a", "b"), 2, ("f0",), 5)
    assert noted(behind, sound_put(told(behind), "a", sound, "abc"))
    assert noted(behind, {**pool_put("f1", use), "missed:b": "y"})
    assert noted(behind, moved_put(told(behind), "f1", 7))
    status = told(behind)

    assert (status.sound, status.missed, status.pools, status.moved) == (
        {"a": sound},
        {"b": "y"},
        {"f1": use},
        {"f1": 7},
    )
    assert status.begun_ms > 0


def test_nothing_to_note_is_not_written():
    """It counts as stored."""
    behind = Behind()
    assert noted(behind, {})
    assert {type(command).__name__ for command in behind.commands} == {"Get"}


def test_what_another_version_has_written_is_passed_over():
    """Nothing is taken for what it is not."""
    behind = Behind()
    noted(
        behind,
        {"sound": {"a": ["m", "x"], "b": 7}, "missed:a": 3, "pool:f": ["a"], "moved": {"f": "x"}, "begun": "x"},
    )
    assert told(behind) == Status({}, {}, {}, {}, 0)
    noted(behind, {"sound": 1, "moved": [], "pool:g": [["a", 3], 2, [], 5], "more": 1})
    assert told(behind) == Status({}, {}, {"g": InUse(("a",), 2, (), 5)}, {}, 0)


def test_a_silent_pool_knows_nothing():
    """And nothing is noted."""
    behind = Behind()
    behind.silent = {"a", "b", "c"}

    assert told(behind) is Unread.SILENT
    assert not noted(behind, {"missed:a": "x"})


def test_a_node_that_was_never_there_keeps_nobody_from_noting():
    """A pool whose list names a dead node from the beginning has a status, too."""
    behind = Behind()
    behind.silent = {"b"}

    assert noted(behind, {"missed:b": "x"})
    assert told(behind).missed == {"b": "x"}


def test_a_newer_status_wins_over_what_a_node_remembers_of_an_older_one():
    """Otherwise a node that was missed lately would be taken for sound."""
    behind = Behind("ab")
    for n in range(50):
        noted(behind, {"missed:a": f"old{n}"})
    behind.silent = {"b"}
    behind.nodes["a"].restart()
    behind.now += 5
    noted(behind, {"missed:a": "new"})
    behind.silent = set()

    assert told(behind).missed == {"a": "new"}


def test_what_another_secret_has_sealed_is_replaced_by_who_has_the_lease():
    """After a change of the secret; until then nothing can be read or noted."""
    behind = Behind("ab")
    theirs, site = behind.site(secret=THEIRS), behind.site()
    noted(behind, {"missed:a": "x"}, theirs)
    assert told(behind) is Unread.SEALED
    assert not noted(behind, {"missed:a": "y"})
    behind.run(begin_anew(site.status_world, site.status_key))

    assert told(behind) == Status({}, {}, {}, {}, site.status_world.now_ms() - 2)
    assert noted(behind, {"missed:a": "y"})


def test_what_can_be_read_is_not_replaced():
    """A worker that only thinks it is needed destroys nothing."""
    behind = Behind("ab")
    site = behind.site()
    behind.run(begin_anew(site.status_world, site.status_key))
    noted(behind, {"missed:a": "x"})
    behind.run(begin_anew(site.status_world, site.status_key))

    assert told(behind).missed == {"a": "x"}


def test_two_writers_at_once_are_both_heard():
    """The second one tries again."""
    behind = Behind("ab")
    site = behind.site()
    other = iter([{"missed:a": "x"}])

    def in_between():
        behind.before_round = lambda: None
        behind.before_round = second

    def second():
        behind.before_round = lambda: None
        noted(behind, next(other))

    behind.before_round = in_between

    assert behind.run(note(site.status_world, site.status_key, lambda _: {"missed:b": "y"}, site.deadline))
    assert told(behind).missed == {"a": "x", "b": "y"}


def test_who_is_always_second_gives_up():
    """And says that nothing was stored."""
    behind = Behind("ab")
    noted(behind, {"n": 0})
    site = behind.site()
    key, numbers = site.status_key, iter(range(1_000))

    def restart():
        for name in "ab":
            behind.nodes[name].put(key, Sealed("ours", began(behind.now_ms(), next(numbers))), behind.now + 1_000)
        behind.now += 10

    behind.before_round = restart
    assert not behind.run(note(site.status_world, key, lambda _: {"missed:b": "y"}, site.deadline))


def began(now_ms, number):
    return Live({"n": Entry(number, "w", number)}, {}, now_ms, 2**52, now_ms)


def test_what_counts_no_more_is_left_out_without_a_trace():
    """Of a hundred pools the latest ones stay, and the nodes that they or we name."""
    behind = Behind()
    site = behind.site()
    for n in range(100):
        noted(
            behind, {**pool_put(f"f{n:02}", InUse((f"n{n:02}",), 2, (), n)), f"missed:n{n:02}": "x", "missed:a": "y"}
        )
    behind.run(tidy(site.status_world, site.status_key, site.names, site.deadline))
    status = told(behind)
    latest = range(100 - POOLS_MAX, 100)

    assert [*status.pools] == [f"f{n}" for n in latest]
    assert {*status.missed} == {"a", *(f"n{n}" for n in latest)}
    assert len(behind.held(site.status_key)["a"].entries) == 2 * POOLS_MAX + 2


def test_there_is_nothing_to_tidy_in_nothing():
    """Nor where all is needed."""
    behind = Behind()
    site = behind.site()
    behind.run(tidy(site.status_world, site.status_key, site.names, site.deadline))
    noted(behind, {"missed:a": "x"})
    behind.commands.clear()
    behind.run(tidy(site.status_world, site.status_key, site.names, site.deadline))

    assert {type(command).__name__ for command in behind.commands} == {"Get"}


def test_sound_nodes_that_no_pool_names_are_forgotten():
    """Pools made from addresses have ever new ones."""
    status = Status(
        {"a": Sound("m", ""), "old": Sound("m", ""), "z": Sound("m", "")}, {}, {"f": InUse(("z",), 1, (), 5)}, {}
    )

    assert {*sound_put(status, "b", Sound("m", ""), ("a", "b"))["sound"]} == {"a", "b", "z"}


def test_the_status_of_a_thousand_nodes_fits_into_an_item():
    """With the greatest number of pools that are remembered, each with other nodes."""
    names = [f"cache-{n:04}.internal:11211" for n in range(1_000)]
    entries = {
        "sound": Entry(2**41, "w" * 12, {name: ["m" * 32, "x" * 12, []] for name in names}),
        "moved": Entry(2**41, "w" * 12, {f"{n:016}": 2**41 for n in range(POOLS_MAX)}),
    }
    entries |= {f"missed:{name}": Entry(2**41, "w" * 12, "x" * 12) for name in names}
    use = [names, 2, ["f" * 16], 2**41]
    entries |= {f"pool:{n:016}": Entry(2**41, "w" * 12, use) for n in range(POOLS_MAX)}

    assert len(encode(Live(entries, {}, 2**41, 2**52, 2**41))) < 1_000_000


def test_fingerprints_tell_where_sessions_lie():
    """Not where nodes are, nor in what order they are named."""
    assert fingerprint(pool("abc")) == fingerprint(pool("cba"))
    assert fingerprint(pool("abc")) != fingerprint(pool("abd"))
    assert fingerprint(pool("abc")) != fingerprint(pool("abc", copies=3))
    assert fingerprint(pool("ab")) != fingerprint(pool("ab", zones={"a": "x", "b": "y"}))
    oldest = pool("ab")
    newest = pool("cd", previous=pool("bc", previous=oldest))
    assert [fingerprint(one) for one in chain(newest)][2] == fingerprint(oldest)
    assert in_use(newest, 5) == InUse(("c", "d"), 2, (fingerprint(pool("bc")), fingerprint(oldest)), 5)


def lease_of(behind, owner="me"):
    site = behind.site()
    return Lease(site.status_world, site.status_key, owner)


def test_one_has_the_lease():
    """The other one asks now and then, and gets it when it is given back."""
    behind = Behind()
    mine, yours = lease_of(behind), lease_of(behind, "you")
    assert behind.perform(mine.get())
    assert not behind.perform(yours.get())
    asked = len(behind.commands)
    assert not behind.perform(yours.get())
    assert len(behind.commands) == asked
    behind.perform(mine.give_back())
    assert not mine.is_held
    behind.now += leasing.RENEW_S
    assert behind.perform(yours.get())


def test_the_lease_of_one_that_died_runs_out():
    """Not before."""
    behind = Behind()
    mine, yours = lease_of(behind), lease_of(behind, "you")
    assert behind.perform(mine.get())
    behind.now += leasing.LEASE_S - 1
    assert not behind.perform(yours.get())
    behind.now += leasing.RENEW_S
    assert behind.perform(yours.get())
    assert not mine.is_held


def test_who_was_paused_does_not_believe_that_it_has_the_lease():
    """It asks, and is told that another one has it."""
    behind = Behind()
    mine, yours = lease_of(behind), lease_of(behind, "you")
    behind.perform(mine.get())
    behind.now += leasing.LEASE_S + 1
    behind.perform(yours.get())

    assert not mine.is_held
    with pytest.raises(LeaseLost):
        behind.perform(mine.keep())
    behind.perform(mine.give_back())
    assert yours.is_held
    behind.perform(yours.keep())


def test_a_wall_clock_that_jumps_takes_the_lease_from_nobody_for_ever():
    """Back by an hour: the lease seems to live long; it is still its owner's to renew."""
    behind = Behind()
    mine = lease_of(behind)
    behind.perform(mine.get())
    behind.skew_ms = -3_600_000
    behind.now += leasing.RENEW_S
    assert behind.perform(mine.get())
    behind.skew_ms = 3_600_000
    behind.now += leasing.RENEW_S
    assert behind.perform(mine.get())


def test_a_pool_without_answer_gives_no_lease():
    """Nobody works on it."""
    behind = Behind()
    behind.silent = {"a", "b", "c"}
    assert not behind.perform(lease_of(behind).get())


def deliver(behind, hints, names="abc"):
    behind.perform(hints.deliver(behind.site().world, names.__contains__, behind.told.append))


def test_a_hint_is_delivered_once():
    """And told."""
    behind = Behind()
    behind.store(b"s1", "a")
    hints = Hints()
    hints.add("a", b"s1", INVALIDATED)
    deliver(behind, hints)

    assert behind.held(b"s1") == {"a": INVALIDATED}
    assert [event.node for event in behind.of(TombstoneDelivered)] == ["a"]
    assert len(hints) == 0


def test_a_hint_waits_for_its_node():
    """Others do not wait for it; a node that left the pool is not waited for."""
    behind = Behind()
    hints = Hints()
    for n in range(2 * hinting.BATCH):
        hints.add("a", f"s{n}".encode(), INVALIDATED)
    hints.add("b", b"s1", INVALIDATED)
    hints.add("gone", b"s1", INVALIDATED)
    behind.silent = {"a"}
    deliver(behind, hints)

    assert behind.held(b"s1") == {"b": INVALIDATED}
    assert len(hints) == 2 * hinting.BATCH
    assert sum(command.node == "a" for command in behind.commands) == hinting.BATCH
    behind.silent = set()
    deliver(behind, hints)
    assert len(hints) == 0


@pytest.mark.parametrize("order", [(REGENERATED, INVALIDATED), (INVALIDATED, REGENERATED)])
def test_of_two_hints_for_one_session_the_greater_counts(order):
    """A logout is not undone by what was known before it."""
    behind = Behind()
    hints = Hints()
    for dead in order:
        hints.add("a", b"s1", dead)
    deliver(behind, hints)

    assert behind.held(b"s1") == {"a": INVALIDATED}


def test_a_hint_that_comes_while_another_one_is_delivered_is_not_lost():
    """The node is told of the greater one the next time."""
    behind = Behind()
    hints = Hints()
    hints.add("a", b"s1", REGENERATED)
    behind.before_round = lambda: hints.add("a", b"s1", INVALIDATED)
    deliver(behind, hints)
    assert len(hints) == 1
    assert behind.told == []
    behind.before_round = lambda: None
    deliver(behind, hints)

    assert behind.held(b"s1") == {"a": INVALIDATED}


def test_hints_are_bounded(monkeypatch):
    """The oldest goes."""
    monkeypatch.setattr(hinting, "HINTS_MAX", 3)
    behind = Behind()
    hints = Hints()
    for n in range(5):
        hints.add("a", f"s{n}".encode(), INVALIDATED)
    deliver(behind, hints)

    assert [n for n in range(5) if behind.held(f"s{n}".encode())] == [2, 3, 4]


def test_a_node_that_knows_more_is_left_alone():
    """It has been told by another one."""
    behind = Behind()
    behind.put(b"s1", INVALIDATED, "a")
    assert behind.run(tell(behind.site().world, b"s1", REGENERATED, "a"))
    assert behind.held(b"s1") == {"a": INVALIDATED}
    assert len(behind.commands) == 1


def test_what_cannot_be_read_gives_way_to_the_end():
    """Whatever it was."""
    behind = Behind()
    behind.store(b"s1", "a", secret=THEIRS)
    assert behind.run(tell(behind.site().world, b"s1", INVALIDATED, "a"))
    assert behind.held(b"s1") == {"a": INVALIDATED}


def test_a_node_that_falls_silent_before_the_write_is_told_later():
    """It is not known whether it heard."""
    behind = Behind()
    rounds = []

    def fail_later():
        rounds.append(1)
        behind.silent = {"a"} if len(rounds) > 1 else set()

    behind.before_round = fail_later
    assert not behind.run(tell(behind.site().world, b"s1", INVALIDATED, "a"))


def test_a_session_that_changes_all_the_time_is_told_later():
    """After a few times."""
    behind = Behind()
    behind.store(b"s1", "a")
    behind.before_round = lambda: behind.store(b"s1", "a")
    assert not behind.run(tell(behind.site().world, b"s1", INVALIDATED, "a"))
    assert len(behind.commands) == 2 * TRIES_MAX
