"""Moving: which pools are in use, and when all sessions lie where the new one wants them.

Each web server says in the status which pool it uses. While pools are in use that do not know each other, an error is
told. While one of a chain of `previous` pools is still in use, only visitors move sessions: a web server that knows
nothing of the new nodes would not find, and not end, what is there. When all use the new pool, every session is
mended at its old and new homes. A scan that was begun later than that counts, and is noted with the time when it
began; a web server that uses another pool after that undoes it.
"""

from typing import Final

from memsession.events import MoveDone, PoolReplaced, PoolsDiffer, RefillBegan, RefillFailed, RefillProgress
from memsession.upkeep.chores import Chore
from memsession.upkeep.fingerprint import chain, in_use
from memsession.upkeep.lease import Lease
from memsession.upkeep.refill import Refill, RefillBroken
from memsession.upkeep.site import Site
from memsession.upkeep.status import InUse, Status, moved_put, note, pool_put

SAY_S: Final = 5.0
"""How often a pool that is in use is said to be."""

ALIVE_S: Final = 20.0
"""A pool that nobody spoke of for so long is not in use."""

ALL: Final = "(all)"
"""In events of a move, instead of a node's name."""


class Moving:
    """What one worker has told of the pool that it uses, and was told. Made anew when that changes."""

    def __init__(self) -> None:
        self._is_first = True
        self._told: set[str] = set()
        self._is_done = False
        self._not_before = 0.0

    def say(self, site: Site, status: Status) -> Chore[None]:
        """Say which pool is in use here, look at the others, and tell when the move to it is done."""
        now_ms = site.status_world.now_ms()
        mine = status.pools.get(site.fingerprint)
        self._compare(site, status, now_ms)
        if mine is None or not now_ms - SAY_S * 1000 < mine.at_ms <= now_ms + SAY_S * 1000:
            put = pool_put(site.fingerprint, in_use(site.pool, now_ms))
            yield note(site.status_world, site.status_key, lambda _: put, site.deadline)
        if site.pool.previous is not None and not self._is_done and _has_moved(site, status):
            self._is_done = True
            site.observe(MoveDone())

    def move(self, site: Site, lease: Lease, status: Status) -> Chore[None]:
        """Move all sessions, when it is time to."""
        world = site.world
        if site.pool.previous is None or _has_moved(site, status) or world.monotonic() < self._not_before:
            return
        began_ms = site.status_world.now_ms()
        if site.fingerprint not in status.pools or _others_alive(site, status, began_ms):
            return
        site.observe(RefillBegan(ALL, "moved"))
        refill = Refill(
            world=world,
            node=None,
            sources=site.names,
            rate=site.rate,
            pulse=lease.keep,
            report=lambda looked_at, known, written: site.observe(RefillProgress(ALL, looked_at, known, written)),
        )
        try:
            done = yield from refill.run()
            if len(done.unlisted) > _bearable(site):
                raise RefillBroken(f"too many nodes could not be asked for their keys: {done.reasons}")
            yield note(
                site.status_world,
                site.status_key,
                lambda now: moved_put(now, site.fingerprint, began_ms),
                site.deadline,
            )
        except RefillBroken as problem:
            site.observe(RefillFailed(ALL, str(problem)))
            self._not_before = world.monotonic() + SAY_S

    def _compare(self, site: Site, status: Status, now_ms: int) -> None:
        before = in_use(site.pool, now_ms).before
        strangers = {
            name: other
            for name, other in status.pools.items()
            if name != site.fingerprint and name not in before and site.fingerprint not in other.before
        }
        alive = {name: other for name, other in strangers.items() if other.at_ms > now_ms - ALIVE_S * 1000}
        for name, other in alive.items():
            if name not in self._told:
                site.observe(PoolsDiffer(*_differences(site, other)))
        self._told = set(alive)
        if self._is_first and status.pools and not alive:
            latest = max(status.pools, key=lambda name: status.pools[name].at_ms)
            if latest in strangers:
                ours, theirs = _differences(site, strangers[latest])
                if max(len(ours), len(theirs)) >= strangers[latest].copies:
                    site.observe(PoolReplaced(ours, theirs))
        self._is_first = False


def _differences(site: Site, other: InUse) -> tuple[tuple[str, ...], tuple[str, ...]]:
    ours = {node.name for node in site.pool.nodes}
    return tuple(sorted(ours - {*other.nodes})), tuple(sorted({*other.nodes} - ours))


def _others_alive(site: Site, status: Status, now_ms: int) -> bool:
    return any(
        name != site.fingerprint and other.at_ms > now_ms - ALIVE_S * 1000 for name, other in status.pools.items()
    )


def _has_moved(site: Site, status: Status) -> bool:
    at_ms = status.moved.get(site.fingerprint)
    return at_ms is not None and all(
        other.at_ms < at_ms for name, other in status.pools.items() if name != site.fingerprint
    )


def _bearable(site: Site) -> int:
    """How many nodes need not be asked: every session has a copy on another one."""
    return min(pool.copies for pool in chain(site.pool)) - 1
