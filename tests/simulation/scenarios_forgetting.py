"""When every home forgets: what still holds, and what cannot."""

from .faults import forget, isolate
from .requests import Intent, change, logout, read
from .scenario import finish, scenario, seed_session
from .world import Simulation

KEY = b"s"


def _between(simulation: Simulation, begin: float, end: float) -> float:
    return begin + (end - begin) * simulation.random.random()


def _is_found(simulation: Simulation) -> bool:
    return type(finish(simulation)[KEY]) is simulation.subject.plans.Found


@scenario(name="total_restart_after_logout_r2")
@scenario(name="total_restart_after_logout_r3", nodes=3, copies=3)
def total_restart_after_logout(simulation: Simulation) -> None:
    """After a logout all nodes forget, one by one, while slow saves are under way: none brings the session back."""
    seed_session(simulation)
    rng = simulation.random
    for i in range(3):
        simulation.start(_between(simulation, 1.0, 1.3), change(KEY, Intent(plain=(f"k{i}",)), rng.random()))
    simulation.start(_between(simulation, 1.35, 1.4), logout(KEY))
    for node in simulation.nodes:
        how = rng.choice(("restart", "flush", "evict"))
        simulation.at(_between(simulation, 1.6, 2.2), forget, simulation, node.name, how, KEY)
    simulation.run(4.0)
    if _is_found(simulation):
        simulation.violation("revived after a total restart")


@scenario(name="every_home_forgets_r2", residue=("lost when every home forgot",))
@scenario(name="every_home_forgets_r3", nodes=3, copies=3, residue=("lost when every home forgot",))
def every_home_forgets(simulation: Simulation) -> None:
    """Out of contract: all homes restart within a moment, too fast for any visit to repair one."""
    seed_session(simulation)
    for i in range(3):
        simulation.start(_between(simulation, 1.0, 2.0), change(KEY, Intent(plain=(f"k{i}",))))
    moment = _between(simulation, 1.2, 1.8)
    for node in simulation.nodes:
        simulation.at(moment + 0.05 * simulation.random.random(), forget, simulation, node.name, "restart", KEY)
    simulation.run(3.0)
    if not _is_found(simulation):
        simulation.violation("lost when every home forgot")


@scenario(residue=("revived when every holder of the tombstone forgot",))
def every_tombstone_forgotten(simulation: Simulation) -> None:
    """Out of contract: one node misses the logout, the other forgets it before any visit could tell the first."""
    seed_session(simulation)
    away, stays = simulation.random.sample(["A", "B"], 2)
    simulation.at(1.0, isolate, simulation, away)
    simulation.start(1.2, logout(KEY))
    simulation.at(_between(simulation, 1.9, 2.5), simulation.network.heal)
    simulation.at(_between(simulation, 1.9, 2.5), forget, simulation, stays, "restart", KEY)
    simulation.start(_between(simulation, 2.0, 3.0), read(KEY))
    simulation.run(4.0)
    if _is_found(simulation):
        simulation.violation("revived when every holder of the tombstone forgot")
