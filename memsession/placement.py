"""Which nodes are home to a session: rendezvous hashing on the nodes' names.

Each node draws a number for a key, by hashing its name together with the key; the nodes with the highest numbers
are the key's homes (Thaler and Ravishankar, 1998: "Using name-based mappings to increase hit rates"). There is
no ring and no table to keep: any process with the same names finds the same homes, in any order of the list, and
a node that joins or leaves takes its own place only, so at most one home of a key changes.

Weights (Schindelhauer and Schomaker, 2005: "Weighted distributed hash tables"): read the drawn number as u
between 0 and 1; the homes are the nodes with the highest -weight / ln(u), so a node of weight 2 gets twice the
keys. With equal weights that is the order of the numbers themselves, and no logarithm is needed.

The order must be the same on every machine for ever, and the logarithm of the C library differs in its last
digit from one system to another. So it is computed here from additions, multiplications and divisions, which
IEEE 754 fixes to the bit.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

_DRAW_BYTES: Final = 8
_LN2: Final = 0.6931471805599453
_SERIES: Final = tuple(1.0 / odd for odd in range(27, 0, -2))


class Placement:
    """The homes of any key among `nodes`, given as (name, weight), `copies` of them. Safe between threads.

    Names are distinct and weights positive; `copies` is at most the number of nodes.
    """

    def __init__(self, nodes: Sequence[tuple[str, int]], copies: int) -> None:
        # Sorted, so that a tie, were there ever one, does not depend on the order of the list.
        self._draws = [(_prepared(name), name, float(weight)) for name, weight in sorted(nodes)]
        self._copies = copies
        self._even = len({weight for _, weight in nodes}) == 1

    def homes(self, key: bytes) -> tuple[str, ...]:
        """Return the names of the nodes that hold `key`, best first. The key alone decides."""
        drawn = []
        for prepared, name, weight in self._draws:
            draw = prepared.copy()
            draw.update(key)
            drawn.append((draw.digest(), name, weight))
        if self._even:
            drawn.sort(reverse=True)
        else:
            drawn.sort(key=_cost)
        return tuple([name for _, name, _ in drawn[: self._copies]])


def _prepared(name: str) -> "blake2b":
    encoded = name.encode()
    return blake2b(len(encoded).to_bytes(4, "big") + encoded, digest_size=_DRAW_BYTES)


def _cost(drawn: tuple[bytes, str, float]) -> float:
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
