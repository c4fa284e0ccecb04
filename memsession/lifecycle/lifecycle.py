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

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import lru_cache
from typing import Any

from memsession.cookies import CookieSigner
from memsession.errors import PoolUnavailable, UnstorableValue
from memsession.events import (
    ChangesForgotten,
    CookieRefused,
    Event,
    InDoubt,
    NotThere,
    Observe,
    SaveFailed,
    TooFewCopies,
    Unanswered,
    Unreadable,
    is_heard,
)
from memsession.events import Loaded as LoadedEvent
from memsession.exclusive import Exclusive
from memsession.identity import SessionId, short, storage_key
from memsession.lifecycle.commit import Commit, Missed, nobody_minds
from memsession.lifecycle.headers import Headers, headers_to_add
from memsession.lifecycle.midway import Midway
from memsession.lifecycle.options import ROTATE_ON
from memsession.lifecycle.placing import Placing
from memsession.lifecycle.plain_http import PlainHttp
from memsession.lifecycle.turn import Turn
from memsession.lifecycle.visit import KEEP, Issue, Standing, Ticket, Visit
from memsession.lifecycle.writes import TOO_FEW, Writes
from memsession.paths import Roots, is_below
from memsession.plans import Absent, Doubt, Ended, Found, Loaded, NoMajority, Outage, Plan, World, load
from memsession.record import Reason, visible
from memsession.session import PERMANENT_KEY, Ledger, SessionDict, changes_of, response_begins, take_back

SERVER_ERROR = 500

REMEMBERED = 4_096
"""Visitors whose storage key is remembered from one request to the next."""


