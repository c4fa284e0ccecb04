"""The lock plans, step by step: who gets it, who does not, what is written where, and what a release may touch."""

import itertools

import pytest

from memsession.commands import Add, Cas, Conflict, Get
from memsession.lifetime import Lifetime
from memsession.memory import MemoryNode
from memsession.plans import Busy, Locked, Unlockable, World, acquire, holds, release
from memsession.record import CounterMemory, Dead, Entry, Live, Reason
from memsession.seal import Seal
from memsession.vault import Vault
from tests.visits import START_MS, Mode, Nodes

KEY, LOCK = b"p:key", b"p:key.lock"
EXPIRE_MS = 5_000
VAULT = Vault(Seal([b"k" * 32]))


@pytest.fixture
def nodes():
    return Nodes()


@pytest.fixture
def three():
    return Nodes(3, 3)


def world_of(nodes, late_ms=0):
    """What a web server knows; its idea of the pool's time may differ."""
    names = (f"w{i}" for i in itertools.count())
    return World(
        homes=nodes.pool.homes,
        codec=VAULT,
        lifetime=Lifetime(),
        now_ms=lambda: nodes.now_ms() - late_ms,
        monotonic=lambda: nodes.now_s,
        nonce=lambda: next(names),
        is_up=nodes.is_up,
        counters=CounterMemory(lambda: next(names)),
    )


def take(nodes, owner, expire_ms=EXPIRE_MS):
    return nodes.conduct(acquire(world_of(nodes), KEY, owner, expire_ms))


def drop(nodes, owner):
    return nodes.conduct(release(world_of(nodes), KEY, owner))


def has(nodes, owner, for_ms=0):
    return nodes.conduct(holds(world_of(nodes), KEY, owner, for_ms))


def owners(nodes):
    """Who is written at the homes, best first; None where nothing is."""
    held = nodes.held(LOCK)
    records = [held[name] and VAULT.open(LOCK, held[name]) for name in nodes.pool.homes(KEY)]
    return [record and record.entries["owner"].value for record in records]


def put(nodes, name, record):
    """Something is stored in the lock's place at one home, whatever was there."""
    nodes.nodes[name].bury(LOCK, VAULT.seal(LOCK, record), 60)


