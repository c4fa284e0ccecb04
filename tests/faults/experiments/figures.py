"""Figures: what was measured beside what is promised, printed and written as a section of a page."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of a table. `kept` None: nothing is promised, it is only shown."""

    what: str
    measured: str
    promised: str = ""
    kept: bool | None = None


def exactly(what: str, measured: int, promised: int) -> Figure:
    """A count that has to be met to the last one."""
    return Figure(what=what, measured=f"{measured:,}", promised=f"{promised:,}", kept=measured == promised)


def at_most(what: str, measured: float, promised: float, unit: str) -> Figure:
    """A measure with an upper end; both in `unit`."""
    shown = f"at most {_plain(promised)} {unit}"
    return Figure(what=what, measured=f"{_plain(measured)} {unit}", promised=shown, kept=measured <= promised)


def all_of(what: str, measured: int, everything: int) -> Figure:
    """A count from which none may be missing."""
    shown = f"{measured:,} of {everything:,}"
    return Figure(what=what, measured=shown, promised="all", kept=measured == everything)


def shown(what: str, measured: str) -> Figure:
    """A measure without a promise."""
    return Figure(what=what, measured=measured)


def _plain(number: float) -> str:
    return f"{number:.0f}" if number >= 100 else f"{number:.2f}".rstrip("0").rstrip(".")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What an experiment has to say. `variant` tells several runs of it apart."""

    name: str
    variant: str
    seed: int
    figures: list[Figure]
    misses: list[str] = field(default_factory=list)
    """What went wrong, item by item, for whoever has to find out why."""

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        return all(figure.kept is not False for figure in self.figures)

    def __str__(self) -> str:
        width = max(len(figure.what) for figure in self.figures)
        lines = [f"{self.name}, {self.variant}: seed {self.seed}, {load_now()}"]
        for figure in self.figures:
            verdict = {True: "kept  ", False: "MISSED", None: "      "}[figure.kept]
            promised = f"  (promised: {figure.promised})" if figure.promised else ""
            lines.append(f"  {verdict} {figure.what:<{width}}  {figure.measured}{promised}")
        return "\n".join([*lines, *(f"  ! {miss}" for miss in self.misses)])


def load_now() -> str:
    """How busy the machine is: latencies measured on a busy one say little."""
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"


def table(reports: Iterable[Report]) -> str:
    """The figures of several runs of one experiment side by side, in Markdown."""
    reports = list(reports)
    rows = [["", "promised", *(report.variant for report in reports)], ["---"] * (2 + len(reports))]
    for across in zip(*(report.figures for report in reports), strict=True):
        promised = next((figure.promised for figure in across if figure.promised), "")
        rows.append([across[0].what, promised, *(figure.measured for figure in across)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def write_section(page: Path, name: str, text: str) -> None:
    """Put the text between the page's marks for this experiment; without marks, at its end with marks."""
    begin, end = f"<!-- begin experiment {name} -->", f"<!-- end experiment {name} -->"
    before = page.read_text(encoding="utf-8") if page.exists() else ""
    section = f"{begin}\n\n{text.strip()}\n\n{end}"
    if begin in before and end in before:
        head, _, rest = before.partition(begin)
        _, _, tail = rest.partition(end)
        after = head + section + tail
    else:
        after = f"{before.rstrip()}\n\n{section}\n".lstrip()
    page.write_text(after, encoding="utf-8")
