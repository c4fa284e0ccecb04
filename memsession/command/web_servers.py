"""What the web servers have told each other about a pool, and which of its names stand for one process.

It is read from the pool's status, a record that is sealed with the application's secret, so it takes the secret. To
tell processes apart, a random mark is put on each node that has none yet, the same that every web server puts there
when it connects; nothing else is written.
"""

import time
from collections.abc import Sequence
from typing import Final

from memsession.blocking import BlockingClient
from memsession.errors import ConfigurationError
from memsession.inspection import Finding, Level
from memsession.lifetime import Lifetime
from memsession.pool import Pool
from memsession.upkeep.build import sites
from memsession.upkeep.fingerprint import in_use
from memsession.upkeep.moving import ALIVE_S
from memsession.upkeep.site import Site
from memsession.upkeep.status import InUse, Status, Unread, read_status

TWINS: Final = "twins"
WEB_SERVERS: Final = "web servers"
REFILLS: Final = "refills"

Looked = tuple[list[Finding], tuple[str, ...]]
"""What was found, and the names of the checks that could be made."""

BUDGET_S: Final = 5.0
_SHOWN_MAX: Final = 8

_SECRET: Final = "Set MEMSESSION_SECRET, or name a file with --secret-file."  # noqa: S105 - not a secret, how to give one


def of_web_servers(pool: Pool, keys: Sequence[bytes]) -> Looked:
    """What is wrong between the web servers of a pool, some node of which is up. `keys` are its secrets, or empty."""
    client = BlockingClient(pool, observe=_nobody)
    try:
        found = _of_twins(client)
        if not keys:
            what = "not checked, for want of the secret: whether all web servers use this pool, and refills"
            return [*found, Finding(level=Level.NOTE, check=WEB_SERVERS, what=what, cure=_SECRET)], (TWINS,)
        site = sites(keys=keys, lifetime=Lifetime(), senses=client, observe=_nobody, rate=1)(pool)
        plan = read_status(site.status_world, site.status_key)
        status = client.run(plan, deadline=time.monotonic() + BUDGET_S)
        more, checks = of_status(site, status, client.now_ms(), client.incarnations)
        return [*found, *more], (TWINS, *checks)
    finally:
        client.close()


def of_status(site: Site, status: Status | Unread, now_ms: int, marks: dict[str, str]) -> Looked:
    """What a status says. `marks`: of the processes that answer at the nodes' names."""
    if status is Unread.SEALED:
        what = "the web servers use another secret, or another application uses this prefix"
        cure = "Give the secret_key of the web servers; give each application a Pool(prefix=...) of its own."
        return [Finding(level=Level.ERROR, check=WEB_SERVERS, what=what, cure=cure)], (WEB_SERVERS,)
    if isinstance(status, Unread):
        what = "not checked: the nodes that keep the pool's status do not answer"
        return [Finding(level=Level.NOTE, check=WEB_SERVERS, what=what)], ()
    found = _of_pools(site, status, now_ms)
    is_alone = site.pool.copies == 1 and site.pool.previous is None
    if not status.pools or is_alone or any(one.level is Level.ERROR for one in found):
        return found, (WEB_SERVERS,)  # Nobody refills this pool, or there is nothing to refill it from.
    return [*found, *_of_refills(site, status, marks)], (WEB_SERVERS, REFILLS)


def _of_twins(client: BlockingClient) -> list[Finding]:
    try:
        client.greet()
    except ConfigurationError as twins:
        return [Finding(level=Level.ERROR, check=TWINS, what=str(twins))]
    return []


def _of_pools(site: Site, status: Status, now_ms: int) -> list[Finding]:
    alive = {name: one for name, one in status.pools.items() if one.at_ms > now_ms - ALIVE_S * 1000}
    before = in_use(site.pool, now_ms).before
    strangers = {
        name: one
        for name, one in alive.items()
        if name != site.fingerprint and name not in before and site.fingerprint not in one.before
    }
    if not alive:
        what = f"no web server has said in the last {ALIVE_S:.0f} s which pool it uses"
        cure = "If some are running, see that they have this prefix and secret, and upkeep not switched off."
        return [Finding(level=Level.NOTE, check=WEB_SERVERS, what=what, cure=cure)]
    if strangers:
        how = "; ".join(_difference(site.pool, one) for one in strangers.values())
        who = "some web servers use" if site.fingerprint in alive else "the web servers use"
        what = f"{who} another pool than this one: {how}"
        cure = "Give all web servers the same pool, and this command too; after a change with Pool(previous=...)."
        return [Finding(level=Level.ERROR, check=WEB_SERVERS, what=what, cure=cure)]
    if alive.keys() - {site.fingerprint}:
        what = "some web servers still use the pool as it was before, or already the next one"
        cure = "Sessions are moved when all use the same one."
        return [Finding(level=Level.NOTE, check=WEB_SERVERS, what=what, cure=cure)]
    return []


def _of_refills(site: Site, status: Status, marks: dict[str, str]) -> list[Finding]:
    """Nodes that are not known to have all their copies."""
    found = []
    for node in site.names:
        mark, sound, missed = marks.get(node), status.sound.get(node), status.missed.get(node, "")
        if mark is None or (sound is not None and (sound.mark, sound.missed, sound.sources) == (mark, missed, ())):
            continue
        what = "copies may be missing here: a refill is under way, or due"
        cure = "Do not restart another node before it is done; `memsession refill` does it now."
        found.append(Finding(level=Level.WARNING, check=REFILLS, node=node, what=what, cure=cure))
    return found


def _difference(ours: Pool, theirs: InUse) -> str:
    here, there = {node.name for node in ours.nodes}, {*theirs.nodes}
    parts = [
        *([f"only there: {_names(there - here)}"] if there - here else []),
        *([f"only here: {_names(here - there)}"] if here - there else []),
        *([f"copies={theirs.copies} there, {ours.copies} here"] if theirs.copies != ours.copies else []),
    ]
    return ", ".join(parts) or "other weights or zones"


def _names(names: set[str]) -> str:
    shown = sorted(names)
    return " ".join(shown[:_SHOWN_MAX]) + (f" and {len(shown) - _SHOWN_MAX} more" if len(shown) > _SHOWN_MAX else "")


def _nobody(_: object) -> None:
    """Nobody is told of nodes that go out: the report says so."""
