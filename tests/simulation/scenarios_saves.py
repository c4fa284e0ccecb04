"""Saves and logouts under every fault: what the core promises."""

from collections.abc import Callable
from typing import Any

from .faults import ALL, FORGETFUL, chaos, crash, cut, forget, isolate, lossy, think_slow
from .requests import Intent, change, logout, read
from .scenario import finish, scenario, seed_session
from .world import Simulation

KEY = b"s"
Done = Callable[[Any], None]


def _between(simulation: Simulation, begin: float, end: float) -> float:
    return begin + (end - begin) * simulation.random.random()


def _hold(simulation: Simulation, most: float = 0.3) -> float:
    return 0.0 if simulation.random.random() < 0.5 else most * simulation.random.random()


def _writers(
    simulation: Simulation, count: int, begin: float, end: float, hold: float = 0.3, done: Done | None = None
) -> None:
    for i in range(count):
        step = change(KEY, Intent(plain=(f"k{i}",)), _hold(simulation, hold))
        simulation.start(_between(simulation, begin, end), step, None, done)


def _readers(simulation: Simulation, count: int, begin: float, end: float) -> None:
    for _ in range(count):
        simulation.start(_between(simulation, begin, end), read(KEY))


@scenario(name="parallel_writers_r2")
@scenario(name="parallel_writers_r3", nodes=3, copies=3)
def parallel_writers(simulation: Simulation) -> None:
    """Healthy nodes, several requests at once: each key of each request is kept."""
    seed_session(simulation)
    writers = simulation.random.randint(3, 6)
    outcomes: list[Any] = []
    _writers(simulation, writers, 1.0, 1.1, 0.05, outcomes.append)
    _readers(simulation, 2, 1.0, 1.2)
    simulation.run(2.0)
    homes = set(simulation.processes[0].homes(KEY))
    if [outcome.confirmed for outcome in outcomes] != [homes] * writers:
        simulation.violation("a healthy save was not confirmed by every home", *outcomes)
    if len(finish(simulation)[KEY].record.entries) != writers + 1:
        simulation.violation("a healthy save was not kept")


@scenario(name="logout_race_r2")
@scenario(name="logout_race_r3", nodes=3, copies=3)
def logout_race(simulation: Simulation) -> None:
    """Slow requests are under way while the visitor logs out."""
    seed_session(simulation)
    _writers(simulation, simulation.random.randint(2, 4), 1.0, 1.3, 0.4)
    simulation.start(_between(simulation, 1.0, 1.5), logout(KEY, loaded=simulation.random.random() < 0.5))
    _readers(simulation, 2, 1.2, 2.0)
    simulation.run(2.5)
    finish(simulation)


@scenario(name="logout_race_lossy", nodes=2, copies=2)
def logout_race_lossy(simulation: Simulation) -> None:
    """As above, with lost and late messages, and at most one node that forgets."""
    seed_session(simulation)
    lossy(simulation, 0.03, 0.03, 0.05, 3.0)
    _writers(simulation, simulation.random.randint(2, 4), 1.0, 1.3, 0.4)
    simulation.start(_between(simulation, 1.0, 1.5), logout(KEY))
    chaos(simulation, FORGETFUL, 1.0, 2.0, 1)
    _readers(simulation, 2, 1.2, 2.0)
    simulation.run(2.5)
    finish(simulation)


@scenario(name="restarts_at_once_r2")
@scenario(name="restarts_at_once_r3", nodes=3, copies=3)
def restarts_at_once(simulation: Simulation) -> None:
    """All homes but one restart empty at one moment, in the middle of traffic; then everything is there."""
    seed_session(simulation)
    _writers(simulation, 4, 1.0, 2.0, 0.2)
    _readers(simulation, 2, 1.0, 2.0)
    moment = _between(simulation, 1.0, 2.0)
    keeper = simulation.random.choice(simulation.nodes).name
    for node in simulation.nodes:
        if node.name != keeper:
            simulation.at(moment, forget, simulation, node.name, "restart", KEY)
    simulation.run(3.0)
    if not hasattr(finish(simulation)[KEY], "tokens"):
        simulation.violation("session lost after restarts")


