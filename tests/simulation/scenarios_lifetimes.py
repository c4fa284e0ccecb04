"""Sessions with limits of their own: remembered visitors, short lives, and what a regenerate gives.

The judge knows every session's own limits, and that tombstones are kept for the longest life.
"""

from functools import partial
from typing import Any

from .faults import FORGETFUL, cut, forget, isolate, lossy, stop
from .process import Process
from .requests import Intent, Jar, Own, assign, change, increment, logout, look, modify, read, refill, regenerate
from .scenario import finish, quiet, scenario, seed_session
from .world import ABSOLUTE_S, Simulation

KEY, NEW, DEFAULT, SHORT = b"s", b"r", b"t", b"u"
LONGEST_S = 3000
REMEMBERED: Own = (400.0, float(LONGEST_S))
BRIEF: Own = (30.0, 200.0)


def _between(simulation: Simulation, begin: float, end: float) -> float:
    return begin + (end - begin) * simulation.random.random()


def _visits(simulation: Simulation, key: bytes, own: Own, begin: float, end: float) -> None:
    """Visits that are never further apart than the session's idle limit allows, until `end`; and one more later."""
    rng, time = simulation.random, begin
    while True:
        time += _between(simulation, *rng.choice(((0.02, 0.3), (0.3, 0.93)))) * own[0]
        if time > end:
            break
        step = rng.choice((read(key), read(key), change(key, Intent(plain=(f"k{int(time)}",)))))
        simulation.start(time, rng.choice((step, modify(key, "m", {}))) if rng.random() < 0.2 else step)
    simulation.start(time + _between(simulation, 0.5, 2.0) * own[0], read(key))


def _faults(simulation: Simulation, end: float, *keys: bytes) -> None:
    rng = simulation.random
    for _ in range(rng.randint(0, 8)):
        time, name = _between(simulation, 1.0, end), rng.choice(simulation.nodes).name
        if rng.random() < 0.4:
            simulation.at(time, forget, simulation, name, rng.choice(FORGETFUL), rng.choice(keys))
            simulation.start(time + _between(simulation, 1.0, 5.0), refill(rng.choice(keys)))
            continue
        happening: Any = rng.choice((partial(cut, simulation, [rng.randrange(3)]), partial(isolate, simulation)))
        if rng.random() < 0.3:
            happening = partial(stop, simulation)
        simulation.at(time, happening, name, _between(simulation, 5.0, 150.0))


@scenario(name="own_lifetimes_r2", longest_s=LONGEST_S)
@scenario(name="own_lifetimes_r3", nodes=3, copies=3, longest_s=LONGEST_S)
def own_lifetimes(simulation: Simulation) -> None:
    """A remembered, an ordinary and a short session, each visited until past its own end, under faults."""
    ordinary = (100.0, ABSOLUTE_S)
    lossy(simulation, 0.01, 0.01, 0.03, 20.0)
    for key, own in ((KEY, REMEMBERED), (DEFAULT, None), (SHORT, BRIEF)):
        seed_session(simulation, key, own=own)
        limits = own or ordinary
        until = limits[1] + 50 if simulation.random.random() < 0.6 else limits[1] * simulation.random.random()
        _visits(simulation, key, limits, 1.0, until)
    _faults(simulation, LONGEST_S, KEY, DEFAULT, SHORT)
    simulation.run(LONGEST_S + 1000.0)
    finish(simulation, KEY, DEFAULT, SHORT, converge=False)


@scenario(longest_s=LONGEST_S)
def remembered_and_healthy(simulation: Simulation) -> None:
    """All is well: a remembered session, visited now and then, outlives the application's limits, to its own end."""
    seed_session(simulation, own=REMEMBERED)
    time, visits = 1.0, []
    while (time := time + _between(simulation, 120.0, 370.0)) < LONGEST_S - 5:
        simulation.start(time, read(KEY), None, visits.append)
    late: list[Any] = []
    simulation.start(LONGEST_S + 5.0, read(KEY), None, late.append)
    simulation.run(LONGEST_S + 10.0)
    plans = simulation.subject.plans
    if {type(outcome) for outcome in visits} != {plans.Found}:
        simulation.violation("a remembered session ended early", *visits)
    if [type(outcome) for outcome in late] != [plans.Absent]:
        simulation.violation("a remembered session did not end", *late)


