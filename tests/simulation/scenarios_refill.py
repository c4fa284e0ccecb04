"""Behind the requests: refill of an emptied node, return of one that was away, corrupt values, old tokens."""

from functools import partial

from .faults import FORGETFUL, chaos, forget, isolate, lossy
from .requests import Intent, change, logout, read, refill, refill_all
from .scenario import finish, scenario, seed_session
from .world import Simulation

KEY, OTHER = b"s", b"t"


def _between(simulation: Simulation, begin: float, end: float) -> float:
    return begin + (end - begin) * simulation.random.random()


def _pause(simulation: Simulation, seconds: float) -> None:
    simulation.processes[2].paused_until = simulation.now + seconds


@scenario(name="refill_and_logout_r2")
@scenario(name="refill_and_logout_r3", nodes=3, copies=3)
def refill_and_logout(simulation: Simulation) -> None:
    """A node is refilled while the visitor changes something and logs out; the worker may pause in between."""
    seed_session(simulation)
    lossy(simulation, 0.0, 0.0, 0.05, 2.0)
    rng = simulation.random
    simulation.at(1.0, forget, simulation, rng.choice(simulation.nodes).name, "restart", KEY)
    simulation.start(_between(simulation, 1.05, 1.25), refill(KEY), simulation.processes[2])
    if rng.random() < 0.5:
        simulation.at(_between(simulation, 1.05, 1.35), partial(_pause, simulation), 2 * rng.random())
    simulation.start(_between(simulation, 1.05, 1.35), change(KEY, Intent(plain=("k0",)), 0.2 * rng.random()))
    simulation.start(_between(simulation, 1.05, 1.45), logout(KEY))
    if rng.random() < 0.5:
        chaos(simulation, FORGETFUL, 1.1, 2.5, 1)
    simulation.run(4.0)
    finish(simulation)


@scenario(name="refill_and_traffic_r2", nodes=3)
@scenario(name="refill_and_traffic_r3", nodes=4, copies=3)
def refill_and_traffic(simulation: Simulation) -> None:
    """A node is emptied and refilled from the others' keys, in the middle of traffic on two sessions."""
    for key in (KEY, OTHER):
        seed_session(simulation, key)
    rng = simulation.random
    lossy(simulation, *rng.choice(((0.0, 0.0), (0.02, 0.02))))
    name = rng.choice(simulation.processes[0].homes(KEY))
    simulation.at(1.1, forget, simulation, name, "restart", KEY)
    simulation.start(1.15, refill_all(name))
    for i in range(4):
        step = change(rng.choice((KEY, OTHER)), Intent(plain=(f"k{i}",)), 0.2 * rng.random())
        simulation.start(_between(simulation, 1.0, 1.8), step)
    if rng.random() < 0.5:
        simulation.start(_between(simulation, 1.1, 1.6), logout(OTHER))
    if rng.random() < 0.5:
        simulation.at(_between(simulation, 1.2, 1.5), partial(_pause, simulation), rng.random())
    simulation.run(4.0)
    finish(simulation, KEY, OTHER)


@scenario(name="refill_alone_r2")
@scenario(name="refill_alone_r3", nodes=3, copies=3)
def refill_alone(simulation: Simulation) -> None:
    """Without any request: one node after the other is emptied and refilled, and everything is still there."""
    rng = simulation.random
    for key in (KEY, OTHER):
        seed_session(simulation, key)
    simulation.start(1.0, change(KEY, Intent(plain=("k0",))))
    simulation.start(1.0, logout(OTHER))
    time = 2.0
    for node in rng.sample(simulation.nodes, len(simulation.nodes)):
        simulation.at(time, forget, simulation, node.name, "noticed restart", KEY)
        simulation.start(time + 0.1, refill_all(node.name))
        time += 2.0
    simulation.run(time)
    found = finish(simulation, KEY, OTHER)
    plans = simulation.subject.plans
    if type(found[KEY]) is not plans.Found or "k0" not in found[KEY].record.entries:
        simulation.violation("refill lost a session")
    if type(found[OTHER]) is not plans.Ended:
        simulation.violation("refill lost a tombstone", found[OTHER])


