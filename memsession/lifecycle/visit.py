"""One request's visit to its session: what came in, what was found, what is to become of the cookie."""

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, TypeAlias

from memsession.identity import SessionId
from memsession.plans import Found
from memsession.pool import Pool
from memsession.session import Ledger, SessionDict


class Ticket(NamedTuple):
    """A session ID and the storage key that follows from it."""

    id: SessionId
    key: bytes


class Standing(Enum):
    """What a request may do under the ID it came with."""

    NEW = "no ID, or one that is ended, expired or unknown: writes begin a new session"
    FOUND = "the session is alive: writes go into it"
    DOUBT = "not found, not ruled out: writes begin a new session, the old one is left alone"
    DROPPED = "ended by a login elsewhere: writes are dropped, no cookie is set"
    OUTAGE = "no node answered, or too few in strict mode: nothing can be written"


@dataclass(frozen=True, slots=True)
class Keep:
    """Send no cookie."""


@dataclass(frozen=True, slots=True)
class Issue:
    """Send a cookie with this ID."""

    id: SessionId


@dataclass(frozen=True, slots=True)
class Delete:
    """Send the cookie's deletion."""


CookieAction: TypeAlias = Keep | Issue | Delete

KEEP = Keep()
DELETE = Delete()


@dataclass(slots=True, eq=False)
class Visit:
    """A request's dealings with its session. `session` is what the application sees.

    `came_with_cookie`: the request named a session; `came_alive`: that session was found, or not ruled out;
    `came_late`: it had been ended by a login already.
    `stale`: the tokens in `found` are used up, so the next write has to load again.
    `pool`: the one that was in use when the last plan of the visit began.
    `owed`: keys whose increments were counted by this process, and not acknowledged by any node.
    `answered`: the head of the response has left, so that no cookie can be set any more.
    `deadline` (seconds of the world's monotonic clock) ends the round trips under way, `left_s` is what is left of
    the request's time budget.
    `read_only`: ordinary changes are dropped. `owner` is the name by which this request has asked for the lock under
    `lock_key`, until it gave that back; `locked`: it got it; `tries` and `wait_until` bound its waiting for it.
    """

    https: bool
    ticket: Ticket | None
    ledger: Ledger
    left_s: float
    session: SessionDict = field(init=False)
    found: Found | None = None
    standing: Standing = Standing.NEW
    came_with_cookie: bool = False
    came_alive: bool = False
    came_late: bool = False
    stale: bool = False
    pool: Pool | None = None
    answered: bool = False
    owed: frozenset[str] = frozenset()
    cookie: CookieAction = KEEP
    deadline: float = 0.0
    read_only: bool = False
    owner: str | None = None
    locked: bool = False
    lock_key: bytes = b""
    tries: int = 0
    wait_until: float = 0.0

    def needs_cookie(self) -> None:
        """To be called before anything is stored under a new ID.

        Raises:
            RuntimeError: it is too late for a cookie, so nobody would ever know that ID.
        """
        if self.answered:
            raise RuntimeError(
                "the response has begun, so no cookie can be set any more: begin a session, or renew its ID, before "
                "the response's first byte (in a WebSocket: before accept)"
            )
