"""Runs the matrix: `python -m tests.faults --help`."""

import argparse
import asyncio
import random
import signal
import sys
import time
import traceback

import uvloop

from tests.faults.faults import FAULTS, WORKS, Fault
from tests.faults.matrix import Result, cells, cluster_for, run_cell, unfinished
from tests.faults.report import line_of, write_report


def main() -> int:
    """Run what was chosen; 1 if anything is not as it must be."""
    chosen = _arguments()
    seed = chosen.seed if chosen.seed is not None else random.SystemRandom().randrange(1_000_000)
    print(f"seed {seed}", flush=True)
    began = time.monotonic()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        results = runner.run(_run(chosen, seed))
    broken = [result for result in results if not result.ok]
    minutes = (time.monotonic() - began) / 60
    print(f"seed {seed}: {len(results)} cells in {minutes:.1f} minutes, {len(broken)} broken")
    if chosen.write:
        write_report(results, seed=seed, scale=chosen.scale, minutes=minutes)
    return 1 if broken else 0


async def _run(chosen: argparse.Namespace, seed: int) -> list[Result]:
    # SIGTERM ends as Ctrl-C does: no server is left behind.
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    results: list[Result] = []
    for fault, copies, works in cells(chosen.only, chosen.work, chosen.copies):
        groups = [works] if fault.at_once else [[work] for work in works]
        for shared in [[group] for group in groups] if fault.fresh else [groups]:
            await _run_on_one_cluster(chosen, seed, fault, copies, shared, results)
    return results


async def _run_on_one_cluster(
    chosen: argparse.Namespace,
    seed: int,
    fault: Fault,
    copies: int,
    groups: list[list[str]],
    results: list[Result],
) -> None:
    """A cell that cannot be run to its end is not as it must be; those after it get a cluster of their own."""
    waiting = list(groups)
    while waiting:
        group = waiting[0]
        try:
            async with cluster_for(fault, copies, seed=seed) as cluster:
                while waiting:
                    group = waiting[0]
                    result = await run_cell(
                        fault, group, cluster, seed=seed, scale=chosen.scale, haste=chosen.haste, is_timed=True
                    )
                    waiting.pop(0)
                    print(line_of(result), flush=True)
                    results.append(result)
        except Exception as problem:  # noqa: BLE001 - whatever it is, the others are to be run
            traceback.print_exception(problem, file=sys.stdout)
            if waiting and waiting[0] is group:
                waiting.pop(0)
                results.append(unfinished(fault, group, copies, seed, problem))
                print(line_of(results[-1]), flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/faults", description="Everything that can fail, fails.")
    parser.add_argument("--only", type=_names, default=[], help=f"faults, of {','.join(FAULTS)}")
    parser.add_argument("--work", type=_names, default=[], help=f"workloads, of {','.join(WORKS)}")
    parser.add_argument("--copies", type=_numbers, default=[], help="copies of each session, of 2,3")
    parser.add_argument("--seed", type=int, help="the same faults at the same replies as before")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the workloads' size")
    parser.add_argument("--haste", type=float, default=1.0, help="by how much all waiting is shortened")
    parser.add_argument("--write", action="store_true", help="write the table into docs/reliability.md")
    chosen = parser.parse_args()
    unknown = {*chosen.only} - {*FAULTS} | {*chosen.work} - {*WORKS} | {*map(str, chosen.copies)} - {"2", "3"}
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    return chosen


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
