"""A survey of a large pool as tables, each figure with where it comes from."""

import math
import time
from collections.abc import Iterator

from .scale import Setup, Survey, Tally

RATE = 2_000
"""Sessions that the refill looks at in a second, unless told otherwise."""

ITEM_BYTES = 1_480
"""memcached's chunk for a session with 1 KB of data, measured (docs/sizing.md)."""


def lines(survey: Survey, *, rate: int, item_bytes: int) -> Iterator[str]:
    """The whole report."""
    setup = survey.setup
    kinds = f", weights {setup.weights}" if len(set(setup.weights)) > 1 else ""
    zones = f", in {setup.zones} zones" if setup.zones else ""
    what = f"{setup.nodes:,} nodes{kinds}{zones}, {setup.sessions:,} sessions, {setup.copies} copies"
    yield f"{what}; seed {setup.seed}"
    yield f"[shipped] the shipped placement, {setup.sample:,} random keys ({survey.sample_s:.0f} s)"
    yield f"[model]   random nodes for all {setup.sessions:,} sessions ({survey.model_s:.0f} s)"
    yield "[formula] what mathematics gives"
    yield ""
    yield from _balance(survey)
    yield from _change(survey)
    yield from _risk(survey)
    yield from _zones(survey)
    yield from _work(survey, rate, item_bytes)
    yield from _checks(survey)


def _balance(survey: Survey) -> Iterator[str]:
    yield "Copies on a node, of its due share"
    for mark, tally in (("shipped", survey.sample), ("model", survey.model)):
        least, most, spread = balance(survey, tally)
        mean = tally.sessions * survey.setup.copies / survey.setup.nodes
        yield (
            f"  [{mark:7}] {tally.sessions:>12,} sessions, {mean:>10,.1f} copies on a node: "
            f"least {least:.3f}, most {most:.3f}, standard deviation {spread:.4f}"
        )
    if survey.setup.plain:
        for mark, tally in (("shipped", survey.sample), ("model", survey.model)):
            share = survey.setup.copies / survey.setup.nodes
            chance = math.sqrt((1 - share) / (tally.sessions * share))
            yield f"  [formula] {tally.sessions:>12,} sessions: standard deviation {chance:.4f} ({mark})"
    yield ""


def balance(survey: Survey, tally: Tally) -> tuple[float, float, float]:
    """Least, most and standard deviation of copies on a node, over what its weight would give it."""
    setup = survey.setup
    weights = [setup.weight(node) for node in range(setup.nodes)]
    due = tally.sessions * setup.copies / sum(weights)
    ratios = [count / (due * weight) for count, weight in zip(tally.counts, weights, strict=True)]
    mean = sum(ratios) / len(ratios)
    return min(ratios), max(ratios), math.sqrt(sum((ratio - mean) ** 2 for ratio in ratios) / len(ratios))


def _change(survey: Survey) -> Iterator[str]:
    setup, sample = survey.setup, survey.sample
    joined, left = survey.moved_expected()
    source = "formula" if setup.plain else "model"
    yield "Sessions with a copy that moves when one node"
    for name, found, wanted in (("joins", sample.joined, joined), ("leaves", sample.left, left)):
        share, chance = found / sample.sessions, 2 * math.sqrt(max(found, 1)) / sample.sessions
        whole = wanted / sample.sessions
        yield (
            f"  {name:6} [shipped] {share:.3%} +- {chance:.3%}   [{source}] {whole:.3%}, "
            f"that is {whole * setup.sessions:,.0f} sessions"
        )
    pieces = len(sample.leavers)
    yield (
        f"  [shipped] {pieces:,} different nodes joined and left; sessions of which more moved than that one copy: "
        f"{sample.strays}"
    )
    yield ""


def _risk(survey: Survey) -> Iterator[str]:
    setup = survey.setup
    yield f"Sessions lost when k random nodes forget at the same time ({setup.trials:,} trials)"
    heads = "[formula] share", "sessions", "[model] mean", "worst trial", "[shipped] share"
    yield "    k {:>18} {:>12} {:>14} {:>12}   {}".format(*heads)
    for failed in range(1, setup.deepest + 1):
        share, model, sample = survey.binomial(failed), *(t.at_risk(failed) for t in (survey.model, survey.sample))
        mean = sum(sample) / len(sample)
        error = 2 * math.sqrt(max(sum((one - mean) ** 2 for one in sample), 1.0)) / len(sample)
        size = survey.sample.sessions
        yield (
            f"  {failed:>3} {share:>18.3e} {share * setup.sessions:>12,.0f} {sum(model) / len(model):>14,.0f} "
            f"{max(model):>12,}   {mean / size:.3e} +- {error / size:.0e}"
        )
    yield "  The mean is the same with any weights and zones; these change which failures are the bad ones."
    if setup.plain:
        found, wanted = survey.together()
        yield f"  Pairs of sessions with the same homes: [shipped] {found:,}, [formula] {wanted:,.0f}"
    yield ""


def _zones(survey: Survey) -> Iterator[str]:
    setup = survey.setup
    if not setup.zones:
        return
    size = setup.nodes // setup.zones
    without = math.comb(size, setup.copies) / math.comb(setup.nodes, setup.copies)
    yield f"Sessions lost when a whole zone ({size:,} nodes) forgets"
    if setup.copies > 1:
        yield f"  [shipped] {survey.sample.crowded} of the sample lie in fewer zones than they might"
        yield f"  [formula] without zones {without:.3%}, that is {without * setup.sessions:,.0f} sessions"
    yield ""


def _work(survey: Survey, rate: int, item_bytes: int) -> Iterator[str]:
    setup = survey.setup
    mean, fullest = setup.sessions * setup.copies / setup.nodes, max(survey.model.counts)
    fewer = "mean", f"{mean:,.0f}", _minutes(mean / rate), f"{mean * item_bytes / 1e6:,.1f} MB"
    more = "fullest [model]", f"{fullest:,}", _minutes(fullest / rate), f"{fullest * item_bytes / 1e6:,.1f} MB"
    heads = "One node", "  copies", f"  refill, {rate:,} a second", f"  memory, {item_bytes:,} bytes a copy"
    for head, one, other in zip(heads, fewer, more, strict=True):
        yield f"{head:34} {one:>12} {other:>16}"
    yield f"Homes of one key [shipped]: {placing_us(setup):.1f} us on this machine; remembered for 4,096 keys"
    yield ""


def _minutes(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def placing_us(setup: Setup) -> float:
    """Microseconds that the shipped placement takes for a key: the quickest of some rounds."""
    nodes = [(f"n{node}", setup.weight(node)) for node in range(setup.nodes)]
    zones = {name: str(setup.zone(node)) for node, (name, _) in enumerate(nodes)} if setup.zones else {}
    homes = setup.place(nodes, setup.copies, zones).homes
    rounds, took = max(1, 20_000 // setup.nodes), []
    for at in range(7):
        began = time.perf_counter()
        for number in range(rounds):
            homes(b"memsession:%043d" % (at * rounds + number))
        took.append((time.perf_counter() - began) / rounds)
    return min(took) * 1e6


def _checks(survey: Survey) -> Iterator[str]:
    yield "Agreement (standard deviations)"
    for name, z in survey.checks().items():
        yield f"  {name:52} {z:>6.2f}  {'ok' if survey.holds(z) else 'DISAGREES'}"
