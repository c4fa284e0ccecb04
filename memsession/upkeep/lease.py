"""The lease: of all web servers' workers one does the refills, and another one goes on when it dies."""

from memsession.plans import Locked, World, acquire, release
from memsession.upkeep.chores import Chore

LEASE_S = 15.0
"""So long after its last sign of life another worker takes the place of one that died."""

RENEW_S = 5.0
"""The one that has it renews it so often; the others ask for it so often."""


class LeaseLost(Exception):
    """Another worker has it now, or it is for another pool: work under way is to be left where it is."""


class Lease:
    """A lock in the pool under `key`; `owner` is a name that no other worker has. It runs out by the pool's clock."""

    def __init__(self, world: World, key: bytes, owner: str) -> None:
        self._world = world
        self._key = key
        self._owner = owner
        self._asked_at: float | None = None
        self._held_until = 0.0

    @property
    def is_held(self) -> bool:
        """Whether it is ours, as far as we know."""
        return self._world.monotonic() < self._held_until

    def get(self) -> Chore[bool]:
        """Get it or keep it, when it is time to ask; whether it is ours now."""
        now = self._world.monotonic()
        if self._asked_at is not None and now < self._asked_at + RENEW_S:
            return self.is_held
        self._asked_at = now
        outcome = yield acquire(self._world, self._key, self._owner, int(LEASE_S * 1000))
        # Counted from before it was asked for: so it ends here first.
        self._held_until = now + LEASE_S if isinstance(outcome, Locked) else 0.0
        return self.is_held

    def keep(self) -> Chore[None]:
        """To be run often in the middle of long work.

        Raises:
            LeaseLost: somebody else may have it.
        """
        if not (yield from self.get()):
            raise LeaseLost

    def give_back(self) -> Chore[None]:
        """Let another worker have it at once. Afterwards it can be had again only under another name."""
        if self.is_held:
            self._held_until = 0.0
            yield release(self._world, self._key, self._owner)
