"""Refill and mend: who is asked, how fast, and what a silent node means."""

from itertools import pairwise

import pytest

from memsession.plans import INVALIDATED
from memsession.plans.mend import TRIES_MAX, Mended, mend
from memsession.record import Dead, Reason
from memsession.upkeep import refill as refilling
from memsession.upkeep.keys import Keys, Seen
from memsession.upkeep.refill import Refill, RefillBroken
from tests.behind import THEIRS, Behind, Sealed, homed, nothing


def refill(behind, nodes="a", sources=None, rate=2_000, pulse=nothing, report=print, strict=False):
    site = behind.site(rate=rate)
    assert (site.world.home_sets is not None) == strict
    return Refill(
        world=site.world,
        nodes=nodes,
        sources=tuple(sources or [name for name in site.names if name not in nodes]),
        rate=rate,
        pulse=pulse,
        report=report,
    )


def test_alike_copies_are_not_opened():
    """One round, and nothing is written."""
    behind = Behind()
    behind.store(b"s1")

    assert behind.run(mend(behind.site().world, b"s1")) == Mended(0)
    assert len(behind.commands) == 2


def test_a_missing_copy_is_written():
    """And what a silent home lacks is not known."""
    behind = Behind("abc", copies=3)
    record = behind.store(b"s1", "a")
    behind.silent = {"c"}

    assert behind.run(mend(behind.site().world, b"s1")) == Mended(1, ("c",))
    assert behind.held(b"s1") == {"a": record, "b": record}


def test_an_end_is_handed_on():
    """Until it is everywhere."""
    behind = Behind("ab")
    behind.store(b"s1", "a")
    behind.put(b"s1", INVALIDATED, "b")

    assert behind.run(mend(behind.site().world, b"s1")) == Mended(1)
    assert behind.held(b"s1") == {"a": INVALIDATED, "b": INVALIDATED}


def test_what_has_expired_is_left():
    """Nobody is asked to keep it."""
    behind = Behind("ab")
    behind.store(b"s1", "a")
    behind.now += 50_000

    assert behind.run(mend(behind.site().world, b"s1")) == Mended(0)


def test_what_cannot_be_read_is_left():
    """It is another secret's."""
    behind = Behind("ab")
    behind.store(b"s1", "a", secret=THEIRS)

    assert behind.run(mend(behind.site().world, b"s1")) == Mended(0)


def test_homes_that_fall_silent_in_between_are_named():
    """Nothing can be told then."""
    behind = Behind("ab")
    behind.store(b"s1", "a")
    rounds = []

    def fail_later():
        rounds.append(1)
        behind.silent = {"a"} if len(rounds) > 1 else set()

    behind.before_round = fail_later

    assert behind.run(mend(behind.site().world, b"s1")) == Mended(0, ("a", "b"))


def test_homes_that_fall_silent_during_the_repair_are_named():
    """What answered first does not count any more."""
    behind = Behind("ab")
    behind.store(b"s1", "a")
    rounds = []

    def fail_later():
        rounds.append(1)
        behind.silent = {"b"} if len(rounds) > 1 else set()

    behind.before_round = fail_later

    assert behind.run(mend(behind.site().world, b"s1")) == Mended(0, ("b",))


def test_doubt_in_between_names_the_silent_home():
    """The only copy is out of reach when it is to be read."""
    behind = Behind("ab")
    behind.store(b"s1", "a")
    rounds = []

    def fail_later():
        rounds.append(1)
        behind.silent = {"a"} if len(rounds) > 1 else set()

    behind.before_round = fail_later
    mended = behind.run(mend(behind.site().world, b"s1"))

    assert mended.written == 0
    assert "a" in mended.silent


def test_strict_a_session_that_too_few_homes_have_holds_up_nothing():
    """All homes answered: asking again changes nothing, and the refill goes on."""
    behind = Behind("abc", copies=3, consistency="majority")
    behind.store(b"s1", "c")
    behind.store(b"s2", "b", "c")
    done = behind.perform(refill(behind, strict=True).run())

    assert (done.looked_at, done.written) == (2, 1)
    assert sorted(behind.held(b"s1")) == ["c"]
    assert sorted(behind.held(b"s2")) == ["a", "b", "c"]