@scenario(name="return_scan")
def return_scan(simulation: Simulation) -> None:
    """A node misses a logout and returns; after a scan, even the loss of the other node revives nothing."""
    seed_session(simulation)
    away, stays = simulation.random.sample(["A", "B"], 2)
    simulation.at(1.1, isolate, simulation, away)
    simulation.start(_between(simulation, 1.3, 1.6), logout(KEY))
    simulation.at(2.5, simulation.network.heal)
    simulation.start(_between(simulation, 3.5, 4.0), refill_all(away))
    simulation.at(_between(simulation, 5.0, 6.0), forget, simulation, stays, "noticed restart", KEY)
    simulation.start(6.5, read(KEY))
    simulation.run(7.0)
    if type(finish(simulation)[KEY]) is not simulation.subject.plans.Ended:
        simulation.violation("a node that returned revived the session")


@scenario(name="tokens_across_restarts_r2")
@scenario(name="tokens_across_restarts_r3", nodes=3, copies=3)
def tokens_across_restarts(simulation: Simulation) -> None:
    """Few writes, so that after a restart the CAS numbers meet again."""
    seed_session(simulation)
    rng = simulation.random
    for i in range(4):
        step = change(KEY, Intent(plain=(f"k{i}",)), 0.3 * rng.random())
        simulation.start(_between(simulation, 1.0, 1.5), step)
    if rng.random() < 0.3:
        simulation.start(_between(simulation, 1.2, 1.6), logout(KEY))
    for node in rng.sample(simulation.nodes, rng.randint(1, len(simulation.nodes))):
        how = rng.choice(("restart", "noticed restart"))
        simulation.at(_between(simulation, 1.1, 1.6), forget, simulation, node.name, how, KEY)
    simulation.run(4.0)
    finish(simulation)


@scenario(name="corrupt_value_r2")
@scenario(name="corrupt_value_r3", nodes=3, copies=3)
def corrupt_value(simulation: Simulation) -> None:
    """What one home holds becomes unreadable, again and again: it is replaced from another home."""
    seed_session(simulation)
    rng = simulation.random
    lossy(simulation, *rng.choice(((0.0, 0.0), (0.02, 0.02))))
    for i in range(4):
        simulation.start(1.0 + i, change(KEY, Intent(plain=(f"k{i}",)), 0.2 * rng.random()))
        simulation.start(1.1 + i, read(KEY))
        name = rng.choice(simulation.nodes).name
        simulation.at(1.0 + i + 0.9 * rng.random(), forget, simulation, name, "corrupt", KEY)
    if rng.random() < 0.3:
        simulation.start(_between(simulation, 1.0, 5.0), logout(KEY))
    simulation.run(6.0)
    finish(simulation)


@scenario()
def corrupt_everywhere(simulation: Simulation) -> None:
    """No home has a readable value: that is doubt, and nothing is overwritten."""
    seed_session(simulation)
    for node in simulation.nodes:
        simulation.at(1.0, forget, simulation, node.name, "corrupt", KEY)
    if simulation.random.random() < 0.5:
        simulation.at(1.1, isolate, simulation, "A", 1.0)
    found: list[object] = []
    simulation.start(_between(simulation, 1.2, 1.4), read(KEY), None, found.append)
    simulation.run(3.0)
    for outcome in found:
        if type(outcome) is not simulation.subject.plans.Doubt or not outcome.unreadable:
            simulation.violation("unreadable copies are not doubt", outcome)
    before = [node.items for node in simulation.nodes]
    finish(simulation)
    if before != [node.items for node in simulation.nodes]:
        simulation.violation("unreadable copies were overwritten")
