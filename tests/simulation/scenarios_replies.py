"""Replies that are lost or spoilt on the way, from nodes that have nothing wrong with them."""

from typing import Any

from .faults import isolate
from .network import GARBAGE, LOST, MISS
from .requests import Intent, change, read
from .scenario import connect_all, finish, scenario, seed_session
from .scenarios_pool import birth
from .world import Simulation

KEY = b"s"
VISITS = 6


def _must_find(simulation: Simulation) -> Any:
    def done(outcome: Any) -> None:
        if outcome == "not found" or not hasattr(outcome, "record"):
            simulation.violation("shown empty though each node needed asking only twice", outcome)

    return done


@scenario(name="broken_replies_r2")
@scenario(name="broken_replies_r3", nodes=3, copies=3)
def broken_replies(simulation: Simulation) -> None:
    """The next reply of every node is lost with its connection, or unreadable, or (of one node) somebody else's miss.

    Whoever asks once more gets what is there; so no visitor is shown an empty session, or writes into a new one.
    """
    seed_session(simulation)
    rng, network = simulation.random, simulation.network
    for visit in range(VISITS):
        begin = 1.0 + 2.0 * visit  # a node that was lost is tried again after a second
        spoilt = {node.name: rng.choice((LOST, LOST, GARBAGE)) for node in simulation.nodes}
        if rng.random() < 0.5:
            spoilt[rng.choice(simulation.nodes).name] = MISS
        simulation.at(begin - 0.01, network.spoilt.update, spoilt)
        step = read(KEY) if rng.random() < 0.3 else change(KEY, Intent(plain=(f"k{visit}",)))
        simulation.start(begin, step, None, _must_find(simulation))
    simulation.run(2.0 + 2.0 * VISITS)
    network.spoilt.clear()
    finish(simulation)


@scenario(name="spoilt_beside_stale_r2")
@scenario(name="spoilt_beside_stale_r3", nodes=3, copies=3)
def spoilt_beside_stale(simulation: Simulation) -> None:
    """A node comes back with an old copy, and the replies of those that know more are spoilt on the way."""
    seed_session(simulation)
    rng, network = simulation.random, simulation.network
    cut = rng.choice(simulation.nodes).name
    isolate(simulation, cut)
    simulation.start(1.0, change(KEY, Intent(plain=("k",))))
    simulation.at(2.0, network.heal)
    spoilt = {node.name: GARBAGE for node in simulation.nodes if node.name != cut}
    simulation.at(3.0, network.spoilt.update, spoilt)
    simulation.start(3.1, read(KEY) if rng.random() < 0.5 else change(KEY, Intent(plain=("other",))))
    simulation.run(5.0)
    network.spoilt.clear()
    found = finish(simulation)[KEY]
    if "k" not in getattr(getattr(found, "record", None), "entries", ()):
        simulation.violation("a stale copy took the place of a newer one")


@scenario(name="birth_unanswered_r2", nodes=3)
@scenario(name="birth_unanswered_r3", nodes=3, copies=3)
def birth_unanswered(simulation: Simulation) -> None:
    """All homes of a new session, though sound, store it and lose their answer with the connection.

    Nobody has seen an ID that no node confirmed: another one is drawn, and no visitor is told to come back later.
    """
    for process in simulation.processes:
        connect_all(process)
    born: list[bytes] = []
    for visit in range(VISITS):
        begin = 1.0 + 2.0 * visit  # a node that was lost is tried again after a second
        simulation.at(begin - 0.01, simulation.network.unanswered.update, [node.name for node in simulation.nodes])
        simulation.start(begin, birth(simulation, born))
    simulation.run(2.0 + 2.0 * VISITS)
    simulation.network.unanswered.clear()
    if len(born) != VISITS:
        simulation.violation("birth: not stored though each node needed asking only twice")
    finish(simulation, *born)
