"""What is measured: a table from which the metrics of Prometheus and of OpenTelemetry are made alike.

Names and units are written as OpenTelemetry has them. The names for Prometheus follow by the rules by which its
exporters translate: dots become underscores, a unit that is one (`s`) becomes a word, counters end in `_total`.

A label has few values, which are all known beforehand, or it is the name of a node. No session, no reason that is
free text is ever among them: each value of a label is a time series for as long as the process lives.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

PREFIX: Final = "memsession"
OTHER: Final = "other"
"""In place of a value that is not among those of its label."""

_UNITS: Final = {"s": "_seconds"}


class Kind(Enum):
    """What happens to a measure's value."""

    COUNTER = "counter"
    """It is added to."""

    GAUGE = "gauge"
    """It is replaced."""

    DURATION = "histogram"
    """It is one of many, of which the distribution matters; in seconds."""


class Label(NamedTuple):
    """A label and its values. Without values: the name of a node."""

    name: str
    values: tuple[str, ...] = ()

    def value_of(self, text: str) -> str:
        """The same text, if it is one of the values."""
        return text if text in self.values else OTHER


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measure:
    """Something that is counted. `name` without the prefix; `text` says what of."""

    name: str
    kind: Kind
    unit: str
    text: str
    labels: tuple[Label, ...] = ()

    @property
    def dotted(self) -> str:
        """The name as OpenTelemetry has it."""
        return f"{PREFIX}.{self.name}"

    @property
    def snake(self) -> str:
        """The name as Prometheus has it."""
        total = "_total" if self.kind is Kind.COUNTER else ""
        return f"{PREFIX}_{self.name.replace('.', '_')}{_UNITS.get(self.unit, '')}{total}"

    def series(self, nodes: Sequence[str]) -> Iterator[tuple[str, ...]]:
        """The values of all labels, in all combinations, with these nodes."""
        return itertools.product(*(label.values or nodes for label in self.labels))


class Reading(NamedTuple):
    """A measure's new value, or what is added to it. `labels` are values, in the measure's order."""

    measure: Measure
    value: float = 1.0
    labels: tuple[str, ...] = ()


NODE: Final = Label("node")
FOUND: Final = Label(
    "outcome",
    (
        *("found", "ended", "expired", "unknown"),
        *("in_doubt", "unreadable", "unanswered", "too_few_refused", "too_few_shown_empty"),
    ),
)
BUSY: Final = Label("outcome", ("error", "read_only", "merge"))
REFUSED: Final = Label("reason", ("signature", "conflict"))
LOST: Final = Label("reason", ("ended", "forgotten", "lock_expired", "outage"))
WRONG: Final = Label("reason", ("pools_differ", "pool_replaced", "same_process"))
WHY: Final = Label("reason", ("forgot", "missed", "moved"))


def _counter(name: str, unit: str, text: str, *labels: Label) -> Measure:
    return Measure(name=name, kind=Kind.COUNTER, unit=f"{{{unit}}}", text=text, labels=labels)


def _gauge(name: str, unit: str, text: str) -> Measure:
    return Measure(name=name, kind=Kind.GAUGE, unit=f"{{{unit}}}", text=text, labels=(NODE,))


LOADS = _counter("loads", "load", "Requests that came with a session's ID, by what was found", FOUND)
BEGUN = _counter("sessions.begun", "session", "New sessions that were stored")
SAVED = _counter("sessions.saved", "session", "Requests whose changes were stored")
MOVED = _counter("sessions.moved", "session", "Sessions that went on under a new ID, as at a login")
ENDED = _counter("sessions.ended", "session", "Sessions that a request ended: logouts")
SAVES_FAILED = _counter("saves.failed", "save", "Changes that no node acknowledged, or too few: answered 503")
CHANGES_LOST = _counter("changes.lost", "request", "Requests whose changes were not saved", LOST)
CONFLICTS = _counter("conflicts.merged", "conflict", "Saves that another request came before, and that were merged")
REPAIRED = _counter("copies.repaired", "copy", "Copies that the node had lost, and that a request wrote again", NODE)
COOKIES_REFUSED = _counter("cookies.refused", "cookie", "Session cookies that were refused", REFUSED)
LOCKS_BUSY = _counter("locks.busy", "request", "Requests that waited for a session's lock in vain", BUSY)
TOMBSTONES_MISSED = _counter("tombstones.missed", "tombstone", "Ends of sessions that the node did not hear of", NODE)
TOMBSTONES_DELIVERED = _counter("tombstones.delivered", "tombstone", "Ends that the node was told of later", NODE)

NODE_OUT = _gauge("node.out", "node", "1 while this process does not ask the node, because it has failed")
OUTAGES = _counter("node.outages", "outage", "How often the node went out", NODE)
SLOW = _counter("node.slow", "event", "How often the node was so slow that nobody else waited for it", NODE)
FORGOT = _counter("node.forgot", "event", "How often the node had restarted or was flushed", NODE)
POOL_WRONG = _counter("pool.wrong", "event", "Mistakes in how pools are configured that were noticed", WRONG)
MOVES = _counter("pool.moves", "move", "Moves to another pool that are done, as each process tells it")

REFILLS_BEGUN = _counter("refills.begun", "refill", "Refills of the node that this process began", NODE, WHY)
REFILLS_DONE = _counter("refills.done", "refill", "Refills of the node that are complete", NODE)
REFILLS_FAILED = _counter("refills.failed", "refill", "Refills of the node that are not complete", NODE)
REFILL_RUNNING = _gauge("refill.running", "refill", "1 while this process refills the node")
LOOKED_AT = _gauge("refill.looked_at", "session", "Sessions that the node's last refill has looked at")
KNOWN = _gauge("refill.known", "session", "Sessions that are known to the node's last refill")
WRITTEN = _gauge("refill.written", "copy", "Copies that the node's last refill has written")
REFILL_DURATION = Measure(
    name="refill.duration",
    kind=Kind.DURATION,
    unit="s",
    text="How long complete refills of the node took",
    labels=(NODE,),
)
UPKEEP_FAILURES = _counter("upkeep.failures", "failure", "Errors of the worker behind the requests")

ALL: Final = (
    *(LOADS, BEGUN, SAVED, MOVED, ENDED, SAVES_FAILED, CHANGES_LOST, CONFLICTS, REPAIRED, COOKIES_REFUSED),
    *(LOCKS_BUSY, TOMBSTONES_MISSED, TOMBSTONES_DELIVERED),
    *(NODE_OUT, OUTAGES, SLOW, FORGOT, POOL_WRONG, MOVES),
    *(REFILLS_BEGUN, REFILLS_DONE, REFILLS_FAILED, REFILL_RUNNING, LOOKED_AT, KNOWN, WRITTEN, REFILL_DURATION),
    UPKEEP_FAILURES,
)
