"""A load on a pool: threads that read and change sessions of their own, by the plans that web servers run.

The sessions lie under a prefix of their own, which is drawn anew each time, and are sealed with a secret that nobody
keeps. So no real session can be touched, and nobody can take one of these for real. They are ended when the load is
over, and expire by themselves soon after it, whatever happens to this process.
"""

import random
import secrets
import string
import time
from array import array
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from threading import Event
from typing import Final, NamedTuple

from memsession.blocking import BlockingClient
from memsession.identity import SessionId, storage_key
from memsession.lifetime import Lifetime
from memsession.plans import Found, Saved, World, bear, end, load, save
from memsession.plans.together import together
from memsession.pool import Pool
from memsession.record import Changes, Entry, Live, apply
from memsession.surroundings import world_of

SPARE_S: Final = 60.0
"""So long after the load its sessions expire, if nobody ends them."""

_BURIED: Final = Lifetime(idle=timedelta(seconds=2), absolute=timedelta(seconds=2))
"""How long the tombstones are kept: nobody has the IDs, so none is needed for long."""

_BATCH: Final = 32
_AFTER_ERROR_S: Final = 0.01


class Drawn(NamedTuple):
    """A session of the load."""

    key: bytes


@dataclass(slots=True)
class Figures:
    """What was measured, times in seconds. `errors` by their kind."""

    loads: "array[float]" = field(default_factory=lambda: array("d"))
    saves: "array[float]" = field(default_factory=lambda: array("d"))
    errors: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    seconds: float = 0.0

    def add(self, other: "Figures") -> None:
        """Those of another thread."""
        self.loads.extend(other.loads)
        self.saves.extend(other.saves)
        self.errors.update(other.errors)
        self.requests += other.requests


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """`threads` threads for `seconds`, on `sessions` sessions of `size` bytes; `writes`: their share, 0.0 to 1.0."""

    seconds: float
    threads: int
    sessions: int
    size: int
    writes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTest:
    """A load of this shape on a pool; `client` and `world` are the pool's."""

    shape: Shape
    client: BlockingClient
    pool: Pool
    world: World
    prefix: str

    def stored_bytes(self) -> int:
        """What one of the sessions takes in memcached."""
        key = storage_key(SessionId.new(), self.prefix)
        return len(self.world.codec.seal(key, self._newborn()))

    @contextmanager
    def sessions_made(self, errors: Counter[str]) -> Iterator[list[bytes]]:
        """Some sessions, which are ended afterwards. There are fewer when the pool does not take them."""
        made: list[bytes] = []
        try:
            while len(made) < self.shape.sessions and errors["not created"] <= len(made) // 2:
                wanted = range(min(_BATCH, self.shape.sessions - len(made)))
                deadline = self._deadline()
                plans = [bear(self.world, self._draw, self._newborn(), deadline) for _ in wanted]
                born = self.client.run(together(plans), deadline=deadline)
                made += [drawn.key for drawn, _ in born]
                errors["not created"] += sum(not isinstance(outcome, Saved) for _, outcome in born)
            yield made
        finally:
            self._end(made)

    def run(self, made: list[bytes]) -> Figures:
        """Do it, and say what was measured."""
        total, over, begun = Figures(), Event(), time.monotonic()
        shares = [share for at in range(self.shape.threads) if (share := made[at :: self.shape.threads])]
        with ThreadPoolExecutor(self.shape.threads, thread_name_prefix="memsession-bench") as threads:
            try:
                running = [threads.submit(self._work, share, begun + self.shape.seconds, over) for share in shares]
                for one in running:
                    total.add(one.result())
            finally:
                over.set()
        total.seconds = time.monotonic() - begun
        return total

    def _work(self, mine: list[bytes], until: float, over: Event) -> Figures:
        """One thread: one request after the other, each on one of its own sessions."""
        figures, chance = Figures(), random.Random()  # noqa: S311 - nothing secret
        while time.monotonic() < until and not over.is_set():
            figures.requests += 1
            if problem := self._visit(chance.choice(mine), chance.random() < self.shape.writes, figures):
                figures.errors[problem] += 1
                over.wait(_AFTER_ERROR_S)
        return figures

    def _visit(self, key: bytes, writes: bool, figures: Figures) -> str:
        """Load and save as a request does. What went wrong, or nothing."""
        begun = time.perf_counter()
        found = self.client.run(load(self.world, key), deadline=self._deadline())
        figures.loads.append(time.perf_counter() - begun)
        if not isinstance(found, Found):
            return f"load: {type(found).__name__.lower()}"
        if not writes:
            return ""
        puts = Changes({"data": self._text()})
        wanted = apply(found.record, puts, {}, writer=self.world.nonce(), now_ms=self.world.now_ms())
        begun = time.perf_counter()
        deadline = self._deadline()
        saved = self.client.run(save(self.world, key, wanted, found.tokens, deadline), deadline=deadline)
        figures.saves.append(time.perf_counter() - begun)
        return "" if isinstance(saved, Saved) else f"save: {type(saved).__name__.lower()}"

    def _end(self, made: list[bytes]) -> None:
        """What a node does not take expires there by itself."""
        world = replace(self.world, lifetime=_BURIED)
        for begin in range(0, len(made), _BATCH):
            plans = [end(world, key) for key in made[begin : begin + _BATCH]]
            self.client.run(together(plans), deadline=self._deadline())

    def _draw(self) -> Drawn:
        return Drawn(storage_key(SessionId.new(), self.prefix))

    def _newborn(self) -> Live:
        now_ms = self.world.now_ms()
        entries = {"data": Entry(1, self.world.nonce(), self._text())}
        return Live(entries, {}, now_ms, now_ms + self.world.lifetime.absolute_ms, now_ms)

    def _text(self) -> str:
        """Other content each time, so that nothing along the way knows it already."""
        return "".join(random.choices(string.ascii_letters, k=self.shape.size))  # noqa: S311 - nothing secret

    def _deadline(self) -> float:
        return time.monotonic() + self.pool.budget.total_seconds()


def load_test(pool: Pool, client: BlockingClient, shape: Shape) -> LoadTest:
    """A load on a pool, which has not begun yet."""
    life = timedelta(seconds=shape.seconds + SPARE_S)
    world = world_of((secrets.token_bytes(32),), Lifetime(idle=life, absolute=life), client, pool.placed)
    if pool.consistency == "majority":
        world = replace(world, home_sets=pool.home_sets)
    prefix = f"{pool.prefix}-bench-{secrets.token_hex(4)}"
    return LoadTest(shape=shape, client=client, pool=pool, world=world, prefix=prefix)


def percentile(times: "array[float]", share: float) -> float | None:
    """The time, in milliseconds, within which this share of all was done; None if there are none."""
    if not times:
        return None
    ranked = sorted(times)
    return 1_000.0 * ranked[min(int(share * len(ranked)), len(ranked) - 1)]
