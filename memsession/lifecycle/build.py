"""From what a user writes to a lifecycle: the same for every adapter."""

from collections.abc import Callable
from dataclasses import replace

from memsession.cookies import CookieSigner
from memsession.events import guarded
from memsession.lifecycle.commit import Missed, nobody_minds
from memsession.lifecycle.lifecycle import Lifecycle
from memsession.lifecycle.options import Settings
from memsession.lifecycle.placing import Placing
from memsession.lifecycle.plain_http import PlainHttp
from memsession.paths import roots
from memsession.secret import secret_keys
from memsession.session import Ledger, SessionDict
from memsession.surroundings import Senses, world_of


def build(
    settings: Settings,
    *,
    placing: Placing,
    senses: Senses,
    make_session: Callable[[Ledger], SessionDict],
    missed: Missed = nobody_minds,
) -> Lifecycle:
    """A lifecycle for an adapter. `placing` has the pool that `senses` talks to; `missed` is told of tombstones.

    Raises:
        ConfigurationError: `secret_key` is missing or weak.
    """
    keys, pool = secret_keys(settings.secret_key), placing.pool
    world = world_of(keys, settings.lifetime, senses, placing.homes)
    if pool.consistency == "majority":
        world = replace(world, home_sets=placing.home_sets)
    return Lifecycle(
        world=world,
        placing=placing,
        keys=keys,
        signer=CookieSigner(settings.cookie, keys),
        make_session=make_session,
        observe=guarded(settings.observe),
        missed=missed,
        rotate_on=settings.rotate_on,
        empty_on_outage=settings.on_outage == "empty",
        always_vary=settings.vary == "always",
        discard_on_error=settings.on_server_error == "discard",
        skip=roots("skip={}", settings.skip),
        exclusive=settings.exclusive,
        plain_http=PlainHttp(settings.cookie),
    )
