"""The pool's clock: the time that all web servers of a pool agree on, in milliseconds since 1970 (UTC).

Idle and absolute ends of sessions are judged by it. With each web server's own clock, a single wrong one would end
everybody's sessions or keep them for ever. So each takes the median of what the nodes' clocks say and its own: one
wrong clock among three has no say. A node tells its time, in whole seconds, whenever a connection to it is opened;
in between, the monotonic clock of this process goes on, which nobody sets.

Where only one node is known, its time is taken as it stands. The median of two is their mean, and each web server
would mix in half of its own error; with the node's time alone they agree at least with each other.

When a node is heard, the median may move. Forward, the clock steps. Backward, by less than two seconds, it stands
still until it is right again: whole seconds and a clock just set make such steps, and time that runs backwards in
them would confuse more than it cures. Backward by more, it steps at once: then it was wrong before, and to stand
still for as long as that was would be wrong for longer.
"""

import statistics
from collections.abc import Callable

BACKWARD_MS_MAX = 2_000
HALF_SECOND_MS = 500


class PoolClock:
    """See the top of this file. `monotonic` and `wall` give seconds, as `time.monotonic` and `time.time` do."""

    def __init__(self, *, monotonic: Callable[[], float], wall: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._offsets_ms: dict[str, float] = {}
        self._latest_ms = 0
        self._offset_ms = self._median_ms()

    def now_ms(self) -> int:
        """Milliseconds since 1970, UTC. It goes back only for a correction of two seconds or more."""
        now = int(self._monotonic() * 1000.0 + self._offset_ms)
        # No lock, which a forked process might inherit closed. Threads that ask at once may cross; each is right.
        latest = self._latest_ms
        if now >= latest or now <= latest - BACKWARD_MS_MAX:
            self._latest_ms = latest = now
        return latest

    def observe(self, node: str, unix_time_s: int) -> None:
        """A node just said that it is `unix_time_s`. On average half of that second is over."""
        self._offsets_ms[node] = unix_time_s * 1000.0 + HALF_SECOND_MS - self._monotonic() * 1000.0
        self._offset_ms = self._median_ms()

    def _median_ms(self) -> float:
        nodes = list(self._offsets_ms.values())
        own = (self._wall() - self._monotonic()) * 1000.0
        return nodes[0] if len(nodes) == 1 else statistics.median([*nodes, own])
