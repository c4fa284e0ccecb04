"""The command line of `scripts/upstream`."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .sources import FOLDER, PROJECT, NoSource, unpacked
from .verdict import TABLE, Outcomes, as_markdown, deviations, failures, judge

SUBJECTS = {
    # Its other tests use no sessions.
    "starlette": ("tests/middleware/test_session.py", "tests/middleware/test_middleware.py"),
    "flask": ("tests",),
}
"""Frameworks, and which of their tests are run."""

_RUN_S = 600


class NotRun(Exception):
    """Tests of theirs cannot even be collected."""


def outcomes_of(subject: str, folder: Path, tests: Sequence[str], sessions: str, *, verbose: bool) -> Outcomes:
    """What became of the framework's tests, with the `sessions` in place: "ours" or "theirs"."""
    report = FOLDER / f"{subject}.json"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "plugin", "-p", "no:cacheprovider", "-p", "no:asyncio"]
    done = subprocess.run(
        # Sessions are kept by asyncio alone; where trio is installed, their tests would run on it, too.
        [*command, "-k", "not trio", *tests],
        cwd=folder,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), str(PROJECT)]),
            "UPSTREAM_SUBJECT": subject,
            "UPSTREAM_SESSIONS": sessions,
            "UPSTREAM_REPORT": str(report),
        },
        stdin=subprocess.DEVNULL,
        stdout=None if verbose else subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=_RUN_S,
    )
    # 0: all passed, 1: some failed; anything else means that they were not all run.
    if done.returncode not in (0, 1) or not report.is_file():
        raise NotRun(f"the tests of {subject} did not run:\n{done.stdout or ''}")
    outcomes: Outcomes = json.loads(report.read_text(encoding="utf-8"))
    return outcomes


def check(subject: str, *, verbose: bool) -> bool:
    """Run one framework's tests, say what came of it, and tell whether all is as explained."""
    folder, version = unpacked(subject)
    expected = [deviation for deviation in deviations(TABLE.read_text("utf-8")) if deviation.subject == subject]
    outcomes = outcomes_of(subject, folder, SUBJECTS[subject], "ours", verbose=verbose)
    failed = failures(outcomes)
    with_theirs = outcomes_of(subject, folder, failed, "theirs", verbose=verbose) if failed else {}
    verdict = judge(outcomes, with_theirs, expected)
    reasons = {deviation.test: deviation.reason for deviation in expected}
    print(
        f"{subject} {version}: {len(verdict.passed)} passed, {len(verdict.explained)} explained, "
        f"{len(verdict.wrong)} wrong; {len(verdict.others)} use no session or were skipped, "
        f"{len(verdict.broken)} fail with their own sessions, too"
    )
    for test in verdict.explained:
        print(f"    explained  {test}\n               {reasons[test]}")
    for test in verdict.broken:
        print(f"    not ours   {test}")
    for line in verdict.wrong:
        print(f"    WRONG      {line}")
    return not verdict.wrong and bool(verdict.passed)


def main(arguments: list[str]) -> int:
    """Return 0 if all is as explained, 1 if not, 2 if the frameworks' sources cannot be had."""
    parser = argparse.ArgumentParser(
        prog="scripts/upstream",
        description="Run the frameworks' own session tests with this package in the place of their sessions.",
    )
    parser.add_argument("subjects", nargs="*", metavar="FRAMEWORK", help=f"of {', '.join(SUBJECTS)} (default: all)")
    parser.add_argument("--verbose", action="store_true", help="show all that their tests print")
    parser.add_argument("--table", action="store_true", help="print the deviations as Markdown, and run nothing")
    asked = parser.parse_args(arguments)
    if unknown := {*asked.subjects} - {*SUBJECTS}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there is {', '.join(SUBJECTS)}")
    if asked.table:
        print(as_markdown(deviations(TABLE.read_text("utf-8"))), end="")
        return 0
    try:
        good = [check(subject, verbose=asked.verbose) for subject in asked.subjects or SUBJECTS]
    except NoSource as missing:
        print(f"Nothing was judged: {missing}", file=sys.stderr)
        return 2
    except NotRun as broken:
        print(broken, file=sys.stderr)
        return 1
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