class Lifecycle:
    """What an adapter needs, and nothing of its framework: one for an application."""

    def __init__(
        self,
        *,
        world: World,
        placing: Placing,
        keys: Sequence[bytes],
        signer: CookieSigner,
        make_session: Callable[[Ledger], SessionDict],
        observe: Observe,
        missed: Missed = nobody_minds,
        rotate_on: Collection[str] = ROTATE_ON,
        empty_on_outage: bool = False,
        always_vary: bool = False,
        discard_on_error: bool = False,
        skip: Roots = (),
        exclusive: Exclusive | None = None,
        plain_http: PlainHttp | None = None,
    ) -> None:
        self.world = world
        self._signer = signer
        self._make_session, self._observe = make_session, observe
        self._rotate_on = frozenset(rotate_on)
        self._placing, pool = placing, placing.pool
        self._prefix, self._budget_s = pool.prefix, pool.budget.total_seconds()
        self._empty_on_outage = empty_on_outage
        self._always_vary, self._discard_on_error = always_vary, discard_on_error
        self._skip, self._plain_http = skip, plain_http
        self._commit = Commit(
            world=world,
            writes=Writes(world=world, max_bytes=pool.max_bytes, observe=observe),
            new_ticket=lambda: self._ticket(SessionId.new()),
            mark_key=keys[0],
            observe=observe,
            missed=missed,
            rotate_on=self._rotate_on,
            empty_on_outage=empty_on_outage,
        )
        self._midway = Midway(self._commit)
        self._turn = _turn_of(exclusive, world, observe, empty_on_outage=empty_on_outage)
        self._known = lru_cache(REMEMBERED)(self._ticket)

    def skips(self, path: str) -> bool:
        """Whether there is no session at that path."""
        return bool(self._skip) and is_below(path, self._skip)

    def arrive(self, cookies: Sequence[bytes], *, https: bool) -> Visit:
        """Begin a visit from the request's Cookie headers. With a `ticket`, the session has to be loaded."""
        found = self._signer.find(cookies, https=https)
        if found.bad or found.conflict:
            self._observe(CookieRefused("", found.conflict))
        ledger = Ledger(self.world.lifetime, self._rotate_on)
        if found.id is None:
            visit = Visit(https, None, ledger, self._budget_s)
            visit.session = self._make_session(ledger)
            return visit
        return Visit(https, self._known(found.id), ledger, self._budget_s, came_with_cookie=True)

    def _ticket(self, id: SessionId) -> Ticket:  # noqa: A002
        return Ticket(id, storage_key(id, self._prefix))

    def deadline(self, visit: Visit) -> float:
        """Start the clock for the next plan of this visit, and say when its time is over.

        Once the response has begun nobody waits for its head any more, and it may go on for hours (a WebSocket, a
        stream): from then on each plan has the whole budget.
        """
        if visit.answered:
            visit.left_s = self._budget_s
        if visit.pool is not self._placing.pool:
            # What was loaded from the pool as it was has to be loaded again before it is saved.
            visit.pool, visit.stale = self._placing.pool, visit.found is not None
        visit.deadline = self.world.monotonic() + visit.left_s
        return visit.deadline

    def load(self, visit: Visit) -> Plan[None]:
        """Load the session that the visit's ticket names.

        Raises:
            PoolUnavailable: none of its nodes answered (in strict mode: too few), and an outage is an error.
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
                visit.ledger.before = visible(record)
                visit.ledger.stored(key, record)
                if is_heard(self._observe, LoadedEvent):
                    self._observe(LoadedEvent(short(key), loaded.repaired))
            case Ended(dead):
                visit.came_late = dead.reason is Reason.REGENERATED
                visit.standing = Standing.DROPPED if visit.came_late else Standing.NEW
                visit.ledger.ended = True
                self._observe(NotThere(short(key), "ended"))
            case Absent(expired):
                self._observe(NotThere(short(key), "expired" if expired else "unknown"))
            case Doubt(unreadable, outvoted):
                visit.standing, visit.came_alive = Standing.DOUBT, True
                if outvoted:
                    self._observe(TooFewCopies(short(key), "shown empty"))
                else:
                    self._observe(Unreadable(short(key)) if unreadable else InDoubt(short(key)))
            case NoMajority():
                self._refuse(visit, TooFewCopies(short(key)), TOO_FEW)
            case Outage():  # pragma: no branch
                self._refuse(
                    visit, Unanswered(short(key)), "no memcached node of this session answered: are they running?"
                )

    def _refuse(self, visit: Visit, event: Event, problem: str) -> None:
        """Too little is known of the session to show it, or to write anything."""
        visit.standing, visit.came_alive = Standing.OUTAGE, True
        self._observe(event)
        if not self._empty_on_outage:
            raise PoolUnavailable(problem)

    def needs_turn(self, visit: Visit, method: str, path: str) -> bool:
        """Whether the request has to `claim` its turn before it loads: in exclusive mode, with a cookie."""
        return self._turn is not None and self._turn.wanted(visit, method, path)

    def claim(self, visit: Visit) -> Plan[float | None]:
        """Try to get the session's lock. Seconds to wait before the next try; None: the request may go on.

        Waiting takes nothing of the request's time budget for the store.

        Raises:
            SessionBusy: it waited for as long as it may; answer 503.
            PoolUnavailable: none of the session's nodes answered, and an outage is an error.
        """
        assert self._turn is not None  # noqa: S101 - a caller's mistake, not an input's
        return self._turn.claim(visit)

    def end_turn(self, visit: Visit) -> Plan[None]:
        """Give the lock back. To be run when `visit.owner` is not None and nothing more will be committed.

        Also after a failed `claim` or an unhandled exception, and with a time budget of its own: a lock that is kept
        is in the way until it expires.
        """
        assert self._turn is not None  # noqa: S101 - a caller's mistake, not an input's
        visit.left_s = self._budget_s
        return self._turn.over(visit)

    def replace(self, visit: Visit, content: dict[str, Any]) -> SessionDict:
        """The application has put a dict in the place of the session: this is what the session holds now."""
        session = visit.session
        for key in [key for key in session if key not in content]:
            del session[key]
        session.update(content)
        if not content:
            session.clear()
        return session

    def commit(self, visit: Visit, status: int = 200) -> Plan[None]:
        """Perform what the request did, and is answered with `status`. Afterwards `answer` tells what goes with that.

        Raises:
            PoolUnavailable: no node acknowledged (in strict mode: no majority); answer 503 and send no cookie.
            LockLost: in exclusive mode, the request took too long; answer 503.
            UnstorableValue, SessionTooLarge: nothing was written.
        """
        if status >= SERVER_ERROR and self._discard_on_error:
            take_back(visit.session, visit.ledger)
        plan = self._commit.run(visit)
        return plan if self._turn is None else self._turn.kept(visit, plan)

    def save(self, visit: Visit) -> Plan[None]:
        """Commit now, and show what is stored afterwards."""
        plan = self._midway.save(visit)
        return plan if self._turn is None else self._turn.kept(visit, plan)

    def modify(self, visit: Visit, key: str, fn: Callable[[object], object], default: object) -> Plan[object]:
        """`AsyncSession.modify`."""
        plan = self._midway.modify(visit, key, fn, default)
        return plan if self._turn is None else self._turn.kept(visit, plan, writes=True)

    def answer(
        self, visit: Visit, headers: Iterable[tuple[bytes, bytes]], request_headers: Iterable[tuple[bytes, bytes]]
    ) -> Headers:
        """The response begins, after a commit: what has to be added to its `headers`.

        From here on no cookie can be set, and what the application still changes has to be saved explicitly.
        """
        visit.answered = True
        cookie, accessed = self.set_cookie(visit), visit.ledger.accessed or visit.ledger.used
        visit.ledger.done()  # what was asked for is performed, or there was nothing to perform it on
        response_begins(visit.session, visit.ledger)
        if cookie is None and not accessed and not self._always_vary:
            return []
        if cookie is not None and not visit.https and self._plain_http is not None:
            self._plain_http.sent(request_headers)
        return headers_to_add(headers, cookie=cookie)

    def forgot(self, visit: Visit) -> bool:
        """The request is over: whether it changed the session after its response began, and did not save that.

        Never, where no response was given to the application's mind: a 503 was reported as such.
        """
        ledger = visit.ledger
        if not ledger.answered or not (ledger.accessed or ledger.exposed):
            return False
        try:
            forgotten = bool(changes_of(visit.session, ledger)) or self._commit.is_asked(visit)
        except UnstorableValue:
            forgotten = True
        if forgotten:
            self._observe(ChangesForgotten("(new)" if ledger.key is None else short(ledger.key)))
        return forgotten

    def unsaved(self, visit: Visit) -> None:
        """Tell that what a visit did after its response had begun could not be saved, whatever the nodes say."""
        self._observe(SaveFailed("(new)" if visit.ledger.key is None else short(visit.ledger.key)))

    def set_cookie(self, visit: Visit) -> bytes | None:
        """The value of the Set-Cookie header that has to go with the response, if any."""
        if visit.cookie is KEEP:
            return None
        if isinstance(visit.cookie, Issue):
            return self._signer.issue(visit.cookie.id, https=visit.https, max_age_s=self._age_s(visit))
        return self._signer.delete(https=visit.https)

    def _age_s(self, visit: Visit) -> int | None:
        """The cookie of a session with a lifetime of its own lasts as long as that; others as the settings say."""
        record = visit.ledger.record
        if record is None or not dict.get(visit.session, PERMANENT_KEY, record.idle_ms > 0):
            return None
        return max(1, -(-(record.deadline_ms - self.world.now_ms()) // 1000))


def _turn_of(exclusive: Exclusive | None, world: World, observe: Observe, *, empty_on_outage: bool) -> Turn | None:
    if exclusive is None:
        return None
    return Turn(world=world, exclusive=exclusive, observe=observe, empty_on_outage=empty_on_outage)
