"""Writes: how changes become a record, how it is stored, and what is settled by the outcome.

What was performed, or dropped and reported, is settled in the ledger and never performed twice. What raised is still
to be done: if the application goes on, the next commit tries again.
"""

from dataclasses import dataclass
from typing import Any

from memsession.errors import PoolUnavailable, SessionTooLarge
from memsession.events import ChangesDropped, Observe, Saved, SaveFailed, is_heard
from memsession.identity import short
from memsession.lifecycle.visit import Issue, Standing, Ticket, Visit
from memsession.plans import Absent, Found, Gone, Plan, World, load, save
from memsession.plans import Ended as WasEnded
from memsession.plans import Saved as WasSaved
from memsession.record import Changes, Live, apply
from memsession.session import NO_CHANGES, PERMANENT_KEY, settle

TOO_FEW = (
    'too few memcached nodes of this session have it, or answered, for Pool(consistency="majority"): '
    "are most of them running, and can they be reached from here?"
)

_NONE = "no memcached node of this session acknowledged the change in the time that was left: are they running?"
_NO_MAJORITY = (
    "no majority of this session's memcached nodes acknowledged the change in the time that was left, as "
    'Pool(consistency="majority") demands: are most of them running, and can they be reached from here?'
)
_LARGEST_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Writes:
    """Builds and stores records for visits."""

    world: World
    max_bytes: int
    observe: Observe

    def newborn(self, visit: Visit, changes: Changes, doubted: str) -> Live:
        """The record of a new session."""
        own, now_ms = visit.ledger.own_lifetime, self.world.now_ms()
        idle_ms, absolute_ms = own or (0, self.world.lifetime.absolute_ms)
        empty = Live({}, {}, now_ms, now_ms + absolute_ms, now_ms, 0, doubted, idle_ms)
        # Nobody else counts under an ID that nobody has: the counters begin as plain values.
        puts = Changes({**changes.puts, **changes.increments})
        return apply(empty, puts, {}, writer=self.world.nonce(), now_ms=now_ms)

    def settle(self, visit: Visit, ticket: Ticket, record: Live) -> None:
        """From here on the visit is with the session stored under `ticket`, whose tokens are not known."""
        visit.ticket, visit.found = ticket, Found(record, {})
        visit.standing, visit.stale = Standing.FOUND, True
        visit.ledger.stored(ticket.key, record)

    def draft(self, visit: Visit, key: bytes, record: Live, changes: Changes) -> tuple[Live, Any]:
        """The record with the changes on top, and sealed; nothing is counted if it is too large."""
        world, owed = self.world, visit.owed
        increments = {**dict.fromkeys(owed, 0), **changes.increments} if owed else changes.increments
        now_ms, writer = world.now_ms(), world.nonce() if changes.puts or changes.deletes else ""
        with world.counters.counting(key, increments) as own:
            if owed:
                # Before the rest: an assignment has to see what was counted before it.
                record = apply(record, NO_CHANGES, {name: own[name] for name in owed}, writer=writer, now_ms=now_ms)
            draft = apply(record, changes, own, writer=writer, now_ms=now_ms)
            return draft, self.sealed(key, draft)

    def sealed(self, key: bytes, record: Live) -> Any:
        """The value to store. Raises `SessionTooLarge`."""
        value = self.world.codec.seal(key, record)
        if len(value) > self.max_bytes:
            raise SessionTooLarge(len(value), self.max_bytes, _largest(record))
        return value

    def save(self, visit: Visit, changes: Changes) -> Plan[None]:
        """Store changes in the session that the visit found."""
        found = yield from self.fresh(visit, changes)
        if found is None or visit.ticket is None:
            return
        key = visit.ticket.key
        record, value = self.draft(visit, key, found.record, changes)
        match (yield from save(self.world, key, record, found.tokens, visit.deadline, value)):
            case WasSaved(merged) as saved:
                self.settle(visit, visit.ticket, merged)
                visit.owed = frozenset()
                if PERMANENT_KEY in changes.puts or PERMANENT_KEY in changes.deletes:
                    visit.cookie = Issue(visit.ticket.id)
                if changes and is_heard(self.observe, Saved):
                    self.observe(Saved(short(key), saved.conflicts))
            case Gone():
                self.drop(visit, changes)
            case _ if changes or visit.owed:
                raise self.unconfirmed(visit, changes)

    def fresh(self, visit: Visit, changes: Changes) -> Plan[Found | None]:
        """The session with tokens to save on; None if it ended meanwhile, and the changes were dropped."""
        if visit.ticket is None or not (visit.stale or self._is_over(visit)):
            return visit.found
        match (yield from load(self.world, visit.ticket.key)):
            case Found() as found:
                visit.found, visit.stale = found, False
                visit.ledger.stored(visit.ticket.key, found.record)
                return found
            case WasEnded() | Absent():
                self.drop(visit, changes)
                return None
            case _:
                raise self.failed(visit)

    def _is_over(self, visit: Visit) -> bool:
        """Whether its time has run out since it was loaded, unless others have used it meanwhile."""
        if visit.found is None:
            return False
        record, now_ms = visit.found.record, self.world.now_ms()
        return record.deadline_ms <= now_ms or record.seen_ms + self.world.idle_ms(record) <= now_ms

    def drop(self, visit: Visit, changes: Changes) -> None:
        """The session ended while the request was under way: its changes are dropped, not merged."""
        if changes or visit.ledger.invalidated:
            self.observe(ChangesDropped(short(visit.ticket.key) if visit.ticket else ""))
        visit.found, visit.standing, visit.stale = None, Standing.DROPPED, False
        visit.owed = frozenset()
        visit.ledger.done()
        visit.ledger.ended = True

    def unconfirmed(self, visit: Visit, changes: Changes) -> PoolUnavailable:
        """The increments are in this process's memory and may be in a node: sent again, but never counted again."""
        visit.owed |= changes.increments.keys()
        settle(visit.ledger, Changes(increments=changes.increments))
        return self.failed(visit)

    def failed(self, visit: Visit) -> PoolUnavailable:
        """To be raised: nobody acknowledged, or too few."""
        self.observe(SaveFailed(short(visit.ticket.key) if visit.ticket else "(new)"))
        return PoolUnavailable(_NONE if self.world.home_sets is None else _NO_MAJORITY)


def _largest(record: Live) -> str:
    """The keys that take the most, for the one who has to find them."""
    sizes = sorted(((len(repr(entry.value)), key) for key, entry in record.entries.items()), reverse=True)
    return ", ".join(f"{key[:40]!r} (about {size:,})" for size, key in sizes[:_LARGEST_SHOWN])
