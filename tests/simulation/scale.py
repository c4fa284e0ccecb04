"""Large pools: balance, what one change moves, what is at risk when nodes fail, how long a refill takes.

A thousand nodes and ten million sessions are too many for the shipped placement, where each node draws for each key.
So it is asked about a *sample* of keys only. All sessions are given to a *model*: nodes drawn one after the other by
their weights, none twice, which is what rendezvous hashing promises. Where both can be counted the sample must agree
with the model, and both with the formulas; otherwise the survey fails. Figures are marked with where they come from.

A *trial* is a random order in which nodes fail and forget. A session is lost with the last of its homes.
"""

import math
import time
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate
from random import Random
from typing import Any, TypeAlias

from memsession.placement import Placement

FAILED_MAX = 10
TRIALS = 500
PIECE = 250
"""Keys of the sample that share one node that joins and one that leaves."""

MODEL_PIECE = 100_000
Z_MAX = 4.5
"""Standard deviations beyond which two figures do not agree: chance alone does that once in 150,000 times."""

Place: TypeAlias = Callable[[Sequence[tuple[str, int]], int, dict[str, str]], Any]


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A pool and its sessions. Nodes take `weights` in turn; `zones` of them are blocks of neighbours, 0 for none."""

    nodes: int = 1_000
    sessions: int = 10_000_000
    copies: int = 2
    weights: tuple[int, ...] = (1,)
    zones: int = 0
    sample: int = 100_000
    trials: int = TRIALS
    seed: int = 1
    place: Place = Placement

    @property
    def plain(self) -> bool:
        """All nodes are alike, so there are formulas."""
        return self.zones == 0 and len(set(self.weights)) == 1

    @property
    def deepest(self) -> int:
        """The most nodes that fail in a trial."""
        return min(FAILED_MAX, self.nodes)

    def weight(self, node: int) -> int:
        """Its weight."""
        return self.weights[node % len(self.weights)]

    def zone(self, node: int) -> int:
        """Its zone."""
        return node * self.zones // self.nodes

    def random(self, *what: object) -> Random:
        """A source of its own for each purpose, the same in every process."""
        return Random(" ".join(map(str, (self.seed, *what))))


@dataclass(slots=True)
class Tally:
    """What was counted. `lost[trial][k]`: sessions whose last home was the k-th node to fail."""

    counts: list[int]
    lost: list[list[int]]
    sessions: int = 0
    crowded: int = 0
    """Sessions in fewer zones than there might be."""
    joined: int = 0
    left: int = 0
    strays: int = 0
    """Sessions of which one change moved what it must not."""
    leavers: list[tuple[int, int]] = field(default_factory=list)
    """Node that left, number of keys it was tried with."""
    together: Counter[frozenset[int]] = field(default_factory=Counter)
    """Of the sample: sessions by their homes."""

    def add(self, other: "Tally") -> None:
        """Take in what another process counted."""
        self.counts = [mine + its for mine, its in zip(self.counts, other.counts, strict=True)]
        self.lost = [
            [mine + its for mine, its in zip(*both, strict=True)] for both in zip(self.lost, other.lost, strict=True)
        ]
        self.leavers += other.leavers
        self.together.update(other.together)
        for name in ("sessions", "crowded", "joined", "left", "strays"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def at_risk(self, failed: int) -> list[int]:
        """By trial, the sessions lost when so many nodes have failed."""
        return [sum(row[: failed + 1]) for row in self.lost]


def empty(setup: Setup) -> Tally:
    """Nothing counted yet."""
    return Tally([0] * setup.nodes, [[0] * (setup.deepest + 1) for _ in range(setup.trials)])


class Failures:
    """The trials. A bit for each trial in which a node fails, so that one `and` finds those that lose a session."""

    def __init__(self, setup: Setup) -> None:
        source = setup.random("failures")
        orders = [source.sample(range(setup.nodes), setup.deepest) for _ in range(setup.trials)]
        self.place = [{node: at for at, node in enumerate(order, 1)} for order in orders]
        self.masks = [0] * setup.nodes
        for trial, order in enumerate(orders):
            for node in order:
                self.masks[node] |= 1 << trial

    def note(self, homes: Sequence[int], hit: int, lost: list[list[int]]) -> None:
        """Count a session in the trials of the bits in `hit`, which fail all of its homes."""
        while hit:
            trial = (hit & -hit).bit_length() - 1
            places = self.place[trial]
            lost[trial][max(places[home] for home in homes)] += 1
            hit &= hit - 1


failures_of = cache(Failures)


def model_piece(setup: Setup, number: int, count: int) -> Tally:
    """Sessions of the model."""
    tally, failures = empty(setup), failures_of(setup)
    counts, masks = tally.counts, failures.masks
    for homes in _modelled(setup, number, count):
        hit = -1
        for home in homes:
            counts[home] += 1
            hit &= masks[home]
        if hit:
            failures.note(homes, hit, tally.lost)
        if setup.zones:
            tally.crowded += len(set(map(setup.zone, homes))) < min(setup.zones, setup.copies)
    tally.sessions = count
    return tally


def _modelled(setup: Setup, number: int, count: int) -> Iterator[Sequence[int]]:
    """Homes drawn by weight, none twice; with zones the first of each zone, then the others as they came."""
    source, everyone, copies = setup.random("model", number), range(setup.nodes), setup.copies
    limits = None if len(set(setup.weights)) == 1 else list(accumulate(map(setup.weight, everyone)))
    columns = [source.choices(everyone, cum_weights=limits, k=count) for _ in range(copies)]
    zone, wanted = setup.zone, min(setup.zones, copies)
    for first in zip(*columns, strict=True):
        if len(set(first)) == copies and (not wanted or len(set(map(zone, first))) == copies):
            yield first
            continue
        drawn = list(dict.fromkeys(first))
        while len(drawn) < copies or len(set(map(zone, drawn))) < wanted:
            (node,) = source.choices(everyone, cum_weights=limits)
            if node not in drawn:
                drawn.append(node)
        best = {zone(node) if wanted else node: node for node in reversed(drawn)}
        ahead = [node for node in drawn if node in best.values()]
        yield [*ahead, *(node for node in drawn if node not in ahead)][:copies]


def sample_piece(setup: Setup, number: int, count: int) -> Tally:
    """Keys of the sample, by the shipped placement: as the pool is, with one more node, and with one node less."""
    tally, failures, source = empty(setup), failures_of(setup), setup.random("sample", number)
    names = [f"10.{node // 65_536}.{node // 256 % 256}.{node % 256}:11211" for node in range(setup.nodes)]
    nodes = [(name, setup.weight(node)) for node, name in enumerate(names)]
    zones = {name: f"zone-{setup.zone(node)}" for node, name in enumerate(names)} if setup.zones else {}
    index, leaver = {name: node for node, name in enumerate(names)}, source.randrange(setup.nodes)
    newcomer, gone = f"new-{number}:11211", names[leaver]
    more = {**zones, newcomer: zones[gone]} if zones else {}
    now = setup.place(nodes, setup.copies, zones)
    after_join = setup.place([*nodes, (newcomer, setup.weight(leaver))], setup.copies, more)
    after_leave = setup.place([node for node in nodes if node[0] != gone], setup.copies, zones)
    for _ in range(count):
        key = b"memsession:" + urlsafe_b64encode(source.randbytes(32))[:43]
        homes, joined, left = now.homes(key), after_join.homes(key), after_leave.homes(key)
        numbers = [index[name] for name in homes]
        hit = -1
        for home in numbers:
            tally.counts[home] += 1
            hit &= failures.masks[home]
        failures.note(numbers, hit, tally.lost)
        tally.together[frozenset(numbers)] += 1
        tally.joined += joined != homes
        tally.left += left != homes
        tally.strays += not (_only_in(newcomer, homes, joined) and _only_in(gone, left, homes))
        if zones:
            tally.crowded += len({zones[name] for name in homes}) < min(setup.zones, setup.copies)
    tally.sessions = count
    tally.leavers.append((leaver, count))
    return tally


def _only_in(node: str, without: tuple[str, ...], with_: tuple[str, ...]) -> bool:
    """Whether homes with and without a node differ by that node in one place, or not at all."""
    if node not in with_:
        return without == with_
    return len(set(without) & set(with_)) == len(without) - 1 and len(set(with_)) == len(set(without)) == len(with_)


@dataclass(frozen=True)
class Survey:
    """All that was counted, and how long it took."""

    setup: Setup
    sample: Tally
    model: Tally
    sample_s: float
    model_s: float

    def inclusion(self, node: int) -> float:
        """The share of all sessions that lie on a node: by the formula if there is one, else by the model."""
        setup = self.setup
        return setup.copies / setup.nodes if setup.plain else self.model.counts[node] / self.model.sessions

    def binomial(self, failed: int) -> float:
        """The share of sessions all of whose homes are among so many random nodes, whatever the placement."""
        return math.comb(failed, self.setup.copies) / math.comb(self.setup.nodes, self.setup.copies)

    def moved_expected(self) -> tuple[float, float]:
        """Sessions of the sample that a join and a leave should move."""
        left = sum(keys * self.inclusion(node) for node, keys in self.sample.leavers)
        return left * self.setup.nodes / (self.setup.nodes + 1), left

    def together(self) -> tuple[int, float]:
        """Pairs of sessions in the sample that have the same homes, and how many there should be.

        A placement that always takes neighbours is balanced, and as many sessions are lost on average: but rarely,
        and then very many at once. Here it shows.
        """
        found = sum(math.comb(count, 2) for count in self.sample.together.values())
        return found, math.comb(self.sample.sessions, 2) / math.comb(self.setup.nodes, self.setup.copies)

    def balance_z(self, tally: Tally) -> float:
        """How far the counts of all nodes together are from what is expected, in standard deviations.

        The sum of squares has a chi-squared distribution, made normal by the rule of Wilson and Hilferty.
        """
        total, freedom = 0.0, self.setup.nodes - 1
        # What the model gave instead of a formula has varied by chance, too.
        vague = 1.0 if self.setup.plain else 1.0 + tally.sessions / self.model.sessions
        for node, count in enumerate(tally.counts):
            share = self.inclusion(node)
            total += (count - tally.sessions * share) ** 2 / (tally.sessions * share * (1 - share) * vague)
        ratio = total * freedom / self.setup.nodes / freedom
        return float((ratio ** (1 / 3) - (1 - 2 / (9 * freedom))) / math.sqrt(2 / (9 * freedom)))

    def checks(self) -> dict[str, float]:
        """By name, the distance of figures that must agree, in standard deviations; infinite for what must not be."""
        sample, joined, left = self.sample, *self.moved_expected()
        found = {
            "sample: sessions on each node": self.balance_z(sample),
            "sample: moved by a node that joins": _z(sample.joined, joined),
            "sample: moved by a node that leaves": _z(sample.left, left),
            "sample: more moved than the change demands": math.inf if sample.strays else 0.0,
            "sample and model: copies in too few zones": math.inf if sample.crowded + self.model.crowded else 0.0,
        }
        if self.setup.plain:
            found["sample: pairs of sessions with the same homes"] = _z(*self.together())
            found["model: sessions on each node"] = self.balance_z(self.model)
        for kind, tally in (("sample", sample), ("model", self.model)):
            for failed in (self.setup.copies, self.setup.deepest):
                wanted = self.binomial(failed) * tally.sessions * self.setup.trials
                name = f"{kind}: at risk by {failed} failures"
                found[name] = self._risk_z(tally.at_risk(failed), wanted)
        return found

    def _risk_z(self, lost: list[int], wanted: float) -> float:
        """Trials are independent of each other."""
        mean = sum(lost) / len(lost)
        spread = sum((one - mean) ** 2 for one in lost)
        return (sum(lost) - wanted) / math.sqrt(max(wanted, spread, 1.0))

    @property
    def agrees(self) -> bool:
        """Whether all figures that must agree do."""
        return all(map(self.holds, self.checks().values()))

    @staticmethod
    def holds(z: float) -> bool:
        """Whether chance explains this distance."""
        return abs(z) <= Z_MAX


def _z(found: int, wanted: float) -> float:
    return (found - wanted) / math.sqrt(max(wanted, 1.0))


def survey(setup: Setup, jobs: int = 1) -> Survey:
    """Count, in `jobs` processes. The same setup gives the same counts, whatever `jobs` is."""
    began = time.perf_counter()
    sample = _counted(sample_piece, setup, setup.sample, PIECE, jobs)
    between = time.perf_counter()
    model = _counted(model_piece, setup, setup.sessions, MODEL_PIECE, jobs)
    return Survey(setup, sample, model, between - began, time.perf_counter() - between)


def _counted(work: Callable[[Setup, int, int], Tally], setup: Setup, total: int, piece: int, jobs: int) -> Tally:
    counts = [min(piece, total - at) for at in range(0, total, piece)]
    arguments = [setup] * len(counts), range(len(counts)), counts
    tally = empty(setup)
    if jobs == 1:
        for one in map(work, *arguments):
            tally.add(one)
    else:
        with ProcessPoolExecutor(max_workers=jobs) as executor:
            for one in executor.map(work, *arguments, chunksize=max(1, min(8, len(counts) // (4 * jobs)))):
                tally.add(one)
    return tally
