"""Tending: whoever has the lease sees to it that every node that answers is sound, by a refill where one is not.

A node is sound when the status names the mark of the process that answers there, and the latest word that it may have
missed something. So it does not matter who noticed what, and whether that worker or this one is still alive.
"""

from typing import Final, NamedTuple

from memsession.events import RefillBegan, RefillDone, RefillFailed, RefillProgress
from memsession.plans.roll_call import roll_call
from memsession.upkeep.chores import Chore
from memsession.upkeep.lease import Lease
from memsession.upkeep.refill import Refill, RefillBroken
from memsession.upkeep.site import Site
from memsession.upkeep.status import Sound, Status, note, sound_put

AGAIN_S: Final = 5.0
"""Between two refills of one node, at least; a node that comes and goes would be scanned all the time."""

REST: Final = 3.0
"""Or so many times as long as the last one took."""


class Errand(NamedTuple):
    """A node that is not sound, why, and whom to ask. `left` are sources that cannot be asked now either."""

    node: str
    why: str
    mark: str
    missed: str
    sources: tuple[str, ...]
    left: tuple[str, ...] = ()


class Tending:
    """Remembers when a node was tended last. Used by one worker."""

    def __init__(self) -> None:
        self._not_before: dict[tuple[str, str], float] = {}

    def round(self, site: Site, lease: Lease, status: Status) -> Chore[bool]:
        """Call the roll, and refill one node that is not sound; whether there was one."""
        marks = yield roll_call(site.names, site.mark_key, site.mark())
        for node, mark in marks.items():
            errand = _errand(site, status, node, _text(mark), marks)
            if errand is None or site.world.monotonic() < self._not_before.get((node, errand.mark), 0.0):
                continue
            yield from self._refill(site, lease, errand)
            return True
        return False

    def _refill(self, site: Site, lease: Lease, errand: Errand) -> Chore[None]:
        node, monotonic = errand.node, site.world.monotonic
        began = monotonic()
        site.observe(RefillBegan(node, errand.why))
        refill = Refill(
            world=site.world,
            node=node,
            sources=errand.sources,
            rate=site.rate,
            pulse=lease.keep,
            report=lambda looked_at, known, written: site.observe(RefillProgress(node, looked_at, known, written)),
        )
        try:
            done = yield from refill.run()
            sound = Sound(errand.mark, errand.missed, (*errand.left, *done.unlisted))
            stored = yield note(
                site.status_world, site.status_key, lambda now: sound_put(now, node, sound), site.deadline
            )
            if not stored:
                raise RefillBroken("the nodes that keep the pool's status do not answer")
            marks = yield roll_call([node], site.mark_key, site.mark())
            if _text(marks.get(node, b"")) != errand.mark:
                raise RefillBroken("the node has forgotten everything again meanwhile")
        except RefillBroken as problem:
            site.observe(RefillFailed(node, str(problem)))
        else:
            if sound.sources:
                why = done.reasons or f"{' '.join(sound.sources)} cannot be asked yet"
                site.observe(RefillFailed(node, f"{done.written} copied; {why}"))
            else:
                took = round(monotonic() - began, 3)
                site.observe(RefillDone(node, done.looked_at, done.written, took))
        finally:
            took = monotonic() - began
            self._not_before = {key: at for key, at in self._not_before.items() if key[0] != node}
            self._not_before[node, errand.mark] = monotonic() + max(AGAIN_S, REST * took)


def _text(mark: bytes) -> str:
    return mark.decode("ascii", "replace")


def _errand(site: Site, status: Status, node: str, mark: str, marks: dict[str, bytes]) -> Errand | None:
    sound, missed = status.sound.get(node), status.missed.get(node, "")
    others = tuple(name for name in site.names if name != node)
    if not others:
        return None
    if sound is None or sound.mark != mark:
        return Errand(node, "forgot", mark, missed, others)
    if sound.missed != missed:
        return Errand(node, "missed", mark, missed, others)
    back = tuple(name for name in sound.sources if name in marks)
    if back:
        left = tuple(name for name in sound.sources if name not in marks and name in others)
        return Errand(node, "missed", mark, missed, back, left)
    return None
