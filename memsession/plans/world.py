"""What a plan is, and what it is told about the world.

A *plan* is a generator that tells replication once, for every client: it yields a *round*, the commands that may
run at once, and receives their replies in the same order. It does no I/O itself. Clocks, random names and the
health of nodes are functions of the `World` it is given. So the order of everything that happens is an argument,
and the simulator runs the very plans that are shipped.

Rules for plans: no round is empty; a loop ends by its deadline or by a named bound; only a tombstone is written
blindly (`Bury`); failure of a node is a reply, not an exception. Plans call plans with `yield from`.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

from memsession.commands import Command, Reply
from memsession.lifetime import Lifetime, kept_s
from memsession.record import CounterMemory, Dead, Live, Record

T = TypeVar("T")

Plan: TypeAlias = Generator[Sequence[Command], Sequence[Reply], T]


class Codec(Protocol):
    """Turns records into what nodes store, bound to the storage key, and back."""

    def seal(self, key: bytes, record: Record) -> Any:
        """The value to store under `key`."""

    def open(self, key: bytes, value: Any) -> Record | None:
        """The record in `value`, or None when it is not authentic, not of `key`, or not readable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """All that plans know beside their arguments: one for an application, shared by all its requests.

    `homes` names the nodes that hold a key, best first. `now_ms` is the pool's clock; `monotonic` is in seconds
    and judges deadlines. `nonce` gives a fresh random writer name. `is_up` says whether a node is not known to
    be out. `home_sets` makes the mode strict: the homes of a key, by the pools of a change of the pool, each of which
    has to agree by majority (see `quorum`). None: any one home is enough.
    """

    homes: Callable[[bytes], tuple[str, ...]]
    codec: Codec
    lifetime: Lifetime
    now_ms: Callable[[], int]
    monotonic: Callable[[], float]
    nonce: Callable[[], str]
    is_up: Callable[[str], bool]
    counters: CounterMemory
    home_sets: Callable[[bytes], tuple[tuple[str, ...], ...]] | None = None

    def ttl_s(self, record: Record) -> int:
        """How long nodes keep the record, in seconds. It only collects garbage: ends are judged from the record."""
        return self.lifetime.tombstone_ttl_s if isinstance(record, Dead) else kept_s(self.idle_ms(record))

    def idle_ms(self, record: Live) -> int:
        """The session's idle limit in milliseconds: its own, or else the application's.

        No tombstone is kept longer than `longest`, so an own limit that was given under a longer one shrinks to it.
        """
        if not record.idle_ms:
            return self.lifetime.idle_ms
        return min(record.idle_ms, self.lifetime.longest_ms)

    def renewal_ms(self, record: Live) -> int:
        """The last use is stored anew when the stored one is older than this: a twentieth of the idle limit."""
        return self.idle_ms(record) // 20
