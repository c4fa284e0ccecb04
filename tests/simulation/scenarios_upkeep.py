"""Behind the requests: the shipped keepers refill, scan, deliver and move, while nodes and web processes fail."""

from functools import lru_cache
from types import ModuleType
from typing import Any

from .chores import Upkeeper, keepers, logout
from .faults import chaos, crash, cut, down, forget, isolate, lossy
from .ledger import NEVER
from .requests import Intent, change, read
from .scenario import finish, scenario, seed_session
from .world import Simulation

KEYS = (b"s", b"t", b"u")
ENDED = b"t"


def _between(simulation: Simulation, begin: float, end: float) -> float:
    return begin + (end - begin) * simulation.random.random()


@lru_cache
def _pool(module: ModuleType, *stages: str) -> Any:
    """A pool of nodes that bear these letters; each stage has the one before it as `previous`."""
    pool = None
    for names in stages:
        pool = module.Pool(*(f"{name}={name.lower()}:11211" for name in names), copies=2, previous=pool)
    return pool


def _begin(simulation: Simulation, names: str) -> list[Upkeeper]:
    pool = _pool(simulation.subject.pool, names)
    simulation.placements = [lambda key: tuple(pool.homes(key))]
    for key in KEYS:
        seed_session(simulation, key)
    return keepers(simulation, pool)


def _holder(simulation: Simulation, upkeepers: list[Upkeeper]) -> Any:
    held = [one.process for one in upkeepers if one.keeper._post.lease.is_held and one.process.alive]
    return held[0] if held else simulation.any_process()


def _refilled(simulation: Simulation, name: str) -> bool:
    """As it is noted; a worker may die before it tells."""
    mark = simulation.network.nodes[name].items.get(b"memsession:node")
    for node in simulation.nodes:
        status = node.items.get(b"memsession:upkeep")
        sound = status and status[0].entries.get("sound")
        if mark and sound and sound.value.get(name, ("", "", ["?"]))[::2] == [mark[0].decode(), []]:
            return True
    return False


def _judge(simulation: Simulation, *, ended: bytes = ENDED) -> None:
    found = finish(simulation, *KEYS, converge=False)
    plans = simulation.subject.plans
    for key in KEYS:
        outcome = found[key]
        if key == ended:
            if type(outcome) is not plans.Ended:
                simulation.violation("upkeep: a session that had ended is not known to have", outcome)
        elif type(outcome) is not plans.Found or "k0" not in outcome.record.entries:
            simulation.violation("upkeep: a session or its change is lost", key, outcome)


@scenario(nodes=2, name="upkeep_refill")
@scenario(nodes=4, name="upkeep_refill_n4")
def upkeep_refill(simulation: Simulation) -> None:
    """Nobody visits. Node after node is emptied, each when the last one is refilled; the worker may die meanwhile."""
    upkeepers = _begin(simulation, "ABCD"[: len(simulation.nodes)])
    for key in KEYS:
        simulation.start(0.2, change(key, Intent(plain=("k0",))))
    simulation.start(0.4, logout(ENDED, upkeepers[0]), upkeepers[0].process)
    simulation.run(14.0)
    rng = simulation.random
    for node in rng.sample(simulation.nodes, len(simulation.nodes)):
        forget(simulation, node.name, rng.choice(("noticed restart", "flush")), b"s")
        if rng.random() < 0.3:
            simulation.at(
                _between(simulation, simulation.now, simulation.now + 3), _kill_holder, simulation, upkeepers
            )
        give_up = simulation.now + 60.0
        while not _refilled(simulation, node.name) and simulation.now < give_up:
            simulation.run(simulation.now + 0.5)
        if simulation.now >= give_up:
            simulation.violation("upkeep: no refill", node.name)
    _judge(simulation)


def _kill_holder(simulation: Simulation, upkeepers: list[Upkeeper]) -> None:
    crash(simulation, _holder(simulation, upkeepers))


@scenario(name="upkeep_return")
@scenario(nodes=4, name="upkeep_return_n4")
def upkeep_return(simulation: Simulation) -> None:
    """A node misses a logout, for one web process or for all. The process that knows of it dies; then others do."""
    upkeepers = _begin(simulation, "ABCD"[: len(simulation.nodes)])
    for key in KEYS:
        simulation.start(0.2, change(key, Intent(plain=("k0",))))
    simulation.run(12.0)
    rng = simulation.random
    leaver = rng.choice(upkeepers)
    homes = leaver.process.homes(ENDED)
    away, stays = rng.sample(homes, 2)
    if rng.random() < 0.5:
        isolate(simulation, away)
    else:
        cut(simulation, [leaver.process.link], away, 0)
    simulation.start(_between(simulation, 12.2, 13.0), logout(ENDED, leaver), leaver.process)
    if rng.random() < 0.7:
        simulation.at(_between(simulation, 18.0, 25.0), crash, simulation, leaver.process)
    simulation.at(_between(simulation, 26.0, 30.0), simulation.network.heal)
    simulation.run(75.0)
    forget(simulation, stays, "noticed restart", ENDED)
    simulation.start(simulation.now + 0.1, read(ENDED))
    simulation.run(simulation.now + 2.0)
    if type(finish(simulation, ENDED, converge=False)[ENDED]) is not simulation.subject.plans.Ended:
        simulation.violation("upkeep: a node that returned revived the session")