@scenario(name="rolling_restarts_r2")
@scenario(name="rolling_restarts_r3", nodes=3, copies=3)
def rolling_restarts(simulation: Simulation) -> None:
    """One node after the other restarts empty, with one visit in between: nothing is ever missing."""
    seed_session(simulation)
    time = 1.0
    for i in range(6):
        step = change(KEY, Intent(plain=(f"k{i}",))) if simulation.random.random() < 0.6 else read(KEY)
        simulation.start(time, step)
        name = simulation.nodes[i % len(simulation.nodes)].name
        simulation.at(time + 1.2, forget, simulation, name, "noticed restart", KEY)
        time += 1.5
    simulation.run(time + 1)
    found = finish(simulation)[KEY]
    for one in simulation.ledger.story(KEY).changes:
        if not hasattr(found, "tokens") or not one.held(found.record):
            simulation.violation("lost in rolling restarts", one.name)


@scenario(name="stale_return_r2")
@scenario(name="stale_return_r3", nodes=3, copies=3)
def stale_return(simulation: Simulation) -> None:
    """A node is cut off, the session changes or ends, and the node comes back with what it had."""
    seed_session(simulation)
    name = simulation.random.choice(simulation.nodes).name
    simulation.at(1.0, isolate, simulation, name)
    _writers(simulation, 3, 1.1, 2.0, 0.1)
    if simulation.random.random() < 0.5:
        simulation.start(_between(simulation, 1.5, 2.2), logout(KEY))
    simulation.at(_between(simulation, 1.8, 2.6), simulation.network.heal)
    _readers(simulation, 3, 2.0, 3.5)
    _writers(simulation, 1, 2.5, 3.5)
    simulation.run(4.0)
    finish(simulation)


@scenario(name="split_brain_r2", processes=2)
@scenario(name="split_brain_r3", nodes=3, copies=3, processes=2)
def split_brain(simulation: Simulation) -> None:
    """Each web process sees a part of the nodes only, and both write; then the split heals: all is merged."""
    seed_session(simulation)
    begin = _between(simulation, 1.0, 1.3)
    names = [node.name for node in simulation.nodes]
    side = simulation.random.randint(1, len(names) - 1)
    for name in names[:side]:
        simulation.at(begin, cut, simulation, [0], name, 0.0)
    for name in names[side:]:
        simulation.at(begin, cut, simulation, [1], name, 0.0)
    _writers(simulation, 6, 1.0, 2.5, 0.2)
    if simulation.random.random() < 0.3:
        simulation.start(_between(simulation, 1.5, 2.5), logout(KEY))
    simulation.at(_between(simulation, 2.2, 2.8), simulation.network.heal)
    _readers(simulation, 2, 2.5, 3.5)
    simulation.run(4.0)
    finish(simulation)


@scenario(name="lost_messages_r2")
@scenario(name="lost_messages_r3", nodes=3, copies=3)
def lost_messages(simulation: Simulation) -> None:
    """One message in ten is lost, on the way there or on the way back."""
    seed_session(simulation)
    lossy(simulation, 0.05, 0.05)
    _writers(simulation, 4, 1.0, 2.0)
    _readers(simulation, 2, 1.0, 3.0)
    if simulation.random.random() < 0.3:
        simulation.start(_between(simulation, 1.5, 2.5), logout(KEY))
    simulation.run(4.0)
    finish(simulation)


