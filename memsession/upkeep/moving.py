"""Moving: which pools are in use, and when all sessions lie where the new one wants them.

Each web server says in the status which pool it uses. While pools are in use that do not know each other, an error is
told. While one of a chain of `previous` pools is still in use, only visitors move sessions: a web server that knows
nothing of the new nodes would not find, and not end, what is there. When all use the new pool, every session is
mended at its old and new homes. A scan that was begun later than that counts, and is noted with the time when it
began; a web server that uses another pool after that undoes it.

A pool counts as in use by others when they say so again while we look: what a web server said before it ended, or was
started anew with another pool, is no news.
"""

from collections.abc import Callable
from typing import Final

from memsession.events import MoveDone, PoolReplaced, PoolsDiffer, RefillBegan, RefillFailed, RefillProgress
from memsession.upkeep import pace
from memsession.upkeep.chores import Chore
from memsession.upkeep.fingerprint import chain, fingerprint, in_use
from memsession.upkeep.lease import LeaseLost
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
        self._first: dict[str, int] | None = None
        self._former: str | None = None
        self._told: set[str] = set()
        self._failures = 0
        self._not_before = 0.0
        self.is_done = False
        """Whether it was told that all sessions have moved."""

    def say(self, site: Site, status: Status) -> Chore[None]:
        """Say which pool is in use here, look at the others, and tell when the move to it is done."""
        now_ms = site.status_world.now_ms()
        mine = status.pools.get(site.fingerprint)
        self._compare(site, status, now_ms)
        if mine is None or not now_ms - SAY_S * 1000 < mine.at_ms <= now_ms + SAY_S * 1000:
            put = pool_put(site.fingerprint, in_use(site.pool, now_ms))
            yield note(site.status_world, site.status_key, lambda _: put, site.deadline)
        if site.pool.previous is not None and not self.is_done and _has_moved(site, status):
            self.is_done = True
            site.observe(MoveDone())

    def move(self, site: Site, status: Status, pulse: Callable[[], Chore[None]]) -> Chore[None]:
        """Move all sessions, when it is time to. `pulse` may raise to break it off."""
        began, now_ms = site.world.monotonic(), site.status_world.now_ms()
        if site.pool.previous is None or _has_moved(site, status) or began < self._not_before:
            return
        if site.fingerprint not in status.pools or _others_may_be_alive(site, status, now_ms):
            return
        try:
            if not _has_run_out(site, status, now_ms):
                yield from self._scan(site, pulse)
            put = moved_put(status, site.fingerprint, now_ms)
            if not (yield note(site.status_world, site.status_key, lambda _: put, site.deadline)):
                raise RefillBroken("the nodes that keep the pool's status do not answer")
        except RefillBroken as problem:
            site.observe(RefillFailed(ALL, str(problem)))
            now = site.world.monotonic()
            self._not_before = now + pace.rest_s(now - began, self._failures)
            self._failures += 1
        except LeaseLost:
            site.observe(RefillFailed(ALL, "it is left to another process, or to another pool"))
            raise

    def _scan(self, site: Site, pulse: Callable[[], Chore[None]]) -> Chore[None]:
        """Every session gets all its copies on the nodes of this pool; of former ones some may be gone."""
        site.observe(RefillBegan(ALL, "moved"))
        refill = Refill(
            world=site.world,
            nodes={node.name for node in site.pool.nodes},
            sources=site.names,
            rate=site.rate,
            pulse=pulse,
            report=lambda looked_at, known, written: site.observe(RefillProgress(ALL, looked_at, known, written)),
        )
        done = yield from refill.run()
        if len(done.unlisted) > _bearable(site):
            raise RefillBroken(f"too many nodes could not be asked: {done.reasons}")

    def _compare(self, site: Site, status: Status, now_ms: int) -> None:
        before = in_use(site.pool, now_ms).before
        strangers = {
            name: other
            for name, other in status.pools.items()
            if name != site.fingerprint and name not in before and site.fingerprint not in other.before
        }
        if self._first is None:
            self._first = {name: other.at_ms for name, other in strangers.items()}
            latest = max(status.pools, key=lambda name: status.pools[name].at_ms, default=None)
            self._former = latest if latest in strangers else None
        first, since_ms = self._first, now_ms - ALIVE_S * 1000
        alive = {name for name, other in strangers.items() if other.at_ms > max(first.get(name, 0), since_ms)}
        for name in sorted(alive - self._told):
            site.observe(PoolsDiffer(*_differences(site, strangers[name])))
        self._told = alive
        former = strangers.get(self._former or "")
        if former is None or self._former in alive:
            self._former = None
        elif former.at_ms <= since_ms:
            self._former = None
            ours, theirs = _differences(site, former)
            if max(len(ours), len(theirs)) >= former.copies:
                site.observe(PoolReplaced(ours, theirs))


def _differences(site: Site, other: InUse) -> tuple[tuple[str, ...], tuple[str, ...]]:
    ours = {node.name for node in site.pool.nodes}
    return tuple(sorted(ours - {*other.nodes})), tuple(sorted({*other.nodes} - ours))


def _others_may_be_alive(site: Site, status: Status, now_ms: int) -> bool:
    """If the status was lost, they have to have the time to speak."""
    latest = [other.at_ms for name, other in status.pools.items() if name != site.fingerprint]
    return max(latest, default=0) > now_ms - ALIVE_S * 1000 or status.begun_ms > now_ms - ALIVE_S * 1000


def _has_run_out(site: Site, status: Status, now_ms: int) -> bool:
    """Whether the former pools were used last so long ago that every session of then has ended."""
    before = {fingerprint(pool) for pool in chain(site.pool)[1:]} - {site.fingerprint}
    latest = [other.at_ms for name, other in status.pools.items() if name != site.fingerprint]
    return before <= status.pools.keys() and max(latest, default=now_ms) < now_ms - site.world.lifetime.longest_ms


def _has_moved(site: Site, status: Status) -> bool:
    at_ms = status.moved.get(site.fingerprint)
    return at_ms is not None and all(
        other.at_ms < at_ms for name, other in status.pools.items() if name != site.fingerprint
    )


def _bearable(site: Site) -> int:
    """How many nodes need not be asked: every session has a copy on another one."""
    return min(pool.copies for pool in chain(site.pool)) - 1
