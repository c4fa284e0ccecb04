"""What happens to memcached nodes, and to the pool of them."""

import logging
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class NodeEvent:
    """Something happened to a node, or to the pool.

    `level` is the level of the log, `text` what the log says, with the names of fields in it.
    """

    level: ClassVar[int] = logging.INFO
    text: ClassVar[str] = ""


@dataclass(frozen=True, slots=True)
class NodeOut(NodeEvent):
    """The node is not asked any more, for this reason."""

    node: str
    reason: str
    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "memcached node %(node)s is out: %(reason)s"


@dataclass(frozen=True, slots=True)
class NodeBack(NodeEvent):
    """The node, which was out, answers again."""

    node: str
    text: ClassVar[str] = "memcached node %(node)s is back"


@dataclass(frozen=True, slots=True)
class NodeSlow(NodeEvent):
    """The node has been silent for 50 ms: nobody else waits for it, until it answers or is out."""

    node: str
    level: ClassVar[int] = logging.DEBUG
    text: ClassVar[str] = "memcached node %(node)s is slow: nobody else waits for it"


@dataclass(frozen=True, slots=True)
class NodeForgot(NodeEvent):
    """The node does not know its incarnation any more: it restarted or was flushed, and has lost what it held.

    It may be a false alarm: memcached may also have evicted that one item.
    """

    node: str
    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "memcached node %(node)s has restarted or was flushed: it is empty"


@dataclass(frozen=True, slots=True)
class SameProcess(NodeEvent):
    """These names stand for one memcached process, so several copies of a session lie in one place."""

    nodes: tuple[str, ...]
    level: ClassVar[int] = logging.ERROR
    text: ClassVar[str] = (
        "these nodes are one memcached process, so copies there are lost together; give each an address of its "
        "own: %(nodes)s"
    )


@dataclass(frozen=True, slots=True)
class RefillBegan(NodeEvent):
    """The copies that belong on the node are being compared with the other copies, and brought up to date.

    `why`: "forgot" (it restarted, was flushed, or is new), "missed" (it was away, and may have missed a logout) or
    "moved" (the pool has changed).
    """

    node: str
    why: str = "forgot"
    text: ClassVar[str] = "refill of memcached node %(node)s begins: %(why)s"


@dataclass(frozen=True, slots=True)
class RefillProgress(NodeEvent):
    """A refill goes on: sessions looked at so far, of how many that are known, and copies written to the node."""

    node: str
    looked_at: int = 0
    known: int = 0
    written: int = 0
    level: ClassVar[int] = logging.DEBUG
    text: ClassVar[str] = "refill of memcached node %(node)s: %(looked_at)s of %(known)s sessions, %(written)s copied"


@dataclass(frozen=True, slots=True)
class RefillDone(NodeEvent):
    """The node has its copies of all sessions again that any other node knows."""

    node: str
    looked_at: int = 0
    written: int = 0
    seconds: float = 0.0
    text: ClassVar[str] = (
        "refill of memcached node %(node)s is done: %(looked_at)s sessions, %(written)s copied, in %(seconds).1f s"
    )


@dataclass(frozen=True, slots=True)
class RefillFailed(NodeEvent):
    """A refill is not complete: another node cannot be asked, for instance. It goes on when it can."""

    node: str
    reason: str
    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "refill of memcached node %(node)s is not complete, and goes on when it can: %(reason)s"


@dataclass(frozen=True, slots=True)
class TombstoneDelivered(NodeEvent):
    """A node that had missed the end of a session was told."""

    node: str
    session: str
    text: ClassVar[str] = "memcached node %(node)s was told that session %(session)s is over"


@dataclass(frozen=True, slots=True)
class PoolsDiffer(NodeEvent):
    """Another web server has another pool, and neither has the other's as `previous`.

    `ours` and `theirs`: the nodes that only one of them names; none, if weights, zones or copies differ. Sessions may
    seem to be lost.
    """

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    level: ClassVar[int] = logging.ERROR
    text: ClassVar[str] = (
        "another web server uses another pool (only here: %(ours)s; only there: %(theirs)s): give all the same "
        "nodes, weights, zones and copies, and change them with previous=Pool(...)"
    )


@dataclass(frozen=True, slots=True)
class PoolReplaced(NodeEvent):
    """More of the pool has changed than one copy of a session can bear, and without `previous`.

    `ours` and `theirs`: the nodes that only the pool of now, or of before, names.
    """

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    level: ClassVar[int] = logging.ERROR
    text: ClassVar[str] = (
        "the pool was changed without previous=Pool(...), so sessions may be lost (new: %(ours)s; gone: "
        "%(theirs)s): "
        "give the pool as it was before as `previous` until MoveDone is told"
    )


@dataclass(frozen=True, slots=True)
class MoveDone(NodeEvent):
    """All sessions lie where this pool wants them: `previous` may be taken away."""

    text: ClassVar[str] = "the move to this pool is done: `previous` may be taken away on all web servers"


@dataclass(frozen=True, slots=True)
class UpkeepFailed(NodeEvent):
    """The worker behind the requests met an error, and goes on later."""

    reason: str
    level: ClassVar[int] = logging.ERROR
    text: ClassVar[str] = "the upkeep of the pool failed, and goes on later: %(reason)s"