def test_a_session_that_is_never_at_rest_holds_up_nothing():
    """Its visitors bring its copies up to date themselves."""
    behind = Behind("ab")
    behind.store(b"s1")
    turns = iter(range(1_000))

    def visitor():
        turn = next(turns)
        behind.store(b"s1", "ab"[turn % 2], turn=turn)

    behind.before_round = visitor
    mended = behind.run(mend(behind.site().world, b"s1"))

    assert mended.silent == ()
    assert next(turns) >= TRIES_MAX


def test_all_that_belongs_on_the_node_is_written_there():
    """Live and ended; what belongs elsewhere is not looked at, and each session once."""
    behind = Behind()
    ours, ended, others = (homed(behind.pool, *names) for names in ("ab", "ac", "bc"))
    behind.store(ours, "b")
    behind.put(ended, INVALIDATED, "c")
    behind.store(others, "b", "c")
    done = behind.perform(refill(behind).run())

    assert (done.looked_at, done.known, done.written, done.unlisted) == (2, 2, 2, {})
    assert sorted(behind.held(ours)) == ["a", "b"]
    assert behind.held(ended) == {"a": INVALIDATED, "c": INVALIDATED}
    assert behind.listings == ["b", "b", "c", "c"]


def test_a_listing_is_repeated_until_it_brings_nothing_new():
    """But not for ever: a pool with much traffic always has something new."""
    behind = Behind("ab")
    numbers = iter(range(1_000))
    behind.before_listing = lambda name: behind.store(f"s{next(numbers)}".encode(), "b")
    done = behind.perform(refill(behind).run())

    assert behind.listings == ["b"] * refilling.LISTINGS_MAX
    assert done.written == refilling.LISTINGS_MAX


def test_a_source_that_broke_off_is_listed_again():
    """It may only have been busy."""
    behind = Behind("ab")
    behind.store(b"s1", "b")
    behind.unlisted = {"b"}
    behind.before_listing = lambda name: behind.unlisted.clear() if len(behind.listings) == 2 else None
    done = behind.perform(refill(behind).run())

    assert (done.written, done.unlisted) == (1, {})


def test_sources_that_do_not_list_are_named():
    """With their reasons; if it is none of them that does, nothing was done."""
    behind = Behind()
    behind.unlisted = {"b"}
    done = behind.perform(refill(behind).run())
    assert done.reasons == "b: does not list"

    behind.unlisted = {"b", "c"}
    with pytest.raises(RefillBroken, match=r"none of the other nodes.*b: does not list; c: does not list"):
        behind.perform(refill(behind).run())


def test_without_other_nodes_there_is_nothing_to_do():
    """Not even an error."""
    behind = Behind("a")
    work = Refill(world=behind.site().world, nodes="a", sources=(), rate=1, pulse=nothing, report=print)
    assert behind.perform(work.run()).looked_at == 0


def test_a_node_that_is_silent_for_a_moment_breaks_nothing():
    """It is asked again, a session at a time."""
    behind = Behind("ab")
    for n in range(5):
        behind.store(f"s{n}".encode(), "b")
    begun = []

    def hiccup():
        begun.append(1)
        behind.silent = {"a"} if len(begun) == 1 else set()

    behind.before_round = hiccup
    done = behind.perform(refill(behind).run())

    assert (done.looked_at, done.written) == (5, 5)
    assert refilling.RETRY_S in behind.pauses


def test_a_node_that_stays_silent_breaks_the_refill_off():
    """Nothing can be written there."""
    behind = Behind("ab")
    behind.store(b"s1", "b")
    behind.silent = {"a"}
    with pytest.raises(RefillBroken, match="a did not answer any more"):
        behind.perform(refill(behind).run())


