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

In between a node may be *suspect*: somebody has waited a fifth of the time-out (50 ms) for it, and goes on waiting.
Nobody else does, where another node can answer in its place; but it is not out, and neither tried again nor probed.
The suspicion ends with any reply, when the node is out, or by itself when the one who waits would be done: for that
one may have been interrupted, and nobody would be left to say how it ended.

Nothing here waits, asks the time or draws a number by itself. Several threads may tell and ask at once; observers are
called by the one that made the difference, and never while others are kept waiting.
"""

import math
import threading
from collections.abc import Callable, Iterable, MutableMapping
from dataclasses import dataclass
from enum import Enum

from memsession.events import NodeBack, NodeForgot, NodeOut, NodeSlow, Observer, SameProcess

RETRY_S = 1.0
PROBE_FIRST_S = 0.25
PROBE_LAST_S = 5.0
JITTER = 0.25

OUT_TIMEOUT_S = 0.05
"""What a command waits for a silent node to connect: for one that was wrongly thought out, that is plenty."""

KNOCKED_TIMEOUT_S = 0.005
"""The same, when a knock was not answered for the whole time-out: nothing speaks for the node any more."""

SUSPECT_SHARE = 0.2
"""The part of the time-out that a node may be silent before nobody else waits for it: 50 ms of 0.25 s."""

LATE_S = 0.05
"""Who looks at the clock so much later than it meant to was stopped or kept busy, and so perhaps was the node."""

TOLD_S = 1.0
"""A node that is slow again and again is told once in this time."""


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
    """What is known of each node. `monotonic` gives seconds, `chance` a number from 0 up to 1.

    `suspects` is empty while nobody is suspect: that much a round can ask without a call.
    """

    def __init__(
        self, nodes: Iterable[str], *, monotonic: Callable[[], float], chance: Callable[[], float], observe: Observer
    ) -> None:
        self.suspects: dict[str, float] = {}
        self._monotonic = monotonic
        self._chance = chance
        self._observe = observe
        self._lock = threading.Lock()
        self._outages: dict[str, _Outage | None] = dict.fromkeys(nodes)
        self._tried_at: dict[str, float] = {}
        self._told_at: dict[str, float] = {}

    def is_up(self, node: str) -> bool:
        """Whether nothing speaks against the node: it is neither out nor suspect."""
        return not self.is_out(node) and not (self.suspects and self.is_suspect(node))

    def is_out(self, node: str) -> bool:
        """Whether the node is out. One that was never heard of is not."""
        return self._outages.get(node) is not None

    def is_suspect(self, node: str) -> bool:
        """Whether somebody waits for the node already, and has done so for long."""
        until = self.suspects.get(node)
        if until is not None and self._monotonic() >= until:
            self.suspects.pop(node, None)
            return False
        return until is not None

    def forget(self, node: str) -> None:
        """Nothing is known of the node any more: it is gone, or somewhere else."""
        for known in (self._outages, self.suspects, self._tried_at, self._told_at):
            known.pop(node, None)

    def claim(self, node: str) -> bool:
        """Whether the caller is the request that may try an out node now. For the next second nobody else may."""
        if not self.is_out(node):
            return False
        with self._lock:
            outage, now = self._outages.get(node), self._monotonic()
            if outage is None or outage.retry_at is None or now < outage.retry_at:
                return False
            outage.retry_at = now + RETRY_S
            return True

    def tried(self, node: str) -> None:
        """A connection to the node is being opened."""
        self._tried_at[node] = self._monotonic()

    def slow(self, node: str, until: float) -> None:
        """The node has been silent for long; whoever waits for it knows more at `until`."""
        with self._lock:
            if self.is_out(node):
                return
            news = not self.is_suspect(node)
            self.suspects[node] = max(until, self.suspects.get(node, until))
            now = self._monotonic()
            if news := news and now >= self._told_at.get(node, -math.inf) + TOLD_S:
                self._told_at[node] = now
        if news:
            self._observe(NodeSlow(node))

    def answered(self, node: str) -> None:
        """The node has answered now, or the one who waited for it will never know."""
        self.suspects.pop(node, None)

    def succeeded(self, node: str) -> None:
        """The node answered on a new connection: it is up."""
        with self._lock:
            before, self._outages[node] = self._outages.get(node), None
            self.suspects.pop(node, None)
        if before is not None:
            self._observe(NodeBack(node))

    def failed(self, node: str, fault: Fault, reason: str) -> None:
        """The node did not answer, or not properly: it is out."""
        now = self._monotonic()
        retry_at = {
            Fault.REFUSED: now + RETRY_S,
            Fault.LOST: self._tried_at.get(node, now - RETRY_S) + RETRY_S,
            Fault.SILENT: None,
        }
        with self._lock:
            before = self._outages.get(node)
            probes = before.probes + 1 if before is not None and before.fault is fault else 0
            self._outages[node] = _Outage(fault, retry_at[fault], probes)
            self.suspects.pop(node, None)
        if before is None:
            self._observe(NodeOut(node, reason))

    def patience_s(self, node: str) -> float:
        """How long one who insists waits for a node that is out to connect, at most; beside the node's time-out.

        One that was silent may be so again, and nobody waits that long; the less when it was knocked at in vain.
        One that refused says so again at once, or it is back, and perhaps busy: it may be all that is left.
        """
        outage = self._outages.get(node)
        if outage is None or outage.fault is not Fault.SILENT:
            return math.inf
        return KNOCKED_TIMEOUT_S if outage.probes else OUT_TIMEOUT_S

    def probe_pause_s(self, node: str) -> float | None:
        """How long to wait before the node is probed beside the requests; None if it is not to be probed."""
        outage = self._outages.get(node)
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
