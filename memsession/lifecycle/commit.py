"""Commit: what a request did to its session goes to the nodes."""

from collections.abc import Callable
from dataclasses import dataclass

from memsession.events import ChangesDropped, ChangesUnsaved, Created, Ended, Moved, Observe, TombstoneMissed
from memsession.identity import mark, short
from memsession.lifecycle.visit import DELETE, KEEP, Issue, Standing, Ticket, Visit
from memsession.lifecycle.writes import Writes
from memsession.plans import (
    INVALIDATED,
    Limits,
    LostRace,
    Plan,
    Regenerated,
    World,
    bear,
    draw,
    end,
    regenerate,
)
from memsession.plans import Saved as WasSaved
from memsession.record import Changes, Dead, Live, Reason
from memsession.session import changes_of, content_of, is_stale, renew, settle

Missed = Callable[[bytes, Dead, tuple[str, ...]], object]
"""Is told the storage key of a session, its tombstone, and the nodes that did not take it."""


def nobody_minds(_key: bytes, _dead: Dead, _nodes: tuple[str, ...]) -> None:
    """There is nobody who would tell those nodes later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """Decides by the visit's standing and by what the request did, and runs the plans for it."""

    world: World
    writes: Writes
    new_ticket: Callable[[], Ticket]
    mark_key: bytes
    observe: Observe
    missed: Missed
    rotate_on: frozenset[str]
    empty_on_outage: bool

    def run(self, visit: Visit) -> Plan[None]:
        """Perform what the request did so far."""
        ledger = visit.ledger
        changes = changes_of(visit.session, ledger)
        # What another task of the request does from here on is not in this commit.
        ledger.used, ledger.accessed = ledger.used or ledger.accessed, False
        try:
            yield from self._run(visit, changes)
        finally:
            visit.left_s = visit.deadline - self.world.monotonic()

    def _run(self, visit: Visit, changes: Changes) -> Plan[None]:
        if visit.standing is Standing.DROPPED and not self._logs_in_late(visit, changes):
            self.writes.drop(visit, changes)
        elif self._ends(visit):
            changes = content_of(visit.session, visit.ledger)
            # What does not fit raises before anything is ended.
            self.writes.sealed(b"", self.writes.newborn(visit, changes, ""))
            yield from self._end(visit)
            if changes:
                yield from self._begin(visit, changes)
        elif visit.standing is Standing.OUTAGE:
            self._give_up(visit, changes)
        elif visit.found is None:
            if changes:
                yield from self._begin(visit, changes)
        elif self._moves(visit, changes):
            changes = _with_new_token(visit, changes)
            yield from self._regenerate(visit, changes)
        elif visit.read_only:
            if changes:
                self.observe(ChangesDropped(short(visit.ticket.key) if visit.ticket else ""))
        elif changes or visit.owed or self._renewal_is_due(visit.found.record):
            yield from self.writes.save(visit, changes)
        settle(visit.ledger, changes)

    def _logs_in_late(self, visit: Visit, changes: Changes) -> bool:
        """Whether this is a login under an ID that a login ended: the visitor may never have got that answer."""
        return visit.came_late and not visit.ledger.invalidated and self._proves(visit, changes)

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
        ledger = visit.ledger
        if ledger.regenerated or ledger.own_lifetime is not None:
            return True
        if ledger.cleared and dict.__len__(visit.session):
            return True
        return not all(map(self.rotate_on.isdisjoint, (changes.puts, changes.deletes, changes.increments)))

    def is_asked(self, visit: Visit) -> bool:
        """Whether the application has asked for something that its changes do not show, and that can be done."""
        ledger = visit.ledger
        if visit.standing in (Standing.NEW, Standing.DROPPED):
            return False
        asked = ledger.invalidated or ledger.regenerated or ledger.own_lifetime is not None
        return asked or (ledger.cleared and visit.standing is not Standing.FOUND)

    def _renewal_is_due(self, record: Live) -> bool:
        return self.world.now_ms() - record.seen_ms > self.world.renewal_ms(record)

    def _limits(self, visit: Visit, changes: Changes, record: Live) -> Limits | None:
        """When the session under its new ID is to end, if that changes; a login begins the absolute limit anew."""
        ledger, now_ms = visit.ledger, self.world.now_ms()
        if ledger.own_lifetime is not None:
            return Limits(ledger.own_lifetime.idle_ms, now_ms + ledger.own_lifetime.absolute_ms)
        if not ledger.reauthenticated and not self._logs_in(visit, changes):
            return None
        deadline_ms = now_ms + self.world.lifetime.absolute_ms
        if ledger.cleared:
            return Limits(0, deadline_ms)
        return Limits(record.idle_ms, max(record.deadline_ms, deadline_ms))

    def _logs_in(self, visit: Visit, changes: Changes) -> bool:
        """Whether there is a visitor known now where there was none."""
        if visit.ledger.cleared:
            # Whoever empties the session and names a visitor has just seen who he is, even if it is the same one.
            return any(dict.get(visit.session, key) is not None for key in self.rotate_on)
        before = visit.ledger.before
        return any(changes.puts.get(key) is not None and before.get(key) is None for key in self.rotate_on)

    def _proves(self, visit: Visit, changes: Changes) -> bool:
        """Whether the visitor has just proved who he is; renewing an ID alone does not say so."""
        return visit.ledger.reauthenticated or self._logs_in(visit, changes)

    def _end(self, visit: Visit) -> Plan[None]:
        """End the session, and the one it was begun in doubt about."""
        if visit.ticket is not None:
            buried = yield from end(self.world, visit.ticket.key)
            if not buried.final:
                raise self.writes.failed(visit)
            self.observe(Ended(short(visit.ticket.key)))
            self._tell_missed(visit.ticket.key, INVALIDATED, buried.missed)
            if visit.found is not None:
                yield from self._end_doubted(visit.found.record.doubted, INVALIDATED)
            # A request that came under an ended ID deletes no cookie by itself: it may be a parallel login's.
            deletes = visit.came_alive or (visit.came_with_cookie and visit.ledger.invalidated)
            visit.cookie = DELETE if deletes else KEEP
        visit.ticket = visit.found = None
        visit.standing, visit.stale = Standing.NEW, False
        visit.owed = frozenset()
        ledger, own_lifetime = visit.ledger, visit.ledger.own_lifetime
        ledger.before, ledger.key, ledger.record = {}, None, None
        ledger.increments.clear()  # what follows is stored as plain values, for the first time
        ledger.done()
        ledger.own_lifetime = own_lifetime

    def _end_doubted(self, doubted: str, dead: Dead) -> Plan[None]:
        """Where its nodes can be reached; waiting for them would keep visitors from logging in or out."""
        if doubted:
            buried = yield from end(self.world, doubted.encode(), dead)
            self._tell_missed(doubted.encode(), dead, buried.missed)

    def _tell_missed(self, key: bytes, dead: Dead, nodes: tuple[str, ...]) -> None:
        if nodes:
            self.observe(TombstoneMissed(short(key), nodes))
            self.missed(key, dead, nodes)

    def _give_up(self, visit: Visit, changes: Changes) -> None:
        """Too few nodes answered. Changes may be lost if the application said so; a login must not seem to work."""
        if self._moves(visit, changes):
            raise self.writes.failed(visit)
        if changes:
            self.observe(ChangesUnsaved(short(visit.ticket.key) if visit.ticket else ""))

    def _begin_beside(self, visit: Visit) -> Plan[None]:
        """A login that another one overtook, as when somebody clicks twice: its answer may be the one that is seen.

        It begins a session of its own, with all that it had; it has proved who the visitor is as the other one has.
        """
        visit.found, visit.standing, visit.stale = None, Standing.NEW, False
        visit.owed = frozenset()
        yield from self._begin(visit, content_of(visit.session, visit.ledger))

    def _begin(self, visit: Visit, changes: Changes) -> Plan[None]:
        """Store a new session. In doubt it remembers the doubted one, unless this is a login, which ends it."""
        visit.needs_cookie()
        doubted = visit.ticket.key.decode() if visit.ticket and visit.standing is Standing.DOUBT else ""
        login = self._moves(visit, changes)
        record = self.writes.newborn(visit, changes, "" if login else doubted)
        ticket, outcome = yield from bear(
            self.world, self.new_ticket, record, visit.deadline, lambda key: self.writes.sealed(key, record)
        )
        if not isinstance(outcome, WasSaved):
            if login or not self.empty_on_outage:
                raise self.writes.failed(visit)
            visit.standing = Standing.OUTAGE
            self.observe(ChangesUnsaved("(new)"))
            return
        if login:
            # As by a login that found it: a slow request under the old ID must not replace the new cookie.
            yield from self._end_doubted(doubted, Dead(Reason.REGENERATED, mark(self.mark_key, ticket.id)))
        self.writes.settle(visit, ticket, record)
        visit.cookie = Issue(ticket.id)
        visit.ledger.done()
        self.observe(Created(short(ticket.key)))

    def _regenerate(self, visit: Visit, changes: Changes) -> Plan[None]:
        visit.needs_cookie()
        found = yield from self.writes.fresh(visit, changes)
        if found is None or visit.ticket is None:
            return
        old = visit.ticket.key
        record, _ = self.writes.draft(visit, old, found.record, changes)
        limits = self._limits(visit, changes, found.record)
        ticket = draw(self.world, self.new_ticket)
        mine = mark(self.mark_key, ticket.id)
        plan = regenerate(self.world, old, ticket.key, record, found.tokens, mine, visit.deadline, limits)
        match (yield from plan):
            case Regenerated(moved, missed):
                self._tell_missed(old, Dead(Reason.REGENERATED, mine), missed)
                yield from self._end_doubted(moved.doubted, Dead(Reason.REGENERATED, mine))
                self.writes.settle(visit, ticket, moved)
                visit.cookie = Issue(ticket.id)
                visit.ledger.done()
                visit.owed = frozenset()
                self.observe(Moved(short(old), short(ticket.key)))
            case LostRace(dead):
                if dead.reason is Reason.REGENERATED and self._proves(visit, changes):
                    yield from self._begin_beside(visit)
                else:
                    self.writes.drop(visit, changes)
            case _:
                raise self.writes.unconfirmed(visit, changes)


def _with_new_token(visit: Visit, changes: Changes) -> Changes:
    """With its ID the session changes its CSRF token, unless the request has done so already."""
    if not is_stale(visit.session, visit.ledger.before):
        return changes
    renew(visit.session)
    return changes_of(visit.session, visit.ledger)