class TestAcquire:
    """One gets it, until it is released or has run out."""

    def test_it_is_written_at_all_homes_the_first_one_first(self, three):
        """Three rounds: ask, decide, tell."""
        assert take(three, "a") == Locked(START_MS + EXPIRE_MS)
        assert three.sent() == ["Get+Get+Get", "Add", "Add+Add"]
        assert owners(three) == ["a", "a", "a"]

    def test_one_home_is_enough(self):
        """With one copy there is nobody else to tell."""
        nodes = Nodes(1, 1)

        assert take(nodes, "a") == Locked(START_MS + EXPIRE_MS)
        assert nodes.sent() == ["Get", "Add"]

    def test_the_next_one_is_told_in_one_round(self, nodes):
        """And nothing is written."""
        take(nodes, "a")
        nodes.sent()

        assert take(nodes, "b") == Busy()
        assert nodes.sent() == ["Get+Get"]
        assert owners(nodes) == ["a", "a"]

    def test_a_living_lock_at_any_home_counts(self, three):
        """Two homes have forgotten it."""
        take(three, "a")
        for name in three.pool.homes(KEY)[:2]:
            three.nodes[name] = MemoryNode()

        assert take(three, "b") == Busy()

    def test_it_runs_out(self, nodes):
        """To the millisecond, by the pool's clock."""
        take(nodes, "a")
        nodes.now_s = EXPIRE_MS / 1000 - 0.001
        assert take(nodes, "b") == Busy()
        nodes.now_s = EXPIRE_MS / 1000

        assert take(nodes, "b") == Locked(START_MS + 2 * EXPIRE_MS)
        assert owners(nodes) == ["b", "b"]

    def test_memcached_keeps_it_longer_than_it_lives_and_not_for_ever(self, nodes):
        """A second would be lost to memcached's coarse clock."""
        take(nodes, "a", 5_001)
        nodes.now_s = 15.9
        assert owners(nodes) == ["a", "a"]
        nodes.now_s = 16.1

        assert owners(nodes) == [None, None]

    def test_the_same_owner_may_ask_again(self, nodes):
        """As after a reply that was lost."""
        plan = acquire(world_of(nodes), KEY, "a", EXPIRE_MS)
        wanted = plan.send(nodes.answer(next(plan)))
        nodes.set(Mode.MUTE)
        assert nodes.finish(plan, wanted) == Unlockable()
        nodes.set(Mode.UP)
        assert owners(nodes) == ["a", "a"]
        assert take(nodes, "b") == Busy()
        nodes.now_s = 1.0

        assert take(nodes, "a") == Locked(START_MS + 1_000 + EXPIRE_MS)
        assert owners(nodes) == ["a", "a"]

    @pytest.mark.parametrize("mode", [Mode.SILENT, Mode.OUT])
    def test_a_home_that_is_away_is_left_out(self, nodes, mode):
        """The next one decides."""
        first, second = nodes.pool.homes(KEY)
        nodes.set(mode, first)

        assert take(nodes, "a") == Locked(START_MS + EXPIRE_MS)
        assert nodes.held(LOCK)[first] is None
        assert take(nodes, "b") == Busy()
        nodes.set(Mode.UP, first)
        assert take(nodes, "b") == Busy()
        assert nodes.held(LOCK)[second] is not None

    @pytest.mark.parametrize("mode", [Mode.SILENT, Mode.OUT])
    def test_without_any_home_nothing_can_be_locked(self, nodes, mode):
        """When no home has answered, all are asked once more, also those that are out."""
        nodes.set(mode)

        assert take(nodes, "a") == Unlockable()
        assert nodes.sent() == ["Get+Get", "Get+Get"]

    def test_writes_that_nobody_acknowledges_are_no_lock(self, nodes):
        """Each home is tried."""
        plan = acquire(world_of(nodes), KEY, "a", EXPIRE_MS)
        answers = nodes.answer(next(plan))
        nodes.set(Mode.SILENT)
        nodes.sent()

        assert nodes.finish(plan, plan.send(answers)) == Unlockable()
        assert nodes.sent() == ["Add", "Add"]

    def test_what_cannot_be_read_may_be_somebody_s(self, nodes):
        """Garbage, a tombstone and a session are no locks, and are not overwritten."""
        name = nodes.pool.homes(KEY)[1]
        entries = {"owner": Entry(1, "", "b"), "released": Entry(1, "", {"c": "soon"})}
        for record in (Dead(Reason.INVALIDATED), Live({}, {}, 0, 1, 0), Live(entries, {}, 0, 1, 0)):
            put(nodes, name, record)
            assert take(nodes, "a") == Busy()
            assert not has(nodes, "a")
        nodes.nodes[name].bury(LOCK, b"garbage", 60)

        assert take(nodes, "a") == Busy()
        assert nodes.held(LOCK)[name] == b"garbage"


class TestAtOnce:
    """Two ask in the same moment."""

    def both_ask(self, nodes):
        """Both have seen that it is free."""
        plans = [acquire(world_of(nodes), KEY, owner, EXPIRE_MS) for owner in "ab"]
        return [(plan, plan.send(nodes.answer(next(plan)))) for plan in plans]

    def test_the_first_home_decides(self, nodes):
        """Who comes second there has written nothing anywhere."""
        (one, wanted_by_one), (two, wanted_by_two) = self.both_ask(nodes)

        assert nodes.finish(one, wanted_by_one) == Locked(START_MS + EXPIRE_MS)
        assert nodes.finish(two, wanted_by_two) == Busy()
        assert owners(nodes) == ["a", "a"]

    @pytest.mark.parametrize("before", [False, True])
    def test_who_is_refused_at_another_home_gives_back_what_it_took(self, nodes, before):
        """Also what it took over from somebody whose lock has run out."""
        if before:
            take(nodes, "old")
            nodes.now_s = 10.0
        first, _ = nodes.pool.homes(KEY)
        one = acquire(world_of(nodes), KEY, "a", EXPIRE_MS)
        wanted = one.send(nodes.answer(next(one)))
        nodes.set(Mode.OUT, first)
        assert isinstance(take(nodes, "b"), Locked)
        nodes.set(Mode.UP)
        assert [command.node for command in wanted] == [first]

        assert nodes.finish(one, wanted) == Busy()
        assert owners(nodes) == ["", "b"]
        assert has(nodes, "b")

    def test_who_is_refused_gives_back_also_what_nobody_acknowledged(self, three):
        """The first home took the lock and its reply was lost; the second one refuses."""
        first, second, _ = three.pool.homes(KEY)
        plan = acquire(world_of(three), KEY, "a", EXPIRE_MS)
        wanted = plan.send(three.answer(next(plan)))
        three.set(Mode.MUTE, first)
        wanted = plan.send(three.answer(wanted))
        three.set(Mode.OUT, first)
        take(three, "b")
        three.set(Mode.UP)

        assert [command.node for command in wanted] == [second]
        assert three.finish(plan, wanted) == Busy()
        assert owners(three) == ["", "b", "b"]

    def test_who_was_refused_may_have_it_later(self, nodes):
        """Giving back is no release: the name still counts, wherever it is."""
        first, _ = nodes.pool.homes(KEY)
        self.test_who_is_refused_at_another_home_gives_back_what_it_took(nodes, before=False)
        drop(nodes, "b")
        nodes.set(Mode.OUT, first)
        assert isinstance(take(nodes, "a"), Locked)
        nodes.set(Mode.UP)

        assert owners(nodes) == ["", "a"]
        assert take(nodes, "c") == Busy()


