"""Which nodes are worth asking, and what to tell when that changes.

A node is *up* until something says otherwise, and *out* until something says that it is back. How it comes back
depends on how it failed:

- It refused the connection, or spoke nonsense: the next request after one second tries again itself, for a refusal
  costs a fifth of a millisecond.
- It closed an established connection (killed, restarted, idle for too long): the next request tries again at once,
  for the connect will tell; but no more than once a second, lest a node that closes every connection get one from
  every request.
- It was silent until the time-out: no request waits for it again. It is probed beside the requests, after 0.25 s,
  then after twice as long each time, up to 5 s, a little earlier by chance so that not all web servers knock at once.

Nothing here waits, asks the time or draws a number by itself. Several threads may tell and ask at once; observers are
called by the one that made the difference, and never while others are kept waiting.
"""

import threading
from collections.abc import Callable, Iterable, MutableMapping
from dataclasses import dataclass
from enum import Enum

from memsession.events import NodeBack, NodeForgot, NodeOut, Observer, SameProcess

RETRY_S = 1.0
PROBE_FIRST_S = 0.25
PROBE_LAST_S = 5.0
JITTER = 0.25


class Fault(Enum):
    """The ways in which a node fails; each has its own way back."""

    REFUSED = "refused"
    LOST = "lost"
    SILENT = "silent"


@dataclass(slots=True)
class _Outage:
    """Why a node is out, when a request may try it (never: None), and how often it failed so before."""

    fault: Fault
    retry_at: float | None
    probes: int = 0


class Health:
    """What is known of each node. `monotonic` gives seconds, `chance` a number from 0 up to 1."""

    def __init__(
        self, nodes: Iterable[str], *, monotonic: Callable[[], float], chance: Callable[[], float], observe: Observer
    ) -> None:
        self._monotonic = monotonic
        self._chance = chance
        self._observe = observe
        self._lock = threading.Lock()
        self._outages: dict[str, _Outage | None] = dict.fromkeys(nodes)
        self._tried_at: dict[str, float] = dict.fromkeys(self._outages, -RETRY_S)

    def is_up(self, node: str) -> bool:
        """Whether the node is not known to be out."""
        return self._outages[node] is None

    def claim(self, node: str) -> bool:
        """Whether the caller is the request that may try an out node now. For the next second nobody else may."""
        if self._outages[node] is None:
            return False
        with self._lock:
            outage, now = self._outages[node], self._monotonic()
            if outage is None or outage.retry_at is None or now < outage.retry_at:
                return False
            outage.retry_at = now + RETRY_S
            return True

    def tried(self, node: str) -> None:
        """A connection to the node is being opened."""
        self._tried_at[node] = self._monotonic()

    def succeeded(self, node: str) -> None:
        """The node answered: it is up."""
        with self._lock:
            before, self._outages[node] = self._outages[node], None
        if before is not None:
            self._observe(NodeBack(node))

    def failed(self, node: str, fault: Fault, reason: str) -> None:
        """The node did not answer, or not properly: it is out."""
        retry_at = {
            Fault.REFUSED: self._monotonic() + RETRY_S,
            Fault.LOST: self._tried_at[node] + RETRY_S,
            Fault.SILENT: None,
        }
        with self._lock:
            before = self._outages[node]
            probes = before.probes + 1 if before is not None and before.fault is fault else 0
            self._outages[node] = _Outage(fault, retry_at[fault], probes)
        if before is None:
            self._observe(NodeOut(node, reason))

    def probe_pause_s(self, node: str) -> float | None:
        """How long to wait before the node is probed beside the requests; None if it is not to be probed."""
        outage = self._outages[node]
        if outage is None or outage.fault is not Fault.SILENT:
            return None
        pause = min(PROBE_LAST_S, PROBE_FIRST_S * 2.0 ** min(outage.probes, 16))
        return pause * (1.0 - JITTER * self._chance())


def recognise(incarnations: MutableMapping[str, str], node: str, incarnation: str, observe: Observer) -> None:
    """Note which process answers to a node's name; tell when it is another one, or one known by another name."""
    before = incarnations.get(node)
    incarnations[node] = incarnation
    if before == incarnation:
        return
    if before is not None:
        observe(NodeForgot(node))
    same = tuple(sorted(name for name, other in incarnations.items() if other == incarnation))
    if len(same) > 1:
        observe(SameProcess(same))
