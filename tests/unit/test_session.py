"""The session as a dict: its semantics, what is noticed of it, and what counts as a change."""

import copy
import json
import pickle
from datetime import date, timedelta
from typing import TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memsession.errors import UnstorableValue
from memsession.record import Changes
from memsession.session import (
    AsyncSession,
    Ledger,
    Session,
    SessionDict,
    adopt,
    changes_of,
    content_of,
    settle,
)

LOADED = {"a": 1, "cart": {"items": ["x"]}}


def session_of(before=None, kind=AsyncSession):
    """A session as if `before` had been loaded, and its ledger."""
    ledger = Ledger(before=dict(LOADED if before is None else before), key=b"memsession:" + b"f" * 43)
    return kind(ledger), ledger


SHOWS_NOTHING = {
    "__class__": "the type, not the content",
    "__class_getitem__": "of the type: dict[str, int]",
    "__delattr__": "a session has no attributes to delete",
    "__dir__": "names of methods",
    "__doc__": "documentation",
    "__getattribute__": "finds the method; the method is noticed",
    "__hash__": "None: a session cannot be hashed",
    "__init__": "runs before any request has the session",
    "__init_subclass__": "of the type",
    "__new__": "of the type",
    "__setattr__": "a session has no attributes to set",
    "__subclasshook__": "of the type",
    "fromkeys": "makes a new dict out of its arguments",
}

ACCESSES = {
    "__contains__": lambda s: s.__contains__("a"),
    "__delitem__": lambda s: s.__delitem__("a"),
    "__eq__": lambda s: s.__eq__({}),
    "__format__": lambda s: s.__format__(""),
    "__ge__": lambda s: s.__ge__({}),
    "__getitem__": lambda s: s.__getitem__("a"),
    "__getstate__": lambda s: s.__getstate__(),
    "__gt__": lambda s: s.__gt__({}),
    "__ior__": lambda s: s.__ior__({}),
    "__iter__": lambda s: s.__iter__(),
    "__le__": lambda s: s.__le__({}),
    "__len__": lambda s: s.__len__(),
    "__lt__": lambda s: s.__lt__({}),
    "__ne__": lambda s: s.__ne__({}),
    "__or__": lambda s: s.__or__({}),
    "__reduce__": lambda s: s.__reduce__(),
    "__reduce_ex__": lambda s: s.__reduce_ex__(4),
    "__repr__": lambda s: s.__repr__(),
    "__reversed__": lambda s: s.__reversed__(),
    "__ror__": lambda s: s.__ror__({}),
    "__setitem__": lambda s: s.__setitem__("b", 2),
    "__sizeof__": lambda s: s.__sizeof__(),
    "__str__": lambda s: s.__str__(),
    "clear": lambda s: s.clear(),
    "copy": lambda s: s.copy(),
    "get": lambda s: s.get("a"),
    "items": lambda s: s.items(),
    "keys": lambda s: s.keys(),
    "pop": lambda s: s.pop("a"),
    "popitem": lambda s: s.popitem(),
    "setdefault": lambda s: s.setdefault("a"),
    "update": lambda s: s.update(),
    "values": lambda s: s.values(),
}


class Loaded(TypedDict):
    """The type of what is loaded here."""

    a: int


def _matches(session):
    match session:
        case {"a": _}:
            return True
    return False