class TestRelease:
    """Only what is one's own."""

    def test_it_is_free_at_once(self, nodes):
        """Two rounds, and the next one takes it."""
        take(nodes, "a")
        nodes.sent()
        drop(nodes, "a")

        assert nodes.sent() == ["Get+Get", "Cas+Cas"]
        assert owners(nodes) == ["", ""]
        assert isinstance(take(nodes, "b"), Locked)
        assert nodes.sent() == ["Get+Get", "Cas", "Cas"]

    def test_somebody_else_s_lock_is_left_alone(self, nodes):
        """Whoever asks, and as often as they ask."""
        take(nodes, "a")
        nodes.sent()
        drop(nodes, "b")

        assert nodes.sent() == ["Get+Get"]
        assert has(nodes, "a")

    def test_who_was_late_unlocks_nobody(self, nodes):
        """Its lock had run out, and another one has it."""
        take(nodes, "a")
        nodes.now_s = 6.0
        take(nodes, "b")
        drop(nodes, "a")

        assert owners(nodes) == ["b", "b"]
        assert has(nodes, "b")

    def test_who_is_late_by_a_moment_unlocks_nobody(self, nodes):
        """Between its question and its write another one took it."""
        take(nodes, "a")
        plan = release(world_of(nodes), KEY, "a")
        writes = plan.send(nodes.answer(next(plan)))
        nodes.now_s = 6.0
        take(nodes, "b")

        assert {type(write) for write in writes} == {Cas}
        assert nodes.answer(writes) == [Conflict(), Conflict()]
        assert has(nodes, "b")

    def test_without_a_lock_there_is_nothing_to_release(self, nodes):
        """Nothing is written."""
        drop(nodes, "a")

        assert nodes.sent() == ["Get+Get"]

    def test_a_home_that_missed_it_keeps_nobody_waiting(self, nodes):
        """Its lock would live for seconds; the other home knows that it was released."""
        first, _ = nodes.pool.homes(KEY)
        take(nodes, "a")
        nodes.set(Mode.SILENT, first)
        drop(nodes, "a")
        nodes.set(Mode.UP)

        assert owners(nodes) == ["a", ""]
        assert isinstance(take(nodes, "b"), Locked)
        assert owners(nodes) == ["b", "b"]

    def test_what_a_home_missed_is_handed_on(self, nodes):
        """From turn to turn while it is away, for as long as the lock there lives."""
        first, _ = nodes.pool.homes(KEY)
        take(nodes, "a")
        nodes.set(Mode.SILENT, first)
        drop(nodes, "a")
        for i in range(20):
            assert isinstance(take(nodes, f"t{i}"), Locked)
            assert has(nodes, f"t{i}")
            drop(nodes, f"t{i}")
        nodes.set(Mode.UP)

        assert owners(nodes) == ["a", ""]
        assert isinstance(take(nodes, "b"), Locked)

    def test_it_is_not_handed_on_for_ever(self, nodes):
        """When the locks have run out that a home may still hold, nothing is to be told any more."""
        nodes.set(Mode.SILENT, nodes.pool.homes(KEY)[0])
        sizes = []
        for i in range(30):
            take(nodes, f"t{i:02}")
            sizes.append(len(nodes.held(LOCK)[nodes.pool.homes(KEY)[1]]))
            drop(nodes, f"t{i:02}")
            nodes.now_s += 2.0

        assert sizes[0] < sizes[3] == max(sizes[4:]) == min(sizes[4:])

    def test_it_is_handed_on_only_while_somebody_misses_it(self, nodes):
        """All is well: what is stored does not grow from turn to turn."""
        sizes = set()
        for i in range(10):
            take(nodes, f"t{i}")
            sizes.add(len(nodes.held(LOCK)[nodes.names[0]]))
            drop(nodes, f"t{i}")

        assert len(sizes) == 1

    def test_a_holder_takes_the_word_of_it_too(self, nodes):
        """A lock that was released and came back with its home does not make the next holder doubt its own."""
        first, _ = nodes.pool.homes(KEY)
        take(nodes, "a")
        nodes.set(Mode.SILENT, first)
        drop(nodes, "a")
        take(nodes, "b")
        nodes.set(Mode.UP)

        assert owners(nodes) == ["a", "b"]
        assert has(nodes, "b")
        assert take(nodes, "c") == Busy()


