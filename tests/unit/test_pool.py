"""The pool as a value: its settings, its homes, and what it refuses."""

import copy
import pickle
from datetime import timedelta
from typing import Any

import pytest

from memsession.addresses import Node
from memsession.errors import ConfigurationError
from memsession.identity import SessionId, storage_key
from memsession.placement import Placement
from memsession.pool import Pool

KEYS = [b"memsession:%043d" % number for number in range(300)]


def test_two_copies_are_kept_unless_there_is_one_node() -> None:
    """Without `copies` there are min(2, nodes)."""
    assert Pool("a").copies == 1
    assert Pool("a", "b").copies == 2
    assert Pool("a", "b", "c").copies == 2
    assert Pool("memory://").copies == 2


def test_settings_are_attributes() -> None:
    """A pool shows all it was given, and the defaults for the rest."""
    pool = Pool("10.0.0.94", "b=10.0.0.95:11212", "c:11211:3", copies=3)

    assert pool.nodes == (
        Node("10.0.0.94:11211", "10.0.0.94", 11211),
        Node("b", "10.0.0.95", 11212),
        Node("c:11211", "c", 11211, 3),
    )
    assert (pool.copies, pool.prefix, pool.max_bytes, pool.previous) == (3, "memsession", 65_536, None)
    assert (pool.timeout, pool.budget) == (timedelta(milliseconds=250), timedelta(seconds=1))
    assert pool.all_nodes == pool.nodes
    assert not pool.in_process
    assert Pool("memory://?nodes=3").in_process


def test_copies_may_stand_in_the_url() -> None:
    """The URL's `copies` counts; the same number as an argument is no contradiction, another one is."""
    assert Pool("memcached://a,b,c?copies=3").copies == 3
    assert Pool("memcached://a,b,c?copies=3", copies=3).copies == 3
    with pytest.raises(ConfigurationError, match=r"copies=2\) contradicts copies=3"):
        Pool("memcached://a,b,c?copies=3", copies=2)


def test_homes_are_the_placements() -> None:
    """The homes of a key are those of rendezvous hashing on names and weights, asked once or often."""
    pool = Pool("a", "b", "c:11211:2", copies=2)
    placement = Placement([("a:11211", 1), ("b:11211", 1), ("c:11211", 2)], 2)

    assert [pool.homes(key) for key in KEYS] == [placement.homes(key) for key in KEYS]
    assert [pool.homes(key) for key in KEYS] == [placement.homes(key) for key in reversed(KEYS)][::-1]


def test_the_order_of_nodes_does_not_move_sessions() -> None:
    """Two web servers that list the nodes differently find the same homes."""
    one, two = Pool("a", "b", "c"), Pool("c", "a", "b")

    assert [one.homes(key) for key in KEYS] == [two.homes(key) for key in KEYS]


def test_an_address_may_change_under_a_name() -> None:
    """A named node keeps its sessions when its address changes; naming it by its old address works too."""
    one, two = Pool("10.0.0.5", "b"), Pool("10.0.0.5:11211=10.0.0.99:11300", "b")

    assert [one.homes(key) for key in KEYS] == [two.homes(key) for key in KEYS]


def test_a_former_pool_adds_its_homes() -> None:
    """With `previous`, own homes come first, then the former homes that are not among them; so on backwards."""
    first = Pool("a", "b", copies=2)
    second = Pool("a", "b", "c", copies=2, previous=first)
    third = Pool("c", "d", copies=2, previous=second)
    for key in KEYS:
        own = Pool("a", "b", "c", copies=2).homes(key)

        assert second.homes(key)[:2] == own
        assert set(second.homes(key)) == set(own) | {"a:11211", "b:11211"}
        assert third.homes(key)[2:] == tuple(name for name in second.homes(key) if name != "c:11211")
        assert len(set(third.homes(key))) == len(third.homes(key))
    assert [node.name[0] for node in third.all_nodes] == ["c", "d", "a", "b"]