OPERATIONS = {
    "in": lambda s: "a" in s,
    "not in": lambda s: "z" not in s,
    "subscript": lambda s: s["a"],
    "for": lambda s: [key for key in s],  # noqa: C416
    "list": list,
    "sorted": sorted,
    "len": len,
    "bool": bool,
    "not": lambda s: not s,
    "==": lambda s: s == LOADED,
    "== from the right": lambda s: LOADED == s,  # noqa: SIM300 - the order is what is tested
    "!=": lambda s: s != LOADED,
    "|": lambda s: s | {"b": 2},
    "| from the right": lambda s: {"b": 2} | s,
    "|= into another": lambda s: {"b": 2}.__ior__(s),  # noqa: PLW0108
    "reversed": lambda s: list(reversed(s)),
    "dict": dict,
    "** in a display": lambda s: {**s},
    "** in a call": lambda s: dict(**s),
    "update of another": lambda s: {}.update(s),  # noqa: PLW0108
    "json.dumps": json.dumps,
    "json.dumps, indented": lambda s: json.dumps(s, indent=1),
    "repr": repr,
    "str": str,
    "format": lambda s: f"{s}",
    "print": lambda s: print(s),  # noqa: PLW0108
    "copy.copy": copy.copy,
    "copy.deepcopy": copy.deepcopy,
    "pickle": pickle.dumps,
    "match": _matches,
    "del": lambda s: s.__delitem__("a"),
    "increment": lambda s: s.increment("a"),
    "regenerate": lambda s: s.regenerate(),
    "invalidate": lambda s: s.invalidate(),
    "mark_accessed": lambda s: s.mark_accessed(),
    "id": lambda s: s.id,
    "is_new": lambda s: s.is_new,
    "created_at": lambda s: s.created_at,
    "last_seen": lambda s: s.last_seen,
    "expires_at": lambda s: s.expires_at,
    "ended": lambda s: s.ended,
    "set_lifetime": lambda s: s.set_lifetime(absolute=timedelta(hours=1)),
    "flash": lambda s: s.flash("saved"),
    "get_flashed": lambda s: s.get_flashed(),
    "csrf_token": lambda s: s.csrf_token(),
    "csrf_valid": lambda s: s.csrf_valid("token"),
    "as_": lambda s: s.as_(Loaded),
}


def test_every_attribute_of_dict_is_classified():
    """What `dict` has is noticed when used, or shows nothing; a new Python that adds something fails here."""
    assert {*ACCESSES, *SHOWS_NOTHING} == set(dir(dict))
    assert not ACCESSES.keys() & SHOWS_NOTHING.keys()


def test_what_a_session_has_beyond_dict_is_classified():
    """The session's own public names are all among the operations that are noticed."""
    own = {name for kind in (AsyncSession, Session) for name in dir(kind) if not name.startswith("_")}

    assert own - set(dir(dict)) <= {*OPERATIONS, "save", "modify"}


@pytest.mark.parametrize("name", ACCESSES)
def test_methods_of_dict_are_noticed(name):
    """Calling any method that shows or changes content is an access; before it nothing was."""
    session, ledger = session_of()
    before = ledger.accessed
    ACCESSES[name](session)

    assert (before, ledger.accessed) == (False, True)


@pytest.mark.parametrize("name", OPERATIONS)
def test_operators_and_functions_are_noticed(name):
    """So is every operator, and what other code does with a dict that it is given."""
    session, ledger = session_of()
    OPERATIONS[name](session)

    assert ledger.accessed


@pytest.mark.parametrize("name", ["save", "modify"])
async def test_save_and_modify_are_noticed(name):
    """They need a request to belong to, and say so; being asked is an access all the same."""
    session, ledger = session_of()
    with pytest.raises(RuntimeError, match=r"request\.session"):
        await (session.save() if name == "save" else session.modify("a", str))

    assert ledger.accessed


@pytest.mark.parametrize("name", ["save", "modify"])
def test_save_and_modify_of_the_blocking_session_are_noticed(name):
    """The same, as plain calls."""
    session, ledger = session_of(kind=Session)
    with pytest.raises(RuntimeError, match=r"request\.session"):
        session.save() if name == "save" else session.modify("a", str)

    assert ledger.accessed


def test_the_two_kinds_of_session_differ_in_what_touches_the_store_only():
    """All else is one class for both worlds."""
    own = {name for kind in (AsyncSession, Session) for name in vars(kind) if not name.startswith("_")}

    assert own == {"save", "modify"}


def test_the_blocking_session_asks_who_loaded_it():
    """`save` and `modify` are plain calls, with the arguments as they were given."""
    calls = []

    class Store:
        def save(self):
            calls.append("save")

        def modify(self, key, fn, default):
            return calls.append((key, fn(default))) or 3

    session, ledger = session_of(kind=Session)
    ledger.store = Store()

    assert (session.save(), session.modify("n", str, 1), session.modify("n", str)) == (None, 3, 3)
    assert calls == ["save", ("n", "1"), ("n", "None")]


