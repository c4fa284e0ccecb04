"""The session as a request sees it, and what becomes of it: a dict whose changes are found by comparing."""

from memsession.session.changes import NO_CHANGES, adopt, changes_of, content_of, response_begins, settle, take_back
from memsession.session.contents import BY_BITS_MAX
from memsession.session.csrf import is_stale, renew
from memsession.session.ledger import PERMANENT_KEY, Ledger, OwnLifetime, View
from memsession.session.session import AsyncSession, Session, SessionDict

__all__ = [
    "BY_BITS_MAX",
    "NO_CHANGES",
    "PERMANENT_KEY",
    "AsyncSession",
    "Ledger",
    "OwnLifetime",
    "Session",
    "SessionDict",
    "View",
    "adopt",
    "changes_of",
    "content_of",
    "is_stale",
    "renew",
    "response_begins",
    "settle",
    "take_back",
]
