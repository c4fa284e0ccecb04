"""`memsession bench`: a short load on a pool, on sessions of its own, and how long reading and writing took."""

import sys
from collections import Counter
from typing import Annotated, Any, Final

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from memsession.blocking import BlockingClient
from memsession.command.load import Figures, LoadTest, Shape, load_test, percentile
from memsession.command.output import SILENT, USAGE, WELL, WRONG, CommandError, console, leave, plain, show
from memsession.command.settings import (
    ConsistencyOption,
    JsonOption,
    PoolArgument,
    PoolOption,
    PoolSettings,
    PrefixOption,
    PreviousOption,
    pool_given,
)
from memsession.command.silence import why_silent
from memsession.command.table import together
from memsession.events import NodeEvent, NodeOut
from memsession.inspection import NodeReport, report_nodes

_CAUSES: Final = {
    "not created": "no node took a new session (with --consistency majority: too few)",
    "load: outage": "none of the session's nodes answered",
    "load: nomajority": "too few of the session's nodes answered",
    "load: doubt": "a node did not answer, and the others have nothing",
    "load: absent": "the nodes have lost it: restarted, emptied, or out of memory",
    "load: ended": "the end of the session was found",
    "save: unconfirmed": "no node acknowledged (with --consistency majority: too few)",
    "save: gone": "the nodes lost it between reading and writing",
}

SecondsOption = Annotated[float, typer.Option("--seconds", metavar="N", min=0.1, max=600.0, help="How long.")]
ThreadsOption = Annotated[
    int, typer.Option("--threads", metavar="N", min=1, max=32, help="Requests at the same moment.")
]
SessionsOption = Annotated[int, typer.Option("--sessions", metavar="N", min=1, max=10_000, help="How many.")]
SizeOption = Annotated[int, typer.Option("--size", metavar="BYTES", min=1, max=1_000_000, help="Of one session.")]
WritesOption = Annotated[
    int, typer.Option("--writes", metavar="PERCENT", min=0, max=100, help="Requests that change their session.")
]


