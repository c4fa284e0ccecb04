"""Ends of life: idle and absolute, by the pool's clock, whatever memcached's own expiry does."""

from functools import partial
from typing import Any

from .faults import FORGETFUL, cut, forget, isolate, lossy, stop
from .process import Process
from .requests import Intent, change, logout, read, refill
from .scenario import finish, scenario, seed_session
from .world import ABSOLUTE_S, IDLE_S, Simulation

KEY = b"s"


def _between(simulation: Simulation, begin: float, end: float) -> float:
    return begin + (end - begin) * simulation.random.random()


def _pause(simulation: Simulation, process: Process, seconds: float) -> None:
    process.paused_until = simulation.now + seconds


def _refills(simulation: Simulation, begin: float, pausing: bool) -> None:
    rng = simulation.random
    for _ in range(rng.randint(1, 3)):
        time = _between(simulation, begin + 5, begin + 99)
        name = rng.choice(simulation.nodes).name
        simulation.at(time, forget, simulation, name, rng.choice(FORGETFUL), KEY)
        worker = simulation.processes[1]
        simulation.start(time + _between(simulation, 0.1, 5.0), refill(KEY), worker)
        if pausing and rng.random() < 0.5:
            at = time + _between(simulation, 0.1, 5.0)
            simulation.at(at, partial(_pause, simulation), worker, _between(simulation, 1.0, 300.0))


def _returns(simulation: Simulation, time: float) -> None:
    simulation.start(time, read(KEY), simulation.processes[2])
    if simulation.random.random() < 0.5:
        name = simulation.random.choice(simulation.nodes).name
        simulation.at(time + 1, forget, simulation, name, "restart", KEY)
    simulation.start(time + _between(simulation, 2.0, 60.0), read(KEY), simulation.processes[0])


@scenario(name="idle_and_refill")
def idle_and_refill(simulation: Simulation) -> None:
    """The visitor goes away, nodes are refilled, and the visitor comes back before or after the idle end."""
    seed_session(simulation)
    _refills(simulation, 1.0, pausing=False)
    _returns(simulation, 1.0 + _between(simulation, 60.0, 250.0))
    simulation.run(700.0)
    finish(simulation)


@scenario(name="idle_and_late_refill")
def idle_and_late_refill(simulation: Simulation) -> None:
    """As above; commands are late, and the refill's worker pauses for minutes."""
    seed_session(simulation)
    lossy(simulation, 0.0, 0.0, 0.15, 200.0)
    _refills(simulation, 1.0, pausing=True)
    _returns(simulation, 1.0 + _between(simulation, 60.0, 250.0))
    simulation.run(700.0)
    finish(simulation)


@scenario()
def absolute_end(simulation: Simulation) -> None:
    """A session in use until its absolute end, with late and paused writers around that moment."""
    seed_session(simulation)
    time = 1.0
    while time < ABSOLUTE_S - 30:
        time += _between(simulation, 40.0, 90.0)
        simulation.start(time, read(KEY))
    lossy(simulation, 0.0, 0.0, 0.1, 200.0)
    _refills(simulation, time - 50, pausing=True)
    for _ in range(3):
        simulation.start(time + _between(simulation, 10.0, 200.0), read(KEY))
    simulation.run(ABSOLUTE_S + 300)
    finish(simulation)


@scenario(name="visits_apart_r2")
@scenario(name="visits_apart_r3", nodes=3, copies=3)
def visits_apart(simulation: Simulation) -> None:
    """A visitor comes every second to every minute and a half, over minutes of cuts, hangs and restarts."""
    seed_session(simulation)
    rng = simulation.random
    lossy(simulation, 0.03, 0.03, 0.02, 3.0)
    time, end = 1.0, _between(simulation, 150.0, 450.0)
    while time < end:
        time += _between(simulation, *rng.choice(((0.5, 5.0), (5.0, 60.0), (60.0, 93.0))))
        simulation.start(time, read(KEY) if rng.random() < 0.8 else change(KEY, Intent(plain=(f"k{int(time)}",))))
    for _ in range(rng.randint(0, 4)):
        name, seconds = rng.choice(simulation.nodes).name, _between(simulation, 5.0, 150.0)
        happening: Any = rng.choice((partial(cut, simulation, [rng.randrange(3)]), partial(isolate, simulation)))
        if rng.random() < 0.3:
            happening = partial(stop, simulation)
        if rng.random() < 0.4:
            simulation.at(_between(simulation, 1.0, end), forget, simulation, name, "restart", KEY)
        else:
            simulation.at(_between(simulation, 1.0, end), happening, name, seconds)
    simulation.start(time + _between(simulation, 80.0, 160.0), read(KEY))
    simulation.run(time + 165)
    finish(simulation, converge=False)


