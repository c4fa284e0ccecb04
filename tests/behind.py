"""The work behind the requests without any I/O: model nodes, a clock that goes by the pauses, chores step by step."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import count
from typing import Any

from memsession.commands import Command, Reply, Skipped, Unreachable, insists
from memsession.events import AnyEvent
from memsession.lifetime import Lifetime
from memsession.plans import Plan, World
from memsession.pool import Pool
from memsession.record import Changes, CounterMemory, Live, Record, apply
from memsession.upkeep import Listing, Pause
from memsession.upkeep.site import Site, site_of
from tests.simulation.node import Node

BEGIN_MS = 1_700_000_000_000
LINK_S = 0.001
"""What a round takes."""

OURS, THEIRS = "ours", "theirs"
LONG = Lifetime(idle=timedelta(days=30), absolute=timedelta(days=30))


class Sealed:
    """Values that only one secret opens, as they lie on a node."""

    def __init__(self, secret: str, record: Record) -> None:
        self.secret, self.record = secret, record

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sealed) and (self.secret, self.record) == (other.secret, other.record)

    def __hash__(self) -> int:
        return 0


class Vault:
    def __init__(self, secret: str) -> None:
        self._secret = secret

    def seal(self, _key: bytes, record: Record) -> Sealed:
        return Sealed(self._secret, record)

    def open(self, _key: bytes, value: Sealed) -> Record | None:
        return value.record if value.secret == self._secret else None


class Behind:
    """Nodes by their letters, and what happens to them. `told` has the events, `steps` what the chores asked for."""

    def __init__(self, names: str = "abc", **options: Any) -> None:
        self.now = 1_000.0
        self.skew_ms = 0
        self.nodes = {name: Node(name) for name in "abcdefgh"}
        self.silent: set[str] = set()
        self.unlisted: set[str] = set()
        self.told: list[Any] = []
        self.commands: list[Command] = []
        self.pauses: list[float] = []
        self.listings: list[str] = []
        self.before_round: Callable[[], object] = lambda: None
        self.before_listing: Callable[[str], object] = lambda name: None
        self.pool = pool(names, **options)
        self._names = count(1)

    def world(
        self, homes: Callable[[bytes], tuple[str, ...]], secret: str = OURS, lifetime: Lifetime | None = None
    ) -> World:
        return World(
            homes=homes,
            codec=Vault(secret),
            lifetime=lifetime or Lifetime(),
            now_ms=self.now_ms,
            monotonic=lambda: self.now,
            nonce=self.name,
            is_up=lambda name: name not in self.silent,
            counters=CounterMemory(self.name),
        )

    def name(self) -> str:
        return f"name{next(self._names)}"

    def now_ms(self) -> int:
        return BEGIN_MS + int(self.now * 1000) + self.skew_ms

    def _mark(self) -> bytes:
        return f"{next(self._names):028x}0000".encode()

    def site(self, pool: Pool | None = None, secret: str = OURS, rate: int = 2_000) -> Site:
        pool = pool or self.pool
        return site_of(
            pool,
            world=self.world(pool.placed, secret),
            status_world=self.world(pool.placed, secret, LONG),
            observe=self.told.append,
            mark=self._mark,
            rate=rate,
        )

    def run(self, plan: Plan[Any]) -> Any:
        replies: Any = None
        while True:
            try:
                commands = plan.send(replies)
            except StopIteration as done:
                return done.value
            self.before_round()
            self.now += LINK_S
            replies = [self._reply(command) for command in commands]

    def _reply(self, command: Command) -> Reply:
        self.commands.append(command)
        if command.node in self.silent:
            return Unreachable("silent") if insists(command) else Skipped()
        return self.nodes[command.node].apply(command, self.nodes[command.node].process, self.now)

    def perform(self, chore: Any, until: Callable[[], bool] = lambda: False) -> Any:
        """All of it; or until something is so."""
        answer: Any = None
        while not until():
            try:
                step = chore.send(answer)
            except StopIteration as done:
                return done.value
            answer = None
            if isinstance(step, Pause):
                self.pauses.append(step.seconds)
                self.now += step.seconds
            elif isinstance(step, Listing):
                self.listings.append(step.node)
                self.before_listing(step.node)
                answer = self._listed(step.node)
            else:
                answer = self.run(step)
        return None

    def _listed(self, name: str) -> Iterator[list[bytes]]:
        if name in self.silent | self.unlisted:
            raise ConnectionError("does not list")
        for key in sorted(self.nodes[name].items):
            if b":" not in key and not key.endswith(b".lock"):
                yield [key]

    def store(self, key: bytes, *names: str, secret: str = OURS, **values: Any) -> Live:
        now_ms = self.now_ms()
        empty = Live({}, {}, now_ms, now_ms + 40_000_000, now_ms)
        record = apply(empty, Changes(values or {"n": 1}), {}, writer="w", now_ms=now_ms)
        self.put(key, record, *(names or self.pool.homes(key)), secret=secret)
        return record

    def put(self, key: bytes, record: Record, *names: str, secret: str = OURS) -> None:
        for name in names:
            self.nodes[name].put(key, Sealed(secret, record), self.now + 1_000_000)

    def held(self, key: bytes) -> dict[str, Any]:
        """What nodes hold under a key."""
        items = {name: node.items.get(key) for name, node in self.nodes.items()}
        return {name: item[0].record for name, item in items.items() if item is not None}

    def of(self, kind: type[AnyEvent]) -> list[Any]:
        return [event for event in self.told if type(event) is kind]


def pool(names: str, **options: Any) -> Pool:
    return Pool(*(f"{name}={name}.test:11211" for name in names), **options)


def nothing() -> Iterator[Any]:
    """A pulse without anything to do."""
    yield from ()


def homed(pool: Pool, *names: str) -> bytes:
    """A key that has just these homes, in any order."""
    return next(key for n in count() if {*pool.homes(key := f"s{n}".encode())} == {*names})
