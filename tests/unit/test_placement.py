"""Rendezvous hashing: even, weighted, stable when nodes come and go, and the same for ever."""

import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memsession.placement import _FEW, Placement, _cost, _ln, _prepared

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


def in_full(nodes: list[tuple[str, int]], copies: int, key: bytes) -> tuple[str, ...]:
    """The homes by the plain rule: all nodes draw, and all of them are ordered."""
    drawn = []
    for name, weight in sorted(nodes):
        draw = _prepared(name)
        draw.update(key)
        drawn.append((draw.digest(), name, float(weight)))
    drawn.sort(key=_cost)
    return tuple(name for _, name, _ in drawn[:copies])


@pytest.mark.parametrize("count", [_FEW, _FEW + 1, 100, 1_000])
@pytest.mark.parametrize("weights", [(1,), (1, 2), (1, 1, 1_000), (7, 10**12)])
@pytest.mark.parametrize("copies", [1, 2, 5])
def test_large_pools_place_as_small_ones_do(count: int, weights: tuple[int, ...], copies: int) -> None:
    """That only the best few are put in order changes no home."""
    nodes = [(f"n{number}", weights[number % len(weights)]) for number in range(count)]
    homes = Placement(nodes, copies).homes
    for key in KEYS[:: max(20, count // 2)]:
        assert homes(key) == in_full(nodes, copies, key)


SOME = KEYS[:1_000]
ZONES = {"a1": "a", "a2": "a", "a3": "a", "b1": "b", "b2": "b", "c1": "c"}


def zone_places(names: str, copies: int, weights: tuple[int, ...] = (1,)) -> list[tuple[str, ...]]:
    """The homes of some keys among some of the nodes in `ZONES`."""
    nodes = [(name, weights[number % len(weights)]) for number, name in enumerate(ZONES) if name in names.split()]
    homes = Placement(nodes, copies, {name: ZONES[name] for name, _ in nodes}).homes
    return [homes(key) for key in SOME]


def test_placement_with_zones_never_changes() -> None:
    """As without zones: these homes are fixed for ever."""

    def told(copies: int, weights: tuple[int, ...]) -> str:
        nodes = [(name, weights[number % len(weights)]) for number, name in enumerate(ZONES)]
        homes = Placement(nodes, copies, ZONES).homes
        return " ".join("".join(homes(key)) for key in GOLDEN)

    assert told(2, (1,)) == "c1a3 c1b1 c1b2 a2b1 a3c1 b2a1 c1b1 c1a3"
    assert told(4, (1, 5)) == "c1b1a2a3 c1b1a2a1 c1a2b1b2 a2b1c1a1 c1a3b1a1 c1b2a2a1 c1b1a2a3 c1b1a2a3"


@pytest.mark.parametrize("weights", [(1,), (1, 4, 9)])
@pytest.mark.parametrize("copies", [1, 2, 3, 4, 6])
def test_copies_lie_in_different_zones(copies: int, weights: tuple[int, ...]) -> None:
    """The best node is the first home; each next one is the best of another zone, while there is one left."""
    every = zone_places(" ".join(ZONES), copies, weights)
    nodes = [(name, weights[number % len(weights)]) for number, name in enumerate(ZONES)]
    order = Placement(nodes, len(nodes)).homes
    for key, homes in zip(SOME, every, strict=True):
        wanted: list[str] = []
        for name in order(key):
            if ZONES[name] not in [ZONES[other] for other in wanted]:
                wanted.append(name)
        wanted += [name for name in order(key) if name not in wanted]

        assert homes == tuple(wanted[:copies])
        assert len({ZONES[name] for name in homes}) == min(copies, 3)


@pytest.mark.parametrize("weights", [(1,), (1, 4, 9)])
@pytest.mark.parametrize("copies", [1, 2, 3, 4])
@pytest.mark.parametrize("gone", [*ZONES, "a1 a2", "b1 b2"])
def test_with_zones_too_a_node_that_leaves_moves_only_its_own_keys(
    gone: str, copies: int, weights: tuple[int, ...]
) -> None:
    """For each home that leaves one comes; read backwards, so it is for nodes that join."""
    left = " ".join(name for name in ZONES if name not in gone)
    for old, new in zip(
        zone_places(" ".join(ZONES), copies, weights), zone_places(left, copies, weights), strict=True
    ):
        kept = set(old) - set(gone.split())

        assert kept <= set(new)
        assert (new == old) == (len(kept) == copies)


@pytest.mark.parametrize("count", [6, 3 * _FEW + 3])
@pytest.mark.parametrize("weights", [(1,), (1, 3)])
def test_what_zones_are_called_does_not_matter(count: int, weights: tuple[int, ...]) -> None:
    """A zone that gets another name moves nothing, nor does one zone for all nodes; so is the order of the list."""
    nodes = [(f"n{number}", weights[number % len(weights)]) for number in range(count)]
    zones = {name: "xyz"[number % 3] for number, (name, _) in enumerate(nodes)}
    renamed = {name: {"x": "1", "y": "0", "z": "west"}[zone] for name, zone in zones.items()}
    plain, one = Placement(nodes, 3), Placement(nodes, 3, dict.fromkeys(zones, "x"))
    placement, same = Placement(nodes, 3, zones), Placement(nodes[::-1], 3, renamed)
    for key in KEYS[::10]:
        assert placement.homes(key) == same.homes(key)
        assert plain.homes(key) == one.homes(key)


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
