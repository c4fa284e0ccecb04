"""The checkers can fail: each catches histories that break a promise, and lets pass those that only look bad."""

import asyncio

import pytest
import uvloop

from tests.faults.checkers import check_all
from tests.faults.history import FINAL, History, Op
from tests.faults.pages import LEFT, LOST, REFUSED, now

CLEAN = {
    "lost": 0,
    "unseen": 0,
    "back": 0,
    "wrong": 0,
    "revived": 0,
    "untold": 0,
    "foreign": 0,
    "dropped": 0,
    "error": 0,
}


def op(kind, begun, ended, value=None, seen=None, *, status=200, web="asgi", session="u1", **more):
    return Op(session, kind, value, web, begun, ended, status, seen=seen, **more)


def judged(*ops, sides=False):
    """What is not as it must be."""
    figures = check_all(History(list(ops)), sides=sides)
    assert figures.keys() == CLEAN.keys()
    return {name: figure for name, figure in figures.items() if figure}


LOGIN = op("login", 0, 1)
COUNTED = [op("incr", 0, 1, seen=1), op("incr", 2, 3, seen=2)]
ADDED = [op("add", 0, 1, "x"), op("add", 0, 2, "y", web="wsgi")]
LOGOUT = op("logout", 0, 1)

GOOD = {
    "who has logged in is known": [LOGIN, op("who", 2, 3, seen="u1")],
    "a login that was not confirmed need not be known": [op("login", 0, 1, status=LEFT), op("who", 2, 3)],
    "a login under way need not be known": [LOGIN, op("who", 0.5, 3)],
    "a counter counts": [*COUNTED, op("count", 4, 5, seen=2, phase=FINAL)],
    "an increment in doubt may have counted": [op("incr", 0, 1, status=LEFT), op("incr", 2, 3, seen=2)],
    "an increment in doubt may not have counted": [op("incr", 0, 1, status=LEFT), op("incr", 2, 3, seen=1)],
    "a set holds what was added": [*ADDED, op("elements", 3, 4, seen=["x", "y"], phase=FINAL)],
    "an add under way may be seen or not": [*ADDED, op("elements", 1.5, 4, seen=["x"])],
    "an ended session shows nothing": [LOGOUT, op("old", 2, 3, seen={}, phase=FINAL)],
    "a logout under way may come too late": [LOGOUT, op("old", 0.5, 3, seen={"a": 1})],
    "a logout in doubt has promised nothing": [op("logout", 0, 1, status=LEFT), op("old", 2, 3, seen={"a": 1})],
    "no new ID was given": [op("rotate", 0, 1), op("old", 2, 3, seen={"a": 1})],
    "a new session is there": [op("birth", 0, 1), op("born", 2, 3, seen="u1")],
    "a logout deletes the cookie": [op("logout", 0, 1, cookie="deleted")],
    "one's own data": [op("who", 0, 1, owner="u1")],
}

