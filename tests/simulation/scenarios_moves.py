"""Regenerate: the session moves to a new ID while other requests save, count, regenerate or end it."""

from typing import Any

from .checkers import judge_counters
from .faults import chaos, crash, fork_process, lossy
from .requests import Intent, Jar, assign, change, increment, logout, regenerate
from .scenario import finish, scenario, seed_session
from .world import Simulation

KEY, FIRST, SECOND = b"s", b"r1", b"r2"
NAMES = (("n",), ("p",), ("n", "p"))
LOST = (
    "regenerate: confirmed change lost",
    "regenerate: confirmed increment lost",
    "regenerate: visitor is logged out",
)


def _between(simulation: Simulation, begin: float, end: float) -> float:
    return begin + (end - begin) * simulation.random.random()


def _own(simulation: Simulation, name: str) -> Intent:
    return Intent(plain=(name,), increments=simulation.random.choice(((), ("n",), ("p",))))


def _traffic(simulation: Simulation, begin: float, end: float, counting: bool = True) -> None:
    rng = simulation.random
    for i in range(2):
        step = change(KEY, Intent(plain=(f"k{i}",)), 0.1 * rng.random())
        simulation.start(_between(simulation, begin, end), step)
    if not counting:
        return
    for _ in range(rng.randint(1, 4)):
        step = increment(KEY, *rng.choice(NAMES), hold=rng.choice((0.0, 0.1 * rng.random())))
        simulation.start(_between(simulation, begin - 0.1, end), step)
    for _ in range(rng.randint(0, 2)):
        hold = rng.choice((0.0, 0.1 * rng.random()))
        simulation.start(_between(simulation, begin, end), assign(KEY, "n", hold, delete=rng.random() < 0.5))


def _conclude(simulation: Simulation, jar: Jar, *news: bytes) -> None:
    """What the visitor's cookie leads to in the end must hold everything that was confirmed."""
    found = finish(simulation, KEY, *news, converge=False)
    outcome = found.get(jar.key)
    live = [key for key in (KEY, *news) if type(found.get(key)) is simulation.subject.plans.Found]
    if len(live) > 1:
        simulation.soft["two live sessions"] += 1
    if jar.key not in live:
        simulation.violation("regenerate: visitor is logged out", jar.key)
        return
    _judge_changes(simulation, jar.key, outcome.record)
    story = simulation.ledger.story(jar.key)
    judge_counters(simulation, story, simulation.ledger.memories(jar.key), simulation.now, outcome.record, final=True)


def _judge_changes(simulation: Simulation, key: bytes, record: Any) -> None:
    ledger = simulation.ledger
    story = ledger.story(key)
    while story is not None:
        for one in story.changes:
            counted = one.name in ledger.amounts.names
            if counted or one.confirmed > simulation.now or one.name in record.entries:
                continue
            everybody = ledger.memories(story.key)
            holders = ledger.holders(story.key, everybody, one.confirmed, one.held)
            everywhere = len(set(holders)) >= len(simulation.processes[0].homes(story.key))
            kind = "lost what every home held" if everywhere else "confirmed change lost"
            simulation.violation(f"regenerate: {kind}", one.name)
        story = story.parent


@scenario(name="regenerate_r2")
@scenario(name="regenerate_r3", nodes=3, copies=3)
def regenerate_healthy(simulation: Simulation) -> None:
    """Saves, counts and assignments are under way on the old ID."""
    seed_session(simulation)
    jar = Jar(KEY)
    simulation.start(1.2, regenerate(jar, FIRST, _own(simulation, "c1")))
    _traffic(simulation, 1.15, 1.4)
    simulation.run(2.5)
    for _ in range(2):
        simulation.start(_between(simulation, 2.5, 2.7), increment(jar.key, "n"))
    simulation.run(3.5)
    _conclude(simulation, jar, FIRST)


@scenario(name="regenerate_parallel_r2")
@scenario(name="regenerate_parallel_r3", nodes=3, copies=3)
def regenerate_parallel(simulation: Simulation) -> None:
    """Two requests regenerate at once: one wins, and nothing is lost."""
    seed_session(simulation)
    jar = Jar(KEY)
    simulation.start(1.2, regenerate(jar, FIRST, _own(simulation, "c1"), KEY))
    simulation.start(_between(simulation, 1.2, 1.35), regenerate(jar, SECOND, _own(simulation, "c2"), KEY))
    _traffic(simulation, 1.15, 1.4)
    simulation.run(3.0)
    if jar.moves > 1:
        simulation.violation("regenerate: more than one won", jar.moves)
    elif jar.moves == 0:
        simulation.soft["no regenerate was done in time"] += 1
    _conclude(simulation, jar, FIRST, SECOND)


@scenario()
def regenerate_twice(simulation: Simulation) -> None:
    """Two in a row, with requests on whatever cookie the visitor has, and on old ones."""
    seed_session(simulation)
    jar, rng = Jar(KEY), simulation.random
    simulation.start(1.4, regenerate(jar, FIRST, _own(simulation, "c1")))
    second = _between(simulation, 1.65, 1.95)
    simulation.at(second, _again, simulation, jar)
    for _ in range(rng.randint(4, 8)):
        simulation.at(_between(simulation, 1.1, 2.2), _on_cookie, simulation, jar)
    simulation.run(4.0)
    _conclude(simulation, jar, FIRST, SECOND)


