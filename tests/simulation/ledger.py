"""The judge's ledger: what was confirmed when, and which nodes held it at what time."""

from typing import TYPE_CHECKING, Any

from memsession.commands import Add, Bury, Cas

from .counting import Amounts
from .node import Node

if TYPE_CHECKING:
    from .world import Simulation

NEVER = 1e18

LOCK = b".lock"
"""The end of a lock's key. Locks are records that take each other's place."""

Reached = list[tuple[str, int, int]]


class Change:
    """An assignment or deletion of one key; `confirmed` is when its request returned well."""

    __slots__ = ("confirmed", "name", "stamp")

    def __init__(self, name: str, stamp: tuple[int, str]) -> None:
        self.name = name
        self.stamp = stamp
        self.confirmed = NEVER

    def held(self, record: Any) -> bool:
        """Whether a record is alive and holds it, or something newer."""
        if not hasattr(record, "entries"):
            return False
        entry = record.entries.get(self.name)
        return entry is not None and entry[:2] >= self.stamp


class Story:
    """What has happened to one session.

    `tried`: when somebody first set out to end it; `ended`: when that was confirmed; `used`: the last use;
    `idle_s` and `deadline_s`: its limits, which may be its own.
    """

    __slots__ = ("changes", "deadline_s", "ended", "idle_s", "key", "marker", "parent", "tried", "used")

    def __init__(self, key: bytes, marker: str, parent: "Story | None", now: float, idle_s: float) -> None:
        self.key = key
        self.marker = marker
        self.parent = parent
        self.changes: list[Change] = []
        self.tried = self.ended = NEVER
        self.used = now
        self.deadline_s = NEVER
        self.idle_s = idle_s


class Ledger:
    """All stories, and a log of every write that a node applied."""

    def __init__(self, simulation: "Simulation") -> None:
        self.simulation = simulation
        self.stories: dict[bytes, Story] = {}
        self.log: dict[bytes, list[tuple[float, str, int, int, Any]]] = {}
        self.amounts = Amounts(simulation.subject.record)
        self.dead = simulation.subject.record.Dead
        self.merge = simulation.subject.record.merge

    def story(self, key: bytes, parent: Story | None = None) -> Story:
        """The story of `key`, begun now if it is new."""
        story = self.stories.get(key)
        if story is None:
            marker = parent.marker if parent else key.decode()
            idle_s = parent.idle_s if parent else self.simulation.lifetime.idle_ms / 1000
            story = self.stories[key] = Story(key, marker, parent, self.simulation.now, idle_s)
        return story

    def written(self, node: Node, command: Add | Cas | Bury, old: Any, now: float) -> None:
        """A node applied a write. A compare-and-swap must keep everything that it replaces."""
        key, record = command.key, command.value
        self.log.setdefault(key, []).append((now, node.name, *node.memory(key), record))
        if type(command) is Bury or old is None or isinstance(old[0], str) or key.endswith(LOCK):
            return
        if type(command) is Cas and self.merge(record, old[0]) != record:
            self.simulation.violation("a write dropped what it replaced", node.name, key, old[0], record)

    def change(self, key: bytes, name: str, record: Any) -> Change:
        """Somebody is about to store `record`, in which `name` was assigned or deleted."""
        change = Change(name, record.entries[name][:2])
        self.story(key).changes.append(change)
        return change

    def holders(self, key: bytes, reached: Reached, before: float, holds: Any) -> list[str]:
        """Nodes reached that were given a fitting record before that time, and have not forgotten since."""
        live_s, dead_s = self.story(key).idle_s * 1.05 + 5, self.simulation.longest_s
        found = []
        for time, name, epoch, evicted, record in self.log.get(key, ()):
            kept = dead_s if isinstance(record, self.dead) else live_s
            fresh = time <= before <= time + kept - 2
            if fresh and (name, epoch, evicted) in reached and holds(record):
                found.append(name)
        return found

    def memories(self, key: bytes) -> Reached:
        """All nodes, as if all had been reached now."""
        return [(node.name, *node.memory(key)) for node in self.simulation.nodes]
