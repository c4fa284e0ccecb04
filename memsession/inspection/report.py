"""What a node says of itself, with the figures that matter for sessions, and why it says nothing."""

import re
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from memsession.addresses import Node
from memsession.greeting import address_of
from memsession.inspection.dialogue import TLS_SPOKEN, Dialogue, NotMemcached, speaks_tls
from memsession.pool import Pool
from memsession.resolver import Resolver, Unresolved

_WHOLE: Final = re.compile(r"[0-9]{1,20}")

TIMEOUT_S: Final = 1.0
THREADS_MAX: Final = 32


class NodeState(Enum):
    """How a node was found."""

    UP = "up"
    REFUSED = "refused"
    SILENT = "silent"
    UNKNOWN = "unknown name"
    LOST = "closed the connection"
    OTHER = "not memcached"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReport:
    """A node, and what it said. `problem` is one line for people; empty if it is up.

    `stats`, `settings` and `slabs` are memcached's own words (`stats`, `stats settings`, `stats items`); a figure
    that they do not contain is None. `skew_s`: seconds by which its clock is ahead of this machine's, to about one.
    """

    name: str
    address: str
    state: NodeState
    problem: str = ""
    skew_s: float | None = None
    stats: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    slabs: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_up(self) -> bool:
        """Whether it answered."""
        return self.state is NodeState.UP

    @property
    def version(self) -> str:
        """memcached's version, or ""."""
        return self.stats.get("version", "")

    @property
    def hit_rate(self) -> float | None:
        """Hits of all gets, 0.0 to 1.0, since the node started."""
        hits, misses = self.number("get_hits"), self.number("get_misses")
        return hits / (hits + misses) if hits is not None and misses is not None and hits + misses else None

    @property
    def refused_connections(self) -> int | None:
        """Connections that were refused, or had to wait, because there were too many (`-c`)."""
        figures = [self.number(name) for name in ("rejected_connections", "listen_disabled_num")]
        known = [figure for figure in figures if figure is not None]
        return sum(known) if known else None

    @property
    def evicted_age_s(self) -> int | None:
        """For how long the item evicted last had not been used, in the worst slab class; None if none was evicted."""
        ages = [
            self._slab(number, "evicted_time")
            for number in {key.split(":")[1] for key in self.slabs if key.count(":") == 2}
            if self._slab(number, "evicted") and f"items:{number}:evicted_time" in self.slabs
        ]
        return min(ages) if ages else None

    @property
    def declined(self) -> int:
        """Writes that were declined because there was no memory, and nothing might be evicted (`-M`)."""
        return sum(self._slab(key.split(":")[1], "outofmemory") for key in self.slabs if key.endswith(":outofmemory"))

    def number(self, name: str) -> int | None:
        """A whole number of `stats`, or None."""
        return whole(self.stats.get(name, ""))

    def setting(self, name: str) -> str | None:
        """A setting of memcached's, as it tells it, or None."""
        return self.settings.get(name)

    def _slab(self, number: str, name: str) -> int:
        return whole(self.slabs.get(f"items:{number}:{name}", "")) or 0


def whole(text: str) -> int | None:
    """The whole number that `text` spells in the way that memcached does, or None."""
    return int(text) if _WHOLE.fullmatch(text) else None


def report_of(node: Node, timeout_s: float = TIMEOUT_S, resolver: Resolver | None = None) -> NodeReport:
    """Ask a node; it never raises for what the node does. Takes up to about seven times `timeout_s`.

    `resolver`: one that is kept from report to report need not ask anew where a name is.
    """
    address, resolver = address_of(node), resolver or Resolver()
    try:
        with Dialogue(node, timeout_s, resolver) as dialogue:
            # Whoever is no memcached says so to the first question.
            if not dialogue.line(b"version\r\n").startswith("VERSION "):
                raise NotMemcached("its answer is none of memcached's")
            stats = dialogue.table(b"stats\r\n")
            unix_time_s = whole(stats.get("time", ""))
            skew_s = None if unix_time_s is None else unix_time_s - time.time()
            settings = dialogue.table(b"stats settings\r\n")
            slabs = dialogue.table(b"stats items\r\n")
    except (OSError, NotMemcached, Unresolved) as problem:
        is_lost = isinstance(problem, ConnectionError) and not isinstance(problem, ConnectionRefusedError)
        is_tls = is_lost and speaks_tls(node, timeout_s, resolver)
        state, why = _state(NotMemcached(TLS_SPOKEN) if is_tls else problem)
        return NodeReport(name=node.name, address=address, state=state, problem=f"{address}: {why}")
    return NodeReport(
        name=node.name,
        address=address,
        state=NodeState.UP,
        skew_s=skew_s,
        stats=stats,
        settings=settings,
        slabs=slabs,
    )


def report_pool(pool: Pool, timeout_s: float = TIMEOUT_S) -> list[NodeReport]:
    """Ask all nodes of a pool at once, in the pool's order."""
    return report_nodes(pool.nodes, timeout_s)


def report_nodes(
    nodes: Iterable[Node], timeout_s: float = TIMEOUT_S, resolver: Resolver | None = None
) -> list[NodeReport]:
    """Ask these nodes at once, each in a thread. `resolver`: as with `report_of`."""
    those = list(nodes)
    with ThreadPoolExecutor(min(THREADS_MAX, len(those)), thread_name_prefix="memsession-report") as threads:
        return list(threads.map(lambda node: report_of(node, timeout_s, resolver), those))


def _state(problem: Exception) -> tuple[NodeState, str]:
    """What a failure means, and what to do about it."""
    match problem:
        case NotMemcached():
            return NodeState.OTHER, f"no memcached answers here: {problem}. Is the port right?"
        case TimeoutError():
            return NodeState.SILENT, "no answer. Does the machine run, is a firewall in between, does it hang?"
        case Unresolved():
            return NodeState.UNKNOWN, f"{problem}. Is it spelt right, does the resolver of this machine answer?"
        case ConnectionRefusedError():
            return NodeState.REFUSED, "nothing listens here. Does memcached run, and is the port right?"
        case ConnectionError():
            return (
                NodeState.LOST,
                f"{problem.strerror or problem}. Is it memcached, and has it connections left (-c)?",
            )
        case _:
            reason = problem.strerror if isinstance(problem, OSError) else None
            why = f"it cannot be reached: {reason or problem}"
            return NodeState.SILENT, f"{why}. Is the address right, is there a way to it, may this user take it?"