def test_another_node_that_dies_meanwhile_is_named():
    """It may know more; all the same the rest is written. It is waited for once, not for each session."""
    behind = Behind("abc", copies=3)
    for n in range(70):
        behind.store(f"s{n:02}".encode(), "b")
    behind.silent = {"c"}
    done = behind.perform(refill(behind, sources=("b",)).run())

    assert done.unlisted == {"c": "it did not answer any more"}
    assert done.written == 70
    assert behind.pauses.count(refilling.RETRY_S) == refilling.RETRIES_MAX


@pytest.mark.parametrize("rate", [1, 5, 100, 2_000])
def test_the_rate_is_kept(rate):
    """Over all, and no pause is so long that the lease would run out."""
    behind = Behind("ab")
    for n in range(150):
        behind.store(f"s{n:03}".encode(), "b")
    begun = behind.now
    behind.perform(refill(behind, rate=rate).run())

    assert behind.now - begun >= 150 / rate
    assert behind.now - begun <= 1.2 * 150 / rate + 150 / refilling.SKIPPED / rate + 2
    assert max(behind.pauses) <= 2.0


def test_keys_that_belong_elsewhere_cost_less():
    """A tenth; and between them there are pauses, too, in which others can run."""
    behind = Behind("abcdefgh")
    away = [key for n in range(4_000) if "a" not in behind.pool.homes(key := f"s{n}".encode())]
    for key in away:
        behind.store(key, "b")
    begun = behind.now
    behind.perform(refill(behind, sources=("b",), rate=100).run())

    assert 2 * len(away) / 1_000 <= behind.now - begun <= 2 * len(away) / 1_000 + 2
    assert max(behind.pauses) <= 3.3


def test_progress_is_reported_once_a_second():
    """Looked at so far, known so far, written so far."""
    behind = Behind("ab")
    for n in range(100):
        behind.store(f"s{n:03}".encode(), "b")
    reports = []
    behind.perform(refill(behind, rate=20, report=lambda *figures: reports.append((behind.now, *figures))).run())
    times = [report[0] for report in reports]

    assert len(times) >= 4
    assert all(later - earlier >= 1.0 for earlier, later in pairwise(times))
    assert reports[0][1:] == (20, 100, 20) or reports[0][1:] == (40, 100, 40)


def test_the_pulse_is_felt_while_a_node_lists():
    """A listing of millions of keys takes longer than a lease."""
    behind = Behind("ab")
    for n in range(10):
        behind.store(f"s{n}".encode())
    felt = []

    def pulse():
        felt.append(len(behind.commands))
        yield from ()

    behind.perform(refill(behind, pulse=pulse).run())

    assert felt[:10] == [0] * 10


def test_a_move_brings_sessions_to_their_new_homes():
    """Those that lie right are not even asked for."""
    behind = Behind("ab", copies=1)
    stays, moves = homed(behind.pool, "a"), homed(behind.pool, "b")
    behind.store(stays, "a")
    behind.store(moves, "b")
    done = behind.perform(refill(behind, nodes={"a", "b"}, sources=("a", "b")).run())

    assert (done.looked_at, done.written) == (0, 0)


def test_keys_in_one_piece():
    """They come out as they went in."""
    keys = Keys()
    keys.add([b"one", b"two"])
    keys.add([])
    keys.add([b"three"])

    assert len(keys) == 3
    assert list(keys) == [b"one", b"two", b"three"]


def test_a_key_is_new_once():
    """Among many."""
    seen = Seen()
    numbers = [f"key{n}".encode() for n in range(20_000)]

    assert all(seen.add(key) for key in numbers)
    assert not any(seen.add(key) for key in numbers)
    assert len(seen) == 20_000


def test_of_two_tombstones_the_greater_is_handed_on():
    """As in all merging."""
    behind = Behind("ab")
    behind.put(b"s1", Dead(Reason.REGENERATED, "m"), "a")
    behind.put(b"s1", INVALIDATED, "b")
    behind.run(mend(behind.site().world, b"s1"))

    assert behind.held(b"s1") == {"a": INVALIDATED, "b": INVALIDATED}
    assert behind.nodes["a"].items[b"s1"][0] == Sealed("ours", INVALIDATED)
