"""Web sessions on several memcached servers: servers may die, hang or come back empty, and no visitor notices."""

from memsession.cookies import Cookie
from memsession.errors import (
    ConfigurationError,
    LockLost,
    PoolUnavailable,
    SessionBusy,
    SessionError,
    SessionTooLarge,
    UnfitValue,
    UnstorableValue,
    UpdateUnconfirmed,
)
from memsession.exclusive import Exclusive
from memsession.lifetime import Lifetime
from memsession.pool import Pool
from memsession.session import AsyncSession, Session
from memsession.upkeep import Upkeep

__all__ = [
    "AsyncSession",
    "ConfigurationError",
    "Cookie",
    "Exclusive",
    "Lifetime",
    "LockLost",
    "Pool",
    "PoolUnavailable",
    "Session",
    "SessionBusy",
    "SessionError",
    "SessionTooLarge",
    "UnfitValue",
    "UnstorableValue",
    "UpdateUnconfirmed",
    "Upkeep",
]
