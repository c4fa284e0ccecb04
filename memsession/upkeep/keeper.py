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
from typing import Final, NamedTuple

from memsession.events import AnyEvent, NodeBack, NodeOut, UpkeepFailed
from memsession.pool import Pool
from memsession.record import Dead, Plain
from memsession.upkeep.chores import Chore, Pause
from memsession.upkeep.hints import Hints
from memsession.upkeep.lease import Lease, LeaseLost
from memsession.upkeep.moving import SAY_S, Moving
from memsession.upkeep.site import Site
from memsession.upkeep.status import Status, Unread, begin_anew, note, read_status, tidy
from memsession.upkeep.tending import Tending

TICK_S: Final = 1.0
"""How often the keeper looks."""

TIDY_S: Final = 60.0
"""How often the status is looked through for what counts no more."""

SEALED_S: Final = 60.0
"""A status that cannot be read for so long is told of: whoever has the lease would have replaced it."""

SiteFor = Callable[[Pool], Site]


class _Post(NamedTuple):
    """What belongs to one pool; replaced as a whole, by another thread."""

    site: Site
    lease: Lease
    moving: Moving


class Keeper:
    """See the top of this file. Requests tell it things from any thread; `run` is for one worker.

    `site_for` makes what is needed for a pool. `chance` gives numbers from 0 up to 1: web servers that were started
    together shall not all look at the same moment.
    """

    def __init__(self, pool: Pool, *, site_for: SiteFor, chance: Callable[[], float]) -> None:
        self.hints = Hints()
        self._site_for = site_for
        self._chance = chance
        site = site_for(pool)
        self._owner = site.status_world.nonce()
        self._post = self._new_post(site)
        self._troubled: dict[str, None] = {}
        self._tending = Tending()
        self._is_busy = False
        self._next_s = self._say_s = self._tidy_s = 0.0
        self._sealed_at: float | None = None

    @property
    def has_moved(self) -> bool:
        """Whether it was told that all sessions have moved to the pool in use."""
        return self._post.moving.is_done

    def heard(self, event: AnyEvent) -> None:
        """Something was told of a node to requests. To be called with every event; it takes no time."""
        if isinstance(event, NodeOut | NodeBack):
            self._troubled[event.node] = None

    def overheard(self, event: AnyEvent) -> None:
        """Something was told of a node to the client that does the chores.

        It counts for who calls the roll, and not in the middle of a refill: no refill shall be the cause of another.
        """
        if not self._is_busy and self._post.lease.is_held:
            self.heard(event)

    def missed(self, key: bytes, dead: Dead, nodes: tuple[str, ...]) -> None:
        """These nodes have not taken a tombstone."""
        for node in nodes:
            self._troubled[node] = None
            self.hints.add(node, key, dead)

    def adopt(self, pool: Pool, site_for: SiteFor | None = None) -> None:
        """Go by another pool, or other settings; a refill under way is left.

        Who had the lease asks for it there, too, under the same name.
        """
        self._site_for = site_for or self._site_for
        self._post = self._new_post(self._site_for(pool))
        self._say_s = 0.0

    def run(self) -> Chore[None]:
        """For ever."""
        yield Pause(TICK_S * (0.5 + self._chance()))
        while True:
            with suppress(LeaseLost):
                yield from self._look()
            yield Pause(TICK_S)

    def farewell(self) -> Chore[None]:
        """The process ends: let another one have the lease at once."""
        yield from self._post.lease.give_back()

    def _look(self) -> Chore[None]:
        post = self._post
        site = post.site
        yield from self._beside(post)
        if not (yield from post.lease.get()):
            return
        if site.world.monotonic() >= self._tidy_s:
            self._tidy_s = site.world.monotonic() + TIDY_S
            yield tidy(site.status_world, site.status_key, site.names, site.deadline)
        status = yield read_status(site.status_world, site.status_key)
        if isinstance(status, Unread):
            yield begin_anew(site.status_world, site.status_key)
            return
        errand = yield from self._tending.errand(site, status)
        self._is_busy = True
        try:
            if errand is None:
                yield from post.moving.move(site, status, lambda: self._pulse(post))
            else:
                yield from self._tending.perform(site, errand, lambda: self._pulse(post))
        finally:
            self._is_busy = False

    def _pulse(self, post: _Post) -> Chore[None]:
        """In the middle of long work, often.

        Raises:
            LeaseLost: it is not to go on.
        """
        if self._post is not post:
            raise LeaseLost
        if post.site.world.monotonic() >= self._next_s:
            yield from self._beside(post)
        yield from post.lease.keep()

    def _beside(self, post: _Post) -> Chore[None]:
        """What every process does, with the lease or without it."""
        site = post.site
        self._next_s = site.world.monotonic() + TICK_S
        if self.hints:
            yield from self.hints.deliver(site.world, site.names.__contains__, site.observe)
        if self._troubled:
            yield from self._note_missed(site)
        if site.world.monotonic() >= self._say_s:
            self._say_s = site.world.monotonic() + SAY_S
            status = yield read_status(site.status_world, site.status_key)
            self._complain(site, status)
            if isinstance(status, Status):
                yield from post.moving.say(site, status)

    def _complain(self, site: Site, status: Status | Unread) -> None:
        """Of a status that stays unreadable, once."""
        if status is not Unread.SEALED:
            self._sealed_at = None
        elif self._sealed_at is None:
            self._sealed_at = site.world.monotonic()
        elif site.world.monotonic() >= self._sealed_at + SEALED_S:
            self._sealed_at = float("inf")
            site.observe(
                UpkeepFailed(
                    "another web server's notes on the pool cannot be read here: do all web servers have the same "
                    "secret_key?"
                )
            )

    def _note_missed(self, site: Site) -> Chore[None]:
        """Under a new name each time, so that a scan that began before does not count."""
        troubled = list(self._troubled.copy())
        for node in troubled:
            self._troubled.pop(node, None)
        known = [node for node in troubled if node in site.names]
        puts: dict[str, Plain] = {f"missed:{node}": site.status_world.nonce() for node in known}
        stored = not puts
        try:
            stored = stored or (yield note(site.status_world, site.status_key, lambda _: puts, site.deadline))
        finally:
            if not stored:
                self._troubled.update(dict.fromkeys(known))

    def _new_post(self, site: Site) -> _Post:
        return _Post(site, Lease(site.status_world, site.status_key, self._owner), Moving())
