"""What plans find out: closed families of outcomes, one for each question."""

from dataclasses import dataclass
from typing import TypeAlias

from memsession.commands import Token
from memsession.record import Dead, Live


@dataclass(slots=True)
class Found:
    """The session is alive. `tokens` are of the homes whose content is merged into `record`.

    `repaired` are homes that had lost it, or had an older copy, and were written to.
    """

    record: Live
    tokens: dict[str, Token]
    repaired: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """A tombstone was found."""

    record: Dead


@dataclass(frozen=True, slots=True)
class Absent:
    """Every home answered that it has nothing, or the session's time is over (`expired`)."""

    expired: bool = False


@dataclass(frozen=True, slots=True)
class Doubt:
    """Nothing usable was found, but a home did not answer, or what it holds cannot be read (`unreadable`).

    In strict mode also: every home answered, and too few have the session (`outvoted`). Asking again changes nothing.
    """

    unreadable: bool = False
    outvoted: bool = False


@dataclass(frozen=True, slots=True)
class Outage:
    """No home answered at all."""


@dataclass(frozen=True, slots=True)
class NoMajority:
    """Strict mode: too few homes answered, or too few of those that did have the session, while others are silent."""


Loaded: TypeAlias = Found | Ended | Absent | Doubt | NoMajority | Outage


@dataclass(frozen=True, slots=True)
class Saved:
    """At least one home acknowledged, in strict mode a majority; `confirmed` names them.

    `record` holds all that was merged on the way.

    `conflicts` counts the rounds in which another request had come first.
    """

    record: Live
    confirmed: frozenset[str]
    conflicts: int = 0


@dataclass(frozen=True, slots=True)
class Gone:
    """The session ended meanwhile (`record` is its tombstone), or every home has forgotten it. Nothing was kept."""

    record: Dead | None = None


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """No home acknowledged, in strict mode no majority. The change may have happened or may still happen."""


SaveOutcome: TypeAlias = Saved | Gone | Unconfirmed


@dataclass(frozen=True, slots=True)
class Buried:
    """Who acknowledged a tombstone, and who did not; `final`: enough of all homes did, so the end is confirmed."""

    confirmed: frozenset[str]
    missed: tuple[str, ...]
    final: bool


@dataclass(frozen=True, slots=True)
class Regenerated:
    """The new ID holds everything, the old one is ended. `missed`: old homes that did not take the tombstone."""

    record: Live
    missed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LostRace:
    """Another request regenerated or ended the session first; this request's new ID was ended again."""

    dead: Dead


RegenerateOutcome: TypeAlias = Regenerated | LostRace | Unconfirmed


@dataclass(frozen=True, slots=True)
class Modified:
    """`modify` is done; `record` holds all that was merged on the way. `conflicts` counts as in `Saved`."""

    record: Live
    conflicts: int = 0


@dataclass(frozen=True, slots=True)
class Locked:
    """The session is the owner's until `deadline_ms`, by the pool's clock."""

    deadline_ms: int


@dataclass(frozen=True, slots=True)
class Busy:
    """Somebody else has the lock, or was about to take it at the same time: ask again."""


@dataclass(frozen=True, slots=True)
class Unlockable:
    """No home answered, so nothing can be locked."""


LockOutcome: TypeAlias = Locked | Busy | Unlockable
