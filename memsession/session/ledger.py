"""The ledger: what a request knows of its session, and did to it, beside the content."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from memsession.lifetime import Lifetime
from memsession.record import Changes, Live, Plain

PERMANENT_KEY: Final = "_permanent"
"""As Flask names it: whether the cookie outlives the browser's window. Without it: if the lifetime is its own."""


class Store(Protocol):
    """What an `AsyncSession` may ask of the one who loaded it."""

    async def save(self) -> None:
        """Commit now."""

    async def modify(self, key: str, fn: Callable[[Any], Any], default: Any) -> Any:
        """Read, compute and write one key as one step."""


class BlockingStore(Protocol):
    """What a `Session` may ask of the one who loaded it."""

    def save(self) -> None:
        """Commit now."""

    def modify(self, key: str, fn: Callable[[Any], Any], default: Any) -> Any:
        """Read, compute and write one key as one step."""


class View(Protocol):
    """An object made of the session's content, whose changes go back into it."""

    def write(self, session: dict[str, Any]) -> None:
        """Put what was changed in the object into the session."""

    def refresh(self, session: dict[str, Any]) -> None:
        """Show what the session holds now."""


class OwnLifetime(NamedTuple):
    """Limits of one session, in milliseconds."""

    idle_ms: int
    absolute_ms: int


@dataclass(slots=True)
class Ledger:
    """See the top of this file.

    `before` is what was loaded, in plain form; `key` the storage key and `record` the record, if something is stored;
    `performed` what a commit has done since `before` was loaded. `rotate_on`: keys whose change renews the ID.
    `accessed`: the session was used since a commit last compared it, or since the response began; `used`: it was used
    before that, since the request began; `exposed`: when the response began the application may have held something
    of the session that can be changed without using the session, or was changing it; `answered`: the response has
    begun, after a commit.
    `invalidated`, `regenerated`, `reauthenticated`, `cleared` and `own_lifetime` are what the application asked for,
    and no commit has performed yet. `ended`: the session turned out to be over, ended by somebody else.
    """

    lifetime: Lifetime = field(default_factory=Lifetime)
    rotate_on: frozenset[str] = frozenset()
    before: Mapping[str, Plain] = field(default_factory=dict)
    key: bytes | None = None
    record: Live | None = None
    increments: dict[str, int] = field(default_factory=dict)
    performed: Changes | None = None
    accessed: bool = False
    exposed: bool = False
    used: bool = False
    answered: bool = False
    cleared: bool = False
    invalidated: bool = False
    regenerated: bool = False
    reauthenticated: bool = False
    own_lifetime: OwnLifetime | None = None
    ended: bool = False
    views: tuple[View, ...] = ()
    store: Any = None

    def done(self) -> None:
        """The ID is a new one now, or none: what asked for that was performed."""
        self.cleared = self.invalidated = self.regenerated = self.reauthenticated = False
        self.own_lifetime = None

    def stored(self, key: bytes, record: Live) -> None:
        """The session is stored under `key`, as `record`."""
        self.key, self.record = key, record

    def asks(self) -> bool:
        """Whether something was asked for that content alone does not show."""
        return self.invalidated or self.regenerated or self.cleared or self.own_lifetime is not None
