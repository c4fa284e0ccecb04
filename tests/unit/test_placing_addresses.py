"""A pool takes another one's place, and nodes have other addresses there."""

from memsession.lifecycle.placing import Placing
from memsession.pool import Pool

BEFORE = Pool("a=10.0.0.1", "b=10.0.0.2")


def test_a_node_may_move_while_another_one_joins():
    """It is the same node in both pools, where it is now; so the sessions there are found."""
    after = Pool("a=10.0.0.9", "b=10.0.0.2", "c=10.0.0.3")

    used = Placing(BEFORE).successor(after, moved=False)

    assert used.previous is not None
    assert used.all_nodes == after.nodes
    assert {*BEFORE.homes(b"key")} <= {*used.homes(b"key")}
    assert [node.host for node in used.previous.nodes] == ["10.0.0.9", "10.0.0.2"]


def test_a_node_may_move_while_sessions_do():
    """What was before goes on counting."""
    placing = Placing(BEFORE)
    placing.pool = placing.successor(Pool("a=10.0.0.1", "b=10.0.0.2", "c=10.0.0.3"), moved=False)

    used = placing.successor(Pool("a=10.0.0.9", "b=10.0.0.2", "c=10.0.0.3"), moved=False)

    assert used.previous == Pool("a=10.0.0.9", "b=10.0.0.2")
    assert BEFORE.nodes[0].host == "10.0.0.1", "pools are values"
