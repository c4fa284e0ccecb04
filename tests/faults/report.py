"""What a run has shown: a line for each cell, and the tables in docs/reliability.md."""

import os
import platform
import subprocess
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.faults.cluster import WEBS
from tests.faults.faults import FAULTS, WORKS
from tests.faults.matrix import LATE_MS, Result

PROJECT = Path(__file__).parents[2]
PAGE = PROJECT / "docs" / "reliability.md"
BEGIN, END = "<!-- scripts/faults: begin -->", "<!-- scripts/faults: end -->"
NOT_MEANT = "-"


def line_of(result: Result) -> str:
    """A cell in one line."""
    worst = ", ".join(f"{web} {ms:.0f} ms" for web, ms in result.timing.worst.items())
    errors = ", ".join(f"{web} {count}" for web, count in result.errors.items())
    verdict = "ok    " if result.ok else "BROKEN"
    name = f"{result.fault} {'+'.join(result.works)} R={result.copies}"
    text = f"{verdict} {name:16} {result.operations:6} operations in {result.seconds:5.1f} s; errors: {errors}"
    text += f"; worst: {worst}; back after {result.notes['back_s']:.2f} s"
    if result.notes["late_ms"] > LATE_MS or result.notes["unplanned"] or result.attempts > 1:
        busy = f"late by {result.notes['late_ms']} ms, {result.notes['unplanned']} silences that were not meant"
        text += f" ({busy}, attempt {result.attempts})"
    if result.problems:
        text += f"\n       {'; '.join(result.problems)}; history: {result.history}"
    return text


def write_report(results: Sequence[Result], *, seed: int, scale: float, minutes: float) -> None:
    """Put the tables of this run in the place of the former ones."""
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    told = "\n\n".join(
        (
            about(results, seed=seed, scale=scale, minutes=minutes),
            verdicts(results),
            waiting(results),
            hanging(results),
        )
    )
    PAGE.write_text(f"{before}{BEGIN}\n\n{told}\n\n{END}{after}", encoding="utf-8")


def about(results: Sequence[Result], *, seed: int, scale: float, minutes: float) -> str:
    """What was run, and on what."""
    broken = sum(not result.ok for result in results)
    again = sum(result.attempts > 1 for result in results)
    memcached = subprocess.run(["memcached", "-V"], capture_output=True, text=True, check=True).stdout.split()[-1]
    size = "" if scale == 1.0 else f" at {scale:g} of the full size"
    version = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    requests = sum(result.operations for result in results)
    return (
        f"memsession {version}, memcached {memcached}, Python {platform.python_version()}, "
        f"{platform.system()}, {os.cpu_count()} processors; seed {seed}{size}. "
        f"{len(results)} cells with {requests:,} requests in {minutes:.0f} minutes: "
        f"**{len(results) - broken} as expected, {broken} not.** "
        f"{again} cells were run again because the machine was too busy to tell."
    )


def verdicts(results: Sequence[Result]) -> str:
    """A row for each fault and number of copies, a column for each workload."""
    rows = []
    for fault in FAULTS.values():
        for copies in fault.copies:
            own = {work: result for result in _of(results, fault.name, copies) for work in result.works}
            if own:
                cells = [_verdict(own[work]) if work in own else NOT_MEANT for work in WORKS]
                rows.append([fault.name, fault.title, str(copies), *cells])
    return _table(["", "what goes wrong", "copies", *WORKS], rows)


def _verdict(result: Result) -> str:
    if result.ok:
        return "ok"
    return f"**broken**: {', '.join(result.problems)}"


def waiting(results: Sequence[Result]) -> str:
    """Errors, and how long visitors waited, for each fault and kind of web server."""
    rows = []
    for fault in FAULTS.values():
        own = _of(results, fault.name)
        if own:
            errors = [_share(sum(r.errors[web] for r in own), sum(r.counts[web] for r in own)) for web in WEBS]
            worst = [f"{max(r.timing.worst[web] for r in own):.0f} ms" for web in WEBS]
            back = f"{max(r.notes['back_s'] for r in own):.1f} s"
            rows.append([fault.name, *errors, *worst, back])
    head = ["", "errors, ASGI", "errors, WSGI", "longest wait, ASGI", "longest wait, WSGI", "all in use again after"]
    return _table(head, rows)


def hanging(results: Sequence[Result]) -> str:
    """The 99th of 100 requests while a node hangs."""
    rows = []
    for result in results:
        if result.timing.hanging_p99 and result.fault == "F4":
            figures = [
                f"{times[web]:.1f} ms"
                for times in (result.timing.healthy_p99, result.timing.hanging_p99)
                for web in WEBS
            ]
            rows.append([f"{'+'.join(result.works)}, {result.copies} copies", *figures])
    head = ["F4", "ASGI, healthy", "WSGI, healthy", "ASGI, one hangs", "WSGI, one hangs"]
    return _table(head, rows) if rows else ""


def _of(results: Iterable[Result], fault: str, copies: int | None = None) -> list[Result]:
    return [result for result in results if result.fault == fault and copies in (None, result.copies)]


def _share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