class TestHolds:
    """What a holder asks before it saves."""

    def test_a_holder_has_it(self, nodes):
        """One round."""
        take(nodes, "a")
        nodes.sent()

        assert has(nodes, "a")
        assert nodes.sent() == ["Get+Get"]
        assert not has(nodes, "b")

    def test_nobody_has_it(self, nodes):
        """Before, and after it was released."""
        assert not has(nodes, "a")
        take(nodes, "a")
        drop(nodes, "a")

        assert not has(nodes, "a")

    def test_it_must_last_for_as_long_as_is_asked(self, nodes):
        """A save takes its time."""
        take(nodes, "a")
        nodes.now_s = 4.0

        assert has(nodes, "a", 999)
        assert not has(nodes, "a", 1_000)

    def test_a_paused_holder_does_not_have_it_any_more(self, nodes):
        """Though nobody has taken it; and after somebody has, and has released it."""
        take(nodes, "a")
        nodes.now_s = 5.0
        assert not has(nodes, "a")
        take(nodes, "b")
        assert not has(nodes, "a")
        drop(nodes, "b")

        assert not has(nodes, "a")

    def test_one_home_that_knows_is_enough(self, nodes):
        """The other has forgotten, or is away."""
        take(nodes, "a")
        nodes.nodes[nodes.names[0]] = MemoryNode()
        assert has(nodes, "a")
        nodes.set(Mode.SILENT, nodes.names[0])

        assert has(nodes, "a")

    def test_when_all_homes_have_forgotten_nobody_knows(self, nodes):
        """Somebody else may have had it since."""
        take(nodes, "a")
        nodes.nodes = {name: MemoryNode() for name in nodes.names}

        assert not has(nodes, "a")

    def test_somebody_else_s_lock_anywhere_is_a_reason_not_to_save(self, nodes):
        """As after a split between the web servers."""
        first, second = nodes.pool.homes(KEY)
        nodes.set(Mode.OUT, first)
        take(nodes, "a")
        nodes.set(Mode.UP)
        nodes.set(Mode.OUT, second)
        assert isinstance(take(nodes, "b"), Locked)
        nodes.set(Mode.UP)

        assert not has(nodes, "a")
        assert not has(nodes, "b")

    def test_when_no_home_answers_nobody_knows(self, nodes):
        """A save would not be confirmed either."""
        take(nodes, "a")
        nodes.set(Mode.SILENT)

        assert not has(nodes, "a")


def test_a_lock_is_bound_to_its_session(nodes):
    """What is stored for one session's lock is none for another's, nor a session."""
    take(nodes, "a")
    value = nodes.held(LOCK)[nodes.names[0]]

    assert VAULT.open(b"p:other.lock", value) is None
    assert VAULT.open(KEY, value) is None


def test_plans_use_the_vocabulary_of_conditional_writes_only(nodes):
    """Nothing is deleted, and nothing is written blindly."""
    kinds = set()
    for owner in ("a", "b"):
        for plan in (acquire(world_of(nodes), KEY, owner, EXPIRE_MS), release(world_of(nodes), KEY, owner)):
            commands = next(plan)
            while commands:
                kinds |= {type(command) for command in commands}
                try:
                    commands = plan.send(nodes.answer(commands))
                except StopIteration:
                    commands = None

    assert kinds == {Get, Add, Cas}
