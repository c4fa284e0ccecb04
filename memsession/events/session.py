"""What happens to sessions. Each appears by the first characters of its fingerprint; an ID or a value never does."""

import logging
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened to the session whose fingerprint begins with `session`.

    `level` is the level of the log, `text` what the log says, with the names of fields in it.
    """

    session: str

    level: ClassVar[int] = logging.INFO
    text: ClassVar[str] = ""


@dataclass(frozen=True, slots=True)
class Created(Event):
    """A new session was stored."""

    text: ClassVar[str] = "session %(session)s was created"


@dataclass(frozen=True, slots=True)
class Loaded(Event):
    """A session was found. `repaired`: nodes that had lost it, or had an older copy, and have it again."""

    repaired: tuple[str, ...] = ()
    level: ClassVar[int] = logging.DEBUG
    text: ClassVar[str] = "session %(session)s was loaded; nodes repaired: %(repaired)s"


@dataclass(frozen=True, slots=True)
class Saved(Event):
    """What a request changed was stored. `conflicts`: how often another request came first, and was merged with."""

    conflicts: int = 0
    level: ClassVar[int] = logging.DEBUG
    text: ClassVar[str] = "session %(session)s was saved; conflicts merged: %(conflicts)s"


@dataclass(frozen=True, slots=True)
class Ended(Event):
    """A request logged out: the session is over everywhere."""

    text: ClassVar[str] = "session %(session)s was ended"


@dataclass(frozen=True, slots=True)
class Moved(Event):
    """The session goes on under a new ID, named `to`, and is over under the one it had."""

    to: str = ""
    text: ClassVar[str] = "session %(session)s goes on as %(to)s"


@dataclass(frozen=True, slots=True)
class NotThere(Event):
    """A request came with an ID that is signed, and is over. `why`: "ended", "expired" or "unknown"."""

    why: str = "unknown"
    text: ClassVar[str] = "a request came for session %(session)s, which is over: %(why)s"


@dataclass(frozen=True, slots=True)
class ChangesForgotten(Event):
    """A session was changed after the response had begun, and `save()` was not called: the changes are lost."""

    level: ClassVar[int] = logging.ERROR
    text: ClassVar[str] = (
        "session %(session)s was changed after the response had begun, and the changes are lost: "
        "call save() after such changes"
    )


@dataclass(frozen=True, slots=True)
class LockBusy(Event):
    """Another request held the lock for too long. `outcome`: "error", "read_only" or "merge"."""

    outcome: str = "error"
    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "session %(session)s is locked by a request that takes long; outcome: %(outcome)s"


@dataclass(frozen=True, slots=True)
class LockExpired(Event):
    """A request held the lock for longer than it may; what it changed was not saved."""

    level: ClassVar[int] = logging.ERROR
    text: ClassVar[str] = "a request held the lock of session %(session)s for too long: its changes were not saved"


@dataclass(frozen=True, slots=True)
class CookieRefused(Event):
    """A request came with a cookie that nobody here signed, or with two good ones (`conflict`)."""

    conflict: bool = False
    text: ClassVar[str] = "a session cookie was refused: bad signature, or two different sessions in one request"


@dataclass(frozen=True, slots=True)
class ChangesDropped(Event):
    """A request changed a session that another request had ended meanwhile; its changes were not kept."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "session %(session)s ended while a request was changing it: the changes were dropped"


@dataclass(frozen=True, slots=True)
class InDoubt(Event):
    """A session could not be found, but one of its nodes did not answer. Its cookie is kept."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = (
        "session %(session)s was not found, but not all of its nodes answered: shown empty, cookie kept"
    )


@dataclass(frozen=True, slots=True)
class Unreadable(Event):
    """All that was found of a session fails its seal or does not parse. An alarm: wrong secret, or tampering."""

    level: ClassVar[int] = logging.ERROR
    text: ClassVar[str] = "session %(session)s cannot be read: is secret_key the same on all web servers? cookie kept"


@dataclass(frozen=True, slots=True)
class Unanswered(Event):
    """None of a session's nodes answered. The visitor gets a 503, or an empty session (see `on_outage`)."""

    level: ClassVar[int] = logging.ERROR
    text: ClassVar[str] = "no node of session %(session)s answered: are they running? cookie kept"


@dataclass(frozen=True, slots=True)
class TooFewCopies(Event):
    """Strict mode: too few of a session's nodes have it, or answered. `outcome`: "refused" or "shown empty".

    Refused, as when no node answers (503, or see `on_outage`): others are silent. Shown empty: all of them answered.
    """

    outcome: str = "refused"
    level: ClassVar[int] = logging.ERROR
    text: ClassVar[str] = (
        'too few of the nodes of session %(session)s have it, or answered, for consistency="majority": %(outcome)s, '
        "cookie kept"
    )


@dataclass(frozen=True, slots=True)
class ChangesUnsaved(Event):
    """Under `on_outage="empty"`, a request changed a session that none of its nodes, or too few, answered for."""

    level: ClassVar[int] = logging.ERROR
    text: ClassVar[str] = "no node of session %(session)s answered, or too few: what a request changed was not saved"


@dataclass(frozen=True, slots=True)
class SaveFailed(Event):
    """No node of a session, or too few, acknowledged what a request did to it. A visitor who waits gets a 503."""

    level: ClassVar[int] = logging.ERROR
    text: ClassVar[str] = "no node of session %(session)s, or too few, acknowledged a change: it is not confirmed"


@dataclass(frozen=True, slots=True)
class TombstoneMissed(Event):
    """A session was ended, but these of its nodes did not take the tombstone."""

    nodes: tuple[str, ...] = ()
    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "session %(session)s was ended, but these of its nodes did not answer: %(nodes)s"
