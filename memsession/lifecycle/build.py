"""From what a user writes to a lifecycle: the same for every adapter."""

import secrets
import time
from collections.abc import Callable
from typing import Protocol

from memsession.cookies import CookieSigner
from memsession.events import guarded
from memsession.lifecycle.lifecycle import Lifecycle
from memsession.lifecycle.options import Settings
from memsession.lifecycle.plain_http import PlainHttp
from memsession.paths import roots
from memsession.plans import World
from memsession.pool import Pool
from memsession.record import CounterMemory
from memsession.seal import Seal
from memsession.secret import secret_keys
from memsession.session import Ledger, SessionDict
from memsession.vault import Vault


class Senses(Protocol):
    """What a lifecycle needs to know of the client that will run its plans."""

    def now_ms(self) -> int:
        """The pool's clock."""
        ...

    def is_up(self, node: str) -> bool:
        """Whether the node is not known to be out."""
        ...


def build(
    settings: Settings, *, pool: Pool, senses: Senses, make_session: Callable[[Ledger], SessionDict]
) -> Lifecycle:
    """A lifecycle for an adapter. `pool` is the one that `senses` talks to.

    Raises:
        ConfigurationError: `secret_key` is missing or weak.
    """
    keys = secret_keys(settings.secret_key)
    world = World(
        homes=pool.homes,
        codec=Vault(Seal(keys)),
        lifetime=settings.lifetime,
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
        signer=CookieSigner(settings.cookie, keys),
        make_session=make_session,
        observe=guarded(settings.observe),
        rotate_on=settings.rotate_on,
        empty_on_outage=settings.on_outage == "empty",
        always_vary=settings.vary == "always",
        discard_on_error=settings.on_server_error == "discard",
        skip=roots("skip={}", settings.skip),
        exclusive=settings.exclusive,
        plain_http=PlainHttp(settings.cookie),
    )


def _nonce() -> str:
    """72 random bits: a name that no other writer of a session has."""
    return secrets.token_urlsafe(9)
