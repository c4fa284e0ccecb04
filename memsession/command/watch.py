"""`memsession watch`: the table of all nodes, anew every second, with what they do in a second."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Final

import typer
from rich.console import RenderableType
from rich.live import Live
from rich.text import Text

from memsession.addresses import Node
from memsession.command.output import console, leave
from memsession.command.settings import IdleOption, JsonOption, PoolArgument, PoolOption, duration, pool_given
from memsession.command.stats import looked_at
from memsession.command.table import (
    Rates,
    exit_code,
    finding_data,
    findings_table,
    node_data,
    nodes_table,
    summary,
    together,
)
from memsession.inspection import Finding, NodeReport, report_nodes
from memsession.resolver import Resolver

TIMEOUT_S: Final = 0.5
"""For each question: a node that hangs must not hold up the others for long."""


def watch(
    pool: PoolArgument = None,
    pool_option: PoolOption = None,
    every: Annotated[
        float, typer.Option("--every", metavar="SECONDS", min=0.1, max=3_600.0, help="Between two looks.")
    ] = 1.0,
    count: Annotated[
        int | None, typer.Option("--count", metavar="N", min=1, help="End after so many looks.", show_default=False)
    ] = None,
    idle: IdleOption = "30m",
    as_json: JsonOption = False,
) -> None:
    """Show all nodes, anew every second, until Ctrl-C.

    Without a terminal one table is printed after the other; with --json a line for each look.

    Exit code: 0 after Ctrl-C; after --count looks what `stats` says of the last one: 0 all is well, 1 something is
    wrong, 3 no node answers. 2 called wrongly.
    """
    idle_s = duration(idle, "--idle").total_seconds()
    nodes = pool_given(pool, pool_option).all_nodes
    code = 0
    with _printer(as_json) as put:
        try:
            for reports, rates in _looks(nodes, every, count):
                found = looked_at(reports, idle_s)
                code = exit_code(reports, found)
                put(reports, rates, found)
        except KeyboardInterrupt:
            code = 0
    leave(code)


Put = Callable[[list[NodeReport], Rates, list[Finding]], None]


@contextmanager
def _printer(as_json: bool) -> Iterator[Put]:
    """How a look is shown: as a line of JSON, in place of the one before, or below it."""
    screen = console()
    if as_json:
        yield _put_line
    elif screen.is_terminal:
        with Live(console=screen, auto_refresh=False, vertical_overflow="visible") as live:
            yield lambda *look: live.update(_page(*look), refresh=True)
    else:
        yield lambda *look: screen.print(_page(*look), "")


def _put_line(reports: list[NodeReport], rates: Rates, found: list[Finding]) -> None:
    nodes = [{**node_data(report), **_rates_data(rates, report)} for report in reports]
    line = {"time": int(time.time()), "nodes": nodes, "findings": [*map(finding_data, found)]}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def _page(reports: list[NodeReport], rates: Rates, found: list[Finding]) -> RenderableType:
    head = Text(time.strftime("%H:%M:%S  ")).append_text(summary(reports))
    return together(head, nodes_table(reports, found, rates), *([findings_table(found)] if found else []))


def _looks(nodes: Sequence[Node], every_s: float, count: int | None) -> Iterator[tuple[list[NodeReport], Rates]]:
    resolver = Resolver()
    before: list[NodeReport] = []
    before_at = 0.0
    looks = 0
    while True:
        at = time.monotonic()
        reports = report_nodes(nodes, TIMEOUT_S, resolver)
        now = time.monotonic()
        yield reports, _rates(before, reports, now - before_at)
        before, before_at, looks = reports, now, looks + 1
        if looks == count:
            return
        time.sleep(max(0.0, at + every_s - time.monotonic()))


def _rates(before: Sequence[NodeReport], now: Sequence[NodeReport], seconds: float) -> Rates:
    """Reads and writes in a second, of nodes that have not restarted in between."""
    rates = {}
    for old, new in zip(before, now, strict=False):
        gets, sets = _grown(old, new, "cmd_get"), _grown(old, new, "cmd_set")
        if gets is not None and sets is not None:
            rates[new.name] = (gets / seconds, sets / seconds)
    return rates


def _grown(old: NodeReport, new: NodeReport, name: str) -> int | None:
    """By how much a counter has grown; None if it is not known, or began anew in between."""
    before, now = old.number(name), new.number(name)
    return None if before is None or now is None or now < before else now - before


def _rates_data(rates: Rates, report: NodeReport) -> dict[str, float | None]:
    gets, sets = rates.get(report.name, (None, None))
    return {
        "gets_per_s": None if gets is None else round(gets, 1),
        "sets_per_s": None if sets is None else round(sets, 1),
    }
