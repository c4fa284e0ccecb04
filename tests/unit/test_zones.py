"""Zones of a pool: what may be written, what is refused, and that copies lie apart."""

import copy
import pickle
from typing import Any

import pytest

from memsession.errors import ConfigurationError
from memsession.placement import Placement
from memsession.pool import Pool

KEYS = [b"memsession:%043d" % number for number in range(500)]
NODES = ("a=10.0.0.1", "b=10.0.0.2", "c=10.1.0.1", "d=10.1.0.2:11211:3")
ZONES = {"a": "east", "b": "east", "c": "west", "d": "west"}


def test_copies_lie_in_different_zones() -> None:
    """As `Placement` has them; without zones a third of the sessions would lie in one zone."""
    pool, plain = Pool(*NODES, zones=ZONES), Pool(*NODES)
    placement = Placement([(node.name, node.weight) for node in pool.nodes], 2, ZONES)
    for key in KEYS:
        assert pool.homes(key) == placement.homes(key)
        assert {ZONES[name] for name in pool.homes(key)} == {"east", "west"}
    assert any(len({ZONES[name] for name in plain.homes(key)}) == 1 for key in KEYS)


def test_a_zone_may_stand_with_the_address() -> None:
    """In any form that has options of its own; it is the same pool."""
    texts = ("a=10.0.0.1?zone=east", "b=tcp://10.0.0.2?zone=east&weight=1", "c=10.1.0.1?zone=west")
    pool = Pool(*texts, "d=10.1.0.2?weight=3&zone=west")

    assert pool == Pool(*NODES, zones=ZONES)
    assert pool == Pool(*texts, "d=10.1.0.2?weight=3", zones={"a": "east", "d": "west"})
    assert Pool("/run/a.sock?zone=1", "unix:///run/b.sock?zone=2").zones == {"/run/a.sock": "1", "/run/b.sock": "2"}


def test_zones_are_part_of_a_pool() -> None:
    """A pool with zones equals none without, or with others; copies of it are equal and find the same homes."""
    pool = Pool(*NODES, zones=ZONES)
    homes = [pool.homes(key) for key in KEYS]

    assert pool.zones == ZONES
    assert Pool(*NODES).zones == {}
    assert Pool(*NODES) == Pool(*NODES, zones={}) == Pool(*NODES, zones=None)
    assert len({pool, Pool(*NODES), Pool(*NODES, zones={**ZONES, "b": "west"}), Pool(*NODES, zones=ZONES)}) == 3
    for same in (copy.deepcopy(pool), pickle.loads(pickle.dumps(pool))):
        assert same == pool
        assert [same.homes(key) for key in KEYS] == homes
    assert repr(pool) == "<Pool of 4 nodes (a, b, c, d) in 2 zones (east, west), 2 hold each session>"


def test_zones_come_by_way_of_previous() -> None:
    """A pool that gets zones names the former one, whose homes are asked after its own."""
    before, own = Pool(*NODES), Pool(*NODES, zones=ZONES)
    now = Pool(*NODES, zones=ZONES, previous=before)

    assert [node.name for node in now.all_nodes] == ["a", "b", "c", "d"]
    for key in KEYS:
        assert now.homes(key)[:2] == own.homes(key)
        assert set(now.homes(key)) == {*own.homes(key), *before.homes(key)}
    assert any(len(now.homes(key)) == 3 for key in KEYS)


def test_nodes_in_this_process_may_have_zones() -> None:
    """For trying it out."""
    assert Pool("memory://?nodes=2", zones={"memory-1": "a", "memory-2": "b"}).zones == {
        "memory-1": "a",
        "memory-2": "b",
    }


def test_one_zone_is_enough_for_one_copy() -> None:
    """It changes nothing then."""
    pool = Pool("a=x", "b=y", copies=1, zones={"a": "east", "b": "east"})

    assert [pool.homes(key) for key in KEYS] == [Pool("a=x", "b=y", copies=1).homes(key) for key in KEYS]


@pytest.mark.parametrize(
    ("nodes", "zones", "message"),
    [
        (("a=x", "b=y"), {"a": "east"}, "no zone for b: give every node one"),
        (("a=x?zone=east", "b=y", "c=z"), None, "no zone for b, c: give every node one"),
        (("a=x", "b=y"), {"a": "east", "B": "west"}, "no node is called 'B'; there are a, b"),
        (("10.0.0.94", "b=y"), {"10.0.0.94": "e", "b": "w"}, "called '10.0.0.94'; did you mean \"10.0.0.94:11211\""),
        (("a=x", "b=y"), {"a": "east", 2: "west"}, "no node is called 2"),
        (("a=x", "b=y"), {"a": 1, "b": 2}, 'zone of node "a" must be a text'),
        (("a=x", "b=y"), {"a": "east", "b": ""}, 'zone of node "b" must be a text'),
        (("a=x", "b=y"), {"a": "east", "b": None}, 'zone of node "b" must be a text'),
        (("a=x", "b=y"), {"a": "east", "b": "we st"}, 'zone of node "b" must be a text'),
        (("a=x", "b=y"), {"a": "east", "b": "w" * 101}, "1 to 100 letters"),
        (("a=x", "b=y"), {"a": "east", "b": "east"}, 'all nodes are in zone "east", so the 2 copies'),
        (("a=x?zone=east", "b=y?zone=east"), None, "all nodes are in zone"),
        (("a=x", "b=y"), ["east", "west"], r"zones=...\) is a list: give the zone of each node by its name"),
        (("a=x", "b=y"), "east", "is a str"),
        (("a=x?zone=east", "b=y?zone=west"), {"a": "west"}, '"a" has another zone beside its address'),
    ],
)
def test_what_makes_no_sense_is_refused(nodes: tuple[str, ...], zones: Any, message: str) -> None:
    """With the node, and what to do."""
    with pytest.raises(ConfigurationError, match=message):
        Pool(*nodes, zones=zones)


def test_a_zone_that_may_be_a_password_is_not_shown() -> None:
    """What follows a question mark never is."""
    with pytest.raises(ConfigurationError) as refused:
        Pool("a=x?zone=s3cr3t!", "b=y?zone=west")

    assert "s3cr3t" not in str(refused.value)
