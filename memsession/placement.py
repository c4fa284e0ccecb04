"""Which nodes are home to a session: rendezvous hashing on the nodes' names.

Each node draws a number for a key, by hashing its name together with the key; the nodes with the highest numbers
are the key's homes (Thaler and Ravishankar, 1998: "Using name-based mappings to increase hit rates"). There is
no ring and no table to keep: any process with the same names finds the same homes, in any order of the list, and
a node that joins or leaves takes its own place only, so at most one home of a key changes.

Weights (Schindelhauer and Schomaker, 2005: "Weighted distributed hash tables"): read the drawn number as u
between 0 and 1; the homes are the nodes with the highest -weight / ln(u), so a node of weight 2 gets twice the
keys. With equal weights that is the order of the numbers themselves, and no logarithm is needed.

Zones (data centres, racks, whatever fails as one): the best node is a home, then the best of another zone, and so
on; when every zone has one, the best of the rest. A zone only changes who is skipped, so a node that joins or leaves
still changes one home of a key at most.

The order must be the same on every machine for ever, and the logarithm of the C library differs in its last
digit from one system to another. So it is computed here from additions, multiplications and divisions, which
IEEE 754 fixes to the bit.

Every node has to draw for every key, so the time grows with the pool (docs/sizing.md has figures). Sorting all
draws would cost half as much again, and exact logarithms three times as much: in large pools a quick look picks
the few that can be among the best, and only these are ordered.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from heapq import nlargest, nsmallest
from math import log
from typing import Final, TypeAlias

_DRAW_BYTES: Final = 8
_LN2: Final = 0.6931471805599453
_SERIES: Final = tuple(1.0 / odd for odd in range(27, 0, -2))
_FEW: Final = 24
"""Up to so many nodes it is quicker to order all of them."""

_MARGIN: Final = 1e-9
"""Far more than any C library's logarithm is wrong by."""

_Drawn: TypeAlias = tuple[bytes, str, float]


class Placement:
    """The homes of any key among `nodes`, given as (name, weight), `copies` of them. Safe between threads.

    Names are distinct and weights positive; `copies` is at most the number of nodes. `zones` has the zone of every
    node by its name, or nothing. Zones that are all alike place as none.
    """

    def __init__(self, nodes: Sequence[tuple[str, int]], copies: int, zones: Mapping[str, str] | None = None) -> None:
        self._zones = dict(zones or {})
        by_zone: dict[str, list[tuple[blake2b, str, float]]] = {}
        # Sorted, so that a tie, were there ever one, does not depend on the order of the list.
        for name, weight in sorted(nodes):
            by_zone.setdefault(self._zones.get(name, ""), []).append((_prepared(name), name, float(weight)))
        self._draws = [by_zone[zone] for zone in sorted(by_zone)]
        self._copies = copies
        self._even = len({weight for _, weight in nodes}) == 1

    def homes(self, key: bytes) -> tuple[str, ...]:
        """Return the names of the nodes that hold `key`, best first. The key alone decides."""
        candidates: list[_Drawn] = []
        for draws in self._draws:
            drawn = []
            for prepared, name, weight in draws:
                draw = prepared.copy()
                draw.update(key)
                drawn.append((draw.digest(), name, weight))
            candidates += drawn if len(drawn) <= _FEW else self._shortlist(drawn)
        if self._even:
            candidates.sort(reverse=True)
        else:
            candidates.sort(key=_cost)
        if len(self._draws) > 1:
            candidates = self._spread(candidates)
        return tuple([name for _, name, _ in candidates[: self._copies]])

    def _shortlist(self, drawn: list[_Drawn]) -> list[_Drawn]:
        """Return those that may be among the best of one zone, and hardly any other; never more than `copies` are."""
        if self._even:
            return nlargest(self._copies, drawn)
        costs = [-log((int.from_bytes(digest, "big") + 0.5) * 2.0**-64) / weight for digest, _, weight in drawn]
        bound = nsmallest(self._copies, costs)[-1] * (1.0 + _MARGIN) + _MARGIN
        return [one for one, cost in zip(drawn, costs, strict=True) if cost <= bound]

    def _spread(self, ordered: list[_Drawn]) -> list[_Drawn]:
        """Return the best of each zone, then the others."""
        best = {self._zones[one[1]]: one for one in reversed(ordered)}
        firsts = set(best.values())
        return [one for one in ordered if one in firsts] + [one for one in ordered if one not in firsts]


def _prepared(name: str) -> "blake2b":
    encoded = name.encode()
    return blake2b(len(encoded).to_bytes(4, "big") + encoded, digest_size=_DRAW_BYTES)


def _cost(drawn: _Drawn) -> float:
    """Return -ln(u) / weight: lowest where -weight / ln(u) is highest, and defined also where u rounds to 1."""
    digest, _, weight = drawn
    # Half a step above the drawn number: u is never 0.
    return -_ln(2 * int.from_bytes(digest, "big") + 1, 8 * _DRAW_BYTES + 1) / weight


def _ln(numerator: int, exponent: int) -> float:
    """Return ln(numerator / 2**exponent), the same on every machine.

    With m between 1/2 and 1 and s = (m - 1) / (m + 1): ln(m) = 2 (s + s^3/3 + s^5/5 + ...). As s*s is 1/9 at
    most, what follows the first 14 terms is below 2e-15 of the whole.
    """
    bits = numerator.bit_length()
    m = numerator / (1 << bits)
    s = (m - 1.0) / (m + 1.0)
    square = s * s
    total = 0.0
    for factor in _SERIES:
        total = total * square + factor
    return (bits - exponent) * _LN2 + 2.0 * s * total
