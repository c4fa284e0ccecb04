"""What is wrong with a node by the figures that it gives: is it there, does it throw sessions away, is it full?

memcached counts from its start, or from `stats reset`. So a finding may be about last month; after its cure, restart
the node when no other one is being refilled, or reset its figures.
"""

from typing import Final

from memsession.inspection.finding import Finding, Level
from memsession.inspection.report import NodeReport

FULL: Final = 0.8
"""memcached begins to evict when about so much of its memory is used by items: the rest is lost by rounding up."""

CROWDED: Final = 0.8
"""Of the connections that it takes."""

CHECKS: Final = ("answers", "evictions", "memory", "connections")


def of_figures(report: NodeReport, idle_s: float) -> list[Finding]:
    """What the figures of a node say, if sessions live for `idle_s` after their last use. Empty: all is well."""
    if not report.is_up:
        return [Finding(level=Level.ERROR, check="answers", node=report.name, what=report.problem)]
    return [*_evictions(report, idle_s), *_memory(report), *_connections(report)]


def _evictions(report: NodeReport, idle_s: float) -> list[Finding]:
    evictions, age_s = report.number("evictions"), report.evicted_age_s
    if not evictions:
        return []
    if age_s is None:
        level, what = Level.WARNING, f"{evictions:,} items were evicted, nobody knows how old"
    elif age_s < idle_s:
        level, what = (
            Level.ERROR,
            (
                f"sessions are thrown away: {evictions:,} items were evicted, the last one {age_s:,} s after its "
                f"last use, and sessions live {idle_s:,.0f} s"
            ),
        )
    else:
        level, what = (
            Level.NOTE,
            (
                f"{evictions:,} items were evicted, the last one {age_s:,} s after its last use: no session that "
                f"lives {idle_s:,.0f} s, but logouts may be among them"
            ),
        )
    return [
        Finding(level=level, check="evictions", node=report.name, what=what, cure="Give memcached more memory (-m).")
    ]


def _memory(report: NodeReport) -> list[Finding]:
    used, limit = report.number("bytes"), report.number("limit_maxbytes")
    if report.declined:
        return [
            Finding(
                level=Level.ERROR,
                check="memory",
                node=report.name,
                what=f"{report.declined:,} writes were declined for lack of memory",
                cure="Give memcached more memory (-m), and start it without -M.",
            )
        ]
    if not used or not limit or used < FULL * limit or report.number("evictions"):
        return []
    return [
        Finding(
            level=Level.WARNING,
            check="memory",
            node=report.name,
            what=f"{used / limit:.0%} of its memory is used: soon it evicts sessions",
            cure="Give memcached more memory (-m).",
        )
    ]


def _connections(report: NodeReport) -> list[Finding]:
    refused, now, most = (
        report.refused_connections,
        report.number("curr_connections"),
        report.number("max_connections"),
    )
    if refused:
        what = f"{refused:,} connections were refused or had to wait, since it started"
    elif now and most and now > CROWDED * most:
        what = f"{now:,} of {most:,} connections are in use"
    else:
        return []
    return [
        Finding(
            level=Level.WARNING,
            check="connections",
            node=report.name,
            what=what,
            cure="Let memcached take more connections (-c).",
        )
    ]
