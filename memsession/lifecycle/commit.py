"""Commit: what a request did to its session goes to the nodes.

What was performed, or dropped and reported, is settled in the ledger and never performed twice. What raised is still
to be done: if the application goes on, the next commit tries again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from memsession.errors import PoolUnavailable, SessionTooLarge
from memsession.events import ChangesDropped, ChangesUnsaved, Observe, SaveFailed, TombstoneMissed
from memsession.identity import mark, short
from memsession.lifecycle.visit import DELETE, KEEP, Issue, Standing, Ticket, Visit
from memsession.plans import (
    INVALIDATED,
    Absent,
    Ended,
    Found,
    Gone,
    LostRace,
    Plan,
    Regenerated,
    Saved,
    World,
    bear,
    draw,
    end,
    load,
    regenerate,
    save,
)
from memsession.record import Changes, Dead, Live, Reason, apply
from memsession.session import NO_CHANGES, changes_of, content_of, settle


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """Decides by the visit's standing and by what the request did, and runs the plans for it."""

    world: World
    new_ticket: Callable[[], Ticket]
    mark_key: bytes
    max_bytes: int
    observe: Observe
    rotate_on: frozenset[str]
    empty_on_outage: bool

    def run(self, visit: Visit) -> Plan[None]:
        """Perform what the request did so far."""
        try:
            yield from self._run(visit, changes_of(visit.session, visit.ledger))
        finally:
            visit.left_s = visit.deadline - self.world.monotonic()

    def _run(self, visit: Visit, changes: Changes) -> Plan[None]:
        if visit.standing is Standing.DROPPED and not self._logs_in_late(visit, changes):
            self.drop(visit, changes)
        elif self._ends(visit):
            changes = content_of(visit.session, visit.ledger)
            self.sealed(b"", self._newborn(changes, ""))  # what does not fit raises before anything is ended
            yield from self._end(visit)
            if changes:
                yield from self._begin(visit, changes)
        elif visit.standing is Standing.OUTAGE:
            self._give_up(visit, changes)
        elif visit.found is None:
            if changes:
                yield from self._begin(visit, changes)
        elif self._moves(visit, changes):
            yield from self._regenerate(visit, changes)
        elif changes or visit.owed or self._renewal_is_due(visit.found.record):
            yield from self._save(visit, changes)
        settle(visit.ledger, changes)

    def _logs_in_late(self, visit: Visit, changes: Changes) -> bool:
        """Whether this is a login under an ID that a login ended: the visitor may never have got that answer."""
        return visit.came_late and not visit.ledger.invalidated and self._moves(visit, changes)

    def _ends(self, visit: Visit) -> bool:
        """Whether the request logged out: it said so, or cleared a session that was not empty, or may not be.

        Taking the last key away is an ordinary change: it may race with somebody who puts one in.
        """
        ledger = visit.ledger
        if ledger.invalidated:
            return True
        if not ledger.cleared or dict.__len__(visit.session):
            return False
        return bool(ledger.before) if visit.found is not None else visit.standing in (Standing.DOUBT, Standing.OUTAGE)

    def _moves(self, visit: Visit, changes: Changes) -> bool:
        """Whether what the request did asks for a new ID, as a login does."""
        if visit.ledger.regenerated or (visit.ledger.cleared and dict.__len__(visit.session)):
            return True
        return not (self.rotate_on.isdisjoint(changes.puts) and self.rotate_on.isdisjoint(changes.deletes))

    def _renewal_is_due(self, record: Live) -> bool:
        return self.world.now_ms() - record.seen_ms > self.world.lifetime.renewal_ms

    def _end(self, visit: Visit) -> Plan[None]:
        """End the session, and the one it was begun in doubt about."""
        if visit.ticket is not None:
            buried = yield from end(self.world, visit.ticket.key)
            if not buried.confirmed:
                raise self.failed(visit)
            if buried.missed:
                self.observe(TombstoneMissed(short(visit.ticket.key), buried.missed))
            if visit.found is not None:
                yield from self._end_doubted(visit.found.record.doubted, INVALIDATED)
            # A request that came under an ended ID deletes no cookie by itself: it may be a parallel login's.
            deletes = visit.came_alive or (visit.came_with_cookie and visit.ledger.invalidated)
            visit.cookie = DELETE if deletes else KEEP
        visit.ticket = visit.found = None
        visit.standing, visit.stale = Standing.NEW, False
        visit.owed = frozenset()
        visit.ledger.before, visit.ledger.key = {}, None
        visit.ledger.done()

    def _end_doubted(self, doubted: str, dead: Dead) -> Plan[None]:
        """Where its nodes can be reached; waiting for them would keep visitors from logging in or out."""
        if doubted:
            buried = yield from end(self.world, doubted.encode(), dead)
            if buried.missed:
                self.observe(TombstoneMissed(short(doubted.encode()), buried.missed))

    def _give_up(self, visit: Visit, changes: Changes) -> None:
        """No node answered. Changes may be lost if the application said so; a login must not seem to succeed."""
        if self._moves(visit, changes):
            raise self.failed(visit)
        if changes:
            self.observe(ChangesUnsaved(short(visit.ticket.key) if visit.ticket else ""))

    def _begin(self, visit: Visit, changes: Changes) -> Plan[None]:
        """Store a new session. In doubt it remembers the doubted one, unless this is a login, which ends it."""
        visit.needs_cookie()
        doubted = visit.ticket.key.decode() if visit.ticket and visit.standing is Standing.DOUBT else ""
        login = self._moves(visit, changes)
        record = self._newborn(changes, "" if login else doubted)
        ticket, outcome = yield from bear(
            self.world, self.new_ticket, record, visit.deadline, lambda key: self.sealed(key, record)
        )
        if not isinstance(outcome, Saved):
            if login or not self.empty_on_outage:
                raise self.failed(visit)
            visit.standing = Standing.OUTAGE
            self.observe(ChangesUnsaved("(new)"))
            return
        if login:
            # As by a login that found it: a slow request under the old ID must not replace the new cookie.
            yield from self._end_doubted(doubted, Dead(Reason.REGENERATED, mark(self.mark_key, ticket.id)))
        self.settle(visit, ticket, record)
        visit.cookie = Issue(ticket.id)
        visit.ledger.done()

    def _newborn(self, changes: Changes, doubted: str) -> Live:
        now_ms = self.world.now_ms()
        empty = Live({}, {}, now_ms, now_ms + self.world.lifetime.absolute_ms, now_ms, 0, doubted)
        # Nobody else counts under an ID that nobody has: the counters begin as plain values.
        puts = Changes({**changes.puts, **changes.increments})
        return apply(empty, puts, {}, writer=self.world.nonce(), now_ms=now_ms)

    def settle(self, visit: Visit, ticket: Ticket, record: Live) -> None:
        """From here on the visit is with the session stored under `ticket`, whose tokens are not known."""
        visit.ticket, visit.found = ticket, Found(record, {})
        visit.standing, visit.stale = Standing.FOUND, True
        visit.ledger.key = ticket.key

    def _draft(self, visit: Visit, key: bytes, record: Live, changes: Changes) -> tuple[Live, Any]:
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
            raise SessionTooLarge(len(value), self.max_bytes)
        return value

    def _save(self, visit: Visit, changes: Changes) -> Plan[None]:
        found = yield from self.fresh(visit, changes)
        if found is None or visit.ticket is None:
            return
        record, value = self._draft(visit, visit.ticket.key, found.record, changes)
        match (yield from save(self.world, visit.ticket.key, record, found.tokens, visit.deadline, value)):
            case Saved(merged):
                self.settle(visit, visit.ticket, merged)
                visit.owed = frozenset()
            case Gone():
                self.drop(visit, changes)
            case _ if changes or visit.owed:
                raise self._unconfirmed(visit, changes)

    def fresh(self, visit: Visit, changes: Changes) -> Plan[Found | None]:
        """The session with tokens to save on; None if it ended meanwhile, and the changes were dropped."""
        if not visit.stale or visit.ticket is None:
            return visit.found
        match (yield from load(self.world, visit.ticket.key)):
            case Found() as found:
                visit.found, visit.stale = found, False
                return found
            case Ended() | Absent():
                self.drop(visit, changes)
                return None
            case _:
                raise self.failed(visit)

    def drop(self, visit: Visit, changes: Changes) -> None:
        """The session ended while the request was under way: its changes are dropped, not merged."""
        if changes or visit.ledger.invalidated:
            self.observe(ChangesDropped(short(visit.ticket.key) if visit.ticket else ""))
        visit.found, visit.standing, visit.stale = None, Standing.DROPPED, False
        visit.owed = frozenset()
        visit.ledger.done()

    def _regenerate(self, visit: Visit, changes: Changes) -> Plan[None]:
        visit.needs_cookie()
        found = yield from self.fresh(visit, changes)
        if found is None or visit.ticket is None:
            return
        old = visit.ticket.key
        record, _ = self._draft(visit, old, found.record, changes)
        ticket = draw(self.world, self.new_ticket)
        mine = mark(self.mark_key, ticket.id)
        plan = regenerate(self.world, old, ticket.key, record, found.tokens, mine, visit.deadline)
        match (yield from plan):
            case Regenerated(moved, missed):
                if missed:
                    self.observe(TombstoneMissed(short(old), missed))
                yield from self._end_doubted(moved.doubted, Dead(Reason.REGENERATED, mine))
                self.settle(visit, ticket, moved)
                visit.cookie = Issue(ticket.id)
                visit.ledger.done()
                visit.owed = frozenset()
            case LostRace():
                self.drop(visit, changes)
            case _:
                raise self._unconfirmed(visit, changes)

    def _unconfirmed(self, visit: Visit, changes: Changes) -> PoolUnavailable:
        """The increments are in this process's memory and may be in a node: sent again, but never counted again."""
        visit.owed |= changes.increments.keys()
        settle(visit.ledger, Changes(increments=changes.increments))
        return self.failed(visit)

    def failed(self, visit: Visit) -> PoolUnavailable:
        """To be raised: nobody acknowledged."""
        self.observe(SaveFailed(short(visit.ticket.key) if visit.ticket else "(new)"))
        return PoolUnavailable("no memcached node of this session acknowledged the change: are they running?")