def test_what_shows_nothing_is_not_noticed():
    """Asking for the type or a new dict is no access."""
    session, ledger = session_of()

    assert isinstance(session, dict)
    assert callable(session.get)
    assert type(session.fromkeys(["k"], 1)) is dict
    assert session.fromkeys(["k"]) == {"k": None}
    with pytest.raises(TypeError):
        hash(session)
    assert not ledger.accessed


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("__setitem__"), st.sampled_from("abc"), st.integers()),
            st.tuples(st.just("__delitem__"), st.sampled_from("abc")),
            st.tuples(st.just("setdefault"), st.sampled_from("abc"), st.integers()),
            st.tuples(st.just("pop"), st.sampled_from("abc")),
            st.tuples(st.just("pop"), st.sampled_from("abc"), st.none()),
            st.tuples(st.just("get"), st.sampled_from("abc")),
            st.tuples(st.just("__contains__"), st.sampled_from("abc")),
            st.tuples(st.just("update"), st.dictionaries(st.sampled_from("abc"), st.integers())),
            st.tuples(st.just("__or__"), st.dictionaries(st.sampled_from("abc"), st.integers())),
            st.tuples(st.just("popitem")),
            st.tuples(st.just("clear")),
            st.tuples(st.just("copy")),
        )
    )
)
def test_a_session_is_a_dict(steps):
    """Any sequence of calls gives the results, errors and order of keys that a plain dict gives."""
    session, _ = session_of({"a": 1})
    plain = {"a": 1}
    for name, *arguments in steps:
        assert _outcome(session, name, arguments) == _outcome(plain, name, arguments)
        assert list(session.items()) == list(plain.items())


def _outcome(mapping, name, arguments):
    try:
        return getattr(mapping, name)(*arguments)
    except KeyError as error:
        return repr(error)


@pytest.mark.parametrize(
    ("arguments", "keywords"),
    [(({"b": 2},), {}), (([("b", 2)],), {}), ((), {"b": 2}), (({"b": 1},), {"b": 2}), ((iter([("b", 2)]),), {})],
)
def test_update_takes_what_dict_update_takes(arguments, keywords):
    """Mappings, pairs and keywords; the last one wins."""
    session, _ = session_of({})
    session.update(*arguments, **keywords)

    assert session == {"b": 2}


def test_or_assignment_changes_the_session_itself():
    """`|=` keeps the object; `|` makes a plain dict of it."""
    session, ledger = session_of()
    same = session
    same |= {"b": 2}

    assert same is session
    assert type(session | {}) is dict
    assert type({} | session) is dict
    assert changes_of(session, ledger).puts == {"b": 2}


@pytest.mark.parametrize(
    "made",
    [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s)), SessionDict.copy, dict],
    ids=["copy", "deepcopy", "pickle", "method", "dict"],
)
def test_copies_are_plain_dicts(made):
    """Only the session of the request is ever committed, so nothing else looks like one."""
    session, _ = session_of()
    copied = made(session)

    assert type(copied) is dict
    assert copied == LOADED


def test_attributes_cannot_be_set():
    """`session.user = ...` would be lost with the request, so it is refused at once."""
    session, _ = session_of()
    with pytest.raises(AttributeError):
        session.user = "anna"


def test_the_public_name():
    """A stored session has an ID that is no secret; a new one has none yet."""
    stored, _ = session_of()
    new = AsyncSession(Ledger())

    assert (stored.id, stored.is_new) == ("f" * 43, False)
    assert (new.id, new.is_new) == (None, True)


def test_what_is_not_touched_is_not_compared():
    """A session that nobody looked at has no changes."""
    session, ledger = session_of()

    assert not changes_of(session, ledger)


def test_reading_is_no_change():
    """Looking at everything changes nothing."""
    session, ledger = session_of({"day": {"!": ["date", "2026-11-20"]}, "n": 1, "list": [1, {"k": None}]})
    for operation in ("items", "copy", "__repr__"):
        getattr(session, operation)()

    assert session["day"] == date(2026, 11, 20)
    assert not changes_of(session, ledger)


