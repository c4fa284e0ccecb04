"""One request's visit to its session: what came in, what was found, what is to become of the cookie."""

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, TypeAlias

from memsession.identity import SessionId
from memsession.plans import Found
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
    OUTAGE = "no node answered: nothing can be written"


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

    `stale`: the tokens in `found` are used up, so the next write has to load again. `deadline` (seconds of the
    world's monotonic clock) ends the round trips under way, `left_s` is what is left of the request's time budget.
    """

    https: bool
    ticket: Ticket | None
    ledger: Ledger
    left_s: float
    session: SessionDict = field(init=False)
    found: Found | None = None
    standing: Standing = Standing.NEW
    stale: bool = False
    cookie: CookieAction = KEEP
    deadline: float = 0.0
