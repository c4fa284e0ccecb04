"""Large pools, in small: the survey agrees with the shipped placement, and notices placements that are worse."""

import math
import re
from functools import partial
from itertools import combinations, pairwise
from pathlib import Path

import pytest

from memsession.placement import Placement

from . import __main__ as program
from .scale import Setup, Tally, survey
from .scale_table import balance, lines

SMALL = {"nodes": 30, "sessions": 10_000, "sample": 3_000, "trials": 50}
GUIDE = Path(__file__).parents[2] / "docs" / "sizing.md"


@pytest.mark.parametrize("copies", [1, 2, 3])
@pytest.mark.parametrize("zones", [0, 2, 5])
@pytest.mark.parametrize("weights", [(1,), (1, 2, 4)])
def test_the_shipped_placement_is_as_good_as_the_model(copies, zones, weights):
    """Balance, moves, risk and zones, in pools of every kind."""
    found = survey(Setup(**SMALL, copies=copies, zones=zones, weights=weights))

    assert found.agrees, found.checks()
    assert found.sample.strays == found.sample.crowded == found.model.crowded == 0
    assert found.sample.sessions == 3_000
    assert found.model.sessions == 10_000
    assert sum(found.model.counts) == 10_000 * copies


class Leaning(Placement):
    """Prefers one node."""

    def __init__(self, nodes, copies, zones):
        super().__init__([(name, 2 if at == 3 else 1) for at, (name, _) in enumerate(nodes)], copies, zones)


class Neighbours:
    """The copies lie on neighbours of the list."""

    def __init__(self, nodes, copies, zones):
        self.first, self.copies = Placement(nodes, 1), copies
        names = sorted(name for name, _ in nodes)
        self.next = dict(pairwise([*names, names[0]]))

    def homes(self, key):
        found = list(self.first.homes(key))
        while len(found) < self.copies:
            found.append(self.next[found[-1]])
        return tuple(found)


class Counting(Placement):
    """Hashes the number of nodes, too, so that every change moves nearly everything."""

    def __init__(self, nodes, copies, zones):
        super().__init__(nodes, copies, zones)
        self.salt = b"%d" % len(nodes)

    def homes(self, key):
        return super().homes(key + self.salt)


class Blind(Placement):
    """Takes no notice of zones."""

    def __init__(self, nodes, copies, zones):
        super().__init__(nodes, copies)


class Light(Placement):
    """Takes no notice of weights."""

    def __init__(self, nodes, copies, zones):
        super().__init__([(name, 1) for name, _ in nodes], copies, zones)


@pytest.mark.parametrize(
    ("place", "kind", "caught"),
    [
        (Leaning, {}, "sample: sessions on each node"),
        (Neighbours, {}, "sample: pairs of sessions with the same homes"),
        (Counting, {}, "sample: more moved than the change demands"),
        (Blind, {"zones": 3}, "sample and model: copies in too few zones"),
        (Light, {"weights": (1, 2)}, "sample: sessions on each node"),
    ],
)
def test_a_worse_placement_is_caught(place, kind, caught):
    """By the figure that is meant to show it."""
    found = survey(Setup(**SMALL, **kind, place=place))

    assert not found.agrees
    assert not found.holds(found.checks()[caught])


def test_the_survey_repeats():
    """The same seed gives the same counts, in one process or in two; another seed gives others."""
    setup = Setup(**SMALL)
    one, two, other = survey(setup), survey(setup, jobs=2), survey(Setup(**SMALL, seed=2))

    assert (one.sample, one.model) == (two.sample, two.model)
    assert one.sample.counts != other.sample.counts
    assert one.model.lost != other.model.lost


def test_the_binomial_figure_is_what_counting_gives():
    """Of all choices of k failed nodes, the share that takes all homes of one session."""
    found = survey(Setup(**{**SMALL, "nodes": 7, "sessions": 100, "sample": 10}, copies=3))
    for failed in range(8):
        choices = list(combinations(range(7), failed))
        bad = sum({0, 2, 5} <= set(choice) for choice in choices)

        assert found.binomial(failed) == pytest.approx(bad / len(choices))


def test_losses_are_counted_by_the_last_home_to_fail():
    """Sessions at risk by k failures are those of fewer failures, and those whose last home is the k-th."""
    tally = Tally(counts=[], lost=[[0, 0, 3, 1], [0, 0, 0, 2]])

    assert [tally.at_risk(failed) for failed in range(4)] == [[0, 0], [0, 0], [3, 0], [4, 2]]


def test_balance_is_over_what_weights_give():
    """A node of weight 2 with twice the copies is balanced."""
    found = survey(Setup(**{**SMALL, "nodes": 4}, copies=1, weights=(1, 2)))
    even = Tally(counts=[100, 200, 100, 200], lost=[], sessions=600)
    skew = Tally(counts=[150, 150, 150, 150], lost=[], sessions=600)

    assert balance(found, even) == (1.0, 1.0, 0.0)
    assert balance(found, skew) == pytest.approx((0.75, 1.5, 0.375))


@pytest.mark.parametrize("kind", [{}, {"zones": 3, "weights": (1, 2)}, {"copies": 1}])
def test_the_tables_say_where_figures_come_from(kind):
    """Each is marked, and the verdict stands at the end."""
    found = survey(Setup(**SMALL, **kind))
    text = "\n".join(lines(found, rate=1_000, item_bytes=1_480))

    assert {"[shipped]", "[model]", "[formula]"} <= set(re.findall(r"\[\w+\]", text))
    assert "refill, 1,000 a second" in text
    assert ("when a whole zone (10 nodes) forgets" in text) == ("zones" in kind)
    assert text.count(" ok") == len(found.checks())


def test_the_command_prints_the_survey(capsys, monkeypatch):
    """It ends with 0 if all agrees, with 1 if not, and with 2 if there can be no such pool."""
    numbers = {"nodes": 30, "sessions": 10_000, "sample": 3_000, "trials": 50, "jobs": 1}
    arguments = ["--scale", *(f"--{name}={number}" for name, number in numbers.items())]

    assert program.main(arguments) == 0
    assert "30 nodes, 10,000 sessions, 2 copies" in capsys.readouterr().out
    assert program.main([*arguments, "--copies", "31"]) == 2
    assert program.main([*arguments, "--zones", "31"]) == 2
    monkeypatch.setattr(program, "Setup", partial(Setup, place=Leaning))
    assert program.main(arguments) == 1
    assert "DISAGREES" in capsys.readouterr().out


def test_the_guide_has_the_figures_of_the_formula():
    """The table of what is lost when several servers forget at once, in `docs/sizing.md`."""
    table = GUIDE.read_text(encoding="utf-8").partition("| servers | copies | k = 1 |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| ([\d,]+) \| (\d) \| (.+) \|$", table, re.MULTILINE)

    assert len(rows) >= 10
    for servers, copies, cells in rows:
        nodes, homes = int(servers.replace(",", "")), int(copies)
        for failed, cell in enumerate(cells.split(" | "), 1):
            share = math.comb(failed, homes) / math.comb(nodes, homes)
            if failed >= nodes or cell == "all":
                assert (cell == "all") == (failed >= nodes)
            elif cell == "0":
                assert failed < homes
            else:
                assert float(cell.removesuffix(" %")) == pytest.approx(share * 100, rel=0.05)
