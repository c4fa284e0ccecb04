"""From events to readings: what each event adds to which measure. Nothing else is needed to know it."""

from collections.abc import Sequence
from typing import Final

from memsession.events import (
    AnyEvent,
    ChangesDropped,
    ChangesForgotten,
    ChangesUnsaved,
    CookieRefused,
    Created,
    Ended,
    InDoubt,
    Loaded,
    LockBusy,
    LockExpired,
    Moved,
    MoveDone,
    NodeBack,
    NodeForgot,
    NodeOut,
    NodeSlow,
    NotThere,
    PoolReplaced,
    PoolsDiffer,
    RefillBegan,
    RefillDone,
    RefillFailed,
    RefillProgress,
    SameProcess,
    Saved,
    SaveFailed,
    TombstoneDelivered,
    TombstoneMissed,
    TooFewCopies,
    Unanswered,
    Unreadable,
    UpkeepFailed,
)
from memsession.metrics import measures
from memsession.metrics.measures import Reading
from memsession.upkeep.moving import ALL as ALL_NODES

_ALONE: Final[dict[type, tuple[Reading, ...]]] = {
    Created: (Reading(measures.BEGUN),),
    Moved: (Reading(measures.MOVED),),
    Ended: (Reading(measures.ENDED),),
    InDoubt: (Reading(measures.LOADS, labels=("in_doubt",)),),
    Unreadable: (Reading(measures.LOADS, labels=("unreadable",)),),
    Unanswered: (Reading(measures.LOADS, labels=("unanswered",)),),
    SaveFailed: (Reading(measures.SAVES_FAILED),),
    ChangesDropped: (Reading(measures.CHANGES_LOST, labels=("ended",)),),
    ChangesForgotten: (Reading(measures.CHANGES_LOST, labels=("forgotten",)),),
    ChangesUnsaved: (Reading(measures.CHANGES_LOST, labels=("outage",)),),
    LockExpired: (Reading(measures.CHANGES_LOST, labels=("lock_expired",)),),
    SameProcess: (Reading(measures.POOL_WRONG, labels=("same_process",)),),
    PoolsDiffer: (Reading(measures.POOL_WRONG, labels=("pools_differ",)),),
    PoolReplaced: (Reading(measures.POOL_WRONG, labels=("pool_replaced",)),),
    MoveDone: (Reading(measures.MOVES), Reading(measures.REFILL_RUNNING, 0.0, (ALL_NODES,))),
    UpkeepFailed: (Reading(measures.UPKEEP_FAILURES),),
}
"""Events that always say the same."""

_FOUND: Final = (Reading(measures.LOADS, labels=("found",)),)
_SAVED: Final = (Reading(measures.SAVED),)


def readings(event: AnyEvent) -> Sequence[Reading]:
    """What an event adds; nothing, if it is none of memsession's."""
    match event:
        case Loaded(repaired=()):
            return _FOUND
        case Saved(conflicts=0):
            return _SAVED
    return _ALONE.get(type(event)) or _of_session(event) or _of_node(event)


def _of_session(event: AnyEvent) -> tuple[Reading, ...]:
    match event:
        case Loaded(repaired=nodes):
            return (*_FOUND, *(Reading(measures.REPAIRED, labels=(node,)) for node in nodes))
        case Saved(conflicts=conflicts):
            return (*_SAVED, Reading(measures.CONFLICTS, conflicts))
        case NotThere(why=why):
            return (Reading(measures.LOADS, labels=(measures.FOUND.value_of(why),)),)
        case TooFewCopies(outcome=outcome):
            found = measures.FOUND.value_of(f"too_few_{outcome.replace(' ', '_')}")
            return (Reading(measures.LOADS, labels=(found,)),)
        case CookieRefused(conflict=conflict):
            return (Reading(measures.COOKIES_REFUSED, labels=("conflict" if conflict else "signature",)),)
        case LockBusy(outcome=outcome):
            return (Reading(measures.LOCKS_BUSY, labels=(measures.BUSY.value_of(outcome),)),)
        case TombstoneMissed(nodes=nodes):
            return tuple(Reading(measures.TOMBSTONES_MISSED, labels=(node,)) for node in nodes)
        case _:
            return ()


def _of_node(event: AnyEvent) -> tuple[Reading, ...]:
    match event:
        case NodeOut(node):
            return (Reading(measures.NODE_OUT, 1.0, (node,)), Reading(measures.OUTAGES, labels=(node,)))
        case NodeBack(node):
            return (Reading(measures.NODE_OUT, 0.0, (node,)),)
        case NodeSlow(node):
            return (Reading(measures.SLOW, labels=(node,)),)
        case NodeForgot(node):
            return (Reading(measures.FORGOT, labels=(node,)),)
        case TombstoneDelivered(node):
            return (Reading(measures.TOMBSTONES_DELIVERED, labels=(node,)),)
        case RefillBegan(node, why):
            begun = Reading(measures.REFILLS_BEGUN, labels=(node, measures.WHY.value_of(why)))
            return (begun, *_refill(node, running=True))
        case RefillProgress(node, looked_at, known, written):
            return _refill(node, looked_at, known, written, running=True)
        case RefillDone(node, looked_at, written, seconds):
            took = Reading(measures.REFILL_DURATION, seconds, (node,))
            done = Reading(measures.REFILLS_DONE, labels=(node,))
            return (done, took, *_refill(node, looked_at, looked_at, written, running=False))
        case RefillFailed(node):
            failed = Reading(measures.REFILLS_FAILED, labels=(node,))
            return (failed, Reading(measures.REFILL_RUNNING, 0.0, (node,)))
        case _:
            return ()


def _refill(node: str, looked_at: int = 0, known: int = 0, written: int = 0, *, running: bool) -> tuple[Reading, ...]:
    return (
        Reading(measures.REFILL_RUNNING, float(running), (node,)),
        Reading(measures.LOOKED_AT, looked_at, (node,)),
        Reading(measures.KNOWN, known, (node,)),
        Reading(measures.WRITTEN, written, (node,)),
    )
