"""Refill: a node gets its copies of all sessions, living and ended, from the other nodes, without any visitor.

1. Each source lists its keys. A listing may miss items that move inside the node at that moment, so it is repeated
   until one brings no key that had to be written.
2. Keys that belong on the node are mended, many at once and at a bounded rate: read from all homes, compared as
   bytes, and only where they differ merged and written, by the same conditional writes as in a visitor's load.
3. What a node does not answer is asked again, one session at a time: it may only have been busy; and so is a listing
   that broke off. If the node itself stays silent, the refill has failed. Other nodes that do are reported: they may
   know more.

It may be broken off at any point and begun again, by another worker too, and two workers at once do no harm. A node
that was away, and missed some logouts, is treated just so; and with several nodes, a whole pool is moved.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from memsession.errors import SessionError
from memsession.plans import World
from memsession.plans.mend import mend
from memsession.plans.together import together
from memsession.upkeep.chores import Chore, Listing, Pause
from memsession.upkeep.keys import Keys, Seen

BATCH: Final = 32
"""Sessions that are mended at once: enough to hide the round trips, and few enough to fit into the time-out."""

SKIPPED: Final = 10
"""So many keys that belong elsewhere take as much of the rate as one session that is looked at."""

LISTINGS_MAX = 5
"""Of one source. Under traffic new keys never cease to appear, but those are written everywhere by their visitors."""

RETRIES_MAX: Final = 3
RETRY_S: Final = 1.0
REPORT_S: Final = 1.0

Report = Callable[[int, int, int], object]
"""Is told how many sessions were looked at so far, how many are known, how many copies were written."""


class RefillBroken(SessionError):
    """The refill could not go on."""


@dataclass(slots=True)
class Refilled:
    """What a refill did. `unlisted`: sources that could not be asked for all they have, and why."""

    looked_at: int = 0
    known: int = 0
    written: int = 0
    unlisted: dict[str, str] = field(default_factory=dict)

    @property
    def reasons(self) -> str:
        """Why sources could not be asked."""
        return "; ".join(f"{node}: {why}" for node, why in self.unlisted.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Refill:
    """See the top of this file. Every session that has one of `nodes` among its homes is looked at.

    `pulse` is run between the batches, and may raise to break the refill off. `rate` is in sessions a second.
    """

    world: World
    nodes: Collection[str]
    sources: tuple[str, ...]
    rate: int
    pulse: Callable[[], Chore[None]]
    report: Report

    def run(self) -> Chore[Refilled]:
        """Refill.

        Raises:
            RefillBroken: one of the nodes does not answer, or none of the sources does.
        """
        done, seen, reported_at = Refilled(), Seen(), [self.world.monotonic()]
        for source in self.sources:
            for turn in range(LISTINGS_MAX):
                try:
                    keys = yield from self._listed(source)
                except OSError as problem:
                    done.unlisted[source] = str(problem)
                    break
                written = done.written
                done.known = max(done.known, done.looked_at + len(keys))
                yield from self._mend_all(keys, source, seen, done, reported_at)
                if turn and done.written == written:
                    break
        if self.sources and all(source in done.unlisted for source in self.sources):
            raise RefillBroken("none of the other nodes could be asked for their keys: " + done.reasons)
        done.known = done.looked_at
        return done

    def _listed(self, source: str) -> Chore[Keys]:
        """All keys of a node, read as fast as they come: memcached waits while it lists."""
        retries = RETRIES_MAX
        while True:
            keys = Keys()
            try:
                batches: Iterable[list[bytes]] = yield Listing(source)
                for batch in batches:
                    keys.add(batch)
                    yield from self.pulse()
                return keys
            except OSError:
                if not retries:
                    raise
                retries -= 1
                yield from self.pulse()
                yield Pause(RETRY_S)

    def _belongs(self, key: bytes, source: str) -> bool:
        homes = self.world.homes(key)
        return homes != (source,) and any(home in self.nodes for home in homes)

    def _mend_all(self, keys: Keys, source: str, seen: Seen, done: Refilled, reported_at: list[float]) -> Chore[None]:
        monotonic, rest = self.world.monotonic, iter(keys)
        while True:
            begun = monotonic()
            batch, looked = self._next(rest, source, seen)
            if not looked:
                return
            yield from self._mend(batch, done)
            if monotonic() >= reported_at[0] + REPORT_S:
                reported_at[0] = monotonic()
                self.report(done.looked_at, max(done.known, done.looked_at), done.written)
            yield from self.pulse()
            cost = len(batch) + (looked - len(batch)) / SKIPPED
            yield Pause(max(begun + cost / self.rate - monotonic(), 0.0))

    def _next(self, keys: Iterator[bytes], source: str, seen: Seen) -> tuple[list[bytes], int]:
        """Some keys to be mended, and how many were looked through for them: not too many, or others would wait."""
        size, batch, looked = min(BATCH, self.rate), [], 0
        for key in keys:
            looked += 1
            if seen.add(key) and self._belongs(key, source):
                batch.append(key)
            if len(batch) == size or looked == size * SKIPPED:
                break
        return batch, looked

    def _mend(self, batch: list[bytes], done: Refilled) -> Chore[None]:
        done.looked_at += len(batch)
        pieces = [batch] if batch else []
        silent: dict[bytes, set[str]] = {}
        for retries in range(RETRIES_MAX + 1):
            silent = {}
            for piece in pieces:
                results = yield together([mend(self.world, key) for key in piece])
                done.written += sum(result.written for result in results)
                missing = [{*result.silent} - done.unlisted.keys() for result in results]
                silent.update((key, nodes) for key, nodes in zip(piece, missing, strict=True) if nodes)
            if not silent:
                return
            if retries < RETRIES_MAX:
                yield from self.pulse()
                yield Pause(RETRY_S)
            pieces = [[key] for key in silent]
        for node in sorted(set().union(*silent.values())):
            if node in self.nodes:
                raise RefillBroken(f"{node} did not answer any more")
            done.unlisted[node] = "it did not answer any more"
