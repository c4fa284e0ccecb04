"""Why nodes do not answer, and what to do about it."""

from collections.abc import Collection, Mapping

from memsession.command.output import plain
from memsession.inspection.report import report_nodes
from memsession.pool import Pool


def why_silent(pool: Pool, nodes: Collection[str], reasons: Mapping[str, str] | None = None) -> dict[str, str]:
    """One line for each of these nodes, which names the cure: they are asked once more, without any protocol.

    `reasons`: what is known already, for nodes that do answer such a question.
    """
    asked = [node for node in pool.all_nodes if node.name in nodes]
    if not asked:
        return {}
    known = reasons or {}
    reports = {report.name: report.problem for report in report_nodes(asked)}
    return {
        name: _told(name, plain(problem or known.get(name) or "it answers now: try again"))
        for name, problem in reports.items()
    }


def _told(name: str, reason: str) -> str:
    """Where a node's name is its address, the reason begins with it already."""
    return reason if reason.startswith(f"{name}: ") else f"{name}: {reason}"
