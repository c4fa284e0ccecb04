"""One connection to every node, for one plan at a time: sends a round to all nodes, then reads from all.

Who has waited a fifth of the time-out for a node tells the others that it is slow, and goes on waiting. They leave it
out while another node of their round is up: nothing is sent, and the answer is `Skipped`. (What is sent without
waiting would cost the connection, for one with an unread reply is closed.) A plan that finds nothing elsewhere asks
the node again by force, and then waits. A worker of one thread has no others: it waits until the node is out.
"""

import math
import time
from collections.abc import Iterable, Sequence
from typing import Any

from memsession.blocking.connection import LOOKS_MAX, Broken, Connection
from memsession.blocking.nodes import Nodes
from memsession.blocking.opening import Opening
from memsession.commands import Bury, Cas, Command, Conflict, Reply, Skipped, Unreachable, insists
from memsession.health import LATE_S, SUSPECT_SHARE, Fault
from memsession.wire import encode

_CONFLICT = Conflict()
_SKIPPED = Skipped()
_GONE = Unreachable("the node is not in the pool any more")
_LATE = "the deadline has passed"


class Exchange:
    """See the top of this file. It is used by one thread or greenlet at a time.

    `epoch` is for whoever lends it; so is `partings`, how often nodes had left the pool when it last looked.
    """

    def __init__(self, nodes: Nodes, epoch: int) -> None:
        self.epoch = epoch
        self.partings = nodes.partings
        self._nodes = nodes
        self._connections: dict[str, Connection] = {}

    def holds(self, serial: int) -> bool:
        """Whether it has the connection of this number. Another thread may be using it already."""
        return any(connection.serial == serial for connection in tuple(self._connections.values()))

    def ask(self, commands: Sequence[Command], deadline: float) -> list[Reply]:
        """Send a round and wait for the replies, until `deadline` (of `time.monotonic`) unless it buries.

        When anything is raised, here or from outside, connections with unread replies are left: to `close_busy`.
        """
        replies: list[Any] = [None] * len(commands)
        if deadline < math.inf:
            if any(type(command) is Bury for command in commands):
                deadline = math.inf
            elif time.monotonic() >= deadline:
                return [Unreachable(_LATE)] * len(commands)
        asked, waiting = self._sort(commands, replies)
        if asked:
            self._send(asked, replies)
        if waiting:
            opened = self._opened(waiting, commands, replies, deadline)
            self._send(opened, replies)
            asked |= opened
        self._read(asked, replies, deadline)
        return replies

    def meet(self) -> None:
        """Connect to all nodes, or find out which of them are out."""
        strangers = [name for name in self._nodes.names if self._ready(name) is None]
        self._open(strangers, math.inf, is_patient=True)

    def close_busy(self) -> None:
        """Close what has unread replies."""
        busy = [name for name, connection in self._connections.items() if connection.busy]
        for name in busy:
            self._drop(name)
            # If others were told to leave the node to this one, nobody would be left.
            self._nodes.health.answered(name)

    def part(self) -> None:
        """Close connections to nodes that have left the pool, or are somewhere else now."""
        self.partings = self._nodes.partings
        for name, connection in tuple(self._connections.items()):
            if connection.node is not self._nodes.node(name):
                self._drop(name)

    def close(self) -> None:
        """Close all. It opens new ones when it is used again."""
        while self._connections:
            self._connections.popitem()[1].close()

    def _sort(
        self, commands: Sequence[Command], replies: list[Any]
    ) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
        """Give each command to the connection of its node, or answer it. By node: what to send, what waits."""
        asked: dict[str, list[int]] = {}
        waiting: dict[str, list[int]] = {}
        ready: dict[str, Connection | None] = {}
        health = self._nodes.health
        spares = bool(health.suspects) and any(health.is_up(command.node) for command in commands)
        for index, command in enumerate(commands):
            name = command.node
            if spares and health.is_suspect(name) and not insists(command):
                encode(command, 0)
                replies[index] = _SKIPPED
                continue
            if name not in ready:
                ready[name] = self._ready(name)
            connection = ready[name]
            if connection is None:
                reply = self._knock(command)
                if reply is None:
                    waiting.setdefault(name, []).append(index)
                replies[index] = reply
            elif type(command) is Cas and command.token.connection != connection.serial:
                replies[index] = _CONFLICT
            else:
                connection.add(command, index)
                asked.setdefault(name, []).append(index)
        return asked, waiting

    def _ready(self, name: str) -> Connection | None:
        """The connection to a node that may be asked right away.

        Of a node that is out none is used, though it may be sound: it would cost each exchange its own time-out to
        learn what one has learnt. One that the node has closed meanwhile shows by a read that takes no time.
        """
        connection = self._connections.get(name)
        if connection is not None and connection.node is not self._nodes.node(name):
            self._drop(name)
            connection = None
        if self._nodes.health.is_out(name):
            self._drop(name)
            probed = self._nodes.probed(name)
            if probed is not None:
                self._connections[name] = probed
            return probed
        if connection is None:
            return None
        ended = connection.ended()
        if ended is None:
            return connection
        self._drop(name)
        self._nodes.closed_idle(name, connection, ended)
        return None

    def _knock(self, command: Command) -> Reply | None:
        """What becomes of a command while there is no connection: an answer at once, or None if it waits for one.

        A node that is out is left alone: only a command that insists, or whose turn it is to try, waits for it.
        A `Cas` never waits, for its token came over a connection that is gone.
        """
        encode(command, 0)  # What cannot be sent is an error for the one who asks, whether or not it would be sent.
        name, health = command.node, self._nodes.health
        if self._nodes.node(name) is None:
            return _GONE if insists(command) else _SKIPPED
        out = health.is_out(name)
        if type(command) is Cas:
            return _SKIPPED if out else _CONFLICT
        if not out or insists(command) or health.claim(name):
            return None
        return self._nodes.unfit(name) or _SKIPPED

    def _opened(
        self, waiting: dict[str, list[int]], commands: Sequence[Command], replies: list[Any], deadline: float
    ) -> dict[str, list[int]]:
        """Open connections for commands that wait for one, and give them to those that were."""
        failures = self._open(waiting, deadline)
        for name, indexes in waiting.items():
            for index in indexes:
                if name in failures:
                    replies[index] = failures[name]
                else:
                    self._connections[name].add(commands[index], index)
        return {name: indexes for name, indexes in waiting.items() if name not in failures}

    def _open(self, names: Iterable[str], deadline: float, *, is_patient: bool = False) -> dict[str, Unreachable]:
        """Open connections to all these nodes at once; the reasons of those to which it could not.

        A silent node is waited for only shortly, unless somebody `is_patient`; what was begun is left as a probe.
        """
        begun_at = time.monotonic()
        openings: dict[str, tuple[Opening, float]] = {}
        failures: dict[str, Unreachable] = {}
        try:
            for name in names:
                begun = self._nodes.dial(name)
                if isinstance(begun, Unreachable):
                    failures[name] = begun
                else:
                    patience_s = math.inf if is_patient else self._nodes.health.patience_s(name)
                    openings[name] = begun, min(begun.due, begun_at + patience_s)
            while openings:
                name, (opening, until) = next(iter(openings.items()))
                outcome = self._settled(name, opening, min(until, deadline))
                del openings[name]
                if outcome is None:
                    failures[name] = self._given_up(name, opening, deadline)
                elif isinstance(outcome, Unreachable):
                    failures[name] = outcome
                else:
                    self._connections[name] = outcome
        finally:
            for opening, _ in openings.values():
                opening.close()
        return failures

    def _settled(self, name: str, opening: Opening, until: float) -> Connection | Unreachable | None:
        """What came of it `until` then. Others are told when the node is slow."""
        slow_at = opening.begun_at + SUSPECT_SHARE * self._nodes.timeout_s
        if slow_at < until and not self._nodes.health.is_out(name):
            outcome = self._nodes.settle(name, opening, slow_at, LOOKS_MAX)
            if outcome is not None:
                return outcome
            if time.monotonic() < slow_at + LATE_S and not opening.resolving:
                self._nodes.health.slow(name, until)
        return self._nodes.settle(name, opening, until, LOOKS_MAX)

    def _given_up(self, name: str, opening: Opening, deadline: float) -> Unreachable:
        self._nodes.leave(name, opening)
        if time.monotonic() >= deadline:
            return Unreachable(_LATE)
        return Unreachable(f"{self._nodes.address(name)} is out, and does not answer a knock")

    def _send(self, asked: dict[str, list[int]], replies: list[Any]) -> None:
        """The time-out runs from here, for all nodes together: a hung one costs no more than one."""
        for name, indexes in asked.items():
            try:
                self._connections[name].send()
            except Broken as problem:
                self._lose(name, problem, indexes, replies)
        due = time.monotonic() + self._nodes.timeout_s
        for name in asked:
            if name in self._connections:
                self._connections[name].due = due

    def _read(self, asked: dict[str, list[int]], replies: list[Any], deadline: float) -> None:
        for name, indexes in asked.items():
            connection = self._connections.get(name)
            if connection is None:
                continue
            try:
                if self._answered(name, connection, replies, deadline):
                    continue
            except Broken as problem:
                self._lose(name, problem, indexes, replies)
            else:
                if deadline < connection.due:
                    self._drop(name)
                    _fill(indexes, replies, _LATE)
                else:
                    silent = Broken(Fault.SILENT, f"no reply within {self._nodes.timeout_s:g} s")
                    self._lose(name, silent, indexes, replies)

    def _answered(self, name: str, connection: Connection, replies: list[Any], deadline: float) -> bool:
        """Whether all replies come in time. Others are told when the node is slow, and when it has answered.

        When the time-out comes late, the whole machine may have been stopped, the node included: then it gets another
        moment.
        """
        health, timeout_s = self._nodes.health, self._nodes.timeout_s
        until, slow_s, steps = min(connection.due, deadline), SUSPECT_SHARE * timeout_s, connection.steps
        slow_at = connection.due - timeout_s + slow_s
        answered = connection.take(replies, min(slow_at, until))
        while not answered and slow_at < until:
            if connection.steps == steps:
                if time.monotonic() < slow_at + LATE_S:
                    health.slow(name, until)
                slow_at = until
            else:  # Long values are on their way.
                slow_at, steps = min(until, time.monotonic() + slow_s), connection.steps
            answered = connection.take(replies, slow_at)
        if not answered and until == connection.due and time.monotonic() > until + LATE_S:
            answered = connection.take(replies, time.monotonic() + slow_s)
        if answered and health.suspects:
            health.answered(name)
        return answered

    def _lose(self, name: str, problem: Broken, indexes: list[int], replies: list[Any]) -> None:
        connection = self._drop(name)
        if connection is None or connection.node is self._nodes.node(name):
            self._nodes.broke(name, problem.fault, str(problem))
        _fill(indexes, replies, str(problem))

    def _drop(self, name: str) -> Connection | None:
        connection = self._connections.pop(name, None)
        if connection is not None:
            connection.close()
        return connection


def _fill(indexes: list[int], replies: list[Any], reason: str) -> None:
    """What has no reply is unreachable; what came before the trouble counts."""
    for index in indexes:
        if replies[index] is None:
            replies[index] = Unreachable(reason)
