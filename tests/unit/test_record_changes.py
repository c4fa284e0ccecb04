"""What a request changed, how it goes into a record, and what a visitor sees of it."""

from dataclasses import replace

import pytest

from memsession.errors import UnstorableValue
from memsession.record import (
    ABSENT,
    Changes,
    CounterMemory,
    Dead,
    Entry,
    Live,
    Reason,
    SubCount,
    apply,
    diff,
    fold,
    merge_live,
    shown,
    visible,
)

EMPTY = Live({}, {}, 100, 900, 100)


def put(record, name, value, writer="w"):
    """The record with one key assigned."""
    return apply(record, Changes({name: value}), {}, writer=writer, now_ms=200)


def counted(record, name, by, memory):
    """The record with one increment by the process that has this memory."""
    with memory.counting(b"session", {name: by}) as own:
        return apply(record, Changes(increments={name: by}), own, writer="unused", now_ms=200)


def memories(count):
    """Memories of several processes, with names that differ."""
    names = iter(f"p{i}" for i in range(1000))
    return [CounterMemory(lambda: next(names)) for _ in range(count)]


@pytest.mark.parametrize(
    ("before", "after", "increments", "expected"),
    [
        ({}, {}, {}, Changes()),
        ({"a": 1}, {"a": 1}, {}, Changes()),
        ({}, {"a": None}, {}, Changes({"a": None})),
        ({"a": 1}, {"a": True}, {}, Changes({"a": True})),
        ({"a": 1}, {"a": 1.0}, {}, Changes({"a": 1.0})),
        ({"a": 1}, {}, {}, Changes(deletes=("a",))),
        ({"a": [1, 2]}, {"a": [1, 2]}, {}, Changes()),
        ({"a": {"b": [1]}}, {"a": {"b": [2]}}, {}, Changes({"a": {"b": [2]}})),
        ({"a": {"!": ["tuple", [1]]}}, {"a": (1,)}, {}, Changes()),
        ({"n": 5}, {"n": 7}, {"n": 2}, Changes(increments={"n": 2})),
        ({"n": 0.5}, {"n": 2.5}, {"n": 2}, Changes(increments={"n": 2})),
        ({}, {"n": 2}, {"n": 2}, Changes(increments={"n": 2})),
        ({}, {"n": 0}, {"n": 0}, Changes(increments={"n": 0})),
        ({"n": 5}, {"n": 5}, {"n": 0}, Changes()),
        ({"n": 5}, {"n": 100}, {"n": 2}, Changes({"n": 100})),
        ({"n": 5}, {}, {"n": 2}, Changes(deletes=("n",))),
        ({}, {}, {"n": 2}, Changes()),
    ],
)
def test_changes_are_found_by_comparing(before, after, increments, expected):
    """Assignments, nested changes, deletions and increments; an assignment discards the increments of its key."""
    changes = diff(before, after, increments)

    assert changes == expected
    assert bool(changes) is (expected != Changes())


def test_values_that_cannot_be_stored_are_named():
    """The error says which key of the session, and where in it."""
    with pytest.raises(UnstorableValue, match=r"cart\.items\[0\]: builtins.object cannot be stored"):
        diff({}, {"cart": {"items": [object()]}}, {})


@pytest.mark.parametrize("value", [1, "text", None, [1]])
def test_session_keys_must_be_strings(value):
    """JSON would turn the key 1 into "1", which the next request would not find."""
    with pytest.raises(UnstorableValue, match="a key must be a str, not int"):
        diff({}, {1: value}, {})


def test_a_change_stamps_above_all_that_it_saw():
    """The stamp's counter is one more than the greatest in the record."""
    record = apply(EMPTY, Changes({"a": 1, "b": 2}), {}, writer="x", now_ms=50)
    again = apply(record, Changes({"a": 3}, ("b",)), {}, writer="y", now_ms=150)

    assert record.entries == {"a": Entry(1, "x", 1), "b": Entry(1, "x", 2)}
    assert again.entries == {"a": Entry(2, "y", 3), "b": Entry(2, "y", None, True)}
    assert (record.seen_ms, again.seen_ms) == (100, 150)
    assert (record.modified, again.modified) == (2, 3)
    assert visible(again) == {"a": 3}


