"""Tending: whoever has the lease sees to it that every node that answers is sound, by a refill where one is not.

A node is sound when the status names the mark of the process that answers there, and the latest word that it may have
missed something. So it does not matter who noticed what, and whether that worker or this one is still alive.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from memsession.events import RefillBegan, RefillDone, RefillFailed, RefillProgress
from memsession.plans.roll_call import roll_call
from memsession.upkeep import pace
from memsession.upkeep.chores import Chore
from memsession.upkeep.lease import LeaseLost
from memsession.upkeep.refill import Refill, RefillBroken, Refilled
from memsession.upkeep.site import Site
from memsession.upkeep.status import Sound, Status, note, sound_put

SOURCES_MAX: Final = 32
"""With more nodes than that away a refill has failed: the status is no place for long lists."""


class Errand(NamedTuple):
    """A node that is not sound, why, and whom to ask. `left` are sources that cannot be asked now either.

    `answered` are all nodes that answer now.
    """

    node: str
    why: str
    mark: str
    missed: str
    sources: tuple[str, ...]
    left: tuple[str, ...]
    answered: frozenset[str]


class _Last(NamedTuple):
    """How a node was tended last. `later`: not before, if nothing has changed since; `soon`: if it has."""

    mark: str
    answered: frozenset[str]
    failures: int
    soon: float
    later: float


class Tending:
    """Remembers how each node was tended last. Used by one worker."""

    def __init__(self) -> None:
        self._last: dict[str, _Last] = {}

    def errand(self, site: Site, status: Status) -> Chore[Errand | None]:
        """Call the roll; a node that is to be refilled now, if there is one."""
        if site.pool.copies == 1 and site.pool.previous is None:
            return None  # What one node has no other one has.
        marks = yield roll_call(site.names, site.mark_key, site.mark())
        now = site.world.monotonic()
        for node, mark in marks.items():
            errand = _errand(site, status, node, _text(mark), marks)
            if errand is not None and now >= self._not_before(errand):
                return errand
        return None

    def perform(self, site: Site, errand: Errand, pulse: Callable[[], Chore[None]]) -> Chore[None]:
        """Refill the node. `pulse` may raise to break it off."""
        node, monotonic = errand.node, site.world.monotonic
        began, failed = monotonic(), True
        site.observe(RefillBegan(node, errand.why))
        refill = Refill(
            world=site.world,
            nodes=(node,),
            sources=errand.sources,
            rate=site.rate,
            pulse=pulse,
            report=lambda looked_at, known, written: site.observe(RefillProgress(node, looked_at, known, written)),
        )
        try:
            done = yield from refill.run()
            sources = yield from self._note(site, errand, done)
        except RefillBroken as problem:
            site.observe(RefillFailed(node, str(problem)))
        except LeaseLost:
            site.observe(RefillFailed(node, "it is left to another process, or to another pool"))
            raise
        else:
            failed = False
            if sources:
                why = done.reasons or f"{' '.join(sources)} cannot be asked yet"
                site.observe(RefillFailed(node, f"{done.written} copied; {why}"))
            else:
                site.observe(RefillDone(node, done.looked_at, done.written, round(monotonic() - began, 3)))
        finally:
            self._remember(errand, monotonic(), monotonic() - began, failed)

    def _note(self, site: Site, errand: Errand, done: Refilled) -> Chore[tuple[str, ...]]:
        """That the node is sound, as far as could be found out; the sources that are left."""
        sources = (*errand.left, *done.unlisted)
        if len(sources) > SOURCES_MAX:
            raise RefillBroken(f"{len(sources)} nodes could not be asked")
        sound = Sound(errand.mark, errand.missed, sources)
        stored = yield note(
            site.status_world,
            site.status_key,
            lambda now: sound_put(now, errand.node, sound, site.names),
            site.deadline,
        )
        if not stored:
            raise RefillBroken("the nodes that keep the pool's status do not answer")
        marks = yield roll_call([errand.node], site.mark_key, site.mark())
        if _text(marks.get(errand.node, b"")) != errand.mark:
            raise RefillBroken("the node has forgotten everything again meanwhile")
        return sources

    def _not_before(self, errand: Errand) -> float:
        last = self._last.get(errand.node)
        if last is None:
            return 0.0
        return last.soon if _is_news(last, errand) else last.later

    def _remember(self, errand: Errand, now: float, took: float, failed: bool) -> None:
        last = self._last.get(errand.node)
        before = 0 if last is None or _is_news(last, errand) else last.failures
        failures = before + 1 if failed else 0
        later = now + pace.rest_s(took, failures - 1 if failed else 0)
        self._last[errand.node] = _Last(errand.mark, errand.answered, failures, now + pace.AGAIN_S, later)


def _is_news(last: _Last, errand: Errand) -> bool:
    """Whether the node has forgotten since, or one answers that did not."""
    return last.mark != errand.mark or not errand.answered <= last.answered


def _text(mark: bytes) -> str:
    return mark.decode("ascii", "replace")


def _errand(site: Site, status: Status, node: str, mark: str, marks: Mapping[str, bytes]) -> Errand | None:
    sound, missed, answered = status.sound.get(node), status.missed.get(node, ""), frozenset(marks)
    others = tuple(name for name in site.names if name != node)
    if not others:
        return None
    if sound is None or sound.mark != mark:
        return Errand(node, "forgot", mark, missed, others, (), answered)
    if sound.missed != missed:
        return Errand(node, "missed", mark, missed, others, (), answered)
    back = tuple(name for name in sound.sources if name in marks and name != node)
    if back:
        left = tuple(name for name in sound.sources if name not in marks and name in others)
        return Errand(node, "missed", mark, missed, back, left, answered)
    return None
