"""Refill: a node gets its copies of all sessions, living and ended, from the other nodes, without any visitor.

1. Each source lists its keys. A listing may miss items that move inside the node at that moment, so it is repeated
   until one brings no key that had to be written.
2. Keys that belong on the node are mended, many at once and at a bounded rate: read from all homes, compared as
   bytes, and only where they differ merged and written, by the same conditional writes as in a visitor's load.
3. A source that cannot be listed is reported. If the node itself does not answer any more, the refill has failed.

It may be broken off at any point and begun again, by another worker too, and two workers at once do no harm. A node
that was away, and missed some logouts, is treated just so; and with no node in particular, a whole pool is moved.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from memsession.errors import SessionError
from memsession.plans import World
from memsession.plans.mend import mend
from memsession.plans.together import together
from memsession.upkeep.chores import Chore, Listing, Pause
from memsession.upkeep.keys import Keys, Seen

BATCH = 32
"""Sessions that are mended at once: enough to hide the round trips, and few enough to fit into the time-out."""

LISTINGS_MAX = 5
"""Of one source. Under traffic new keys never cease to appear, but those are written everywhere by their visitors."""

REPORT_S = 1.0

Report = Callable[[int, int, int], object]
"""Is told how many sessions were looked at so far, how many are known, how many copies were written."""


class RefillBroken(SessionError):
    """The refill could not go on."""


@dataclass(slots=True)
class Refilled:
    """What a refill did. `unlisted`: sources that could not be asked for their keys, and why."""

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
    """See the top of this file. `node` None: all homes of every session.

    `pulse` is run between the batches, and may raise to break the refill off. `rate` is in sessions a second.
    """

    world: World
    node: str | None
    sources: tuple[str, ...]
    rate: int
    pulse: Callable[[], Chore[None]]
    report: Report

    def run(self) -> Chore[Refilled]:
        """Refill.

        Raises:
            RefillBroken: the node does not answer, or none of the sources does.
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
                fresh = (key for key in keys if seen.add(key) and self._belongs(key, source))
                done.known = max(done.known, done.looked_at + len(keys))
                yield from self._mend_all(fresh, done, reported_at)
                if turn and done.written == written:
                    break
        if self.sources and len(done.unlisted) == len(self.sources):
            raise RefillBroken("none of the other nodes could be asked for their keys: " + done.reasons)
        done.known = done.looked_at
        return done

    def _listed(self, source: str) -> Chore[Keys]:
        """All keys of a node, read as fast as they come: memcached waits while it lists."""
        keys = Keys()
        batches: Iterable[list[bytes]] = yield Listing(source)
        for batch in batches:
            keys.add(batch)
        return keys

    def _belongs(self, key: bytes, source: str) -> bool:
        homes = self.world.homes(key)
        return self.node in homes if self.node is not None else homes != (source,)

    def _mend_all(self, keys: Iterator[bytes], done: Refilled, reported_at: list[float]) -> Chore[None]:
        monotonic, nodes = self.world.monotonic, () if self.node is None else (self.node,)
        while batch := list(islice(keys, BATCH)):
            due = monotonic() + len(batch) / self.rate
            results = yield together([mend(self.world, key, nodes) for key in batch])
            done.looked_at += len(batch)
            done.written += sum(result.written for result in results)
            if not all(result.whole for result in results):
                raise RefillBroken("a node did not answer any more")
            if monotonic() >= reported_at[0] + REPORT_S:
                reported_at[0] = monotonic()
                self.report(done.looked_at, max(done.known, done.looked_at), done.written)
            yield from self.pulse()
            yield Pause(max(due - monotonic(), 0.0))
