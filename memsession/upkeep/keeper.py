"""The keeper: what one process does behind its requests, told as one endless chore.

Every process, once a second:

1. tells nodes of the tombstones that they have missed (`hints`);
2. notes in the pool's status which nodes it has seen failing or missing something, so that they are scanned, whoever
   dies meanwhile;
3. now and then says which pool it uses, and looks whether others use another one (`moving`).

The one that has the lease, moreover:

4. calls the roll, and refills nodes that are not sound (`tending`);
5. moves all sessions after a change of the pool (`moving`).

Nothing of it is needed for a session that is in use: its own requests repair its copies.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from memsession.events import AnyEvent, NodeBack, NodeForgot, NodeOut
from memsession.pool import Pool
from memsession.record import Dead, Plain
from memsession.upkeep.chores import Chore, Pause
from memsession.upkeep.hints import Hints
from memsession.upkeep.lease import Lease, LeaseLost
from memsession.upkeep.moving import SAY_S, Moving
from memsession.upkeep.site import Site
from memsession.upkeep.status import Status, note, read_status
from memsession.upkeep.tending import Tending

TICK_S: Final = 1.0
"""How often the keeper looks."""

_NEWS: Final = NodeOut | NodeBack | NodeForgot


class Keeper:
    """See the top of this file. Requests tell it things from any thread; `run` is for one worker.

    `site_for` makes what is needed for a pool. `chance` gives numbers from 0 up to 1: web servers that were started
    together shall not all look at the same moment.
    """

    def __init__(self, pool: Pool, *, site_for: Callable[[Pool], Site], chance: Callable[[], float]) -> None:
        self.hints = Hints()
        self._site_for = site_for
        self._chance = chance
        self._site = site_for(pool)
        self._owner = self._site.status_world.nonce()
        self._lease = self._new_lease()
        self._troubled: dict[str, None] = {}
        self._tending = Tending()
        self._moving = Moving()
        self._said_at: float | None = None

    def heard(self, event: AnyEvent) -> None:
        """Something was told of a node. To be called with every event; it takes no time."""
        if isinstance(event, _NEWS):
            self._troubled[event.node] = None

    def missed(self, key: bytes, dead: Dead, nodes: tuple[str, ...]) -> None:
        """These nodes have not taken a tombstone."""
        for node in nodes:
            self._troubled[node] = None
            self.hints.add(node, key, dead)

    def adopt(self, pool: Pool) -> None:
        """From the next look on it is this pool. Who had the lease asks for it there, too, under the same name."""
        self._site = self._site_for(pool)
        self._moving = Moving()
        self._said_at = None
        self._lease = self._new_lease()

    def run(self) -> Chore[None]:
        """For ever."""
        yield Pause(TICK_S * (0.5 + self._chance()))
        while True:
            with suppress(LeaseLost):
                yield from self._look()
            yield Pause(TICK_S)

    def farewell(self) -> Chore[None]:
        """The process ends: let another one have the lease at once."""
        yield from self._lease.give_back()

    def _look(self) -> Chore[None]:
        site, lease, moving = self._site, self._lease, self._moving
        if self.hints:
            yield from self.hints.deliver(site.world, site.names.__contains__, site.observe)
        if self._troubled:
            yield from self._note_missed(site)
        status: Status | None = None
        now = site.world.monotonic()
        if self._said_at is None or now >= self._said_at + SAY_S:
            self._said_at = now
            status = yield read_status(site.status_world, site.status_key)
            if status is not None:
                yield from moving.say(site, status)
        if not (yield from lease.get()):
            return
        status = yield read_status(site.status_world, site.status_key)
        if status is not None and not (yield from self._tending.round(site, lease, status)):
            yield from moving.move(site, lease, status)

    def _note_missed(self, site: Site) -> Chore[None]:
        """Under a new name each time, so that a scan that began before does not count."""
        troubled = [node for node in self._troubled.copy() if node in site.names]
        puts: dict[str, Plain] = {f"missed:{node}": site.status_world.nonce() for node in troubled}
        for node in troubled:
            self._troubled.pop(node, None)
        stored = not puts or (yield note(site.status_world, site.status_key, lambda _: puts, site.deadline))
        if not stored:
            self._troubled.update(dict.fromkeys(troubled))

    def _new_lease(self) -> Lease:
        return Lease(self._site.status_world, self._site.status_key, self._owner)
