"""The same on two memcached processes."""

import pytest

from tests.behaviour.adapters import Visitor


@pytest.fixture
def nodes(memcached):
    return [memcached(), memcached()]


@pytest.fixture
def visitor(start, nodes):
    return Visitor(start(pool=",".join(node.address for node in nodes)))


def test_a_life(visitor, kinds):
    """From the first write to the logout, with an old cookie refused."""
    visitor.get("/set?k=v")
    old = visitor.copy()
    visitor.get("/login?user=anna")
    visitor.get("/nest")
    visitor.get("/deepen")
    assert visitor.get("/get").json == {"k": "v", "user_id": "anna", "cart": {"items": ["x"]}}
    assert old.get("/get").json == {}
    assert visitor.get("/logout").cookie == "deleted"
    assert visitor.get("/get").json == {}

    assert [name for name in kinds() if name in ("Created", "Moved", "Ended")] == ["Created", "Moved", "Ended"]


def test_counting_goes_on_while_nodes_die(visitor, nodes):
    """One is killed, comes back empty, then the other."""
    counts = [visitor.get("/increment").json]
    for node in nodes:
        node.kill()
        counts += [visitor.get("/increment").json, visitor.get("/increment").json]
        node.start()
        counts.append(visitor.get("/increment").json)
        while len([one for one in nodes if int(one.stats()["curr_items"]) > 1]) < 2:
            counts.append(visitor.get("/increment").json)

    assert counts == list(range(1, len(counts) + 1))


def test_save_and_modify(visitor, nodes):
    """What asks the store in the middle of a request."""
    visitor.get("/set?a=1")

    assert [visitor.get("/modify").json for _ in range(3)] == [1, 2, 3]
    assert visitor.get("/save?k=w").json is False
    assert visitor.get("/late-saved").status == 200
    assert visitor.get("/get").json == {"a": "1", "m": 3, "k": "w", "late": True}


def test_both_killed_is_a_503(visitor, nodes):
    """And the cookie is kept."""
    visitor.get("/set?a=1")
    for node in nodes:
        node.kill()
    answer = visitor.get("/get")

    assert (answer.status, answer.header("set-cookie")) == (503, [])
