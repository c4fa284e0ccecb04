"""The life of a session within one request: arrive, load, commit.

    arrive   find the cookie; no store command is spent on a missing or badly signed one
    load     the session as all its nodes know it, or why there is none
    commit   what the request did, before the response leaves; then the cookie that has to go with it

What happens at commit, in this order of precedence:

    invalidate(), or clear() and left empty     the session is ended; the cookie is deleted
    writes after invalidate()                   begin a new session
    regenerate(), cleared and filled again,     the session moves to a new ID
      or a change of a `rotate_on` key
    changes                                     saved; in a new session: stored under a fresh ID
    nothing                                     at most once per idle/20 the time of last use is renewed
"""

from collections.abc import Callable, Collection, Sequence
from functools import lru_cache

from memsession.cookies import CookieSigner
from memsession.errors import PoolUnavailable
from memsession.events import CookieRefused, InDoubt, Observe, Unanswered, Unreadable
from memsession.identity import SessionId, short, storage_key
from memsession.lifecycle.commit import Commit
from memsession.lifecycle.midway import Midway
from memsession.lifecycle.visit import KEEP, Issue, Standing, Ticket, Visit
from memsession.plans import Absent, Doubt, Ended, Found, Loaded, Outage, Plan, World, load
from memsession.pool import Pool
from memsession.record import Reason, visible
from memsession.session import Ledger, SessionDict

ROTATE_ON = ("user_id", "_user_id", "_auth_user_id", "user")
"""Keys by which applications usually remember who is logged in; their change renews the ID."""


REMEMBERED = 4_096
"""Visitors whose storage key is remembered from one request to the next."""


class Lifecycle:
    """What an adapter needs, and nothing of its framework: one for an application."""

    def __init__(
        self,
        *,
        world: World,
        pool: Pool,
        keys: Sequence[bytes],
        signer: CookieSigner,
        make_session: Callable[[Ledger], SessionDict],
        observe: Observe,
        rotate_on: Collection[str] = ROTATE_ON,
        empty_on_outage: bool = False,
    ) -> None:
        self.world = world
        self._signer = signer
        self._make_session = make_session
        self._observe = observe
        self._prefix = pool.prefix
        self._budget_s = pool.budget.total_seconds()
        self._empty_on_outage = empty_on_outage
        self._commit = Commit(
            world=world,
            new_ticket=lambda: self._ticket(SessionId.new()),
            mark_key=keys[0],
            max_bytes=pool.max_bytes,
            observe=observe,
            rotate_on=frozenset(rotate_on),
            empty_on_outage=empty_on_outage,
        )
        self._midway = Midway(self._commit)
        self._known = lru_cache(REMEMBERED)(self._ticket)

    def arrive(self, cookies: Sequence[bytes], *, https: bool) -> Visit:
        """Begin a visit from the request's Cookie headers. With a `ticket`, the session has to be loaded."""
        found = self._signer.find(cookies, https=https)
        if found.bad or found.conflict:
            self._observe(CookieRefused("", found.conflict))
        if found.id is None:
            visit = Visit(https, None, Ledger(), self._budget_s)
            visit.session = self._make_session(visit.ledger)
            return visit
        return Visit(https, self._known(found.id), Ledger(), self._budget_s, came_with_cookie=True)

    def _ticket(self, id: SessionId) -> Ticket:  # noqa: A002
        return Ticket(id, storage_key(id, self._prefix))

    def deadline(self, visit: Visit) -> float:
        """Start the clock for the next plan of this visit, and say when its time is over.

        Once the response has begun nobody waits for its head any more, and it may go on for hours (a WebSocket, a
        stream): from then on each plan has the whole budget.
        """
        if visit.answered:
            visit.left_s = self._budget_s
        visit.deadline = self.world.monotonic() + visit.left_s
        return visit.deadline

    def load(self, visit: Visit) -> Plan[None]:
        """Load the session that the visit's ticket names.

        Raises:
            PoolUnavailable: none of its nodes answered, and an outage is an error.
        """
        assert visit.ticket is not None  # noqa: S101 - a caller's mistake, not an input's
        loaded = yield from load(self.world, visit.ticket.key)
        visit.left_s = visit.deadline - self.world.monotonic()
        self._take(visit, visit.ticket.key, loaded)
        visit.session = self._make_session(visit.ledger)

    def _take(self, visit: Visit, key: bytes, loaded: Loaded) -> None:
        match loaded:
            case Found(record):
                visit.found, visit.standing, visit.came_alive = loaded, Standing.FOUND, True
                visit.ledger.before, visit.ledger.key = visible(record), key
            case Ended(dead):
                visit.came_late = dead.reason is Reason.REGENERATED
                visit.standing = Standing.DROPPED if visit.came_late else Standing.NEW
            case Absent():
                pass
            case Doubt(unreadable):
                visit.standing, visit.came_alive = Standing.DOUBT, True
                self._observe(Unreadable(short(key)) if unreadable else InDoubt(short(key)))
            case Outage():  # pragma: no branch
                visit.standing, visit.came_alive = Standing.OUTAGE, True
                self._observe(Unanswered(short(key)))
                if not self._empty_on_outage:
                    raise PoolUnavailable("no memcached node of this session answered: are they running?")

    def commit(self, visit: Visit) -> Plan[None]:
        """Perform what the request did. Afterwards `set_cookie` tells the cookie to send.

        Raises:
            PoolUnavailable: no node acknowledged; answer 503 and send no cookie.
            UnstorableValue, SessionTooLarge: nothing was written.
        """
        return self._commit.run(visit)

    def save(self, visit: Visit) -> Plan[None]:
        """Commit now, and show what is stored afterwards."""
        return self._midway.save(visit)

    def modify(self, visit: Visit, key: str, fn: Callable[[object], object], default: object) -> Plan[object]:
        """`AsyncSession.modify`."""
        return self._midway.modify(visit, key, fn, default)

    def set_cookie(self, visit: Visit) -> bytes | None:
        """The value of the Set-Cookie header that has to go with the response, if any."""
        if visit.cookie is KEEP:
            return None
        if isinstance(visit.cookie, Issue):
            return self._signer.issue(visit.cookie.id, https=visit.https)
        return self._signer.delete(https=visit.https)
