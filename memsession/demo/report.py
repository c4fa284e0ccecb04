"""What a check has found: a line for each phase, and whether every figure is what it must be."""

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from memsession.demo.visitor import Page

SLOWEST_MS_MAX = 2_000
"""A request may spend one second on the store; the rest is for a busy machine."""

_COLUMNS = ("visits", "lost", "repeated", "reset", "errors", "slowest")
_PROBLEMS_SHOWN = 5


@dataclass
class Phase:
    """One phase of a check.

    `lost`: visits or sessions whose count is gone. `repeated`: pages that said what the page before had said.
    `reset`: known visitors greeted as new ones. `errors`: whatever else a visitor may not meet.
    `loses`: this phase shows a loss, which is then expected: from `loses[0]` up to `loses[1]`.
    """

    title: str
    visits: int = 0
    lost: int = 0
    repeated: int = 0
    reset: int = 0
    errors: int = 0
    slowest: float = 0.0
    servers: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    loses: tuple[int, int] | None = None

    def see(self, page: Page) -> None:
        """Count a visit, whatever number it brought."""
        self.visits += 1
        self.slowest = max(self.slowest, page.milliseconds)
        if page.server:
            self.servers[page.server] += 1
        if page.problem:
            self.fail(page.problem)

    def see_next(self, page: Page) -> None:
        """Count a visit that had no other beside it, and so must bring the next number."""
        self.see(page)
        if page.number is None or page.number == page.expected:
            return
        if page.number == 0:
            self.reset += 1
        elif page.number == page.expected - 1:
            self.repeated += 1
        elif page.number < page.expected:
            self.lost += page.expected - page.number
        else:
            self.fail(f"the counter jumped to {page.number} where {page.expected} comes next")

    def see_rise(self, before: Page, after: Page, visits: int) -> None:
        """Judge `visits` parallel ones by the pages before and after: numbers may repeat, the total must be right."""
        for page in (before, after):
            if page.problem:
                self.fail(page.problem)
        # The visit before counted too.
        rise = (after.number or 0) - (before.number or 0) - 1
        self.lost += min(max(visits - rise, 0), visits)
        if rise > visits:
            self.fail(f"{visits} visits raised the counter by {rise}")

    def fail(self, problem: str) -> None:
        """Count something that a visitor may not meet."""
        self.errors += 1
        self.problems.append(problem)

    @property
    def failures(self) -> list[str]:
        """What is not as it must be, in words; empty if all is well."""
        if self.loses is not None:
            low, high = self.loses
            well = low <= self.lost <= high
            return [] if well else [f"{self.lost} lost where {low} to {high} show the loss"]
        wrong = [f"{getattr(self, name)} {name}" for name in _COLUMNS[1:-1] if getattr(self, name)]
        if self.slowest > SLOWEST_MS_MAX:
            wrong.append(f"slowest visit {self.slowest:.0f} ms, at most {SLOWEST_MS_MAX} allowed")
        return wrong + self.problems[:_PROBLEMS_SHOWN]

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for a JSON file."""
        figures = {name: getattr(self, name) for name in _COLUMNS[:-1]}
        return {
            "phase": self.title,
            **figures,
            "slowest_ms": round(self.slowest, 1),
            "servers": dict(sorted(self.servers.items())),
            "failures": self.failures,
        }


class Report:
    """The phases of a check, printed as they end. `remarks` say what is not the real thing."""

    def __init__(self, remarks: Sequence[str] = ()) -> None:
        self.phases: list[Phase] = []
        self.remarks = tuple(remarks)
        self._begin = time.monotonic()
        for remark in self.remarks:
            print(remark)
        print(_row("phase", _COLUMNS, "answered by"))

    @contextmanager
    def phase(self, title: str, *, loses: tuple[int, int] | None = None) -> Iterator[Phase]:
        """Give a phase to fill in, and print it afterwards."""
        phase = Phase(title, loses=loses)
        yield phase
        self.phases.append(phase)
        print(line(phase))

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._begin

    @property
    def failures(self) -> list[str]:
        """What is not as it must be, with the phase it happened in."""
        return [f"{phase.title}: {failure}" for phase in self.phases for failure in phase.failures]

    def as_json(self) -> str:
        """Return all figures as JSON text."""
        content: dict[str, Any] = {"seconds": round(self.seconds, 1), "stand_ins": [*self.remarks]}
        content["phases"] = [phase.as_dict() for phase in self.phases]
        return json.dumps(content, indent=2) + "\n"


def line(phase: Phase) -> str:
    """Return a phase's line of the table, with a mark if something is wrong."""
    figures = [f"{getattr(phase, name):.0f}" for name in _COLUMNS[:-1]] + [f"{phase.slowest:.0f} ms"]
    by = ", ".join(f"{name} {count}" for name, count in sorted(phase.servers.items()))
    if phase.loses is not None:
        by += "  (expected: there is no second copy)"
    return _row(phase.title, figures, by) + ("  <-- WRONG" if phase.failures else "")


def _row(title: str, cells: Sequence[str], end: str) -> str:
    return f"{title:<46}" + "".join(f"{cell:>10}" for cell in cells) + f"  {end}"
