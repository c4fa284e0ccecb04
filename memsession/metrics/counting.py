"""An observer that counts, whatever it counts with; and passes every event on."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final

from memsession.events import AnyEvent, Observe
from memsession.metrics.measures import ALL, NODE_OUT, REFILL_RUNNING, Kind, Reading
from memsession.metrics.readings import readings
from memsession.pool import Pool

_SAYS_NOW: Final = (NODE_OUT, REFILL_RUNNING)
"""Gauges that tell of a node as it is, and not as it was."""


class Counting(ABC):
    """Call it with every event, from any thread.

    With `pool`, the series of its nodes are there from the start, with 0, as those are that have no node. Without it
    they appear with their first event, which rules that look at an increase do not see. `then` is called with every
    event as well; None: nobody is.
    """

    def __init__(self, pool: Pool | None, then: Observe | None) -> None:
        self._then = then
        self._nodes: set[str] = set()
        self._begin(() if pool is None else [node.name for node in pool.all_nodes])

    def __call__(self, event: AnyEvent) -> None:
        """Count an event, and pass it on."""
        for reading in readings(event):
            if reading.measure in _SAYS_NOW:
                self._nodes.add(reading.labels[0])
            self._put(reading)
        if self._then is not None:
            self._then(event)

    def adopt(self, pool: Pool) -> None:
        """Go by another pool, after `reload`: a node that is not in it any more is not out, and not refilled."""
        names = [node.name for node in pool.all_nodes]
        for node in self._nodes.difference(names):
            for measure in _SAYS_NOW:
                self._put(Reading(measure, 0.0, (node,)))
        self._begin(names)

    def _begin(self, nodes: Sequence[str]) -> None:
        """Let all series be there that these nodes have."""
        for measure in ALL:
            for labels in measure.series(nodes):
                if measure.kind is Kind.GAUGE:
                    self._nodes.add(labels[0])
                self._expect(Reading(measure, 0.0, labels))

    @abstractmethod
    def _put(self, reading: Reading) -> None:
        """Add the value, replace it, or take it among the others."""

    @abstractmethod
    def _expect(self, reading: Reading) -> None:
        """Let the series be there, and leave it as it is if it is."""
