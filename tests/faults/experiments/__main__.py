"""Runs experiments: `python -m tests.faults.experiments --help`."""

import argparse
import asyncio
import random
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.faults.experiments import hung, move, refill, soak
from tests.faults.experiments.figures import Report, load_now, table, write_section
from tests.faults.experiments.site import SERVERS

PAGE = Path(__file__).parents[3] / "docs" / "reliability.md"
SOAKS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """What is run and written. `variants` are the columns of its table, by the name that `run` knows them by."""

    run: Callable[[str, int], Awaitable[Report]]
    variants: Mapping[str, str]
    introduction: str
    after: str = ""
    seeds_differ: bool = False


EXPERIMENTS = {
    hung.NAME: Experiment(run=hung.run, variants=SERVERS, introduction=hung.INTRODUCTION, after=hung.COMPARISON),
    refill.NAME: Experiment(
        run=refill.run, variants={name: name for name in refill.VARIANTS}, introduction=refill.INTRODUCTION
    ),
    move.NAME: Experiment(run=move.run, variants={"": "measured"}, introduction=move.INTRODUCTION),
    soak.NAME: Experiment(
        run=soak.run,
        variants={str(number): f"run {number}" for number in range(1, SOAKS + 1)},
        introduction=soak.INTRODUCTION,
        seeds_differ=True,
    ),
}


def main() -> int:
    """Run what was chosen; 1 if a figure is missed."""
    chosen = _arguments()
    seed = chosen.seed if chosen.seed is not None else random.SystemRandom().randrange(1_000_000)
    print(f"seed {seed}", flush=True)
    missed = False
    with asyncio.Runner() as runner:  # The clock of uvloop has whole milliseconds only.
        for name in chosen.names or EXPERIMENTS:
            busy = load_now()
            reports = runner.run(_run(EXPERIMENTS[name], seed, chosen.variant))
            missed |= not all(report.kept for report in reports)
            if chosen.write:
                write_section(PAGE, name, _section(EXPERIMENTS[name], reports, busy))
    return 1 if missed else 0


async def _run(experiment: Experiment, seed: int, only: str | None) -> list[Report]:
    reports = []
    for number, (variant, title) in enumerate(experiment.variants.items()):
        if only in (None, variant):
            report = await experiment.run(variant, seed + number * experiment.seeds_differ)
            report = Report(
                name=report.name, variant=title, seed=report.seed, figures=report.figures, misses=report.misses
            )
            print(report, flush=True)
            reports.append(report)
    return reports


def _section(experiment: Experiment, reports: list[Report], busy: str) -> str:
    """The experiment as users read it."""
    seeds = sorted({report.seed for report in reports})
    run = f"{'Seed' if len(seeds) == 1 else 'Seeds'} {', '.join(map(str, seeds))}; {busy} when it began."
    return "\n\n".join(part.strip() for part in (experiment.introduction, table(reports), run, experiment.after))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.experiments",
        description="Long stories of failure, with the figures they must show.",
    )
    parser.add_argument("names", nargs="*", help=f"experiments, of {', '.join(EXPERIMENTS)}; all unless given")
    parser.add_argument("--variant", help="only this column, by its name")
    parser.add_argument("--seed", type=int, help="the same choices as before")
    parser.add_argument("--write", action="store_true", help="write the section into docs/reliability.md")
    chosen = parser.parse_args()
    if unknown := {*chosen.names} - {*EXPERIMENTS}:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    if chosen.write and chosen.variant is not None:
        parser.error("--write needs all variants")
    return chosen


if __name__ == "__main__":
    sys.exit(main())
