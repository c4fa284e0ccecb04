"""Web sessions on several memcached servers: servers may die, hang or come back empty, and no visitor notices."""

from memsession.cookies import Cookie
from memsession.errors import (
    ConfigurationError,
    PoolUnavailable,
    SessionError,
    SessionTooLarge,
    UnstorableValue,
    UpdateUnconfirmed,
)
from memsession.lifetime import Lifetime
from memsession.pool import Pool
from memsession.session import AsyncSession

__all__ = [
    "AsyncSession",
    "ConfigurationError",
    "Cookie",
    "Lifetime",
    "Pool",
    "PoolUnavailable",
    "SessionError",
    "SessionTooLarge",
    "UnstorableValue",
    "UpdateUnconfirmed",
]
