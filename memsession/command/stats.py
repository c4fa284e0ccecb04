"""`memsession stats`: all nodes of a pool side by side, with what matters for sessions, and what is wrong marked."""

from memsession.command.output import leave, show
from memsession.command.settings import IdleOption, JsonOption, PoolArgument, PoolOption, duration, pool_given
from memsession.command.table import (
    exit_code,
    finding_data,
    findings_table,
    node_data,
    nodes_table,
    summary,
    together,
)
from memsession.inspection import Finding, NodeReport, by_level, of_figures, report_nodes
from memsession.inspection.configuration import of_version


def stats(
    pool: PoolArgument = None,
    pool_option: PoolOption = None,
    idle: IdleOption = "30m",
    as_json: JsonOption = False,
) -> None:
    """Show what all nodes say of themselves, side by side.

    What is wrong is marked with ! and told below: nodes that do not answer, sessions that are thrown away before
    their time, refused connections. With --json: all of memcached's own figures as well.

    Exit code: 0 all is well, 1 something is wrong, 2 called wrongly, 3 no node answers.
    """
    idle_s = duration(idle, "--idle").total_seconds()
    reports = report_nodes(pool_given(pool, pool_option).all_nodes)
    found = looked_at(reports, idle_s)
    data = {"nodes": [node_data(report, raw=True) for report in reports], "findings": [*map(finding_data, found)]}
    parts = [nodes_table(reports, found), summary(reports), *([findings_table(found)] if found else [])]
    show(data, together(*parts), as_json)
    leave(exit_code(reports, found))


def looked_at(reports: list[NodeReport], idle_s: float) -> list[Finding]:
    """What is wrong by the figures of the nodes, and by their versions."""
    return by_level(one for report in reports for one in (*of_figures(report, idle_s), *of_version(report)))
