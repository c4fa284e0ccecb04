"""From settings to a keeper and its sites."""

import random
import secrets
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final

from memsession.events import Observe
from memsession.lifetime import Lifetime
from memsession.pool import Pool
from memsession.surroundings import Senses, world_of
from memsession.upkeep.keeper import Keeper
from memsession.upkeep.site import Site, site_of

_LONG: Final = timedelta(days=30)


def sites(
    *, keys: Sequence[bytes], lifetime: Lifetime, senses: Senses, observe: Observe, rate: int
) -> Callable[[Pool], Site]:
    """What makes the sites of a keeper whose chores are to be run by the client that `senses` belongs to.

    `keys` are the secrets that `secret_keys()` returned. `rate` is in sessions a second.
    """

    def site_for(pool: Pool) -> Site:
        world = world_of(keys, lifetime, senses, pool.placed)
        status_world = world_of(keys, Lifetime(idle=_LONG, absolute=_LONG), senses, pool.placed)
        return site_of(pool, world=world, status_world=status_world, observe=observe, mark=_mark, rate=rate)

    return site_for


def keeper_of(pool: Pool, site_for: Callable[[Pool], Site]) -> Keeper:
    """A keeper of `pool`."""
    return Keeper(pool, site_for=site_for, chance=random.random)


def _mark() -> bytes:
    return secrets.token_hex(16).encode()