def test_changes_deep_inside_are_found():
    """`session["cart"]["items"].append(...)` is saved; the value as it was loaded is not touched by it."""
    session, ledger = session_of()
    session["cart"]["items"].append("y")

    assert changes_of(session, ledger) == Changes(puts={"cart": {"items": ["x", "y"]}})
    assert ledger.before["cart"] == {"items": ["x"]}


def test_a_change_taken_back_is_none():
    """What ends as it began is not written."""
    session, ledger = session_of()
    session["a"] = 2
    session["b"] = 3
    session["a"] = 1
    del session["b"]

    assert not changes_of(session, ledger)


@pytest.mark.parametrize(("old", "new"), [(1, True), (1, 1.0), (0, False), (None, 0), ("1", 1), ([1], [True])])
def test_equal_values_of_other_types_are_changes(old, new):
    """1, 1.0 and True are three values."""
    session, ledger = session_of({"k": old})
    session["k"] = new

    assert changes_of(session, ledger).puts == {"k": new}
    assert type(changes_of(session, ledger).puts["k"]) is type(new)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda s: s.update(k=object()), "k"),
        (lambda s: s["cart"]["items"].append(object()), r"cart\.items\[1\]"),
        (lambda s: s["cart"].update({3: 1}), r"cart\[3\]"),
        (lambda s: s.update({3: 1}), "3"),
        (lambda s: s.update({3: "text"}), "3"),
        (lambda s: s.update({("a", 1): None}), r"\('a', 1\)"),
        (lambda s: s.increment(3), "3"),
    ],
)
def test_what_cannot_be_stored_is_named(change, path):
    """The error names the key, and the place inside its value."""
    session, ledger = session_of()
    change(session)
    with pytest.raises(UnstorableValue, match=path):
        changes_of(session, ledger)


def test_increment_counts_on_what_was_loaded():
    """It returns what this request sees, and is kept apart from assignments."""
    session, ledger = session_of({"n": 5})

    assert [session.increment("n"), session.increment("n", 10), session.increment("n", by=-1)] == [6, 16, 15]
    assert session["n"] == 15
    assert changes_of(session, ledger) == Changes(increments={"n": 10})


def test_increment_of_a_missing_key_counts_from_zero():
    """Also with 0: then the key is there."""
    session, ledger = session_of({})

    assert [session.increment("n"), session.increment("m", 0)] == [1, 0]
    assert changes_of(session, ledger) == Changes(increments={"n": 1, "m": 0})


def test_increment_by_nothing_is_no_change():
    """A key that is there and incremented by 0, or there and back, is not written."""
    session, ledger = session_of({"n": 5, "m": 5})
    session.increment("n", 0)
    session.increment("m", 3)
    session.increment("m", -3)

    assert not changes_of(session, ledger)


@pytest.mark.parametrize("by", [1.0, True, "1", None, 2**64 + 0.5])
def test_increment_takes_only_ints(by):
    """Anything else is refused, and nothing is counted."""
    session, ledger = session_of({"n": 5})
    with pytest.raises(TypeError, match="by must be an int"):
        session.increment("n", by)

    assert not changes_of(session, ledger)


@pytest.mark.parametrize("value", [True, 1.5, "5", None, [1], {"!": ["Decimal", "1"]}])
def test_increment_of_something_else_is_refused(value):
    """A counter is an int; the message says what is there."""
    session, ledger = session_of({"n": value})
    with pytest.raises(TypeError, match="the session holds a"):
        session.increment("n")

    assert not changes_of(session, ledger)


@pytest.mark.parametrize(
    "assign",
    [
        lambda s: s.__setitem__("n", 100),
        lambda s: s.update(n=100),
        lambda s: s.update([("n", 100)]),
        lambda s: s.__ior__({"n": 100}),
        lambda s: (s.pop("n"), s.setdefault("n", 100)),
        lambda s: (s.__delitem__("n"), s.setdefault("n", 100)),
        lambda s: (s.popitem(), s.__setitem__("n", 100)),
        lambda s: (s.clear(), s.__setitem__("n", 100)),
    ],
    ids=["setitem", "update", "update pairs", "or", "pop", "del", "popitem", "clear"],
)
def test_assigning_discards_increments(assign):
    """What this request counted before is gone, and what it counts afterwards is part of the assigned value."""
    session, ledger = session_of({"n": 5})
    session.increment("n", 3)
    assign(session)
    discarded = changes_of(session, ledger)

    assert discarded == Changes(puts={"n": 100})
    assert session.increment("n") == 101
    assert changes_of(session, ledger) == Changes(puts={"n": 101})