@scenario()
def refill_and_return(simulation: Simulation) -> None:
    """A refill holds an old copy while the visitor comes back: it must not shorten the session's life."""
    seed_session(simulation)
    lossy(simulation, 0.02, 0.02, 0.1, 1.0)
    rng = simulation.random
    time = _between(simulation, 60.0, 97.0)
    first, second = rng.choice(simulation.nodes).name, rng.choice(simulation.nodes).name
    simulation.at(time, forget, simulation, first, rng.choice(FORGETFUL), KEY)
    worker = simulation.processes[1]
    simulation.start(time + 0.1, refill(KEY), worker)
    if rng.random() < 0.4:
        simulation.at(time + _between(simulation, 0.1, 0.15), partial(_pause, simulation), worker, 2 * rng.random())
    for _ in range(2):
        simulation.start(time + _between(simulation, 0.1, 0.4), read(KEY))
    simulation.at(time + 3, forget, simulation, second, "restart", KEY)
    simulation.start(time + _between(simulation, 5.0, 90.0), read(KEY))
    simulation.run(time + 100)
    finish(simulation)


@scenario()
def tombstone_outlives_copies(simulation: Simulation) -> None:
    """A node with a live copy is away from those who log out, for long; others keep that copy in use."""
    seed_session(simulation)
    away, stays = "A", "B"
    simulation.at(1.1, cut, simulation, [0, 1], away, 0.0)
    simulation.at(1.1, cut, simulation, [2], stays, 0.0)
    time = 1.2
    while time < 180:
        simulation.start(time, read(KEY), simulation.processes[2])
        time += _between(simulation, 10.0, 60.0)
    simulation.start(_between(simulation, 1.2, 2.2), logout(KEY, loaded=False), simulation.processes[0])
    for at in (60.0, 110.0):
        simulation.start(at + 10 * simulation.random.random(), read(KEY), simulation.processes[1])
    simulation.run(185.0)
    finish(simulation)


@scenario(nodes=3, copies=3)
def planted_tombstones(simulation: Simulation) -> None:
    """A tombstone handed on from node to node must last as long as the first: a live copy is still away."""
    seed_session(simulation)
    away, first, second = simulation.random.sample(["A", "B", "C"], 3)
    simulation.at(1.0, isolate, simulation, away)
    simulation.start(1.2, logout(KEY))
    for time, name in ((10.0, first), (20.0, second)):
        simulation.at(time, forget, simulation, name, "noticed restart", KEY)
        simulation.start(time + 5, refill(KEY), simulation.processes[0])
    back = _between(simulation, 30.0, 200.0)
    _keep_alive(simulation, away, back)
    simulation.at(back, simulation.network.heal)
    simulation.start(back + 5, read(KEY))
    simulation.run(back + 10)
    finish(simulation)


def _keep_alive(simulation: Simulation, away: str, until: float) -> None:
    """A web server on the other side, which sees the node that is away only."""
    process = simulation.processes[2]
    simulation.at(1.05, simulation.network.heal, process.link, away)
    for node in simulation.nodes:
        if node.name != away:
            simulation.at(1.05, cut, simulation, [process.link], node.name, 0.0)
    time = 2.0
    while time < until:
        simulation.start(time, read(KEY), process)
        time += _between(simulation, 20.0, 60.0)


@scenario()
def skewed_clocks(simulation: Simulation) -> None:
    """The web servers' ideas of the pool's time are up to a second apart."""
    seed_session(simulation)
    for process in simulation.processes:
        process.skew_s = _between(simulation, -1.0, 1.0)
    _visits(simulation)


@scenario(name="wrong_clock_r2", processes=3)
@scenario(name="wrong_clock_r3", nodes=3, copies=3, processes=3)
def wrong_clock(simulation: Simulation) -> None:
    """One web server's clock is an hour off. All take the median of the nodes' clocks and their own."""
    seed_session(simulation)
    rng = simulation.random
    wrong = rng.randrange(3)
    nodes = [0.5 * rng.random() for _ in simulation.nodes]
    for index, process in enumerate(simulation.processes):
        error = rng.choice((-3600.0, 3600.0)) if index == wrong else 0.2 * rng.random()
        wall = partial(_wall, simulation, error)
        clock = simulation.subject.clock.PoolClock(monotonic=simulation.monotonic, wall=wall)
        for node, offset in zip(simulation.nodes, nodes, strict=True):
            clock.observe(node.name, int(simulation.epoch_s + simulation.now + offset))
        process.now_ms = clock.now_ms
    _visits(simulation)


def _wall(simulation: Simulation, error: float) -> float:
    return simulation.epoch_s + simulation.now + error


def _visits(simulation: Simulation) -> None:
    time = 1.0
    while time < 4 * IDLE_S:
        time += _between(simulation, 5.0, 80.0)
        simulation.start(time, read(KEY))
    simulation.start(time + _between(simulation, 60.0, 150.0), read(KEY))
    simulation.run(time + 160)
    finish(simulation)