def test_nothing_changed_counts_as_a_use_only():
    """No change: the same entries and counts, and a later last use."""
    record = put(EMPTY, "a", 1)
    used = apply(record, Changes(), {}, writer="y", now_ms=300)

    assert used.entries == record.entries
    assert used.seen_ms == 300


def test_increments_need_no_stamp():
    """An increment goes beside the entries, under the process's name."""
    (memory,) = memories(1)
    record = counted(counted(EMPTY, "n", 2, memory), "n", 3, memory)

    assert record.entries == {}
    assert record.counts == {"n": {"p0": SubCount(2, 5)}}
    assert shown(record, "n") == 5


def test_an_assignment_takes_away_what_it_saw_only():
    """A copy that held another increment brings that one back, and not those that the assignment saw."""
    here, there = memories(2)
    both = counted(EMPTY, "n", 2, here)
    other = counted(both, "n", 40, there)
    assigned = put(both, "n", 100)

    assert shown(assigned, "n") == 100
    assert shown(merge_live(assigned, other), "n") == 140
    assert assigned.entries["n"] == Entry(1, "w", 100, False, 1, 2)


def test_a_deleted_counter_is_absent_until_it_is_counted_again():
    """Also if the new increments add up to nothing."""
    (memory,) = memories(1)
    deleted = apply(counted(EMPTY, "n", 5, memory), Changes(deletes=("n",)), {}, writer="w", now_ms=1)
    again = counted(counted(deleted, "n", 3, memory), "n", -3, memory)

    assert shown(deleted, "n") is ABSENT
    assert visible(deleted) == {}
    assert shown(again, "n") == 0
    assert visible(again) == {"n": 0}


@pytest.mark.parametrize("value", ["text", None, True, [1]])
def test_a_value_that_is_no_number_is_shown_as_it_stands(value):
    """Whatever was counted on it by a request that had not seen it."""
    (memory,) = memories(1)
    record = merge_live(put(EMPTY, "n", value), counted(EMPTY, "n", 5, memory))

    assert shown(record, "n") == value


def test_counts_on_other_keys_do_not_show():
    """A key that nobody has assigned or counted is absent."""
    (memory,) = memories(1)
    record = counted(put(EMPTY, "a", 1.5), "n", 5, memory)

    assert shown(record, "other") is ABSENT
    assert visible(record) == {"a": 1.5, "n": 5}
    assert repr(ABSENT) == "ABSENT"


def test_a_fold_leaves_what_is_no_counter_alone():
    """Without anything in the new place, plain entries keep their stamps, and counters become plain above all."""
    (memory,) = memories(1)
    record = counted(put(put(replace(EMPTY, idle_ms=50), "a", 1, "x"), "n", 10, "x"), "n", 5, memory)
    folded = fold(record, above=None, floor=7, writer="f")

    assert folded.entries == {"a": Entry(1, "x", 1), "n": Entry(8, "f", 15)}
    assert folded.counts == {}
    assert (folded.created_ms, folded.deadline_ms, folded.idle_ms) == (100, 900, 50)


def test_a_fold_of_a_deleted_counter_is_a_deletion():
    """So an old copy of the new place cannot bring it back."""
    (memory,) = memories(1)
    record = apply(counted(EMPTY, "n", 5, memory), Changes(deletes=("n",)), {}, writer="w", now_ms=1)

    assert fold(record, above=None, floor=0, writer="f").entries == {"n": Entry(2, "f", None, True)}


def test_a_later_fold_wins_over_what_is_there():
    """Keys that differ are stamped above both sides; keys that are the same, or new, are not."""
    old = put(put(EMPTY, "a", 1, "x"), "same", 1, "x")
    there = fold(old, above=None, floor=0, writer="f")
    grown = put(put(old, "a", 2, "y"), "new", 3, "y")
    again = fold(grown, above=there, floor=0, writer="f")

    assert again.entries == {"a": Entry(5, "f", 2), "same": Entry(2, "x", 1), "new": Entry(4, "y", 3)}
    assert visible(merge_live(there, again)) == {"a": 2, "same": 1, "new": 3}


def test_tombstones_are_ordered():
    """Invalidated is above regenerated, and of two regenerations the greater mark is above."""
    marks = [Dead(Reason.INVALIDATED), Dead(Reason.REGENERATED, "b"), Dead(Reason.REGENERATED, "a")]

    assert sorted(marks) == marks[::-1]
