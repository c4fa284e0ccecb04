"""Nodes and findings as tables for people, and as plain data for programs.

A table of nodes fits into 80 columns. What is wrong is marked with an exclamation mark and in colour, and told in
words below. Whatever a node says of itself is shown without control characters, and cut where it is too long.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from memsession.command.output import SILENT, WELL, WRONG, plain
from memsession.inspection import Finding, Level, NodeReport, NodeState
from memsession.inspection.report import whole

Rates = Mapping[str, tuple[float, float]]
"""By the names of nodes: reads and writes in a second."""

STYLES: Final = {Level.ERROR: "bold red", Level.WARNING: "yellow", Level.NOTE: "dim"}

_WORD_MAX: Final = 8
_DAYS_MAX: Final = 9_999
"""More is a node's fantasy, and takes the other columns the room that they need."""

_NAME_MAX: Final = 24

_STATES: Final = {
    NodeState.REFUSED: "refused",
    NodeState.SILENT: "silent",
    NodeState.UNKNOWN: "unknown",
    NodeState.LOST: "closes",
    NodeState.OTHER: "other",
}


def exit_code(reports: Sequence[NodeReport], found: Sequence[Finding]) -> int:
    """What the shell is told."""
    if not any(report.is_up for report in reports):
        return SILENT
    return WRONG if any(finding.level is Level.ERROR for finding in found) else WELL


def nodes_table(reports: Sequence[NodeReport], found: Sequence[Finding], rates: Rates | None = None) -> Table:
    """All nodes side by side. With `rates` reads and writes in a second stand where else the version does."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("node", overflow="fold", min_width=9, max_width=_NAME_MAX)
    heads = ["up", "evicted", "refused", "memory", "items", "hits", "conn"]
    heads += ["version"] if rates is None else ["get/s", "set/s"]
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for report in reports:
        marked = {one.check for one in found if one.node == report.name and one.level is not Level.NOTE}
        table.add_row(Text(report.name), *_cells(report, marked, rates))
    return table


def findings_table(found: Sequence[Finding]) -> RenderableType:
    """What was found, a row for each, with its cure."""
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", max_width=_NAME_MAX)
    table.add_column(overflow="fold")
    for finding in found:
        what = plain(finding.what.removeprefix(f"{finding.node}: "))
        closed = what if what.endswith(("?", ".")) else f"{what}."
        text = f"{closed} {finding.cure}".strip()
        table.add_row(Text(finding.level.value, STYLES[finding.level]), Text(finding.node or "pool"), Text(text))
    return table


def together(*parts: RenderableType) -> RenderableType:
    """One below the other, with an empty line between."""
    spaced: list[RenderableType] = []
    for part in parts:
        spaced += [part, ""]
    return Group(*spaced[:-1])


def summary(reports: Sequence[NodeReport]) -> Text:
    """How many nodes there are, and how many of them answer."""
    up, all_nodes = sum(report.is_up for report in reports), len(reports)
    style = "green" if up == all_nodes else "bold red"
    return Text(f"{up} of {all_nodes} node{'s' if all_nodes > 1 else ''} up", style)


def node_data(report: NodeReport, *, raw: bool = False) -> dict[str, Any]:
    """A report for programs; with `raw` all that memcached says of itself, numbers as numbers."""
    data: dict[str, Any] = {
        "name": report.name,
        "address": report.address,
        "state": report.state.value,
        "problem": report.problem,
        "version": report.version,
        "uptime_s": report.number("uptime"),
        "evictions": report.number("evictions"),
        "evicted_age_s": report.evicted_age_s,
        "refused_connections": report.refused_connections,
        "memory_bytes": report.number("bytes"),
        "memory_limit_bytes": report.number("limit_maxbytes"),
        "items": report.number("curr_items"),
        "hit_rate": report.hit_rate,
        "connections": report.number("curr_connections"),
        "connections_max": report.number("max_connections"),
        "skew_s": None if report.skew_s is None else round(report.skew_s, 1),
    }
    if raw:
        parts = {"stats": report.stats, "settings": report.settings, "slabs": report.slabs}
        data |= {name: {key: _value(text) for key, text in part.items()} for name, part in parts.items()}
    return data


def finding_data(finding: Finding) -> dict[str, str]:
    """A finding for programs. `node` is empty where it is about the whole pool."""
    return {
        "level": finding.level.value,
        "check": finding.check,
        "node": finding.node,
        "what": plain(finding.what),
        "cure": finding.cure,
    }


def _cells(report: NodeReport, marked: set[str], rates: Rates | None) -> list[Text]:
    if not report.is_up:
        return [Text(f"{_STATES[report.state]}!", STYLES[Level.ERROR])]
    number, age_s = report.number, report.evicted_age_s
    evicted = _amount(number("evictions")) + (f" {span(age_s)}" if age_s is not None else "")
    refused = report.refused_connections
    hit_rate = report.hit_rate
    connected = f"{_amount(number('curr_connections'))}/{_amount(number('max_connections'))}"
    cells = [
        Text(span(number("uptime"))),
        _marked(evicted, "evictions" in marked),
        _marked(_amount(refused), "connections" in marked and bool(refused)),
        _marked(f"{_bytes(number('bytes'))}/{_bytes(number('limit_maxbytes'))}", "memory" in marked),
        Text(_amount(number("curr_items"))),
        Text("-" if hit_rate is None else f"{hit_rate:.0%}"),
        _marked(connected, "connections" in marked and not refused),
    ]
    if rates is None:
        return [*cells, _marked(plain(report.version)[:_WORD_MAX], "version" in marked)]
    return [*cells, *(Text(_amount(round(rate))) for rate in rates.get(report.name, ()))]


def _marked(text: str, is_wrong: bool) -> Text:
    return Text(f"{text}!", STYLES[Level.ERROR]) if is_wrong else Text(text)


def span(seconds: int | None) -> str:
    """A time in a few characters, for instance 3d4h."""
    if seconds is None:
        return "-"
    seconds = min(seconds, _DAYS_MAX * 86_400)
    units = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)]
    for (name, size), (smaller, small) in zip(units, [*units[1:], ("", 1)], strict=True):
        if seconds >= size:
            rest = seconds % size // small if smaller and seconds < 10 * size else 0
            return f"{seconds // size}{name}" + (f"{rest}{smaller}" if rest else "")
    return "0s"


def _amount(number: int | None) -> str:
    return "-" if number is None else _scaled(number, 1_000, "kMGTPE")


def _bytes(number: int | None) -> str:
    return "-" if number is None else _scaled(number, 1_024, "KMGTPE")


def _scaled(number: int, step: int, units: str) -> str:
    """At most four characters, for instance 950, 1.2k, 34M."""
    if number < step:
        return str(number)
    scaled, unit = float(number), ""
    while scaled >= step - 0.5:
        scaled, unit, units = scaled / step, units[0], units[1:]
    return f"{scaled:.1f}{unit}" if scaled < 9.95 else f"{scaled:.0f}{unit}"


def _value(text: str) -> int | str:
    number = whole(text)
    return text if number is None else number
