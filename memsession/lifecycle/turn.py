"""Turn: in exclusive mode a request waits for its session's lock, and gives it back when it is done.

A request asks under one name until it has the lock or gives up, and takes that name back in the end whatever became
of it: a write that nobody acknowledged may have arrived. Before anything is written the lock is asked for once more;
a request that was paused for too long writes nothing.
"""

from dataclasses import dataclass
from typing import TypeVar

from memsession.errors import LockLost, PoolUnavailable, SessionBusy
from memsession.events import LockBusy, LockExpired, Observe, Unanswered
from memsession.exclusive import Exclusive
from memsession.identity import short
from memsession.lifecycle.visit import Visit
from memsession.plans import Busy, Locked, Plan, Unlockable, World, acquire, holds, release
from memsession.session import changes_of

T = TypeVar("T")

PAUSES_S = (0.01, 0.02, 0.04, 0.08, 0.1)
"""Between one try and the next; the last one again and again."""

_MARGIN = 4
"""A write has to begin before the last quarter of the lock's time, unless what is left of its budget is shorter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Takes and returns locks for visits."""

    world: World
    exclusive: Exclusive
    observe: Observe
    empty_on_outage: bool

    def wanted(self, visit: Visit, method: str, path: str) -> bool:
        """Whether the request has to wait for its turn."""
        return visit.ticket is not None and self.exclusive.covers(method, path)

    def claim(self, visit: Visit) -> Plan[float | None]:
        """Try to get the lock. Seconds to wait before the next try; None: the request may go on.

        Raises:
            SessionBusy: it waited for as long as it may, and that is an error.
            PoolUnavailable: no node answered, and an outage is an error.
        """
        assert visit.ticket is not None  # noqa: S101 - a caller's mistake, not an input's
        if visit.owner is None:
            visit.owner, visit.lock_key = self.world.nonce(), visit.ticket.key
            visit.wait_until = self.world.monotonic() + self.exclusive.wait.total_seconds()
        match (yield from acquire(self.world, visit.lock_key, visit.owner, self.exclusive.expire_ms)):
            case Locked():
                visit.locked = True
            case Busy():
                return self._pause_s(visit)
            case Unlockable():  # pragma: no branch
                self._without(visit)
        return None

    def _pause_s(self, visit: Visit) -> float | None:
        left_s = visit.wait_until - self.world.monotonic()
        if left_s > 0.0:
            pause_s = PAUSES_S[min(visit.tries, len(PAUSES_S) - 1)]
            visit.tries += 1
            return min(pause_s, left_s)
        self.observe(LockBusy(short(visit.lock_key), self.exclusive.on_timeout))
        if self.exclusive.on_timeout == "error":
            raise SessionBusy("another request of this session has held its lock for too long: try again")
        visit.read_only = self.exclusive.on_timeout == "read_only"
        return None

    def _without(self, visit: Visit) -> None:
        """No node answered: nothing is written without the lock, unless merging will do."""
        if self.exclusive.on_timeout == "error" and not self.empty_on_outage:
            self.observe(Unanswered(short(visit.lock_key)))
            raise PoolUnavailable("no memcached node of this session answered: are they running?")
        visit.read_only = self.exclusive.on_timeout != "merge"

    def kept(self, visit: Visit, plan: Plan[T], *, writes: bool = False) -> Plan[T]:
        """A plan that may write, if the lock is still held. `writes`: it writes for sure.

        Raises:
            LockLost: it has expired; nothing was written.
        """
        if visit.locked and (writes or changes_of(visit.session, visit.ledger) or visit.ledger.asks()):
            budget_ms = max(0, int(visit.left_s * 1000))
            spare_ms = min(budget_ms, self.exclusive.expire_ms // _MARGIN)
            held = yield from holds(self.world, visit.lock_key, visit.owner or "", spare_ms)
            if not held:
                self.observe(LockExpired(short(visit.lock_key)))
                raise LockLost("the request took longer than Exclusive(expire=...): nothing was saved")
        return (yield from plan)

    def over(self, visit: Visit) -> Plan[None]:
        """Give the lock back, and the name with it."""
        owner, visit.owner, visit.locked = visit.owner, None, False
        if owner is not None:
            yield from release(self.world, visit.lock_key, owner)
