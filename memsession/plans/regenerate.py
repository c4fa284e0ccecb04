"""Regenerate: the session moves to a new ID, and the old ID is ended; nothing confirmed is left behind.

1. The record is stored under the new ID, its counters folded into plain values. Limits of its own that the session
   is given take the place of the old ones here and at every later merge; else the old ID's smaller deadline would
   come back with each change that is brought over.
2. A tombstone with this request's mark is put over every old home by compare-and-swap, also over homes thought
   out (they are read first). A home that refuses holds a change that came in between: it is read and merged, the
   merge is saved under the new ID, and only when that is confirmed the tombstone is tried again.
3. If the greatest tombstone met is not this request's, another request regenerated or ended the session first:
   the new ID is ended again, and no cookie is set.
4. If no old home was ended by compare-and-swap by the deadline, or the last save under the new ID is unconfirmed,
   nothing is ended blindly: the new ID is ended, and the caller reports it (503; the visitor tries again).
5. Homes that could not be asked get the tombstone blindly, once at least one home has it by compare-and-swap.

In strict mode "at least one" is a majority: then nobody sees the old ID alive any more.
"""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from memsession.commands import Cas, Conflict, NotFound, Stored, Token
from memsession.plans.end import INVALIDATED, end
from memsession.plans.load import load, read
from memsession.plans.outcomes import Found, LostRace, Regenerated, RegenerateOutcome, Saved, Unconfirmed
from memsession.plans.quorum import enough
from memsession.plans.save import create, save
from memsession.plans.world import Plan, World
from memsession.record import Dead, Live, Reason, fold, merge_live

RESERVE_S = 0.3
"""Kept of the time budget for ending the new ID (one reply time-out), should the move fail."""


class Limits(NamedTuple):
    """A session's own idle limit (0: the application's), and when it ends in any case; by the pool's clock."""

    idle_ms: int
    deadline_ms: int


@dataclass(slots=True)
class _Move:
    """How far the move has come. `record` is all that is known of the old ID, `floor` the highest stamp sent."""

    old: bytes
    new: bytes
    record: Live
    mine: Dead
    todo: dict[str, Token | None]
    deadline: float
    writer: str
    limits: Limits | None
    floor: int = 0
    grown: bool = False
    ended: set[str] = field(default_factory=set)
    met: list[Dead] = field(default_factory=list)

    def folded(self, above: Live | None = None) -> Live:
        """What goes under the new ID, stamped above everything read or sent so far."""
        record = fold(self.record, above=above, floor=self.floor, writer=self.writer)
        self.floor = max(self.floor, record.top)
        return record


def regenerate(
    world: World,
    old: bytes,
    new: bytes,
    record: Live,
    tokens: dict[str, Token],
    mark: str,
    deadline: float,
    limits: Limits | None = None,
) -> Plan[RegenerateOutcome]:
    """Move `record` (loaded from `old`, with this request's changes on top) to the ID stored under `new`.

    The session keeps its limits, or gets `limits`; when it began stays as it was.
    """
    todo: dict[str, Token | None] = {node: tokens.get(node) for node in world.homes(old)}
    mine = Dead(Reason.REGENERATED, mark)
    record = _limited(record, limits)
    move = _Move(old, new, record, mine, todo, deadline - RESERVE_S, world.nonce(), limits)
    outcome = yield from create(world, new, move.folded())
    if not isinstance(outcome, Saved):
        return Unconfirmed()
    # Once a home is ended, going on is better than the way back: the reserve is for that way.
    while move.todo and world.monotonic() < move.deadline + (RESERVE_S if move.ended else 0.0):
        yield from _end_old(world, move)
        yield from _save_growth(world, move)
    return (yield from _conclude(world, move))


def _limited(record: Live, limits: Limits | None) -> Live:
    """What is known of the old ID, with the limits that the new ID gets."""
    return record if limits is None else replace(record, idle_ms=limits.idle_ms, deadline_ms=limits.deadline_ms)


def _end_old(world: World, move: _Move) -> Plan[None]:
    """One attempt at every home still to do; afterwards `todo` holds those that must be tried again."""
    unread, silent = [node for node, token in move.todo.items() if token is None], list[str]()
    known = {node: token for node, token in move.todo.items() if token is not None}
    move.todo = {}
    if known:
        value, ttl = world.codec.seal(move.old, move.mine), world.lifetime.tombstone_ttl_s
        replies = yield [Cas(node, move.old, value, ttl, token) for node, token in known.items()]
        for node, reply in zip(known, replies, strict=True):
            match reply:
                case Stored():
                    move.ended.add(node)
                    move.met.append(move.mine)
                case Conflict() | NotFound():
                    unread.append(node)
                case _:
                    silent.append(node)
        if world.home_sets is not None and not enough(world, move.old, move.ended):
            unread += silent  # one reply that was lost must not decide
    if unread:
        yield from _read_old(world, move, unread)


def _read_old(world: World, move: _Move, nodes: list[str]) -> Plan[None]:
    copies = yield from read(world, move.old, nodes, force=True)
    for node, copy in copies.items():
        if copy is None:
            continue
        match copy.record:
            case Dead() as dead:
                move.met.append(dead)
                move.ended.add(node)
            case Live() as theirs:
                merged = _limited(merge_live(move.record, theirs), move.limits)
                move.grown = move.grown or merged != move.record
                move.record = merged
                move.todo[node] = copy.token
            case None:
                move.todo[node] = copy.token


def _save_growth(world: World, move: _Move) -> Plan[None]:
    """First into the new ID, only then is the old one ended."""
    if not move.grown:
        return
    loaded = yield from load(world, move.new)
    if isinstance(loaded, Found):
        merged = merge_live(loaded.record, move.folded(loaded.record))
        outcome = yield from save(world, move.new, merged, loaded.tokens, move.deadline)
        if isinstance(outcome, Saved):
            move.floor = max(move.floor, outcome.record.top)
            move.grown = False
            return
    # Unconfirmed: the old homes are read again, then the new ID, before anything more is ended.
    move.todo = dict.fromkeys(move.todo)


def _conclude(world: World, move: _Move) -> Plan[RegenerateOutcome]:
    if move.met and max(move.met) != move.mine:
        yield from end(world, move.new, INVALIDATED)
        return LostRace(max(move.met))
    if not enough(world, move.old, move.ended) or move.grown:
        yield from end(world, move.new, INVALIDATED)
        return Unconfirmed()
    rest = tuple(node for node in world.homes(move.old) if node not in move.ended)
    missed: tuple[str, ...] = ()
    if rest:
        missed = (yield from end(world, move.old, move.mine, rest)).missed
    return Regenerated(move.record, missed)
