"""Rendezvous hashing: even, weighted, stable when nodes come and go, and the same for ever."""

import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memsession.placement import Placement, _ln, _prepared

KEYS = [b"memsession:%043d" % number for number in range(6_000)]
NODES = [(f"10.0.0.{number}:11211", 1) for number in range(1, 6)]
GOLDEN = [b"memsession:" + bytes([letter]) * 43 for letter in b"abcdefgh"]


def places(nodes: list[tuple[str, int]], copies: int) -> list[tuple[str, ...]]:
    """Return the homes of all keys."""
    homes = Placement(nodes, copies).homes
    return [homes(key) for key in KEYS]


def test_placement_never_changes() -> None:
    """These homes are fixed for ever: with any other algorithm the sessions of running sites would be lost."""
    nodes = [("10.0.0.94:11211", 1), ("10.0.0.95:11211", 1), ("10.0.0.96:11211", 1)]
    heavy = [("10.0.0.94:11211", 4), *nodes[1:]]

    def digits(nodes: list[tuple[str, int]]) -> str:
        homes = Placement(nodes, 2).homes
        return " ".join("".join(name[8] for name in homes(key)) for key in GOLDEN)

    assert digits(nodes) == "45 56 54 46 64 64 56 46"
    assert digits(heavy) == "45 54 45 46 64 64 54 46"


@pytest.mark.parametrize("copies", [1, 2, 3, 5])
def test_each_node_gets_its_share(copies: int) -> None:
    """Homes are distinct, and each of 5 equal nodes is a first home, and a home at all, equally often."""
    homes = places(NODES, copies)
    first = Counter(names[0] for names in homes)
    all_homes = Counter(name for names in homes for name in names)

    assert all(len(set(names)) == copies for names in homes)
    for name, _ in NODES:
        assert first[name] == pytest.approx(len(KEYS) / 5, rel=0.12)
        assert all_homes[name] == pytest.approx(len(KEYS) * copies / 5, rel=0.12)


def test_weights_decide_the_share() -> None:
    """A node of weight 3 is first home of three times as many keys as one of weight 1."""
    first = Counter(names[0] for names in places([("a", 1), ("b", 2), ("c", 3)], 1))

    assert first["a"] == pytest.approx(len(KEYS) / 6, rel=0.1)
    assert first["b"] == pytest.approx(len(KEYS) / 3, rel=0.1)
    assert first["c"] == pytest.approx(len(KEYS) / 2, rel=0.1)


@pytest.mark.parametrize("weights", [(1, 1, 1, 1, 1), (5, 1, 2, 2, 7)])
@pytest.mark.parametrize("copies", [1, 2, 3])
def test_a_node_that_leaves_moves_only_its_own_keys(weights: tuple[int, ...], copies: int) -> None:
    """Whichever node is taken away, its place alone is filled; read backwards, so it is for a node that joins."""
    nodes = [(name, weight) for (name, _), weight in zip(NODES, weights, strict=True)]
    before = places(nodes, copies)
    for gone, _ in nodes:
        after = places([node for node in nodes if node[0] != gone], copies)
        for old, new in zip(before, after, strict=True):
            kept = tuple(name for name in old if name != gone)

            assert new[: len(kept)] == kept
            assert (new == old) == (gone not in old)


def test_a_heavier_node_only_gains_keys() -> None:
    """When one weight grows, from equal weights too, no key moves between other nodes."""
    before = places(NODES, 2)
    after = places([(NODES[0][0], 2), *NODES[1:]], 2)
    changed = [(set(old), set(new)) for old, new in zip(before, after, strict=True) if set(old) != set(new)]

    assert changed
    assert all(new - old == {NODES[0][0]} for old, new in changed)


@given(st.permutations([("a", 1), ("b", 1), ("c", 2), ("d", 5)]), st.binary(max_size=60))
def test_the_order_of_the_list_does_not_matter(nodes: list[tuple[str, int]], key: bytes) -> None:
    """Web servers that list the same nodes in another order find the same homes."""
    usual = [("a", 1), ("b", 1), ("c", 2), ("d", 5)]
    even = [(name, 3) for name, _ in nodes]

    assert Placement(nodes, 3).homes(key) == Placement(usual, 3).homes(key)
    assert Placement(even, 3).homes(key) == Placement([(name, 1) for name, _ in usual], 3).homes(key)


def test_equal_weights_and_almost_equal_ones_agree() -> None:
    """The shortcut for equal weights gives the order that the weighted rule gives."""
    nearly = [(name, 10**12 + number) for number, (name, _) in enumerate(NODES)]

    assert places(nearly, 5) == places(NODES, 5)


def test_names_do_not_run_into_keys() -> None:
    """Name and key are hashed apart: a node whose name ends as the key begins draws another number."""

    def draw(name: str, key: bytes) -> bytes:
        prepared = _prepared(name)
        prepared.update(key)
        return prepared.digest()

    assert draw("node", b"key") == draw("node", b"key")
    assert len({draw("node", b"1key"), draw("node1", b"key"), draw("node1k", b"ey")}) == 3


def test_the_logarithm_is_right() -> None:
    """The logarithm agrees with the C library's to 14 digits, from the smallest draw to the greatest."""
    source = random.Random(1)
    for _ in range(2_000):
        numerator = 2 * source.getrandbits(source.randrange(1, 65)) + 1

        assert _ln(numerator, 65) == pytest.approx(math.log(numerator) - 65 * math.log(2), rel=1e-14, abs=1e-14)
    assert _ln(1, 65) < -45
    assert _ln(2**65 - 1, 65) == 0.0
