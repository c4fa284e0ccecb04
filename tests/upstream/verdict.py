"""What the outcomes of the frameworks' tests mean, in the light of the deviations that are explained."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Outcomes = Mapping[str, tuple[str, str]]
"""For each test "passed", "failed", "skipped" or "unused", and the message it failed with."""

TABLE = Path(__file__).with_name("deviations.toml")


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """A test of theirs that fails with ours in place.

    `test`: its name in pytest, without the event loop's. `error`: a piece of the message it fails with, so that a
    failure for another reason is not taken for this one. `reason`: one sentence for users.
    """

    subject: str
    test: str
    error: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """`passed` tests with a session of ours; `others` that used none or were skipped; `broken` ones, which fail with
    the framework's own sessions too; failures that are `explained`; `wrong`: what must not be, in words."""

    passed: Sequence[str]
    others: Sequence[str]
    broken: Sequence[str]
    explained: Sequence[str]
    wrong: Sequence[str]


def deviations(text: str) -> list[Deviation]:
    """The table of deviations, from TOML: for each subject a list of tables with test, error and reason."""
    return [
        Deviation(subject=subject, **entry) for subject, entries in tomllib.loads(text).items() for entry in entries
    ]


def plain_name(test: str) -> str:
    """The name of a test without that of the event loop it ran on."""
    return re.sub(r"\[asyncio\]$", "", test).replace("[asyncio-", "[").replace("-asyncio]", "]")


def failures(outcomes: Outcomes) -> list[str]:
    """The tests that failed, by their names in pytest."""
    return [test for test, (outcome, _) in outcomes.items() if outcome == "failed"]


def judge(outcomes: Outcomes, with_theirs: Outcomes, expected: Sequence[Deviation]) -> Verdict:
    """Every failure must be in the table, with its message, and every entry of the table must fail.

    `with_theirs`: what becomes of the failed ones with the framework's own sessions: they must pass.
    """
    table = {deviation.test: deviation for deviation in expected}
    named = {plain_name(test): outcome for test, outcome in outcomes.items()}
    broken = [plain_name(test) for test in failures(with_theirs)]
    failed = {name: named[name][1] for name in map(plain_name, failures(outcomes)) if name not in broken}
    explained = [test for test, message in failed.items() if test in table and table[test].error in message]
    return Verdict(
        passed=[test for test, (outcome, _) in named.items() if outcome == "passed"],
        others=[test for test, (outcome, _) in named.items() if outcome in ("skipped", "unused")],
        broken=broken,
        explained=explained,
        wrong=[
            *(f"{test}: {_first_line(failed[test])}" for test in failed if test not in explained),
            *(f"{test}: explained, but it did not fail" for test in table if test not in failed),
        ],
    )


def as_markdown(expected: Sequence[Deviation]) -> str:
    """The table for the documentation: one row for each reason, with the tests it explains."""
    tests: dict[tuple[str, str], list[str]] = {}
    for deviation in expected:
        tests.setdefault((deviation.subject, deviation.reason), []).append(f"`{deviation.test.split('::')[-1]}`")
    rows = (f"| {subject} | {', '.join(names)} | {reason} |\n" for (subject, reason), names in tests.items())
    return "| Tests of | Test | What is different, and why |\n|---|---|---|\n" + "".join(rows)


def _first_line(message: str) -> str:
    return message.strip().partition("\n")[0]