@scenario(longest_s=LONGEST_S)
def remembered_tombstone(simulation: Simulation) -> None:
    """A node with a remembered session's copy is away from the logout, in use, for longer than the absolute limit."""
    seed_session(simulation, own=REMEMBERED)
    away, stays = "A", "B"
    simulation.at(1.1, cut, simulation, [0, 1], away, 0.0)
    simulation.at(1.1, cut, simulation, [2], stays, 0.0)
    back = _between(simulation, ABSOLUTE_S, LONGEST_S - 50)
    time = 1.2
    while time < back:
        simulation.start(time, read(KEY), simulation.processes[2])
        time += _between(simulation, 50.0, 350.0)
    simulation.start(_between(simulation, 1.2, 2.2), logout(KEY, loaded=False), simulation.processes[0])
    simulation.at(back, simulation.network.heal)
    simulation.start(back + _between(simulation, 1.0, 5.0), read(KEY), simulation.processes[1])
    simulation.run(back + 10.0)
    finish(simulation)


def _parallel(simulation: Simulation) -> None:
    """Changes on the old ID, so that the move has something to bring over."""
    rng = simulation.random
    for i in range(rng.randint(1, 3)):
        step = change(KEY, Intent(plain=(f"k{i}",)), 0.1 * rng.random())
        simulation.start(_between(simulation, 1.15, 1.4), step)
    for _ in range(rng.randint(0, 2)):
        simulation.start(_between(simulation, 1.1, 1.4), increment(KEY, "n", hold=0.1 * rng.random()))
    if rng.random() < 0.3:
        simulation.start(_between(simulation, 1.15, 1.4), assign(KEY, "n", 0.1 * rng.random()))


@scenario(name="regenerate_with_limits_r2", longest_s=LONGEST_S)
@scenario(name="regenerate_with_limits_r3", nodes=3, copies=3, longest_s=LONGEST_S)
def regenerate_with_limits(simulation: Simulation) -> None:
    """A login gives the session limits of its own, or takes them away, while others change it; then it is visited."""
    rng = simulation.random
    before, own = rng.choice((None, REMEMBERED, BRIEF)), rng.choice((None, REMEMBERED, BRIEF))
    seed_session(simulation, own=before)
    jar = Jar(KEY)
    simulation.start(1.2, regenerate(jar, NEW, Intent(plain=("c1",)), own=own))
    _parallel(simulation)
    simulation.run(3.0)
    if jar.key != NEW:
        simulation.soft["no regenerate was done in time"] += 1
        return
    _judge_moved(simulation)
    moved = simulation.ledger.story(NEW)
    _visits(simulation, NEW, (moved.idle_s, 0.0), simulation.now, moved.deadline_s + 10)
    simulation.run(moved.deadline_s + 3 * moved.idle_s)
    finish(simulation, KEY, NEW, converge=False)


def _judge_moved(simulation: Simulation) -> None:
    """All that was confirmed is there, with the limits that were given, and it began when it began."""
    quiet(simulation, 1.0)
    found: list[Any] = []
    process: Process = simulation.any_process()
    simulation.start(simulation.now, partial(look, key=NEW), process, found.append)
    simulation.run(simulation.now + 1.0)
    record, moved = found[0].record, simulation.ledger.story(NEW)
    if record.created_ms != int(simulation.epoch_s * 1000):
        simulation.violation("regenerate: the session forgot when it began", record.created_ms)
    ends_s = record.deadline_ms / 1000 - simulation.epoch_s
    if abs(ends_s - moved.deadline_s) > 1.0:
        simulation.violation("regenerate: another absolute end", ends_s, moved.deadline_s)
    for one in simulation.ledger.story(KEY).changes:
        if one.confirmed <= simulation.now and one.name not in record.entries:
            simulation.violation("regenerate: confirmed change lost", one.name)
