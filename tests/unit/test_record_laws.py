"""The merge laws, on records from random histories that keep the rules all writers keep."""

from collections.abc import Callable
from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memsession.record import (
    Changes,
    CounterMemory,
    Dead,
    Live,
    Reason,
    Record,
    apply,
    decode,
    encode,
    fold,
    merge,
    merge_all,
    shown,
    visible,
)

SESSION, KEYS = b"session", "abc"
COPIES, PROCESSES = 3, 2

steps = st.lists(
    st.tuples(
        st.sampled_from(("increment", "increment", "put", "delete", "merge", "merge", "forget", "end")),
        st.integers(0, COPIES - 1),
        st.integers(0, COPIES - 1),
        st.sampled_from(KEYS),
        st.integers(-5, 5),
    ),
    min_size=1,
    max_size=25,
)


class History:
    """Copies of one session that drift apart and are merged, changed by processes that count by their own memory."""

    def __init__(self) -> None:
        first = Live({}, {}, 1, 1_000, 1, idle_ms=500)
        self.copies: list[Record] = [first] * COPIES
        self.made: list[Record] = [first]
        self.replaced: list[tuple[Record, Record]] = []
        self.saw: dict[tuple[str, tuple[int, str]], dict[str, int]] = {}
        self.names = 0
        self.memories = [CounterMemory(self.nonce) for _ in range(PROCESSES)]

    def nonce(self) -> str:
        """Unique, and in no order."""
        self.names += 1
        return f"{self.names * 7919 % 9973:04}"

    def play(self, what: str, at: int, other: int, key: str, number: int) -> None:
        """One step; what it makes replaces the copy at `at`."""
        old = self.copies[at]
        new = self._made(what, old, self.copies[other], key, number)
        self.copies[at] = new
        self.made.append(new)
        self.replaced.append((new, old))

    def _made(self, what: str, old: Record, other: Record, key: str, number: int) -> Record:
        if what == "end":
            return merge(old, Dead(Reason.REGENERATED if number < 4 else Reason.INVALIDATED, str(number)))
        if what == "merge" or isinstance(old, Dead):
            return merge(old, other)
        memory = self.memories[number % PROCESSES]
        if what == "forget":
            memory.clear()
            return old
        return self._changed(what, old, memory, key, number)

    def _changed(self, what: str, old: Live, memory: CounterMemory, key: str, number: int) -> Live:
        by = {key: number} if what == "increment" else {}
        changes = Changes({key: number} if what == "put" else {}, (key,) if what == "delete" else (), by)
        with memory.counting(SESSION, by) as own:
            new = apply(old, changes, own, writer=self.nonce(), now_ms=len(self.made))
        if what != "increment":
            stamp = new.entries[key][:2]
            self.saw[key, stamp] = {writer: sub.n for writer, sub in old.counts.get(key, {}).items()}
        return new


@st.composite
def histories(draw: Callable[..., list[tuple[str, int, int, str, int]]]) -> History:
    """A history of up to 25 steps."""
    history = History()
    for step in draw(steps):
        history.play(*step)
    return history


picks = st.tuples(*[st.integers(0, 25)] * 3)


def pick(history: History, indices: tuple[int, ...]) -> list[Record]:
    """Any three records that ever were."""
    return [history.made[index % len(history.made)] for index in indices]


@given(histories(), picks)
def test_merge_is_commutative(history, indices):
    """It does not matter which copy comes first."""
    a, b, _ = pick(history, indices)

    assert merge(a, b) == merge(b, a)


@given(histories(), picks)
def test_merge_is_associative(history, indices):
    """It does not matter which copies are merged first."""
    a, b, c = pick(history, indices)

    assert merge(merge(a, b), c) == merge(a, merge(b, c)) == merge_all([c, a, b])


@given(histories(), picks)
def test_merge_is_idempotent(history, indices):
    """Merging again what is merged already changes nothing."""
    a, b, _ = pick(history, indices)

    assert merge(a, a) == a
    assert merge(merge(a, b), b) == merge(a, b)


@given(histories(), picks, st.sampled_from(Reason), st.text(max_size=3))
def test_a_tombstone_absorbs(history, indices, reason, mark):
    """Once ended, a session stays ended, whatever is merged in; the greater tombstone wins."""
    dead = Dead(reason, mark)
    a, _, _ = pick(history, indices)
    expected = max(a, dead) if isinstance(a, Dead) else dead

    assert merge(a, dead) == merge(dead, a) == expected


@given(histories())
def test_what_is_written_dominates_what_it_replaces(history):
    """Every record is made on top of the one it replaces, and holds all of it."""
    for new, old in history.replaced:
        assert merge(new, old) == new