def _again(simulation: Simulation, jar: Jar) -> None:
    if jar.key == FIRST:
        simulation.start(simulation.now, regenerate(jar, SECOND, _own(simulation, "c2")))


def _on_cookie(simulation: Simulation, jar: Jar) -> None:
    rng = simulation.random
    key = jar.key if rng.random() < 0.7 else KEY
    hold = rng.choice((0.0, 0.1 * rng.random()))
    if rng.random() < 0.7:
        step = increment(key, *rng.choice(NAMES), hold=hold)
    else:
        step = assign(key, "n", hold, delete=rng.random() < 0.4)
    simulation.start(simulation.now, step)


@scenario()
def regenerate_and_logout(simulation: Simulation) -> None:
    """The visitor logs out of the old ID at the same time."""
    seed_session(simulation)
    jar = Jar(KEY)
    simulation.start(1.2, regenerate(jar, FIRST, _own(simulation, "c1")))
    simulation.start(_between(simulation, 1.15, 1.4), logout(KEY, loaded=simulation.random.random() < 0.5))
    _traffic(simulation, 1.15, 1.4)
    simulation.run(3.0)
    finish(simulation, KEY, FIRST, converge=False)


@scenario(residue=LOST[:2])
def regenerate_thought_out(simulation: Simulation) -> None:
    """Out of contract: a save that thought a healthy home out is confirmed by the other home alone.

    If that happens after the tombstone is on the first home, a visit may bring the tombstone to the other one before
    regenerate has read what the save left there.
    """
    seed_session(simulation)
    jar = Jar(KEY)
    simulation.start(1.2, regenerate(jar, FIRST, _own(simulation, "c1")))
    _traffic(simulation, 1.15, 1.4)
    _traffic(simulation, 1.15, 1.4)
    chaos(simulation, ("view",), 1.0, 1.6, 4)
    simulation.run(3.0)
    _conclude(simulation, jar, FIRST)


@scenario(name="regenerate_faults_r2", residue=LOST)
@scenario(name="regenerate_faults_r3", nodes=3, copies=3, residue=LOST)
def regenerate_faults(simulation: Simulation) -> None:
    """Out of contract: an unreachable home alone holds a change. What every home held is never lost."""
    seed_session(simulation)
    lossy(simulation, 0.02, 0.02, 0.02, 1.0)
    jar = Jar(KEY)
    simulation.start(1.2, regenerate(jar, FIRST, _own(simulation, "c1")))
    _traffic(simulation, 1.15, 1.4)
    chaos(simulation, ("cut", "one way", "view", "isolate", "stop"), 1.0, 2.0, 3)
    simulation.run(4.0)
    _conclude(simulation, jar, FIRST)


@scenario(residue=LOST)
def regenerate_parallel_faults(simulation: Simulation) -> None:
    """Out of contract, as above, with two at once."""
    seed_session(simulation)
    lossy(simulation, 0.02, 0.02, 0.02, 1.0)
    jar = Jar(KEY)
    simulation.start(1.2, regenerate(jar, FIRST, _own(simulation, "c1"), KEY))
    simulation.start(_between(simulation, 1.2, 1.35), regenerate(jar, SECOND, _own(simulation, "c2"), KEY))
    _traffic(simulation, 1.15, 1.4)
    chaos(simulation, ("cut", "view", "isolate", "stop"), 1.0, 2.0, 2)
    simulation.run(4.0)
    _conclude(simulation, jar, FIRST, SECOND)


@scenario(residue=("regenerate: visitor is logged out",))
def regenerate_crash(simulation: Simulation) -> None:
    """Out of contract: the web process dies after the tombstone and before its response."""
    seed_session(simulation)
    jar = Jar(KEY)
    process = simulation.processes[0]
    simulation.start(1.2, regenerate(jar, FIRST, _own(simulation, "c1")), process)
    _traffic(simulation, 1.15, 1.4)
    simulation.at(_between(simulation, 1.2, 1.4), crash, simulation, process)
    simulation.run(3.0)
    _conclude(simulation, jar, FIRST)


@scenario(memory_limit=2, processes=2)
def regenerate_fork(simulation: Simulation) -> None:
    """Web processes fork and have tiny memories while the session moves."""
    seed_session(simulation)
    jar = Jar(KEY)
    for _ in range(3):
        simulation.start(_between(simulation, 1.0, 1.1), increment(KEY, "n", "p"))
    simulation.at(_between(simulation, 1.1, 1.3), _fork, simulation)
    simulation.start(1.25, regenerate(jar, FIRST, _own(simulation, "c1")))
    _traffic(simulation, 1.15, 1.4)
    simulation.run(3.0)
    _conclude(simulation, jar, FIRST)


def _fork(simulation: Simulation) -> None:
    fork_process(simulation, simulation.random.randrange(2))
