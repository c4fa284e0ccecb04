"""`memsession locate`: which node holds which version of a session, and do the copies agree. It only reads."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from memsession.command.output import SILENT, WELL, WRONG, CommandError, leave, show
from memsession.command.session_key import CookieNameOption, SessionArgument, key_of
from memsession.command.settings import (
    ConsistencyOption,
    IdleOption,
    JsonOption,
    PoolOption,
    PoolSettings,
    PrefixOption,
    PreviousOption,
    SecretFileOption,
    duration,
    pool_given,
    secrets,
)
from memsession.command.silence import why_silent
from memsession.command.table import span, together
from memsession.inspection import CopyReport, CopyState, SessionReport
from memsession.inspection import locate as survey
from memsession.lifetime import Lifetime
from memsession.pool import Pool

LONGEST: Final = timedelta(days=30)
"""No session lives longer: what an application's own limits are is not known here, and not needed."""

_AGREED: Final = {
    CopyState.LIVE: "The copies agree.",
    CopyState.EXPIRED: "The copies agree. The session's time is over, so no request gets it any more.",
    CopyState.ENDED: "The copies agree: the session was ended, as by a logout.",
    CopyState.MOVED: "The copies agree: this ID is over. A login or regenerate() gave the session another one.",
    CopyState.MISSING: "No node has it: it ended long ago, or the ID, the pool or --prefix is another.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What to say of a session, line by line, and the exit code."""

    lines: tuple[str, ...]
    exit_code: int


def locate(
    session: SessionArgument,
    pool: PoolOption = None,
    previous: PreviousOption = None,
    prefix: PrefixOption = None,
    consistency: ConsistencyOption = None,
    secret_file: SecretFileOption = None,
    cookie_name: CookieNameOption = "session",
    idle: IdleOption = "30m",
    as_json: JsonOption = False,
) -> None:
    """Show which node holds which version of a session, whether the copies agree, and how long it has to live.

    It needs the application's secret key to read the copies; nothing of what
    is in them is shown. It changes nothing.

    Exit code: 0 the copies agree, 1 they differ, a node is silent, or nobody
    has the session, 2 called wrongly, 3 no node of the session answers.
    """
    asked = pool_given(pool, settings=PoolSettings(prefix=prefix, previous=previous, consistency=consistency))
    keys = secrets(secret_file)
    key = key_of(session, asked, secrets=keys, cookie_name=cookie_name)
    lifetime = Lifetime(idle=duration(idle, "--idle"), absolute=LONGEST)
    report = survey(asked, key, keys=keys, lifetime=lifetime)
    reasons = silences(asked, report)
    verdict = judged(report, asked, reasons)
    rows = [_row(copy, asked.home_sets(key)[0]) for copy in report.copies]
    data = {"session": report.session, "agree": report.agree, "verdict": " ".join(verdict.lines), "copies": rows}
    show(data, _table(report, rows, verdict), as_json)
    leave(verdict.exit_code)


def silences(pool: Pool, report: SessionReport) -> list[str]:
    """Why nodes are silent, a line for each.

    Raises:
        CommandError: all of them are; exit code 3.
    """
    known = {copy.node: copy.problem for copy in report.copies}
    reasons = [*why_silent(pool, report.silent, known).values()]
    if len(report.silent) == len(report.copies):
        raise CommandError(f"no node of this session answers: {'; '.join(reasons)}", SILENT)
    return reasons


def judged(report: SessionReport, pool: Pool, reasons: list[str]) -> Verdict:
    """What to say of it. `reasons`: why nodes are silent."""
    states = {copy.state for copy in report.copies}
    if report.agree:
        (state,) = states
        return Verdict(lines=(_AGREED[state],), exit_code=WRONG if state is CopyState.MISSING else WELL)
    lines = [f"No answer from {reason}" for reason in reasons]
    if CopyState.UNREADABLE in states:
        lines.append("A copy cannot be read: is the secret the application's, with all that are in use?")
    heard = {(copy.state, copy.variant) for copy in report.copies if copy.state is not CopyState.SILENT}
    if heard == {(CopyState.MISSING, None)}:
        lines.append("The nodes that answer have nothing: whether there is such a session is not known.")
    elif len(heard) > 1:
        lines.append("The copies differ. The visitor's next request makes them alike, and so does: memsession refill")
    if pool.previous is not None:
        lines.append("The pool changes: a session is copied to its new nodes by its next request, or by the upkeep.")
    return Verdict(lines=tuple(lines), exit_code=WRONG)


def _row(copy: CopyReport, homes: tuple[str, ...]) -> dict[str, Any]:
    """`homes` are those of the pool as it is now."""
    return {
        "node": copy.node,
        "pool": "current" if copy.node in homes else "previous",
        "state": copy.state.name.lower(),
        "version": copy.version,
        "variant": copy.variant,
        "idle_left_s": _rounded(copy.idle_left_s),
        "absolute_left_s": _rounded(copy.absolute_left_s),
        "bytes": copy.bytes,
    }


def _table(report: SessionReport, rows: list[dict[str, Any]], verdict: Verdict) -> RenderableType:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    changes = any(row["pool"] == "previous" for row in rows)
    table.add_column("node", overflow="fold", min_width=9)
    if changes:
        table.add_column("pool")
    for title in ("state", "version", "unused, ends in", "ends in any case", "bytes"):
        table.add_column(title, justify="left" if title == "state" else "right")
    # Two contents under one version are told apart by a letter.
    several = len({copy.variant for copy in report.copies if copy.variant}) > 1
    for copy, row in zip(report.copies, rows, strict=True):
        letter = chr(ord("a") - 1 + copy.variant) if several and copy.variant else ""
        table.add_row(
            copy.node,
            *([row["pool"]] if changes else []),
            Text(copy.state.value, style="" if copy.state is CopyState.LIVE else "bold yellow"),
            f"{'' if copy.version is None else copy.version}{letter}",
            _left(copy.idle_left_s),
            _left(copy.absolute_left_s),
            "" if copy.bytes is None else f"{copy.bytes:,}",
        )
    style = "bold red" if verdict.exit_code else ""
    return together(f"session {report.session}", table, Text("\n".join(verdict.lines), style))


def _left(seconds: float | None) -> str:
    return "" if seconds is None else span(int(seconds))


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