@pytest.mark.parametrize(("assigned", "changes"), [(8, Changes(puts={"n": 8})), (5, Changes())])
def test_assigning_what_it_shows_is_an_assignment(assigned, changes):
    """Counted from 5 to 8 and assigned 8: one whole value. Assigned 5, as loaded: nothing happened."""
    session, ledger = session_of({"n": 5})
    session.increment("n", 3)
    session["n"] = assigned

    assert changes_of(session, ledger) == changes


@pytest.mark.parametrize("loaded", [5, 0])
@pytest.mark.parametrize(
    "remove",
    [lambda s: s.__delitem__("n"), lambda s: s.pop("n"), lambda s: s.popitem(), lambda s: s.clear()],
    ids=["del", "pop", "popitem", "clear"],
)
def test_counting_after_a_deletion_begins_anew(loaded, remove):
    """A key deleted and counted on holds this request's count and nothing of before, whatever was loaded."""
    session, ledger = session_of({"n": loaded})
    session.increment("n", 2)
    remove(session)
    gone = changes_of(session, ledger)

    assert gone == Changes(deletes=("n",))
    assert session.increment("n", 2) == 2
    assert changes_of(session, ledger) == Changes(puts={"n": 2})
    assert session.increment("n") == 3
    assert changes_of(session, ledger) == Changes(puts={"n": 3})


def test_a_default_before_counting_does_no_harm():
    """`setdefault(key, 0)` before the first increment: two first requests at once still count two."""
    session, ledger = session_of({})
    session.setdefault("n", 0)
    session.increment("n")

    assert changes_of(session, ledger) == Changes(increments={"n": 1})


def test_clear_and_refill():
    """Every loaded key is deleted but for those assigned again."""
    session, ledger = session_of({"a": 1, "b": 2, "c": 3})
    session.clear()
    session["b"] = 20
    session["d"] = 4

    assert session == {"b": 20, "d": 4}
    assert changes_of(session, ledger) == Changes(puts={"b": 20, "d": 4}, deletes=("a", "c"))
    assert ledger.cleared


def test_content_is_everything_with_counters_as_values():
    """What a new session begins with: all that is there now, whatever was loaded."""
    session, ledger = session_of({"a": 1, "n": 5})
    session.increment("n", 2)
    session.increment("m", 0)

    assert content_of(session, ledger) == Changes(puts={"a": 1, "n": 7, "m": 0})


def test_invalidate_leaves_nothing():
    """The content is gone at once; the rest is the commit's."""
    session, ledger = session_of()
    session.invalidate()

    assert session == {}
    assert ledger.invalidated
    ledger.done()
    assert [ledger.invalidated, ledger.cleared, ledger.regenerated] == [False, False, False]


def test_settled_changes_are_changes_no_more():
    """After a commit only what is done beyond it is a change; a second one finds nothing to do."""
    session, ledger = session_of({"a": 1, "b": 2, "n": 5})
    session["a"] = 10
    del session["b"]
    session.increment("n", 2)
    session.increment("new", 3)
    settle(ledger, changes_of(session, ledger))
    nothing = changes_of(session, ledger)
    session["a"] = 11
    session["b"] = 2
    session.increment("n")

    assert not nothing
    assert changes_of(session, ledger) == Changes(puts={"a": 11, "b": 2}, increments={"n": 1})


def test_what_happens_while_changes_are_on_their_way_is_kept():
    """Another task of the request may count and assign on while the round trips run."""
    session, ledger = session_of({"n": 5, "a": 1})
    session.increment("n", 2)
    session.increment("m", 1)
    session["a"] = 2
    on_their_way = changes_of(session, ledger)
    session.increment("n", 10)
    session["m"] = 100
    session["a"] = 3
    settle(ledger, on_their_way)

    assert changes_of(session, ledger) == Changes(puts={"a": 3, "m": 100}, increments={"n": 10})


