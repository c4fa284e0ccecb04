"""What the nodes of a pool say of themselves, what is wrong with that, and where a session's copies are."""

from memsession.inspection.copies import CopyReport, CopyState, SessionReport, locate
from memsession.inspection.figures import of_figures
from memsession.inspection.finding import Finding, Level
from memsession.inspection.findings import by_level, findings
from memsession.inspection.report import NodeReport, NodeState, report_nodes, report_of, report_pool

__all__ = [
    "CopyReport",
    "CopyState",
    "Finding",
    "Level",
    "NodeReport",
    "NodeState",
    "SessionReport",
    "by_level",
    "findings",
    "locate",
    "of_figures",
    "report_nodes",
    "report_of",
    "report_pool",
]
