"""Faults by name, at random times."""

from collections.abc import Callable, Sequence

from .process import Process
from .world import CORRUPT, Simulation

FORGETFUL = ("restart", "flush", "evict")
UNREACHABLE = ("cut", "one way", "isolate", "stop", "view")
ALL = (*FORGETFUL, *UNREACHABLE, "down", "crash", "pause")


def lossy(simulation: Simulation, before: float, after: float, late: float = 0.0, late_max_s: float = 5.0) -> None:
    """Lose commands before they are applied, replies after that, or deliver commands late."""
    network = simulation.network
    network.before, network.after, network.late, network.late_max_s = before, after, late, late_max_s


def forget(simulation: Simulation, name: str, how: str, key: bytes) -> None:
    """A node forgets one item or everything. Not every web process notices a restart before it sends again."""
    node = simulation.network.nodes[name]
    simulation.say(f"! {how} {name}")
    if how in ("restart", "noticed restart"):
        node.restart()
        for process in simulation.processes:
            if how == "noticed restart" or simulation.random.random() < 0.8:
                process.connections.pop(name, None)
    elif how == "flush":
        node.flush()
    elif how == "evict":
        node.evict(key)
    else:
        node.corrupt(key, CORRUPT)


def stop(simulation: Simulation, name: str, seconds: float) -> None:
    """A node hangs (SIGSTOP) and goes on later with all that was sent to it."""
    node = simulation.network.nodes[name]
    simulation.say(f"! stop {name}")
    node.stopped = True
    simulation.at(simulation.now + seconds, _go_on, simulation, name)


def _go_on(simulation: Simulation, name: str) -> None:
    simulation.say(f"! continue {name}")
    simulation.network.go_on(simulation.network.nodes[name])


def down(simulation: Simulation, name: str, seconds: float) -> None:
    """A node dies and is started again, empty, later."""
    node = simulation.network.nodes[name]
    simulation.say(f"! down {name}")
    node.restart()
    node.down = True
    simulation.at(simulation.now + seconds, setattr, node, "down", False)


def cut(simulation: Simulation, links: Sequence[int], name: str, seconds: float, way: str = "both") -> None:
    """Cut links to a node; mended later, or never with 0 seconds."""
    for link in links:
        simulation.say(f"! cut web{link + 1} {way} {name}")
        simulation.network.cut(link, name, way)
        if seconds:
            simulation.at(simulation.now + seconds, simulation.network.heal, link, name)


def isolate(simulation: Simulation, name: str, seconds: float = 0.0) -> None:
    """Cut all links to a node."""
    cut(simulation, range(len(simulation.processes)), name, seconds)


def think_out(simulation: Simulation, process: Process, name: str, seconds: float) -> None:
    """A process believes that a healthy node is out."""
    simulation.say(f"! {process.name} thinks {name} out")
    process.out[name] = simulation.now + seconds


def think_slow(simulation: Simulation, process: Process, name: str, seconds: float) -> None:
    """Somebody in this process waits for a healthy node; others do not, where they have asked another one as well."""
    simulation.say(f"! {process.name} thinks {name} slow")
    process.slow[name] = simulation.now + seconds


def crash(simulation: Simulation, process: Process) -> None:
    """A web process dies; the commands it has sent may still arrive."""
    simulation.say(f"! {process.name} dies")
    if sum(other.alive for other in simulation.processes) > 1:
        process.alive = False


def restart_process(simulation: Simulation, index: int) -> Process:
    """A web process is replaced by a new one that remembers nothing."""
    old = simulation.processes[index]
    old.alive = False
    simulation.say(f"! {old.name} restarts")
    new = simulation.processes[index] = Process(simulation, old.link, old.name + "'")
    new.placement, new.skew_s = old.placement, old.skew_s
    return new


def fork_process(simulation: Simulation, index: int) -> Process:
    """A web process forks: the child has the parent's memory, is told of the fork, and has no connections."""
    parent = simulation.processes[index]
    child = Process(simulation, parent.link, f"{parent.name}+{len(simulation.processes)}")
    child.placement, child.skew_s = parent.placement, parent.skew_s
    child.counters._own.update(parent.counters._own)
    child.counters.forked()
    simulation.say(f"! {parent.name} forks {child.name}")
    simulation.processes.append(child)
    return child


def chaos(
    simulation: Simulation, kinds: Sequence[str], begin: float, end: float, most: int, key: bytes = b"s"
) -> None:
    """Up to `most` faults of these kinds between two times, at homes of the first placement."""
    rng = simulation.random
    homes = simulation.processes[0].homes(key)
    for _ in range(rng.randint(0, most)):
        kind, name = rng.choice(kinds), rng.choice(homes)
        seconds = 0.02 + rng.random() * (end - begin) * 0.7
        simulation.at(begin + rng.random() * (end - begin), _fault(simulation, kind, name, seconds, key))


def _fault(simulation: Simulation, kind: str, name: str, seconds: float, key: bytes) -> Callable[[], None]:
    def happen() -> None:
        process = simulation.any_process()
        if kind in {*FORGETFUL, "corrupt"}:
            forget(simulation, name, kind, key)
        elif kind == "stop":
            stop(simulation, name, seconds)
        elif kind == "down":
            down(simulation, name, seconds)
        elif kind == "isolate":
            isolate(simulation, name, seconds)
        elif kind == "view":
            think_out(simulation, process, name, seconds)
        elif kind == "crash":
            crash(simulation, process)
        elif kind == "pause":
            process.paused_until = simulation.now + seconds
        else:
            cut(simulation, [process.link], name, seconds, "back" if kind == "one way" else "both")

    return happen
