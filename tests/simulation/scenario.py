"""What a scenario is, and what they all begin and end with."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from .ledger import Story
from .process import Connection, Process, Request
from .requests import Own, look
from .subject import Subject
from .world import ABSOLUTE_S, IDLE_S, Setting, Simulation

LIVE = Connection(0)
Play = Callable[[Simulation], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """`residue`: what is out of contract here, and must appear in some run; anything else must not appear at all."""

    name: str
    play: Play
    setting: Setting
    residue: frozenset[str] = frozenset()

    def run(self, subject: Subject, seed: int, trace: list[str] | None = None) -> Simulation:
        """Play it once."""
        simulation = Simulation(subject, self.setting, seed, trace)
        self.play(simulation)
        return simulation


SCENARIOS: dict[str, Scenario] = {}


def scenario(*, residue: tuple[str, ...] = (), name: str = "", **setting: int) -> Callable[[Play], Play]:
    """Register a scenario under its function's name, or another one for another setting."""

    def register(play: Play) -> Play:
        title = name or play.__name__
        assert title not in SCENARIOS
        SCENARIOS[title] = Scenario(name=title, play=play, setting=Setting(**setting), residue=frozenset(residue))
        return play

    return register


def seed_session(
    simulation: Simulation, key: bytes = b"s", values: dict[str, Any] | None = None, own: Own | None = None
) -> Story:
    """A session that lies on all its homes, with every web process connected. `own`: limits of its own."""
    record = simulation.subject.record
    now_ms = simulation.now_ms()
    story = simulation.ledger.story(key)
    idle_s, absolute_s = own or (IDLE_S, ABSOLUTE_S)
    story.idle_s, story.deadline_s = idle_s, simulation.now + absolute_s
    entries = {"marker": record.Entry(1, "birth", story.marker)}
    for name, value in (values or {}).items():
        entries[name] = record.Entry(2, "birth", value)
    live = record.Live(entries, {}, now_ms, now_ms + int(absolute_s * 1000), now_ms)
    if own:
        live = replace(live, idle_ms=int(idle_s * 1000))
    for name in simulation.processes[0].homes(key):
        node = simulation.network.nodes[name]
        node.put(key, live, simulation.now + idle_s * 1.05 + 5)
        log = simulation.ledger.log.setdefault(key, [])
        log.append((simulation.now, name, *node.memory(key), live))
    for process in simulation.processes:
        connect_all(process)
    return story


def connect_all(process: Process) -> None:
    """Connect a process to every node."""
    for node in process.simulation.nodes:
        connection: Connection = process.connect(node.name)
        connection.process = node.process


def quiet(simulation: Simulation, seconds: float = 6.0) -> None:
    """All faults end, and what is late arrives."""
    for node in simulation.nodes:
        node.down = False
        simulation.network.go_on(node)
    simulation.network.heal()
    simulation.network.calm = True
    for process in simulation.processes:
        process.out.clear()
        process.slow.clear()
        process.paused_until = 0.0
        for node in simulation.nodes:
            if process.connections.get(node.name, LIVE).process not in (0, node.process):
                del process.connections[node.name]
    simulation.run(simulation.now + seconds)


def finish(simulation: Simulation, *keys: bytes, converge: bool = True) -> dict[bytes, Any]:
    """After all faults: what two visits find, and whether all homes hold the same then."""
    quiet(simulation)
    found: dict[bytes, Any] = {}

    def visit(key: bytes) -> Callable[[Request], Any]:
        def final(request: Request) -> Any:
            found[key] = yield from look(request, key)

        return final

    for key in keys or (b"s",):
        for _ in range(2):
            process = simulation.any_process()
            process.out.clear()
            simulation.start(simulation.now, visit(key), process)
            simulation.run(simulation.now + 1.5)
        if converge and type(found.get(key)) is simulation.subject.plans.Found:
            _judge_convergence(simulation, key)
    return found


def _judge_convergence(simulation: Simulation, key: bytes) -> None:
    homes = simulation.any_process().homes(key)
    items = [simulation.network.nodes[name].item(key, simulation.now) for name in homes]
    values = [item and item[0] for item in items]
    if any(value != values[0] for value in values):
        simulation.violation("copies differ at rest", key, values)
