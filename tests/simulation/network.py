"""Messages between web processes and nodes: delay, loss, lateness, cut links, refused and reset connections.

A reply that will come in time is worked out when the command is delivered, so that a healthy command costs one event.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from memsession.commands import Add, Bury, Cas, Command, Conflict, Get, Hit, Miss, Reply, Skipped, Stored, Unreachable

from .node import ANY_CONNECTION, Node
from .telling import told

if TYPE_CHECKING:
    from .process import Connection, Request
    from .world import Simulation

TIMEOUT_S = 0.25
SHORTEST_S, SPREAD_S = 0.0005, 0.0195

CORRUPT = "corrupt"
"""A value that nobody can read."""

LOST, GARBAGE, MISS = "lost with its connection", "unreadable", "somebody else's miss"
"""What can become of a single reply to a `Get`."""

CONFLICT, SKIPPED = Conflict(), Skipped()
TIMED_OUT, REFUSED, RESET, TOO_LATE = (
    Unreachable("no reply in time"),
    Unreachable("refused"),
    Unreachable("reset"),
    Unreachable("time budget is spent"),
)


class Round:
    """Commands under way together, and the replies so far (None: not yet)."""

    __slots__ = ("commands", "latest", "left", "over", "patience", "replies", "request", "sent")

    def __init__(self, request: "Request", commands: list[Command], now: float) -> None:
        self.request = request
        self.commands = commands
        self.replies: list[Reply | None] = [None] * len(commands)
        self.left = len(commands)
        self.sent = self.latest = now
        remaining = request.deadline - now
        blind = type(commands[0]) is Bury
        self.over = remaining <= 0 and not blind
        self.patience = TIMEOUT_S if blind or remaining > TIMEOUT_S else max(remaining, 0.001)


class Network:
    """Carries rounds to nodes."""

    def __init__(self, simulation: "Simulation", names: list[str]) -> None:
        self.simulation = simulation
        self.random = simulation.random.random
        self.nodes = {name: Node(name) for name in names}
        self.cuts: dict[tuple[int, str], str] = {}
        self.held: list[tuple[int, str, tuple[Any, ...]]] = []
        self.before = self.after = self.late = 0.0
        self.late_max_s = 5.0
        self.calm = False
        self.spoilt: dict[str, str] = {}
        """What becomes of the next reply of a node to a `Get`."""
        self.unanswered: set[str] = set()
        """Nodes whose next reply to an `Add` is lost with its connection."""
        self.blips = False
        """Only writes are lost or late, and nobody concludes from it that a node is out."""

    def send(self, round_: Round) -> None:
        """Send all commands; those that need no node are answered at once."""
        for index, command in enumerate(round_.commands):
            reply = self._send(round_, index, command)
            if reply is not None:
                self._answer(round_, index, reply, round_.sent)

    def _send(self, round_: Round, index: int, command: Command) -> Reply | None:
        simulation, process, name = self.simulation, round_.request.process, command.node
        if round_.over:
            return TOO_LATE
        connection = process.connections.get(name)
        if isinstance(command, Cas) and command.token.connection != ANY_CONNECTION:
            if connection is None or connection.serial != command.token.connection:
                return CONFLICT
        else:
            spared = not process.thinks_slow(name) or len({other.node for other in round_.commands}) > 1
            if spared and not isinstance(command, Bury | Cas) and not command.force and not process.is_up(name):
                return SKIPPED
            connection = connection or process.connect(name)
        arrives = round_.sent + SHORTEST_S + SPREAD_S * self.random()
        lost = False
        if not (self.calm or (self.blips and type(command) is Get)):
            chance = self.random() - self.before
            if chance < 0:
                simulation.at(round_.sent + round_.patience, self._time_out, round_, index, connection)
                return None
            lost = chance < self.after
            if not lost and chance < self.after + self.late:
                arrives = round_.sent + 0.2 + self.late_max_s * self.random()
                simulation.at(round_.sent + round_.patience, self._time_out, round_, index, connection)
        simulation.at(arrives, self._deliver, round_, index, connection, lost, True)
        return None

    def _deliver(self, round_: Round, index: int, connection: "Connection", lost: bool, first: bool) -> None:
        simulation, process, command = self.simulation, round_.request.process, round_.commands[index]
        now, node = simulation.now, self.nodes[command.node]
        if node.down:
            simulation.at(now + 0.001, self._break, round_, index, connection, REFUSED)
            return
        cut = self.cuts.get((process.link, node.name)) if self.cuts else None
        if cut and cut != "back" and first:
            self._hold(round_, index, connection, lost, node)
            return
        if node.stopped:
            node.queue.append((self._deliver, (round_, index, connection, lost, False)))
            simulation.at(round_.sent + round_.patience, self._time_out, round_, index, connection)
            return
        if connection.process == 0:
            connection.process = node.process
        elif connection.process != node.process:
            simulation.at(now + 0.001, self._break, round_, index, connection, RESET)
            return
        self._apply(round_, index, connection, lost or bool(cut), node)

    def _apply(self, round_: Round, index: int, connection: "Connection", lost: bool, node: Node) -> None:
        simulation, command = self.simulation, round_.commands[index]
        now = simulation.now
        old = node.items.get(command.key)
        reply = node.apply(command, connection.serial, now)
        if type(reply) is Stored:
            simulation.ledger.written(node, command, old, now)
        if simulation.trace is not None:
            fate = " (lost)" if lost else ""
            simulation.say(f"{round_.request} {node.name} {told(command)} -> {told(reply)}{fate}")
        back = now + SHORTEST_S + SPREAD_S * self.random()
        if round_.replies[index] is not None:
            return
        if lost or back > round_.sent + round_.patience:
            simulation.at(max(now, round_.sent + round_.patience), self._time_out, round_, index, connection)
            return
        process = round_.request.process
        if process.out:
            process.out.pop(node.name, None)
        if type(command) is Get:
            fate = self.spoilt.pop(node.name, None) if self.spoilt else None
            if fate == LOST:
                simulation.at(back, self._break, round_, index, connection, RESET)
                return
            round_.request.reached.append((node.name, *node.memory(command.key)))
            reply = Miss() if fate == MISS else reply
            reply = Hit(CORRUPT, reply.token) if fate == GARBAGE and type(reply) is Hit else reply
        elif type(command) is Add and node.name in self.unanswered:
            self.unanswered.remove(node.name)
            simulation.at(back, self._break, round_, index, connection, RESET)
            return
        self._answer(round_, index, reply, back)

    def _hold(self, round_: Round, index: int, connection: "Connection", lost: bool, node: Node) -> None:
        """A cut link drops the message, or keeps sending it until the link is healed."""
        if connection.process and self.random() < 0.5:
            self.held.append((round_.request.process.link, node.name, (round_, index, connection, lost, False)))
        self.simulation.at(round_.sent + round_.patience, self._time_out, round_, index, connection)

    def _time_out(self, round_: Round, index: int, connection: "Connection") -> None:
        if round_.replies[index] is None:
            out = round_.patience >= TIMEOUT_S and not self.blips
            round_.request.process.lose(round_.commands[index].node, connection, out)
            self._answer(round_, index, TIMED_OUT, self.simulation.now)

    def _break(self, round_: Round, index: int, connection: "Connection", reply: Reply) -> None:
        if round_.replies[index] is None:
            round_.request.process.lose(round_.commands[index].node, connection, True)
            self._answer(round_, index, reply, self.simulation.now)

    def _answer(self, round_: Round, index: int, reply: Reply, arrival: float) -> None:
        round_.replies[index] = reply
        round_.left -= 1
        round_.latest = max(round_.latest, arrival)
        if not round_.left:
            self.simulation.resume(round_)

    def cut(self, link: int, name: str, way: str) -> None:
        """Cut the link between a web process and a node: `both` ways, `there`, or only the way `back`."""
        self.cuts[link, name] = way

    def heal(self, link: int | None = None, name: str | None = None) -> None:
        """Mend matching links (None matches all); what was held is delivered now."""

        def matches(a: int, b: str) -> bool:
            return (link is None or a == link) and (name is None or b == name)

        held, self.held = self.held, []
        for a, b, arguments in held:
            if matches(a, b):
                self.simulation.at(self.simulation.now + 0.05 * self.random(), self._deliver, *arguments)
            else:
                self.held.append((a, b, arguments))
        self.cuts = {ends: way for ends, way in self.cuts.items() if not matches(*ends)}

    def go_on(self, node: Node) -> None:
        """A stopped node continues, with all that has queued up."""
        if node.stopped:
            node.stopped = False
            queue, node.queue = node.queue, []
            deliver: Callable[..., None]
            for deliver, arguments in queue:
                deliver(*arguments)
