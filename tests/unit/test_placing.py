"""What takes the place of a pool in use: nothing that may hold sessions is left out."""

import pytest

from memsession import ConfigurationError, Pool
from memsession.lifecycle.placing import Placing
from tests.behind import pool


def names(one):
    """The pools of a chain, newest first."""
    found = []
    while one is not None:
        found.append("".join(sorted(node.name for node in one.nodes)))
        one = one.previous
    return found


def succeeding(current, given, moved=False):
    return names(Placing(current).successor(given, moved=moved))


AB, BC, CD = pool("ab"), pool("bc"), pool("cd")


@pytest.mark.parametrize(
    ("current", "given", "expected"),
    [
        (AB, BC, ["bc", "ab"]),
        (AB, pool("ba"), ["ab"]),
        (pool("bc", previous=AB), CD, ["cd", "bc", "ab"]),
        (pool("bc", previous=AB), pool("cb"), ["bc", "ab"]),
        (pool("bc", previous=AB), AB, ["ab", "bc"]),
        (AB, pool("bc", previous=AB), ["bc", "ab"]),
        (pool("bc", previous=AB), pool("bc", previous=AB), ["bc", "ab"]),
        (pool("bc", previous=AB), pool("cd", previous=BC), ["cd", "bc", "ab"]),
        (pool("bc", previous=AB), pool("cd", previous=AB), ["cd", "ab", "bc"]),
        (AB, pool("cd", previous=pool("de")), ["cd", "de", "ab"]),
    ],
)
def test_all_that_may_hold_sessions_is_named(current, given, expected):
    """Each pool once, the new one first."""
    assert succeeding(current, given) == expected


def test_what_was_before_a_move_that_is_done_is_forgotten():
    """All sessions lie in the pool in use."""
    assert succeeding(pool("bc", previous=AB), CD, moved=True) == ["cd", "bc"]
    assert succeeding(pool("bc", previous=AB), pool("bc"), moved=True) == ["bc"]


@pytest.mark.parametrize(("current", "given"), [(Pool("memory://"), AB), (AB, Pool("memory://"))])
def test_pools_in_this_process_follow_none(current, given):
    """Nor are they followed."""
    with pytest.raises(ConfigurationError, match="memory://"):
        Placing(current).successor(given, moved=False)


def test_where_a_session_lies_is_asked_of_the_pool_in_use():
    """Also after it was replaced."""
    placing = Placing(AB)
    assert {*placing.homes(b"s")} == {"a", "b"}
    placing.pool = placing.successor(CD, moved=False)
    assert {*placing.homes(b"s")} == {"a", "b", "c", "d"}
    assert [{*homes} for homes in placing.home_sets(b"s")] == [{"c", "d"}, {"a", "b"}]
