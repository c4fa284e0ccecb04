"""A web process: its connections, its opinion on which nodes are out, its clock, and what it has counted."""

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .ledger import Reached
    from .world import Simulation

BUDGET_S = 1.0

Steps = Generator[Any, Any, Any]


class Connection:
    """`process` is the node's process at the other end; 0 until the first command has arrived."""

    __slots__ = ("process", "serial")

    def __init__(self, serial: int) -> None:
        self.serial = serial
        self.process = 0


class Process:
    """One web process. `link` names its place in the network, and outlives a restart."""

    def __init__(self, simulation: "Simulation", link: int, name: str) -> None:
        self.simulation = simulation
        self.link = link
        self.name = name
        self.alive = True
        self.paused_until = 0.0
        self.placement = 0
        self.skew_s = 0.0
        self.now_ms: Callable[[], int] = self._now_ms
        self.connections: dict[str, Connection] = {}
        self.out: dict[str, float] = {}
        self.slow: dict[str, float] = {}
        self.counters = simulation.subject.record.CounterMemory(simulation.nonce, simulation.memory_limit)
        self.world = self._world()

    def _world(self) -> Any:
        simulation = self.simulation
        return simulation.subject.plans.World(
            homes=self.homes,
            codec=simulation.codec,
            lifetime=simulation.lifetime,
            now_ms=lambda: self.now_ms(),  # noqa: PLW0108 - a scenario may set another clock
            monotonic=simulation.monotonic,
            nonce=simulation.nonce,
            is_up=self.is_up,
            counters=self.counters,
            home_sets=self.home_sets if simulation.strict else None,
        )

    def reload(self, placement: int) -> None:
        """Take over another pool: requests under way end with the one that they began with."""
        self.placement = placement
        sets, homes = self.simulation.sets[placement], self.simulation.placements[placement]
        self.world = replace(self._world(), homes=homes, home_sets=sets)

    def _now_ms(self) -> int:
        return int((self.simulation.epoch_s + self.simulation.now + self.skew_s) * 1000)

    def homes(self, key: bytes) -> tuple[str, ...]:
        """The homes of `key`, as this process is configured now."""
        placement = self.simulation.placements[self.placement]
        return placement if isinstance(placement, tuple) else placement(key)

    def home_sets(self, key: bytes) -> tuple[tuple[str, ...], ...]:
        """The homes by pool, where there is one pool only."""
        return (self.homes(key),)

    def is_up(self, name: str) -> bool:
        """Whether the node is not known to be out."""
        return (not self.out or self.out.get(name, 0.0) <= self.simulation.now) and not self.thinks_slow(name)

    def thinks_slow(self, name: str) -> bool:
        """Whether somebody has waited for the node for a while, so that others do not."""
        return bool(self.slow) and self.slow.get(name, 0.0) > self.simulation.now

    def connect(self, name: str) -> Connection:
        """A new connection; its serial never comes again."""
        self.simulation.serial += 1
        connection = self.connections[name] = Connection(self.simulation.serial)
        return connection

    def lose(self, name: str, connection: Connection, out: bool) -> None:
        """The connection is closed, and the node is out for a while."""
        if self.connections.get(name) is connection:
            del self.connections[name]
        if out:
            self.out[name] = self.simulation.now + self.simulation.out_least_s + 0.9 * self.simulation.random.random()


class Request:
    """One run of a generator in a process. `reached`: nodes that answered a `Get` since it was emptied."""

    __slots__ = ("deadline", "done", "paused", "process", "reached", "rounds", "simulation", "steps", "title")

    def __init__(self, process: Process, title: str, done: Callable[[Any], None] | None) -> None:
        self.process = process
        self.simulation = process.simulation
        self.title = title
        self.done = done
        self.deadline = process.simulation.now + BUDGET_S
        self.reached: Reached = []
        self.rounds = 0
        self.paused = False
        self.steps: Steps = iter(())  # type: ignore[assignment]

    def __str__(self) -> str:
        return f"{self.process.name} {self.title}"
