"""Hints: tombstones that a node has missed, kept by the process that wrote them until the node can be told.

They are the fast way, and die with their process. The sure way is the scan of a node that was away.
"""

from collections.abc import Callable

from memsession.events import Observe, TombstoneDelivered
from memsession.identity import short
from memsession.plans import World
from memsession.plans.tell import tell
from memsession.plans.together import together
from memsession.record import Dead
from memsession.upkeep.chores import Chore

HINTS_MAX = 10_000
BATCH = 32


class Hints:
    """By node and key. When there are too many the oldest goes. Requests add some while a worker delivers."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, bytes], Dead] = {}

    def __len__(self) -> int:
        """Tombstones that wait."""
        return len(self._waiting)

    def add(self, node: str, key: bytes, dead: Dead) -> None:
        """Remember that the node has to be told."""
        self._waiting[node, key] = dead
        if len(self._waiting) > HINTS_MAX:
            # One operation each, which Python does as a whole: requests in several threads add some.
            self._waiting.pop(next(iter(self._waiting.copy())), None)

    def deliver(self, world: World, is_known: Callable[[str], bool], observe: Observe) -> Chore[None]:
        """Tell the nodes that answer; what cannot be delivered is kept, unless the pool has no such node any more."""
        away: set[str] = set()
        waiting = list(self._waiting.copy().items())
        for begin in range(0, len(waiting), BATCH):
            now = [(node, key, dead) for (node, key), dead in waiting[begin : begin + BATCH] if node not in away]
            for node, key, _ in now:
                if not is_known(node):
                    self._waiting.pop((node, key), None)
            now = [(node, key, dead) for node, key, dead in now if is_known(node)]
            if not now:
                continue
            told = yield together([tell(world, key, dead, node) for node, key, dead in now])
            for (node, key, _), done in zip(now, told, strict=True):
                if not done:
                    away.add(node)
                elif self._waiting.pop((node, key), None) is not None:
                    observe(TombstoneDelivered(node, short(key)))
