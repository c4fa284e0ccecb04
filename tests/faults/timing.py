"""How long visitors waited, all of them and those of each web server. Told in reports, never judged in tests."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.faults.cluster import WEBS
from tests.faults.history import History, Op

WORST_MS = 1_000.0
CALM_S = 3.0
"""So long after a node began to hang nobody waits for it any more."""


@dataclass
class Timing:
    """Milliseconds. `worst` by web server; with a hanging node also the 99th of 100 before and during the hang."""

    worst: dict[str, float] = field(default_factory=dict)
    healthy_p99: dict[str, float] = field(default_factory=dict)
    hanging_p99: dict[str, float] = field(default_factory=dict)


def timing(history: History) -> Timing:
    """What a history says of waiting. Requests that were held on purpose, or given up, are left out."""
    ops = [op for op in history.ops if op.kind != "write" and op.status > 0 and op.phase == ""]
    told = Timing()
    struck, eased = history.notes.get("struck"), history.notes.get("eased")
    for web in WEBS:
        own = [op for op in ops if op.web == web]
        told.worst[web] = max((_ms(op) for op in own), default=0.0)
        if struck is not None and eased is not None:
            told.healthy_p99[web] = percentile((_ms(op) for op in own if op.ended < struck), 0.99)
            calm = (op for op in own if struck + CALM_S < op.begun and op.ended < eased)
            told.hanging_p99[web] = percentile((_ms(op) for op in calm), 0.99)
    return told


def too_slow(told: Timing) -> list[str]:
    """What is not as promised of a hanging node: at most a second for anybody, and soon nobody waits any more."""
    problems = [f"worst {ms:.0f} ms at {web}" for web, ms in told.worst.items() if ms > WORST_MS]
    for web, ms in told.hanging_p99.items():
        limit = 3.0 * told.healthy_p99[web] + 5.0
        if ms > limit:
            problems.append(f"p99 {ms:.1f} ms at {web}, more than {limit:.1f} ms")
    return problems


def _ms(op: Op) -> float:
    return 1_000.0 * (op.ended - op.begun)


def percentile(values: Iterable[float], share: float) -> float:
    """The value that `share` of all do not exceed; 0 without any."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
