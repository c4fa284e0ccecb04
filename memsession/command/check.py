"""`memsession check`, or `doctor`: what is wrong with a pool, with the web servers on it and with their cookie."""

import stat
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import RenderableType
from rich.text import Text

from memsession.command.output import leave, show
from memsession.command.page import CHECK as COOKIE
from memsession.command.page import of_page, page_of
from memsession.command.settings import (
    ConsistencyOption,
    IdleOption,
    JsonOption,
    PoolArgument,
    PoolOption,
    PoolSettings,
    PrefixOption,
    PreviousOption,
    SecretFileOption,
    duration,
    pool_given,
    secret_file_given,
    secrets_if_any,
)
from memsession.command.table import exit_code, finding_data, findings_table, summary, together
from memsession.command.web_servers import of_web_servers
from memsession.inspection import Finding, Level, NodeReport, by_level, findings, report_nodes
from memsession.inspection.findings import CHECKS
from memsession.pool import Pool

UrlOption = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="A page that stores something in the session: checks its cookie."),
]
CookieNameOption = Annotated[
    str, typer.Option("--cookie-name", metavar="NAME", help="Cookie(name=...) of the application.")
]
MaxBytesOption = Annotated[
    int | None,
    typer.Option("--max-bytes", metavar="N", help="Pool(max_bytes=...) of the application.", show_default=False),
]

SECRET_FILE: Final = "secret file"  # noqa: S105 - the name of a check


def check(
    pool: PoolArgument = None,
    pool_option: PoolOption = None,
    prefix: PrefixOption = None,
    previous: PreviousOption = None,
    consistency: ConsistencyOption = None,
    secret_file: SecretFileOption = None,
    url: UrlOption = None,
    cookie_name: CookieNameOption = "session",
    idle: IdleOption = "30m",
    max_bytes: MaxBytesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look for what is wrong with the pool, and say what to do about it. Also called doctor.

    Whether all web servers use the same pool, and whether refills are due, is told with the secret only. With --url
    a page is asked as by a new visitor, and the session cookie that it sets is judged.

    Exit code: 0 no errors (warnings do not count), 1 errors, 2 called wrongly, 3 no node answers.
    """
    settings = PoolSettings(prefix=prefix, previous=previous, consistency=consistency, max_bytes=max_bytes)
    given = pool_given(pool, pool_option, settings=settings)
    idle_s, keys = duration(idle, "--idle").total_seconds(), secrets_if_any(secret_file)
    page = None if url is None else page_of(url)
    reports = report_nodes(given.all_nodes)
    found, checks = _of_pool(given, reports, idle_s, keys)
    if (file := secret_file_given(secret_file)) is not None:
        found += _of_file(file)
        checks.append(SECRET_FILE)
    if page is not None:
        found += of_page(page, cookie_name)
        checks.append(COOKIE)
    found = by_level(found)
    passed = [name for name in checks if name not in {finding.check for finding in found}]
    data = {"copies": given.copies, "findings": [*map(finding_data, found)], "passed": passed}
    show(data, together(*_told(found, passed), summary(reports)), as_json)
    leave(exit_code(reports, found))


def _of_pool(
    pool: Pool, reports: Sequence[NodeReport], idle_s: float, keys: Sequence[bytes]
) -> tuple[list[Finding], list[str]]:
    """What was found, and the names of the checks that could be made."""
    found = findings(pool, reports, idle_s)
    if not any(report.is_up for report in reports):
        return found, []
    more, made = of_web_servers(pool, keys)
    return [*found, *more], [*CHECKS, *made]


def _told(found: list[Finding], passed: Iterable[str]) -> list[RenderableType]:
    counts = Counter(finding.level for finding in found)
    numbers = [f"{counts[level]} {level.value}{'s' * (counts[level] != 1)}" for level in Level if counts[level]]
    told: list[RenderableType] = [findings_table(found)] if found else []
    if passed:
        told.append(Text(f"well: {', '.join(passed)}", "green"))
    return [*told, Text(", ".join(numbers) or "nothing to complain about")]


def _of_file(file: Path) -> list[Finding]:
    """Whether others may read the secret."""
    mode = file.stat().st_mode
    if not stat.S_ISREG(mode) or not mode & stat.S_IROTH:
        return []
    what = f"everybody on this machine may read {file}"
    return [Finding(level=Level.WARNING, check=SECRET_FILE, what=what, cure="Take that right away: chmod o-r.")]