def test_a_weight_may_change_by_way_of_previous() -> None:
    """The same node may weigh differently in both pools; the present weight is shown."""
    pool = Pool("a:11211:5", "b", copies=1, previous=Pool("a", "b", copies=1))

    assert pool.all_nodes == pool.nodes
    assert any(len(pool.homes(key)) == 2 for key in KEYS)


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ((), {}, "no nodes"),
        (("",), {}, "no nodes"),
        (("a", "a"), {}, "listed twice"),
        (("a",), {"copies": 0}, r"copies=0\): use at least 1"),
        (("a",), {"copies": -1}, "at least 1"),
        (("a", "b"), {"copies": 3}, r"copies=3\) with 2 node\(s\): name more"),
        (("memcached://a?copies=2",), {}, r"copies=2\) with 1 node"),
        (("a",), {"copies": "2"}, "copies='2'.*whole number"),
        (("a",), {"copies": True}, "copies=True.*whole number"),
        (("a",), {"copies": 1.0}, "copies=1.0.*whole number"),
        (("memcached://a?copise=2",), {}, 'did you mean "copies"'),
        (("a",), {"prefix": ""}, "prefix=''"),
        (("a",), {"prefix": "my shop"}, "prefix='my shop'"),
        (("a",), {"prefix": "a\r\nflush_all"}, "prefix="),
        (("a",), {"prefix": "a\n"}, "prefix="),
        (("a",), {"prefix": "ü"}, "prefix="),
        (("a",), {"prefix": "p" * 101}, "1 to 100"),
        (("a",), {"prefix": None}, "prefix=None"),
        (("a",), {"max_bytes": 999}, "max_bytes=999.*1,000 to 1,000,000"),
        (("a",), {"max_bytes": 1_000_001}, "max_bytes="),
        (("a",), {"max_bytes": "65536"}, "max_bytes="),
        (("a",), {"max_bytes": True}, "max_bytes="),
        (("a",), {"timeout": 0.25}, "timeout=0.25.*timedelta"),
        (("a",), {"timeout": None}, "timeout=None"),
        (("a",), {"timeout": timedelta()}, "timeout=.*above zero"),
        (("a",), {"budget": -timedelta(seconds=1)}, "budget=.*above zero"),
        (("a",), {"budget": 1}, "budget=1.*timedelta"),
        (("a",), {"timeout": timedelta(seconds=2)}, "must not exceed the budget"),
        (("a",), {"timeout": timedelta(hours=2), "budget": timedelta(hours=3)}, "timeout=.*an hour at most"),
        (("a",), {"budget": timedelta.max}, "budget=.*an hour at most"),
        (("a",), {"previous": "b"}, r"previous=...\) is a str: give the former pool as previous=Pool\("),
        (("a",), {"previous": Pool("b", prefix="x")}, "same prefix"),
        (("a",), {"previous": Pool("memory://")}, "both or neither"),
        (("a=x",), {"previous": Pool("a=y")}, '"a" has another address'),
        (("a=10.0.0.5",), {"previous": Pool("10.0.0.5")}, '"10.0.0.5:11211" is called "a" now'),
    ],
)
def test_contradictions_are_refused(arguments: tuple[str, ...], settings: dict[str, Any], message: str) -> None:
    """A setting that is out of range or contradicts another is an error that names it and the cure."""
    with pytest.raises(ConfigurationError, match=message):
        Pool(*arguments, **settings)


def test_limits_themselves_are_allowed() -> None:
    """The ends of each range are inside; the longest prefix leaves keys far below memcached's 250 bytes."""
    pool = Pool("a", prefix="p" * 100, max_bytes=1_000_000, timeout=timedelta(seconds=1))

    assert len(storage_key(SessionId.new(), pool.prefix)) == 144
    assert Pool("a", max_bytes=1_000).max_bytes == 1_000


def test_a_pool_is_a_value() -> None:
    """Pools of equal settings are equal, hash alike and cannot be changed; any other setting makes a difference."""
    pool = Pool("a", "b", previous=Pool("a"))
    same = Pool("memcached://a,b?copies=2", previous=Pool("a:11211"))
    others = [Pool("a", "b"), Pool("a", "b", copies=1, previous=Pool("a")), Pool("a", "b", previous=Pool("b"))]
    pool.homes(KEYS[0])

    assert pool == same
    assert len({pool, same}) == 1
    assert pool not in others
    with pytest.raises(AttributeError):
        pool.copies = 1  # type: ignore[misc]


def test_a_pool_can_be_copied_and_sent_to_another_process() -> None:
    """Copies and pickles are equal to the pool and find the same homes, used or not."""
    pool = Pool("a", "b:11211:2", "/run/c.sock", previous=Pool("a", "d"))
    homes = [pool.homes(key) for key in KEYS]
    for same in (copy.copy(pool), copy.deepcopy(pool), pickle.loads(pickle.dumps(pool))):
        assert same == pool
        assert [same.homes(key) for key in KEYS] == homes


def test_a_pool_describes_itself_in_a_sentence() -> None:
    """The repr says which nodes there are and how many hold each session."""
    pool = Pool("a", "b=10.0.0.5", previous=Pool("a"))

    assert repr(pool) == (
        "<Pool of 2 nodes (a:11211, b), 2 hold each session, before that "
        "<Pool of 1 node (a:11211), 1 holds each session>>"
    )
    assert repr(Pool("memory://")) == "<Pool of 2 in-process nodes (memory-1, memory-2), 2 hold each session>"