def test_settling_nothing_keeps_what_was_loaded():
    """The same object, not a copy."""
    _, ledger = session_of()
    before = ledger.before
    settle(ledger, Changes())

    assert ledger.before is before


def test_adopt_shows_what_is_stored():
    """After `save()`: what others changed, added and removed is seen, and nothing is a change."""
    session, ledger = session_of({"a": 1, "b": 2})
    session["a"] = 3
    adopt(session, ledger, {"a": 3, "c": [1]}, Changes())

    assert session == {"a": 3, "c": [1]}
    assert not changes_of(session, ledger)
    session["c"].append(2)
    assert ledger.before["c"] == [1]


def test_adopt_keeps_what_the_application_may_hold():
    """A list taken out before `save()` is still the session's afterwards, if nobody else changed it."""
    session, ledger = session_of({"mine": [1], "theirs": [1], "new": {}})
    mine, theirs = session["mine"], session["theirs"]
    mine.append(2)
    adopt(session, ledger, {"mine": [1, 2], "theirs": [1, 9], "new": {}}, Changes())
    mine.append(3)
    theirs.append(3)

    assert session == {"mine": [1, 2, 3], "theirs": [1, 9], "new": {}}
    assert changes_of(session, ledger) == Changes(puts={"mine": [1, 2, 3]})


def test_adopt_does_not_take_equal_for_same():
    """True is not 1, also inside a list."""
    session, ledger = session_of({"k": [1]})
    adopt(session, ledger, {"k": [True]}, Changes())

    assert session["k"][0] is True


def test_adopt_replaces_what_cannot_be_stored():
    """A value that became unstorable meanwhile gives way to the stored one."""
    session, ledger = session_of({"k": [1]})
    session["k"].append(object())
    adopt(session, ledger, {"k": [1]}, Changes())

    assert session == {"k": [1]}


def test_adopt_keeps_pending_changes():
    """After `modify()`: this request's other changes lie on top, and are still to be saved."""
    session, ledger = session_of({"a": 1, "b": 2, "n": 5})
    session["a"] = 3
    session["day"] = date(2026, 11, 20)
    del session["b"]
    session.increment("n", 2)
    session.increment("m")
    pending = changes_of(session, ledger)
    adopt(session, ledger, {"a": 1, "b": 9, "n": 50, "other": True}, pending)

    assert session == {"a": 3, "n": 52, "m": 1, "other": True, "day": date(2026, 11, 20)}
    assert changes_of(session, ledger) == pending
    assert session.increment("n") == 53
    assert changes_of(session, ledger).increments == {"n": 3, "m": 1}


@pytest.mark.parametrize("theirs", ["text", True, None, [1]])
def test_adopt_drops_increments_of_what_is_no_number_any_more(theirs):
    """Another request assigned text to the counter: it is shown as it stands."""
    session, ledger = session_of({"n": 5})
    session.increment("n")
    adopt(session, ledger, {"n": theirs}, changes_of(session, ledger))

    assert session == {"n": theirs}
    assert not changes_of(session, ledger)


def test_adopt_counts_on_a_float():
    """Another request assigned 2.5: this request's increment lies on top, and is one."""
    session, ledger = session_of({"n": 5})
    session.increment("n")
    adopt(session, ledger, {"n": 2.5}, changes_of(session, ledger))

    assert session == {"n": 3.5}
    assert changes_of(session, ledger) == Changes(increments={"n": 1})


@pytest.mark.parametrize("by", [2**64, -(2**64), 10**5000], ids=["over", "under", "huge"])
def test_an_increment_has_a_bound(by):
    """An amount that could not be written as text is refused where it is given, and nothing is counted."""
    ledger = Ledger()
    session = AsyncSession(ledger)
    with pytest.raises(TypeError, match="at most 64 bits"):
        session.increment("n", by)

    assert (dict(session), ledger.increments) == ({}, {})