@scenario(name="late_commands_r2")
@scenario(name="late_commands_r3", nodes=3, copies=3)
def late_commands(simulation: Simulation) -> None:
    """Commands are applied long after their sender gave up; a node forgets in between."""
    seed_session(simulation)
    lossy(simulation, 0.0, 0.0, 0.35, 4.0)
    name = simulation.random.choice(simulation.nodes).name
    simulation.at(1.0, forget, simulation, name, simulation.random.choice(("evict", "flush")), KEY)
    _writers(simulation, 3, 1.02, 1.4, 0.1)
    if simulation.random.random() < 0.6:
        simulation.start(_between(simulation, 1.3, 1.7), logout(KEY))
    simulation.at(_between(simulation, 1.8, 3.8), forget, simulation, name, "evict", KEY)
    simulation.run(4.0)
    finish(simulation)


@scenario()
def eviction(simulation: Simulation) -> None:
    """One home at a time evicts the session, with a visit in between."""
    seed_session(simulation)
    lossy(simulation, 0.01, 0.01, 0.02, 2.0)
    for i in range(5):
        simulation.start(1.0 + i, change(KEY, Intent(plain=(f"k{i}",))))
        chosen = simulation.random.choice(simulation.nodes).name
        simulation.at(1.6 + i, forget, simulation, chosen, "evict", KEY)
    if simulation.random.random() < 0.3:
        simulation.start(_between(simulation, 2.0, 6.0), logout(KEY))
    simulation.run(7.0)
    finish(simulation)


@scenario(name="everything_r2", processes=4)
@scenario(name="everything_r3", nodes=3, copies=3, processes=4)
def everything(simulation: Simulation) -> None:
    """Every fault at once, every kind of request."""
    seed_session(simulation)
    lossy(simulation, 0.02, 0.02, 0.03)
    _writers(simulation, simulation.random.randint(2, 5), 1.0, 3.0, 0.5)
    _readers(simulation, simulation.random.randint(1, 3), 1.0, 4.0)
    if simulation.random.random() < 0.6:
        simulation.start(_between(simulation, 1.2, 2.5), logout(KEY, loaded=simulation.random.random() < 0.7))
    chaos(simulation, ALL, 1.0, 3.0, 5)
    simulation.run(5.0)
    finish(simulation)


@scenario(name="worker_death_r2")
@scenario(name="worker_death_r3", nodes=3, copies=3)
def worker_death(simulation: Simulation) -> None:
    """A web process dies in the middle of a save or a logout; what it had sent arrives or not."""
    seed_session(simulation)
    lossy(simulation, 0.05, 0.02, 0.1, 1.0)
    _writers(simulation, 4, 1.0, 1.4, 0.1)
    if simulation.random.random() < 0.3:
        simulation.start(_between(simulation, 1.0, 1.5), logout(KEY, loaded=False))
    for process in simulation.processes[:2]:
        simulation.at(_between(simulation, 1.0, 1.5), crash, simulation, process)
    _readers(simulation, 2, 1.5, 2.5)
    simulation.run(3.0)
    finish(simulation)


@scenario(name="slow_home_r2")
@scenario(name="slow_home_r3", nodes=3, copies=3)
def slow_home(simulation: Simulation) -> None:
    """Homes are slow by turns, and nobody waits for them to read. What is saved meanwhile is on all of them."""
    seed_session(simulation)
    rng = simulation.random
    for i in range(4):
        begin = 1.0 + i
        for process in simulation.processes:
            simulation.at(begin, think_slow, simulation, process, rng.choice(simulation.nodes).name, 0.8)
        simulation.start(begin + 0.2 * rng.random(), change(KEY, Intent(plain=(f"k{i}",)), 0.1 * rng.random()))
        simulation.start(begin + 0.5, read(KEY))
    simulation.run(5.5)
    for node in rng.sample(simulation.nodes, len(simulation.nodes) - 1):
        forget(simulation, node.name, "noticed restart", KEY)
    found = finish(simulation)[KEY]
    for i in range(4):
        if f"k{i}" not in getattr(getattr(found, "record", None), "entries", ()):
            simulation.violation("a slow home was left without what was saved", i)
