"""From what all nodes said to what is wrong with the pool: errors first, then warnings, then notes."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import Final

from memsession.addresses import Node
from memsession.inspection import configuration, figures
from memsession.inspection.configuration import of_configuration
from memsession.inspection.figures import of_figures
from memsession.inspection.finding import LEVELS, Finding, Level
from memsession.inspection.report import NodeReport
from memsession.pool import Pool

SKEW_S: Final = 3.0
"""memcached tells whole seconds, and is asked a moment after the question was sent."""

CHECKS: Final = tuple(
    dict.fromkeys((*figures.CHECKS, *configuration.CHECKS, "copies", "machines", "network", "clocks", "versions"))
)
"""All that `findings()` looks at."""

_THIS_MACHINE: Final = "(this machine)"


def findings(pool: Pool, reports: Sequence[NodeReport], idle_s: float) -> list[Finding]:
    """All that is wrong, or worth knowing. `reports` are of the nodes of `pool`; unused sessions live `idle_s`."""
    found = [finding for report in reports for finding in of_figures(report, idle_s)]
    found += [finding for report in reports for finding in of_configuration(report, pool.max_bytes)]
    found += [*_copies(pool), *_machines(pool.nodes), *_network(pool.nodes)]
    found += [*_clocks(reports), *_versions(reports)]
    return by_level(found)


def by_level(found: Iterable[Finding]) -> list[Finding]:
    """The worst first; what is equally bad stays in its order."""
    return sorted(found, key=lambda finding: LEVELS.index(finding.level))


def _copies(pool: Pool) -> list[Finding]:
    if pool.copies > 1:
        return []
    what = "each session has one copy: whoever's node is away or restarts is logged out"
    cure = "Name two nodes or more, and set copies=2."
    return [Finding(level=Level.WARNING, check="copies", what=what, cure=cure)]


def _machines(nodes: Sequence[Node]) -> list[Finding]:
    """Nodes that fail together, unless they are in one zone, for then copies lie elsewhere."""
    machines: dict[str, list[Node]] = defaultdict(list)
    for node in nodes:
        machines[_THIS_MACHINE if _is_here(node) else node.host].append(node)
    found = []
    for host, there in machines.items():
        if len(there) > 1 and not (there[0].zone and len({node.zone for node in there}) == 1):
            names = ", ".join(node.name for node in there)
            level = Level.NOTE if host is _THIS_MACHINE else Level.WARNING
            what = f"{names} are on one machine and fail together"
            cure = "Put copies on different machines, or name each machine as a zone."
            found.append(Finding(level=level, check="machines", what=what, cure=cure))
    return found


def _network(nodes: Sequence[Node]) -> list[Finding]:
    """Sessions travel in clear text, for nodes are spoken to without TLS."""
    away = [node for node in nodes if not _is_here(node)]
    public = [node for node in away if _is_public(node)]
    shown = ", ".join(node.name for node in public or away)
    if public:
        what = f"{shown}: sessions cross the internet in clear text, and whoever can write there can change them"
        cure = "Use private addresses, or a tunnel (WireGuard, IPsec, stunnel)."
        return [Finding(level=Level.WARNING, check="network", what=what, cure=cure)]
    if away:
        what = f"sessions travel in clear text to {shown}"
        cure = "Keep web servers and memcached in a network of their own, or connect them by a tunnel."
        return [Finding(level=Level.NOTE, check="network", what=what, cure=cure)]
    return []


def _clocks(reports: Sequence[NodeReport]) -> list[Finding]:
    """The pool's clock is a median, so one that is wrong does no harm; more of them do."""
    skews = {report.name: report.skew_s for report in reports if report.skew_s is not None}
    off = {name: skew for name, skew in skews.items() if abs(skew) > SKEW_S}
    if len(off) == len(skews) > 1 and max(off.values()) - min(off.values()) <= SKEW_S:
        what = f"the clock of this machine is {_off(-next(iter(off.values())))} all nodes'"
        return [Finding(level=Level.WARNING, check="clocks", what=what, cure="Keep clocks right by NTP.")]
    return [
        Finding(
            level=Level.WARNING,
            check="clocks",
            node=name,
            what=f"its clock is {_off(skew)} this machine's",
            cure="Keep clocks right by NTP, on web servers and nodes.",
        )
        for name, skew in off.items()
    ]


def _versions(reports: Sequence[NodeReport]) -> list[Finding]:
    versions = sorted({report.version[:20] for report in reports if report.is_up})
    if len(versions) < 2:
        return []
    what = f"nodes run different versions of memcached: {', '.join(versions)}"
    return [Finding(level=Level.NOTE, check="versions", what=what, cure="Upgrade the older ones.")]


def _off(seconds: float) -> str:
    return f"{abs(seconds):,.0f} s {'ahead of' if seconds > 0 else 'behind'}"


def _is_here(node: Node) -> bool:
    """A unix socket, or a loopback address."""
    if node.port == 0 or node.host == "localhost":
        return True
    try:
        return ip_address(node.host).is_loopback
    except ValueError:
        return False


def _is_public(node: Node) -> bool:
    try:
        return ip_address(node.host).is_global
    except ValueError:
        return False
