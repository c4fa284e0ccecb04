"""Many seeds of one scenario, summed up."""

from collections import Counter
from dataclasses import dataclass, field

from . import scenarios  # noqa: F401 - registers all scenarios
from .scenario import SCENARIOS
from .subject import Subject


@dataclass(slots=True)
class Row:
    """`violations`: kind -> (runs, first seed). `soft`: figures that are no violation."""

    name: str
    runs: int = 0
    violations: dict[str, tuple[int, int]] = field(default_factory=dict)
    soft: Counter[str] = field(default_factory=Counter)

    @property
    def broken(self) -> dict[str, tuple[int, int]]:
        """The violations that the scenario does not declare as out of contract."""
        residue = SCENARIOS[self.name].residue
        return {kind: figures for kind, figures in self.violations.items() if kind not in residue}

    def add(self, other: "Row") -> None:
        """Take in another row of the same scenario."""
        self.runs += other.runs
        self.soft.update(other.soft)
        for kind, (runs, first) in other.violations.items():
            before, seed = self.violations.get(kind, (0, first))
            self.violations[kind] = (before + runs, min(seed, first))


def run_seeds(subject: Subject, name: str, first: int, count: int, *, enough: int = 0) -> Row:
    """Run seeds `first` to `first + count - 1`; stop early after `enough` runs that break the contract."""
    row = Row(name)
    scenario = SCENARIOS[name]
    bad = 0
    for seed in range(first, first + count):
        simulation = scenario.run(subject, seed)
        row.runs += 1
        row.soft.update(simulation.soft)
        for kind in simulation.violations:
            runs, first_seed = row.violations.get(kind, (0, seed))
            row.violations[kind] = (runs + 1, first_seed)
        bad += any(kind not in scenario.residue for kind in simulation.violations)
        if enough and bad >= enough:
            break
    return row