def bench(
    pool: PoolArgument = None,
    pool_option: PoolOption = None,
    seconds: SecondsOption = 5.0,
    threads: ThreadsOption = 4,
    sessions: SessionsOption = 200,
    size: SizeOption = 1_000,
    writes: WritesOption = 50,
    previous: PreviousOption = None,
    prefix: PrefixOption = None,
    consistency: ConsistencyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a short load on a pool, and measure requests in a second and times of loading and saving.

    It reads and writes sessions of its own, under a prefix and a secret of
    its own, and ends them afterwards; no real session is touched. All threads
    are of one Python process, so web servers together do more.

    Exit code: 0 all is well, 1 requests failed or a node is out, 2 called
    wrongly, 3 no node answers.
    """
    given = PoolSettings(prefix=prefix, previous=previous, consistency=consistency)
    asked = pool_given(pool, pool_option, settings=given)
    if not any(report.is_up for report in report_nodes(asked.all_nodes)):
        names = [node.name for node in asked.all_nodes]
        raise CommandError("no node answers: " + "; ".join(why_silent(asked, names).values()), SILENT)
    shape = Shape(seconds=seconds, threads=threads, sessions=max(sessions, threads), size=size, writes=writes / 100)
    outs: dict[str, list[str]] = {}
    client = BlockingClient(asked, observe=lambda event: _noted(event, outs))
    try:
        figures = _measured(load_test(asked, client, shape), quiet=as_json)
    finally:
        client.close()
    reports = report_nodes(asked.all_nodes)
    show(_data(shape, figures, reports, outs), _table(shape, figures, reports, outs), as_json)
    is_well = not figures.errors and not outs and all(report.is_up for report in reports)
    leave(WELL if is_well else WRONG)


def _measured(test: LoadTest, *, quiet: bool) -> Figures:
    """What came of it.

    Raises:
        CommandError: the sessions are too large for the pool.
        ConfigurationError: two names are one process, so what is measured would be of no use.
    """
    if test.stored_bytes() > test.pool.max_bytes:
        size, most = test.shape.size, test.pool.max_bytes
        raise CommandError(f"--size {size} is more than a session may have: at most {most:,} bytes", USAGE)
    test.client.greet()
    errors: Counter[str] = Counter()
    with test.sessions_made(errors) as made:
        if not quiet and _somebody_looks():
            with console(err=True).status(f"{test.shape.seconds:g} s of load"):
                figures = test.run(made)
        else:
            figures = test.run(made)
    figures.errors += errors
    return figures


def _somebody_looks() -> bool:
    return sys.stderr.isatty()


def _noted(event: NodeEvent, outs: dict[str, list[str]]) -> None:
    """Which nodes went out, and why."""
    if isinstance(event, NodeOut):
        outs.setdefault(event.node, []).append(plain(event.reason))


def _data(shape: Shape, figures: Figures, reports: list[NodeReport], outs: dict[str, list[str]]) -> dict[str, Any]:
    return {
        "seconds": round(figures.seconds, 3),
        "threads": shape.threads,
        "sessions": shape.sessions,
        "size": shape.size,
        "writes_percent": round(100 * shape.writes),
        "requests": figures.requests,
        "requests_per_s": round(figures.requests / figures.seconds, 1),
        "load": _times(figures.loads, figures.seconds),
        "save": _times(figures.saves, figures.seconds),
        "errors": dict(sorted(figures.errors.items())),
        "nodes": [
            {
                "name": report.name,
                "state": report.state.value,
                "problem": report.problem,
                "went_out": len(outs.get(report.name, ())),
            }
            for report in reports
        ],
    }


def _times(times: Any, seconds: float) -> dict[str, float | int | None]:
    figures = {"p50_ms": percentile(times, 0.5), "p99_ms": percentile(times, 0.99), "max_ms": percentile(times, 1.0)}
    rounded = {name: None if figure is None else round(figure, 3) for name, figure in figures.items()}
    return {"count": len(times), "per_s": round(len(times) / seconds, 1), **rounded}


def _table(shape: Shape, figures: Figures, reports: list[NodeReport], outs: dict[str, list[str]]) -> RenderableType:
    head = (
        f"{figures.requests / figures.seconds:,.0f} requests/s: {shape.threads} threads, {figures.seconds:.1f} s, "
        f"{shape.sessions:,} sessions of {shape.size:,} bytes, {100 * shape.writes:.0f} % with a write"
    )
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("")
    for title in ("count", "per s", "p50 ms", "p99 ms", "max ms"):
        table.add_column(title, justify="right")
    for name, times in (("load", figures.loads), ("save", figures.saves)):
        told = _times(times, figures.seconds)
        shown = [told["p50_ms"], told["p99_ms"], told["max_ms"]]
        cells = ["" if figure is None else f"{figure:.2f}" for figure in shown]
        table.add_row(name, f"{told['count']:,}", f"{told['per_s']:,.0f}", *cells)
    return together(head, table, _errors(figures), _nodes(reports, outs))


def _errors(figures: Figures) -> Text:
    if not figures.errors:
        return Text("no errors", "green")
    lines = [f"{count:,} x {kind}: {_CAUSES[kind]}" for kind, count in figures.errors.most_common()]
    return Text("\n".join(lines), "bold red")


def _nodes(reports: list[NodeReport], outs: dict[str, list[str]]) -> Text:
    text = Text()
    for at, report in enumerate(reports):
        reasons = outs.get(report.name, [])
        is_well = report.is_up and not reasons
        times = f" Went out {len(reasons)} x: {reasons[-1]}" if reasons else ""
        problem = plain(report.problem).removeprefix(f"{report.name}: ")
        line = f"{report.name}: {'up.' if report.is_up else problem}{times}"
        text.append(("\n" if at else "") + line, "" if is_well else "bold red")
    return text
