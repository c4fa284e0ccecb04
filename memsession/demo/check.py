"""The demo that looks for itself: runs the articles' tests and prints a line for each phase."""

from pathlib import Path
from signal import SIGKILL, SIGTERM

from memsession.demo.programs import Programs, find_programs
from memsession.demo.report import Report
from memsession.demo.stage import Stage
from memsession.demo.trials import Sizes, Trials

FULL = Sizes(visits=20, signals=(SIGKILL, SIGTERM), parallel=50, rounds=10, sessions=300, new_visitors=100)
QUICK = Sizes(visits=4, signals=(SIGKILL,), parallel=10, rounds=2, sessions=60, new_visitors=20)


async def check(sizes: Sizes, json_file: Path | None = None, installed: Programs | None = None) -> int:
    """Run all tests; return 0 if every figure is what it must be, else 1.

    `installed`: the programs to use, those that are found unless given.
    """
    installed = installed or find_programs()
    report = Report(installed.remarks)
    trials = Trials(sizes, report)
    async with Stage(installed=installed) as stage:
        for how in sizes.signals:
            await trials.nodes_in_turn(stage, how)
        await trials.web_servers_in_turn(stage, SIGKILL)
        await trials.parallel_refreshes(stage)
    async with Stage(nodes=3, copies=1, installed=installed) as stage:
        await trials.a_node_of_three(stage, copies=1)
    async with Stage(nodes=3, copies=2, installed=installed) as stage:
        await trials.a_node_of_three(stage, copies=2)
        await trials.new_visitors(stage)
    return _verdict(report, json_file)


def _verdict(report: Report, json_file: Path | None) -> int:
    if json_file is not None:
        json_file.write_text(report.as_json(), encoding="utf-8")
    failures = report.failures
    if not failures:
        shown = ", shown on stand-ins" if report.remarks else ""
        print(f"\nAll figures are what they must be{shown} ({report.seconds:.0f} s).")
        return 0
    print(f"\n{len(failures)} figures are not what they must be ({report.seconds:.0f} s):")
    for failure in failures:
        print(f"  {failure}")
    return 1
