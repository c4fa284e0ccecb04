"""From settings and a client's senses to the world in which plans run."""

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from memsession.lifetime import Lifetime
from memsession.plans import World
from memsession.record import CounterMemory
from memsession.seal import Seal
from memsession.vault import Vault


class Senses(Protocol):
    """What plans need to know of the client that runs them."""

    def now_ms(self) -> int:
        """The pool's clock."""
        ...

    def is_up(self, node: str) -> bool:
        """Whether the node is not known to be out."""
        ...


def world_of(
    keys: Sequence[bytes], lifetime: Lifetime, senses: Senses, homes: Callable[[bytes], tuple[str, ...]]
) -> World:
    """A world with memories of its own. `keys` are the secrets that `secret_keys()` returned."""
    return World(
        homes=homes,
        codec=Vault(Seal(keys)),
        lifetime=lifetime,
        now_ms=senses.now_ms,
        monotonic=time.monotonic,
        nonce=_nonce,
        is_up=senses.is_up,
        counters=CounterMemory(_nonce),
    )


def _nonce() -> str:
    """72 random bits: a name that no other writer of a session has."""
    return secrets.token_urlsafe(9)
