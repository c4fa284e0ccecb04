"""The simulator's command line; see `scripts/simulate --help`."""

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache

from .mutants import MUTANTS
from .run import Row, run_seeds
from .scale import TRIALS, Setup, survey
from .scale_table import ITEM_BYTES, RATE, lines
from .scenario import SCENARIOS
from .subject import Subject, shipped

PIECE = 250
"""Seeds that one process runs at a time."""


@cache
def _subject(mutant: str) -> Subject:
    return MUTANTS[mutant].subject() if mutant else shipped()


def _piece(mutant: str, name: str, first: int, count: int) -> Row:
    return run_seeds(_subject(mutant), name, first, count)


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/simulate",
        description="Run the shipped plans in the simulator. Exits with 1 if a promise is broken in any run.",
    )
    parser.add_argument("--seeds", type=int, default=20_000, help="runs for each scenario (default 20,000)")
    parser.add_argument("--first", type=int, default=1, help="the first seed (default 1)")
    parser.add_argument("--scenario", action="append", choices=sorted(SCENARIOS), metavar="NAME", help="only this")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--mutant", choices=sorted(MUTANTS), metavar="NAME", help="break one rule first")
    parser.add_argument("--replay", nargs=2, metavar=("SCENARIO", "SEED"), help="print one run, event by event")
    parser.add_argument("--list", action="store_true", help="list scenarios and mutants")
    _add_scale(parser)
    return parser.parse_args(arguments)


def _add_scale(parser: argparse.ArgumentParser) -> None:
    scale = parser.add_argument_group("large pools, on paper")
    scale.add_argument("--scale", action="store_true", help="balance, moves, risk, refill time of a large pool")
    scale.add_argument("--nodes", type=int, default=1_000, help="default 1,000")
    scale.add_argument("--sessions", type=int, default=10_000_000, help="default 10,000,000")
    scale.add_argument("--copies", type=int, default=2, help="default 2")
    scale.add_argument("--weights", default="1", metavar="1,2,4", help="of the nodes in turn (default all 1)")
    scale.add_argument("--zones", type=int, default=0, help="zones of equal size (default none)")
    scale.add_argument("--sample", type=int, help="keys for the shipped placement (default: about a minute's)")
    scale.add_argument("--trials", type=int, default=TRIALS, help=f"random failures (default {TRIALS})")
    scale.add_argument("--seed", type=int, default=1, help="default 1")
    scale.add_argument("--rate", type=int, default=RATE, help=f"sessions refilled a second (default {RATE:,})")
    scale.add_argument("--bytes", type=int, default=ITEM_BYTES, help=f"memory of a copy (default {ITEM_BYTES:,})")


def main(arguments: list[str]) -> int:
    """Run what the command line asks for."""
    options = _parse(arguments)
    mutant = options.mutant or ""
    if options.list:
        return _list()
    if options.scale:
        return _scale(options)
    if options.replay:
        return _replay(mutant, *options.replay)
    names = options.scenario or ([MUTANTS[mutant].scenario] if mutant else list(SCENARIOS))
    return _table(mutant, names, options.first, options.seeds, options.jobs)


def _list() -> int:
    for scenario in SCENARIOS.values():
        mark = "out of contract" if scenario.residue else ""
        print(f"{scenario.name:32} {mark:16} {(scenario.play.__doc__ or '').splitlines()[0]}")
    for mutant in MUTANTS.values():
        print(f"mutant: {mutant.name!r} (caught by {mutant.scenario})")
    return 0


def _scale(options: argparse.Namespace) -> int:
    if not options.copies <= options.nodes >= max(2, options.zones) or options.copies < 1 or options.sessions < 1:
        print("use at least 2 nodes, as many as there are copies and zones, and 1 copy and session", file=sys.stderr)
        return 2
    setup = Setup(
        nodes=options.nodes,
        sessions=options.sessions,
        copies=options.copies,
        weights=tuple(int(weight) for weight in options.weights.split(",")),
        zones=options.zones,
        sample=min(options.sessions, options.sample or 100_000_000 // options.nodes, options.sample or 1_000_000),
        trials=options.trials,
        seed=options.seed,
    )
    found = survey(setup, options.jobs)
    print("\n".join(lines(found, rate=options.rate, item_bytes=options.bytes)))
    return int(not found.agrees)


def _replay(mutant: str, name: str, seed: str) -> int:
    trace: list[str] = []
    simulation = SCENARIOS[name].run(_subject(mutant), int(seed), trace)
    print("\n".join(trace))
    return int(any(kind not in SCENARIOS[name].residue for kind in simulation.violations))


def _table(mutant: str, names: list[str], first: int, seeds: int, jobs: int) -> int:
    began, bad, runs = time.perf_counter(), False, 0
    print(f"{'scenario':32} {'runs':>7}  result")
    with ProcessPoolExecutor(max_workers=jobs) as executor:
        pieces = [(name, at) for name in names for at in range(first, first + seeds, PIECE)]
        counts = [min(PIECE, first + seeds - at) for _, at in pieces]
        rows = executor.map(
            _piece, [mutant] * len(pieces), [name for name, _ in pieces], [at for _, at in pieces], counts
        )
        for name in names:
            row = Row(name)
            for _ in range(first, first + seeds, PIECE):
                row.add(next(rows))
            bad = _print(row) or bad
            runs += row.runs
    print(f"{runs:,} runs in {time.perf_counter() - began:.0f} s")
    return int(bad)


def _print(row: Row) -> bool:
    residue = SCENARIOS[row.name].residue
    print(f"{row.name:32} {row.runs:7}  {'BROKEN' if row.broken else 'ok'}")
    for kind, (runs, first) in sorted(row.violations.items()):
        mark = "out of contract, as said" if kind in residue else "VIOLATION"
        print(f"{'':42} {mark}: {kind}: {runs} runs, first --replay {row.name} {first}")
    for kind, count in sorted(row.soft.items()):
        print(f"{'':42} {count} x {kind}")
    sys.stdout.flush()
    return bool(row.broken)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
