"""From what a user writes to a lifecycle: the same for every adapter."""

import logging
import secrets
import time
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from memsession.cookies import Cookie, CookieSigner
from memsession.errors import ConfigurationError
from memsession.events import Observe, guarded
from memsession.lifecycle.lifecycle import Lifecycle
from memsession.lifetime import Lifetime
from memsession.plans import World
from memsession.pool import Pool
from memsession.record import CounterMemory
from memsession.seal import Seal
from memsession.secret import secret_keys
from memsession.session import Ledger, SessionDict
from memsession.vault import Vault

_logger = logging.getLogger("memsession")


class Senses(Protocol):
    """What a lifecycle needs to know of the client that will run its plans."""

    def now_ms(self) -> int:
        """The pool's clock."""
        ...

    def is_up(self, node: str) -> bool:
        """Whether the node is not known to be out."""
        ...


def pool_of(pool: Pool | str | None) -> Pool:
    """The pool that was meant; without one, nodes inside this process, with a warning.

    Raises:
        ConfigurationError: `pool` is something else, or malformed.
    """
    if pool is None:
        _logger.warning("no pool given: sessions live in this process only and end with it; set pool=Pool(...)")
        pool = "memory://"
    pool = Pool(pool) if isinstance(pool, str) else pool
    _check_kind("pool", pool, Pool, 'Pool("10.0.0.94", "10.0.0.95")')
    return pool


def build(
    *,
    secret_key: str | bytes | Sequence[str | bytes],
    pool: Pool,
    cookie: Cookie,
    lifetime: Lifetime,
    rotate_on: Collection[str],
    on_outage: str,
    observe: Observe,
    senses: Senses,
    make_session: Callable[[Ledger], SessionDict],
) -> Lifecycle:
    """A lifecycle for an adapter.

    Raises:
        ConfigurationError: a setting is missing, out of range, or contradicts another one.
    """
    _check(cookie, lifetime, rotate_on, on_outage, observe)
    keys = secret_keys(secret_key)
    world = World(
        homes=pool.homes,
        codec=Vault(Seal(keys)),
        lifetime=lifetime,
        now_ms=senses.now_ms,
        monotonic=time.monotonic,
        nonce=_nonce,
        is_up=senses.is_up,
        counters=CounterMemory(_nonce),
    )
    return Lifecycle(
        world=world,
        pool=pool,
        keys=keys,
        signer=CookieSigner(cookie, keys),
        make_session=make_session,
        observe=guarded(observe),
        rotate_on=rotate_on,
        empty_on_outage=on_outage == "empty",
    )


def _check(cookie: object, lifetime: object, rotate_on: object, on_outage: object, observe: object) -> None:
    _check_kind("cookie", cookie, Cookie, 'Cookie(name="session")')
    _check_kind("lifetime", lifetime, Lifetime, "Lifetime(idle=timedelta(minutes=30))")
    if on_outage not in ("error", "empty"):
        raise ConfigurationError(f"on_outage={on_outage!r}: use 'error' (answer 503) or 'empty'")
    if isinstance(rotate_on, str):
        raise ConfigurationError(f"rotate_on={rotate_on!r}: give a list of keys, for instance [{rotate_on!r}]")
    if not callable(observe):
        raise ConfigurationError(f"observe={observe!r}: give a function that takes an event")


def _check_kind(setting: str, value: object, kind: type, example: str) -> None:
    if not isinstance(value, kind):
        raise ConfigurationError(f"{setting} is a {type(value).__name__}: give for instance {setting}={example}")


def _nonce() -> str:
    """72 random bits: a name that no other writer of a session has."""
    return secrets.token_urlsafe(9)
