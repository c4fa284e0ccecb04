"""Hints: tombstones that a node has missed, kept by the process that wrote them until the node can be told.

They are the fast way, and die with their process. The sure way is the scan of a node that was away.
"""

from collections.abc import Callable
from threading import Lock

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
    """By node and key. When there are too many the oldest goes. Requests add some while a worker delivers.

    Of two tombstones of one session the greater one counts, as everywhere.
    """

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, bytes], Dead] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        """Tombstones that wait."""
        return len(self._waiting)

    def add(self, node: str, key: bytes, dead: Dead) -> None:
        """Remember that the node has to be told."""
        with self._lock:
            known = self._waiting.get((node, key), dead)
            self._waiting[node, key] = max(known, dead)
            if len(self._waiting) > HINTS_MAX:
                del self._waiting[next(iter(self._waiting))]

    def deliver(self, world: World, is_known: Callable[[str], bool], observe: Observe) -> Chore[None]:
        """Tell the nodes that answer; what cannot be delivered is kept, unless the pool has no such node any more."""
        away: set[str] = set()
        with self._lock:
            waiting = list(self._waiting.items())
        for begin in range(0, len(waiting), BATCH):
            now = [(node, key, dead) for (node, key), dead in waiting[begin : begin + BATCH] if node not in away]
            for node, key, dead in now:
                if not is_known(node):
                    self._done(node, key, dead)
            now = [(node, key, dead) for node, key, dead in now if is_known(node)]
            if not now:
                continue
            told = yield together([tell(world, key, dead, node) for node, key, dead in now])
            for (node, key, dead), done in zip(now, told, strict=True):
                if not done:
                    away.add(node)
                elif self._done(node, key, dead):
                    observe(TombstoneDelivered(node, short(key)))

    def _done(self, node: str, key: bytes, dead: Dead) -> bool:
        """It waits no longer, unless there is a greater one by now."""
        with self._lock:
            if self._waiting.get((node, key)) != dead:
                return False
            del self._waiting[node, key]
            return True