BAD = {
    "a login is lost": ([LOGIN, op("who", 2, 3, phase=FINAL)], {"lost": 1}),
    "a login is not shown for a while": ([LOGIN, op("who", 2, 3), op("who", 4, 5, seen="u1")], {"unseen": 1}),
    "an increment is lost": ([*COUNTED, op("count", 4, 5, seen=1, phase=FINAL)], {"lost": 1, "back": 1}),
    "the counter is gone": ([*COUNTED, op("count", 4, 5, phase=FINAL)], {"lost": 1, "back": 1}),
    "a confirmed increment is not shown": ([*COUNTED, op("incr", 4, 5, seen=2)], {"unseen": 1}),
    "the counter steps back": ([*COUNTED, op("count", 4, 5, seen=1)], {"unseen": 1, "back": 1}),
    "an increment counts twice": ([COUNTED[0], op("incr", 2, 3, seen=3)], {"wrong": 1}),
    "an increment that never left counts": (
        [op("incr", 0, 1, status=REFUSED), op("incr", 2, 3, seen=2)],
        {"wrong": 1},
    ),
    "a doubtful increment is seen and then is not": (
        [op("incr", 0, 1, status=LOST), op("count", 2, 3, seen=1), op("count", 4, 5, seen=0)],
        {"back": 1, "error": 1},
    ),
    "an element is lost": ([*ADDED, op("elements", 3, 4, seen=["x"], phase=FINAL)], {"lost": 1}),
    "all elements are lost": ([*ADDED, op("elements", 3, 4, phase=FINAL)], {"lost": 2}),
    "a reading is stale": ([*ADDED, op("elements", 1.5, 4, seen=["y"])], {"unseen": 1}),
    "an element out of nowhere": ([*ADDED, op("elements", 3, 4, seen=["x", "y", "z"])], {"wrong": 1}),
    "an element before its time": ([op("elements", 0, 1, seen=["x"]), op("add", 2, 3, "x")], {"wrong": 1}),
    "a logout is not known": ([LOGOUT, op("old", 2, 3, seen={"a": 1})], {"untold": 1}),
    "an ended session is back": ([LOGOUT, op("old", 2, 3, seen={"a": 1}, phase=FINAL)], {"revived": 1}),
    "an old ID is back": (
        [op("rotate", 0, 1, cookie="set"), op("old", 2, 3, seen={"a": 1}, phase=FINAL)],
        {"revived": 1},
    ),
    "a new session is not there": ([op("birth", 0, 1), op("born", 2, 3)], {"unseen": 1}),
    "somebody else's data": ([op("who", 0, 1, owner="u2")], {"foreign": 1}),
    "a cookie is taken away": ([op("who", 0, 1, cookie="deleted")], {"dropped": 1}),
    "an error": ([op("who", 0, 1, status=500)], {"error": 1}),
    "no answer": ([op("who", 0, 1, status=LOST)], {"error": 1}),
}


def test_what_follows_at_once_comes_later():
    """The clock of histories tells apart what one turn of the event loop does: else what overlaps seems to follow."""

    async def look():
        return now(), sum(range(1_000)), now()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        before, _, after = runner.run(look())

    assert before < after


@pytest.mark.parametrize("name", GOOD)
def test_good_histories_pass(name):
    assert judged(*GOOD[name]) == {}


@pytest.mark.parametrize("name", BAD)
def test_bad_histories_are_caught(name):
    ops, problems = BAD[name]

    assert judged(*ops) == problems


def test_sessions_are_judged_each_for_itself():
    """What one visitor confirmed says nothing about another."""
    assert judged(LOGIN, op("who", 2, 3, session="u2")) == {}
    assert judged(*COUNTED, op("incr", 4, 5, seen=1, session="u2")) == {}


SPLIT = [
    (LOGIN, op("who", 2, 3, web="wsgi"), op("who", 4, 5, web="wsgi", phase=FINAL), {"unseen": 1}),
    (COUNTED[0], op("count", 2, 3, seen=0, web="wsgi"), op("count", 4, 5, web="wsgi", phase=FINAL), {"unseen": 1}),
    (ADDED[0], op("elements", 2, 3, web="wsgi"), op("elements", 4, 5, phase=FINAL), {"unseen": 1}),
    (LOGOUT, op("old", 2, 3, seen={"a": 1}, web="wsgi"), op("old", 4, 5, seen={"a": 1}, phase=FINAL), {"untold": 1}),
]


@pytest.mark.parametrize(("done", "there", "after", "problem"), SPLIT, ids=lambda part: getattr(part, "kind", ""))
def test_the_other_side_of_a_split_need_not_know_until_it_heals(done, there, after, problem):
    """Only with `sides`, and only until then."""
    assert judged(done, there, sides=True) == {}
    assert problem.items() <= judged(done, there).items()
    assert set(judged(done, after, sides=True)) & {"lost", "revived"}
