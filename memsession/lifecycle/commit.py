"""Commit: what a request did to its session goes to the nodes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from memsession.errors import PoolUnavailable, SessionTooLarge, UpdateUnconfirmed
from memsession.events import ChangesDropped, Observe, SaveFailed, TombstoneMissed
from memsession.identity import fingerprint, mark, short
from memsession.lifecycle.visit import DELETE, Issue, Standing, Ticket, Visit
from memsession.plans import (
    Absent,
    Ended,
    Found,
    Gone,
    LostRace,
    Modified,
    Plan,
    Regenerated,
    Saved,
    World,
    bear,
    draw,
    end,
    load,
    modify,
    regenerate,
    save,
)
from memsession.record import ABSENT, Changes, Live, apply, freeze, thaw, visible
from memsession.session import adopt, changes_of

NO_CHANGES = Changes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """Decides by the visit's standing and by what the request did, and runs the plans for it."""

    world: World
    new_ticket: Callable[[], Ticket]
    mark_key: bytes
    max_bytes: int
    observe: Observe
    rotate_on: frozenset[str]

    def run(self, visit: Visit) -> Plan[None]:
        """Perform what the request did so far."""
        try:
            yield from self._run(visit, changes_of(visit.session, visit.ledger))
        finally:
            visit.left_s = visit.deadline - self.world.monotonic()

    def _run(self, visit: Visit, changes: Changes) -> Plan[None]:
        ledger = visit.ledger
        if visit.standing is Standing.DROPPED:
            if changes:
                self.observe(ChangesDropped(""))
            return
        if ledger.invalidated or (visit.found and ledger.before and not dict.__len__(visit.session)):
            yield from self._end(visit)
            changes = changes_of(visit.session, ledger)
        if visit.found is None:
            if changes:
                yield from self._begin(visit, changes)
        elif ledger.regenerated or (changes and (ledger.cleared or self._rotates(changes))):
            yield from self._regenerate(visit, changes)
        elif changes or self._renewal_is_due(visit.found.record):
            yield from self._save(visit, changes)

    def _rotates(self, changes: Changes) -> bool:
        return any(key in self.rotate_on for key in (*changes.puts, *changes.deletes))

    def _renewal_is_due(self, record: Live) -> bool:
        return self.world.now_ms() - record.seen_ms > self.world.lifetime.renewal_ms

    def _end(self, visit: Visit) -> Plan[None]:
        """End the session, and the one it was begun in doubt about."""
        if visit.ticket is not None:
            buried = yield from end(self.world, visit.ticket.key)
            if not buried.confirmed:
                raise self._failed(visit)
            if buried.missed:
                self.observe(TombstoneMissed(short(visit.ticket.key), buried.missed))
            if visit.found is not None:
                yield from self._end_doubted(visit.found.record.doubted)
            visit.cookie = DELETE
        visit.ticket = visit.found = None
        visit.standing, visit.stale = Standing.NEW, False
        visit.ledger.before, visit.ledger.fingerprint = {}, None
        visit.ledger.invalidated = visit.ledger.cleared = visit.ledger.regenerated = False

    def _end_doubted(self, doubted: str) -> Plan[None]:
        if doubted:
            buried = yield from end(self.world, doubted.encode())
            if buried.missed:
                self.observe(TombstoneMissed(short(doubted.encode()), buried.missed))

    def _begin(self, visit: Visit, changes: Changes) -> Plan[None]:
        """Store a new session. In doubt it remembers the doubted one, unless this is a login, which ends it."""
        if visit.standing is Standing.OUTAGE:
            if visit.ledger.regenerated:
                raise self._failed(visit)
            self.observe(ChangesDropped(short(visit.ticket.key) if visit.ticket else ""))
            return
        doubted = visit.ticket.key.decode() if visit.ticket and visit.standing is Standing.DOUBT else ""
        if doubted and (visit.ledger.regenerated or self._rotates(changes)):
            yield from self._end_doubted(doubted)
            doubted = ""
        now_ms = self.world.now_ms()
        empty = Live({}, {}, now_ms, now_ms + self.world.lifetime.absolute_ms, now_ms, 0, doubted)
        # Nobody else counts under an ID that nobody has: the counters begin as plain values.
        puts = Changes({**changes.puts, **changes.increments})
        record = apply(empty, puts, {}, writer=self.world.nonce(), now_ms=now_ms)
        ticket, outcome = yield from bear(
            self.world, self.new_ticket, record, visit.deadline, lambda key: self._sealed(key, record)
        )
        if not isinstance(outcome, Saved):
            raise self._failed(visit)
        self._settle(visit, ticket, record)
        visit.cookie = Issue(ticket.id)

    def _settle(self, visit: Visit, ticket: Ticket, record: Live) -> None:
        """From here on the visit is with the session stored under `ticket`, whose tokens are not known."""
        visit.ticket, visit.found = ticket, Found(record, {})
        visit.standing, visit.stale = Standing.FOUND, True
        visit.ledger.fingerprint = fingerprint(ticket.key)

    def _draft(self, key: bytes, record: Live, changes: Changes) -> tuple[Live, Any]:
        """The record with the changes on top, and sealed; nothing is counted if it is too large."""
        world = self.world
        with world.counters.counting(key, changes.increments) as own:
            draft = apply(record, changes, own, writer=world.nonce(), now_ms=world.now_ms())
            return draft, self._sealed(key, draft)

    def _sealed(self, key: bytes, record: Live) -> Any:
        value = self.world.codec.seal(key, record)
        if len(value) > self.max_bytes:
            raise SessionTooLarge(len(value), self.max_bytes)
        return value

    def _save(self, visit: Visit, changes: Changes) -> Plan[None]:
        found = yield from self._fresh(visit)
        if found is None or visit.ticket is None:
            return
        record, value = self._draft(visit.ticket.key, found.record, changes)
        match (yield from save(self.world, visit.ticket.key, record, found.tokens, visit.deadline, value)):
            case Saved(merged):
                self._settle(visit, visit.ticket, merged)
            case Gone():
                self._drop(visit, changes)
            case _ if changes:
                raise self._failed(visit)

    def _fresh(self, visit: Visit) -> Plan[Found | None]:
        """The session with tokens to save on; None if it ended meanwhile."""
        if not visit.stale or visit.ticket is None:
            return visit.found
        match (yield from load(self.world, visit.ticket.key)):
            case Found() as found:
                visit.found, visit.stale = found, False
                return found
            case Ended() | Absent():
                self._drop(visit, changes_of(visit.session, visit.ledger))
                return None
            case _:
                raise self._failed(visit)

    def _drop(self, visit: Visit, changes: Changes) -> None:
        """The session ended while the request was under way: its changes are dropped, not merged."""
        if changes:
            self.observe(ChangesDropped(short(visit.ticket.key) if visit.ticket else ""))
        visit.found, visit.standing, visit.stale = None, Standing.DROPPED, False

    def _regenerate(self, visit: Visit, changes: Changes) -> Plan[None]:
        found = yield from self._fresh(visit)
        if found is None or visit.ticket is None:
            return
        old = visit.ticket.key
        record, _ = self._draft(old, found.record, changes)
        ticket = draw(self.world, self.new_ticket)
        mine = mark(self.mark_key, ticket.id)
        plan = regenerate(self.world, old, ticket.key, record, found.tokens, mine, visit.deadline)
        match (yield from plan):
            case Regenerated(moved, missed):
                if missed:
                    self.observe(TombstoneMissed(short(old), missed))
                yield from self._end_doubted(moved.doubted)
                self._settle(visit, ticket, moved)
                visit.cookie = Issue(ticket.id)
                visit.ledger.regenerated = visit.ledger.cleared = False
            case LostRace():
                self._drop(visit, changes)
            case _:
                raise self._failed(visit)

    def _failed(self, visit: Visit) -> PoolUnavailable:
        self.observe(SaveFailed(short(visit.ticket.key) if visit.ticket else "(new)"))
        return PoolUnavailable("no memcached node of this session acknowledged the change: are they running?")

    def save(self, visit: Visit) -> Plan[None]:
        """Commit now, and show what is stored afterwards."""
        yield from self.run(visit)
        adopt(visit.session, visit.ledger, visible(visit.found.record) if visit.found else {}, NO_CHANGES)

    def modify(self, visit: Visit, key: str, fn: Callable[[Any], Any], default: Any) -> Plan[Any]:
        """Read, compute and write one key as one step. What else the request changed waits for the commit."""
        changes = changes_of(visit.session, visit.ledger)
        if key in changes.puts or key in changes.deletes or key in changes.increments:
            yield from self.save(visit)
            changes = NO_CHANGES
        found = (yield from self._fresh(visit)) if visit.found else None
        if found is None or visit.ticket is None:
            # Nothing is stored yet, or nothing will be: the value is this request's alone.
            visit.session[key] = fn(visit.session.get(key, default))
            return visit.session[key]

        def step(plain: Any) -> Any:
            return freeze(fn(default if plain is ABSENT else thaw(plain)), key)

        match (yield from modify(self.world, visit.ticket.key, key, step, found, visit.deadline)):
            case Modified(record):
                self._settle(visit, visit.ticket, record)
                adopt(visit.session, visit.ledger, visible(record), changes)
            case Gone():
                self._drop(visit, changes)
            case _:
                raise UpdateUnconfirmed(f"modify({key!r}): the node that orders it did not answer; try again")
        return visit.session.get(key)