@scenario(nodes=3)
def upkeep_and_traffic(simulation: Simulation) -> None:
    """Visitors come, change things and leave, while nodes forget, hang and return and the keepers do their work."""
    upkeepers = _begin(simulation, "ABC")
    rng = simulation.random
    for i in range(12):
        key = rng.choice(KEYS)
        simulation.start(_between(simulation, 1.0, 30.0), change(key, Intent(plain=(f"k{i}",)), 0.3 * rng.random()))
    if rng.random() < 0.5:
        leaver = rng.choice(upkeepers)
        simulation.start(_between(simulation, 5.0, 25.0), logout(ENDED, leaver), leaver.process)
    lossy(simulation, *rng.choice(((0.0, 0.0), (0.01, 0.01))))
    for at in (4.0, 14.0, 24.0):
        chaos(simulation, ("restart", "flush", "stop", "cut", "isolate", "down", "pause"), at, at + 3.0, 1, KEYS[0])
    simulation.run(45.0)
    finish(simulation, *KEYS)


@scenario(nodes=5)
def upkeep_move(simulation: Simulation) -> None:
    """Each web process takes the new pool at its own time; `previous` goes when the move is told to be done."""
    module, rng = simulation.subject.pool, simulation.random
    old, new = rng.choice((("ABC", "ABD"), ("AB", "CD"), ("ABC", "ABCD"), ("ABCD", "ABC"), ("ABC", "CDE")))
    stages = [_pool(module, old), _pool(module, old, new), _pool(module, new)]
    simulation.placements = [lambda key, pool=pool: tuple(pool.homes(key)) for pool in stages]
    for key in KEYS:
        seed_session(simulation, key)
        simulation.start(0.2, change(key, Intent(plain=("k0",))))
    upkeepers = keepers(simulation, stages[0])
    simulation.start(1.5, logout(ENDED, upkeepers[0]), upkeepers[0].process)
    for i, one in enumerate(upkeepers):
        switches = _between(simulation, 3.0, 20.0)
        simulation.at(switches, _adopt, one, stages[1], 1)
        for j, before in enumerate((0.3, 2.0, 4.5)):
            last = change(KEYS[2], Intent(plain=(f"l{i}{j}",)))
            simulation.start(max(2.0, switches - before * rng.random()), last, one.process)
    for i in range(4):
        step = change(KEYS[0], Intent(plain=(f"m{i}",)), 0.3 * rng.random())
        simulation.start(_between(simulation, 2.0, 40.0), step)
    give_up = 95.0
    while simulation.now < give_up and not all(_has_moved(one) for one in upkeepers):
        simulation.run(simulation.now + 1.0)
    if simulation.now >= give_up:
        simulation.violation("upkeep: the move is never done")
    for one in upkeepers:
        _adopt(one, stages[2], 2)
    for name in set(old) - set(new):
        forget(simulation, name, "noticed restart", KEYS[0])
    _judge(simulation)
    for key in (KEYS[0], KEYS[2]):
        found = finish(simulation, key, converge=False)[key]
        for one in simulation.ledger.story(key).changes:
            if one.confirmed < NEVER and not one.held(getattr(found, "record", None)):
                simulation.violation("upkeep: a change is lost in the move", key, one.name)


@scenario(nodes=4)
def upkeep_replace(simulation: Simulation) -> None:
    """A node is dead, and another one takes its place, with `previous`: the move is done without it."""
    module, rng = simulation.subject.pool, simulation.random
    old, new = rng.choice((("AB", "AD"), ("ABC", "ABD"), ("ABC", "CBD")))
    stages = [_pool(module, old), _pool(module, old, new), _pool(module, new)]
    simulation.placements = [lambda key, pool=pool: tuple(pool.homes(key)) for pool in stages]
    for key in KEYS:
        seed_session(simulation, key, own=(400.0, 900.0))
        simulation.start(0.2, change(key, Intent(plain=("k0",))))
    upkeepers = keepers(simulation, stages[0])
    simulation.start(1.5, logout(ENDED, upkeepers[0]), upkeepers[0].process)
    dead = next(iter(set(old) - set(new)))
    simulation.at(_between(simulation, 2.5, 12.0), down, simulation, dead, 10_000.0)
    for one in upkeepers:
        simulation.at(_between(simulation, 12.0, 16.0), _adopt, one, stages[1], 1)
    give_up = 120.0
    while simulation.now < give_up and not all(_has_moved(one) for one in upkeepers):
        simulation.run(simulation.now + 1.0)
    if simulation.now >= give_up:
        simulation.violation("upkeep: the move is never done")
    for one in upkeepers:
        _adopt(one, stages[2], 2)
    forget(simulation, rng.choice(new), "noticed restart", KEYS[0])
    _judge(simulation)


def _adopt(one: Upkeeper, pool: Any, index: int) -> None:
    one.process.placement = index
    one.keeper.adopt(pool)


def _has_moved(one: Upkeeper) -> bool:
    return any(type(event).__name__ == "MoveDone" for event in one.told)
