"""Midway: what a handler may ask of the store before its response leaves, `save` and `modify`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from memsession.errors import UpdateUnconfirmed
from memsession.events import Saved
from memsession.identity import short
from memsession.lifecycle.commit import Commit
from memsession.lifecycle.visit import Standing, Visit
from memsession.plans import Gone, Modified, Plan, modify
from memsession.record import ABSENT, Changes, Plain, apply, freeze, thaw, visible
from memsession.session import adopt, changes_of


@dataclass(frozen=True, slots=True)
class Midway:
    """Runs a commit before its time, or a modification, and shows the session as it is stored afterwards."""

    commit: Commit

    def save(self, visit: Visit) -> Plan[None]:
        """Commit now, and show what is stored afterwards."""
        changes = changes_of(visit.session, visit.ledger)
        if visit.standing is Standing.OUTAGE and changes:
            raise self.commit.writes.failed(visit)
        if visit.found is not None and not changes and not visit.ledger.asks():
            # Nothing to write; then at least to see what others have written, or that the session has ended.
            visit.stale = True
            yield from self.commit.writes.fresh(visit, changes)
        yield from self.commit.run(visit)
        if visit.standing is Standing.OUTAGE and changes:
            raise self.commit.writes.failed(visit)
        self._show(visit)

    def _show(self, visit: Visit) -> None:
        """What is stored, and on top what another task of the request changed while the store was asked."""
        stored = visible(visit.found.record) if visit.found else {}
        adopt(visit.session, visit.ledger, stored, changes_of(visit.session, visit.ledger))

    def modify(self, visit: Visit, key: str, fn: Callable[[Any], Any], default: Any) -> Plan[Any]:
        """Read, compute and write one key as one step. What else the request changed waits for the commit."""
        if visit.standing is Standing.OUTAGE:
            raise self.commit.writes.failed(visit)
        changes = changes_of(visit.session, visit.ledger)
        if visit.ledger.invalidated or visit.ledger.cleared or _touches(changes, key):
            yield from self.save(visit)
        if key in self.commit.rotate_on and visit.found is not None and not visit.read_only:
            # The new ID comes first: nobody is to be named under one that somebody may have planted.
            visit.ledger.regenerated = True
            visit.ledger.reauthenticated |= visit.ledger.before.get(key) is None
            yield from self.save(visit)
        results: list[Plain] = []

        def step(plain: Plain) -> Plain:
            value = freeze(fn(default if plain is ABSENT else thaw(plain)), key)
            if visit.found is not None:
                self.commit.writes.sealed(
                    b"", apply(visit.found.record, Changes({key: value}), {}, writer="", now_ms=0)
                )
            results.append(value)
            return value

        try:
            if not (yield from self._modify(visit, key, step)):
                # Nothing is stored yet, or nothing will be: the value is this request's alone.
                if visit.standing is not Standing.DROPPED and not visit.read_only:
                    visit.needs_cookie()
                there = dict.get(visit.session, key, ABSENT)
                visit.session[key] = thaw(step(there if there is ABSENT else freeze(there, key)))
        finally:
            visit.left_s = visit.deadline - self.commit.world.monotonic()
        # What this step made of it; the session may show already what others made of that.
        return thaw(results[-1])

    def _modify(self, visit: Visit, key: str, step: Callable[[Plain], Plain]) -> Plan[bool]:
        """Whether the value is stored."""
        if visit.read_only:
            return False
        changes = changes_of(visit.session, visit.ledger)
        found = (yield from self.commit.writes.fresh(visit, changes)) if visit.found else None
        if found is not None and visit.ticket is not None:
            world = self.commit.world
            match (yield from modify(world, visit.ticket.key, key, step, found, visit.deadline)):
                case Modified(record, conflicts):
                    self.commit.observe(Saved(short(visit.ticket.key), conflicts))
                    self.commit.writes.settle(visit, visit.ticket, record)
                    self._show(visit)
                    return True
                case Gone():
                    self.commit.writes.drop(visit, changes)
                case _:
                    raise UpdateUnconfirmed(f"modify({key!r}): the node that orders it did not answer; try again")
        return False


def _touches(changes: Changes, key: str) -> bool:
    return key in changes.puts or key in changes.deletes or key in changes.increments
