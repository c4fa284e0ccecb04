"""Nodes inside this process, for `memory://` pools in development and for tests.

A `MemoryNode` is a small model of one memcached: what it answers, when it forgets, how its CAS numbers run. The
same contract tests run against it and against real memcached. Sessions in it end with the process, and another web
server does not see them.
"""

import itertools
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from memsession.commands import (
    Add,
    Bury,
    Cas,
    Command,
    Conflict,
    Get,
    Hit,
    Miss,
    NotFound,
    Reply,
    Skipped,
    Stored,
    Token,
    Unreachable,
    insists,
)
from memsession.events import NodeBack, NodeEvent, NodeOut, Observer, log
from memsession.plans.world import Plan
from memsession.pool import Pool
from memsession.wire import checked_key, checked_ttl

T = TypeVar("T")

ITEMS_MAX = 100_000

_serials = itertools.count(1)


class MemoryNode:
    """One memcached as a dict: items expire, the least used go when it is full, a restart forgets everything.

    `monotonic` gives seconds. `running` may be set to False: then it answers to nobody, as after `stop()`.
    """

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic, items_max: int = ITEMS_MAX) -> None:
        self.running = True
        self._monotonic = monotonic
        self._items_max = items_max
        self._items: OrderedDict[bytes, tuple[Any, int, float]] = OrderedDict()
        self._cas = 0
        self._connection = next(_serials)

    def __len__(self) -> int:
        """Items held, those included that are expired and not collected yet."""
        return len(self._items)

    def get(self, key: bytes) -> Reply:
        """The value with its token, if there is one."""
        item = self._item(key)
        return Miss() if item is None else Hit(item[0], Token(item[1], self._connection))

    def add(self, key: bytes, value: Any, ttl: int) -> Reply:
        """Store where nothing is stored."""
        return self._store(key, value, ttl) if self._item(key) is None else Conflict()

    def cas(self, key: bytes, value: Any, ttl: int, token: Token) -> Reply:
        """Store if the token still stands for what is there."""
        if token.connection != self._connection:
            return Conflict()
        item = self._item(key)
        if item is None:
            return NotFound()
        return self._store(key, value, ttl) if item[1] == token.cas else Conflict()

    def bury(self, key: bytes, value: Any, ttl: int) -> Reply:
        """Store over whatever is there."""
        return self._store(key, value, ttl)

    def flush(self) -> None:
        """Forget all items, as `flush_all` does."""
        self._items.clear()

    def stop(self) -> None:
        """Answer to nobody, until `restart()`."""
        self.running = False

    def restart(self) -> None:
        """A new process: empty, CAS numbers from 1, and old tokens count no more."""
        self.flush()
        self._cas = 0
        self._connection = next(_serials)
        self.running = True

    def _item(self, key: bytes) -> tuple[Any, int, float] | None:
        item = self._items.get(checked_key(key))
        if item is None:
            return None
        if item[2] <= self._monotonic():
            del self._items[key]
            return None
        self._items.move_to_end(key)
        return item

    def _store(self, key: bytes, value: Any, ttl: int) -> Reply:
        self._cas += 1
        self._items[checked_key(key)] = (value, self._cas, self._monotonic() + checked_ttl(ttl))
        self._items.move_to_end(key)
        if len(self._items) > self._items_max:
            self._items.popitem(last=False)
        return Stored()


class _InProcess:
    """What both clients of `MemoryNode`s share: rounds, which never wait and are one at a time.

    `nodes` has the nodes by name, to stop, restart and flush. `commands` counts what was asked, by the kind of
    command (`"get"`, `"add"`, `"cas"`, `"bury"`).
    """

    def __init__(
        self, pool: Pool, *, observe: Observer | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.nodes = {node.name: MemoryNode(monotonic=monotonic) for node in pool.all_nodes}
        self.commands: Counter[str] = Counter()
        self._monotonic = monotonic
        self._observe = log if observe is None else observe
        self._out: set[str] = set()
        self._lock = threading.Lock()

    def adopt(self, pool: Pool) -> None:
        """Go by another pool, which is `memory://` as well.

        Nodes that stay keep what they hold. Those that are gone forget it, and commands for them are answered
        `Skipped` (`Unreachable` if they insist).
        """
        before = self.nodes
        self.nodes = {
            node.name: before[node.name] if node.name in before else MemoryNode(monotonic=self._monotonic)
            for node in pool.all_nodes
        }
        for name in before.keys() - self.nodes.keys():
            self._out.discard(name)

    def is_up(self, node: str) -> bool:
        """Whether there is such a node, and it runs."""
        return node in self.nodes and self.nodes[node].running

    def now_ms(self) -> int:
        """Milliseconds since 1970 (UTC), by this machine's clock."""
        return time.time_ns() // 1_000_000

    def _run(self, plan: Plan[T], deadline: float | None) -> T:
        try:
            commands = next(plan)
            while True:
                commands = plan.send(self._round(commands, deadline))
        except StopIteration as finished:
            result: T = finished.value
            return result

    def _round(self, commands: Sequence[Command], deadline: float | None) -> list[Reply]:
        late = deadline is not None and self._monotonic() >= deadline
        if late and not any(isinstance(command, Bury) for command in commands):
            return [Unreachable("the deadline has passed")] * len(commands)
        changes: list[NodeEvent] = []
        with self._lock:
            replies = [self._answer(command, changes) for command in commands]
        for change in changes:
            self._observe(change)
        return replies

    def _answer(self, command: Command, changes: list[NodeEvent]) -> Reply:
        node = self.nodes.get(command.node)
        if node is None:
            return Unreachable("the node is not in the pool any more") if insists(command) else Skipped()
        self._notice(command.node, node.running, changes)
        if not node.running:
            return Unreachable("the node is stopped") if insists(command) else Skipped()
        self.commands[type(command).__name__.lower()] += 1
        match command:
            case Get(_, key):
                return node.get(key)
            case Add(_, key, value, ttl):
                return node.add(key, value, ttl)
            case Cas(_, key, value, ttl, token):
                return node.cas(key, value, ttl, token)
            case Bury(_, key, value, ttl):  # pragma: no branch
                return node.bury(key, value, ttl)

    def _notice(self, node: str, running: bool, changes: list[NodeEvent]) -> None:
        if running and node in self._out:
            self._out.remove(node)
            changes.append(NodeBack(node))
        elif not running and node not in self._out:
            self._out.add(node)
            changes.append(NodeOut(node, "stopped"))


class MemoryClient(_InProcess):
    """Runs plans on `MemoryNode`s, with the interface of `memsession.aio.AsyncClient`."""

    async def run(self, plan: Plan[T], *, deadline: float | None = None) -> T:
        """Run a plan to its end, without ever waiting. `deadline` as in `AsyncClient.run`."""
        return self._run(plan, deadline)

    async def greet(self) -> None:
        """Nothing needs to be opened."""

    async def aclose(self) -> None:
        """Nothing is open. The nodes keep what they hold."""


class BlockingMemoryClient(_InProcess):
    """Runs plans on `MemoryNode`s, with the interface of `memsession.blocking.BlockingClient`."""

    def run(self, plan: Plan[T], *, deadline: float | None = None) -> T:
        """Run a plan to its end, without ever waiting. `deadline` as in `BlockingClient.run`."""
        return self._run(plan, deadline)

    def greet(self) -> None:
        """Nothing needs to be opened."""

    def close(self) -> None:
        """Nothing is open. The nodes keep what they hold."""