heads = st.builds(
    lambda numbers, doubted: Live({}, {}, *numbers[:4], doubted, numbers[4]),
    st.tuples(*[st.integers(0, 3)] * 5),
    st.sampled_from(("", "a", "b")),
)


@given(heads, heads, heads)
def test_merge_keeps_its_laws_for_times_and_limits(a, b, c):
    """Also where copies of one session should not differ."""
    assert merge(a, b) == merge(b, a)
    assert merge(merge(a, b), c) == merge(a, merge(b, c))
    assert merge(a, merge(a, b)) == merge(a, b)


@given(histories())
def test_the_limits_of_a_session_never_change(history):
    """Whatever is done under one ID, its absolute end and its own idle limit stay."""
    lives = [record for record in history.made if isinstance(record, Live)]

    assert {(record.deadline_ms, record.idle_ms) for record in lives} == {(1_000, 500)}


@given(histories())
def test_sub_counts_contain_what_an_entry_saw(history):
    """Wherever an assignment is found, the increments that it took away are there as well."""
    for record in [*history.made, merge_all(history.copies)]:
        if isinstance(record, Dead):
            continue
        for key, entry in record.entries.items():
            saw = history.saw[key, entry[:2]]
            there = {writer: sub.n for writer, sub in record.counts.get(key, {}).items()}
            assert all(there.get(writer, 0) >= n for writer, n in saw.items())
            assert entry.seen_n == sum(saw.values())


@given(histories())
def test_all_who_merge_all_copies_hold_the_same(history):
    """After every copy has met every other, they are equal, and show the same."""
    everything = merge_all(history.copies)
    copies = list(history.copies)
    for at, other in [*product(range(COPIES), repeat=2)] * 2:
        copies[at] = merge(copies[at], copies[other])

    assert copies == [everything] * COPIES
    if isinstance(everything, Live):
        assert all(visible(copy) == visible(everything) for copy in copies)


@given(histories())
def test_records_survive_storage(history):
    """Every record comes back from its bytes as it was."""
    assert [decode(encode(record)) for record in history.made] == history.made


@given(histories(), st.integers(0, 9))
def test_a_fold_shows_the_same_without_sub_counts(history, floor):
    """What a visitor sees does not change with the ID, and later folds win over earlier ones."""
    lives = [record for record in history.made if isinstance(record, Live)]
    above = None
    for record in lives:
        folded = fold(record, above=above, floor=floor, writer=history.nonce())
        assert folded.counts == {}
        assert visible(folded) == visible(record)
        assert all(folded.entries[key].counter > floor for key in record.counts)
        above = folded
    for early, late in pairwise(lives):
        first = fold(early, above=None, floor=0, writer=history.nonce())
        both = merge(early, late)
        again = merge(first, fold(both, above=first, floor=first.top, writer=history.nonce()))
        assert visible(again) == visible(both)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-9, 9)), max_size=30), st.randoms(use_true_random=False))
def test_increments_add_up_exactly(increments, random):
    """Each of four processes counts on its own copy; the merge of the copies, in any order, shows the sum."""
    history = History()
    memories = [CounterMemory(history.nonce) for _ in range(4)]
    copies = [Live({}, {}, 1, 1_000, 1)] * 4
    for process, by in increments:
        with memories[process].counting(SESSION, {"n": by}) as own:
            changes = Changes(increments={"n": by})
            copies[process] = apply(copies[process], changes, own, writer=history.nonce(), now_ms=2)
        source = random.choice(copies)
        copies[process] = merge(copies[process], source)
    random.shuffle(copies)

    assert visible(merge_all(copies)) == ({"n": sum(by for _, by in increments)} if increments else {})


def test_a_greater_stamp_wins_whatever_the_order():
    """Stamps order by counter, then by the writer's name."""
    low, high = (Live({"k": stamp}, {}, 1, 9, 1) for stamp in _entries())

    assert shown(merge(low, high), "k") == shown(merge(high, low), "k") == "high"


def _entries():
    record = apply(Live({}, {}, 1, 9, 1), Changes({"k": "low"}), {}, writer="a", now_ms=1)
    other = apply(Live({}, {}, 1, 9, 1), Changes({"k": "high"}), {}, writer="b", now_ms=1)
    return record.entries["k"], other.entries["k"]


@pytest.mark.parametrize("field", ["created_ms", "deadline_ms", "seen_ms", "modified", "doubted"])
def test_the_rest_of_a_record_merges_to_one_side(field):
    """Beginning and deadline: the earlier; last use, modifications and the doubted session: the greater."""
    a, b = Live({}, {}, 1, 2, 3, 4, "a"), Live({}, {}, 5, 6, 7, 8, "b")
    side = min if field in {"created_ms", "deadline_ms"} else max

    assert getattr(merge(a, b), field) == side(getattr(a, field), getattr(b, field))
