"""Strict mode while the pool changes: each pool of the chain has homes of its own, and a majority of its own."""

from collections.abc import Callable
from functools import lru_cache, partial
from types import ModuleType
from typing import Any

from .faults import cut, down, forget, isolate, stop, think_out
from .ledger import NEVER
from .process import Request
from .requests import Intent, change, logout, modify, read
from .scenario import finish, scenario, seed_session
from .scenarios_strict import every_kind_of_request, served
from .world import Simulation

Homes = Callable[[bytes], tuple[str, ...]]
Sets = Callable[[bytes], tuple[tuple[str, ...], ...]]


def _between(simulation: Simulation, begin: float, end: float) -> float:
    return begin + (end - begin) * simulation.random.random()


@lru_cache
def _pools(module: ModuleType, *stages: str) -> tuple[Homes, Sets]:
    """Homes, and homes by pool, of the latest of `stages`, each of which had the one before it as `previous`."""
    pool = None
    for names in stages:
        addresses = (f"{name.lower()}:11211" for name in names)
        pool = module.Pool(*addresses, copies=3, previous=pool, consistency="majority")
    assert pool is not None

    def names_of(homes: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name[0].upper() for name in homes)

    return (
        lru_cache(256)(lambda key: names_of(pool.homes(key))),
        lru_cache(256)(lambda key: tuple(map(names_of, pool.home_sets(key)))),
    )


def _stage(simulation: Simulation, *pools: tuple[str, ...]) -> bytes:
    both = [_pools(simulation.subject.pool, *stages) for stages in pools]
    simulation.placements, simulation.sets = [homes for homes, _ in both], [sets for _, sets in both]
    for process in simulation.processes:
        process.reload(0)
    key = f"s{simulation.random.randrange(40)}".encode()
    seed_session(simulation, key)
    return key


def _reload(simulation: Simulation, index: int, begin: float, end: float) -> None:
    for process in simulation.processes:
        simulation.at(_between(simulation, begin, end), process.reload, index)


def _move(simulation: Simulation, key: bytes, done: list[float]) -> Any:
    """The mover: it is done when the session, or its end, lies where every pool wants it."""

    def moving(request: Request) -> Any:
        plans, world = simulation.subject.plans, request.process.world
        for _ in range(60):
            yield 0.1
            request.deadline = simulation.now + 1.0
            outcome = yield from plans.repair(world, key)
            if type(outcome) is plans.Ended:
                buried = yield from plans.end(world, key, outcome.record)
                whole = not buried.missed
            elif type(outcome) is plans.Found:
                whole = set(outcome.tokens) == set(world.homes(key))
            else:
                whole = type(outcome) is plans.Absent
            if whole:
                done.append(simulation.now)
                return outcome
        return "not done"

    return moving


def _change_pool(simulation: Simulation, old: str, new: str, fault: Callable[[bytes], None] | None = None) -> bytes:
    """From one pool to another; `previous` is taken away when the move is done, whatever the faults."""
    key = _stage(simulation, (old,), (old, new), (new,))
    rng, done = simulation.random, list[float]()
    _reload(simulation, 1, 1.0, 2.0)
    simulation.start(2.0 + 1.0, _move(simulation, key, done), simulation.processes[0])
    for i in range(rng.randint(3, 6)):
        step = change(key, Intent((f"k{i}",), rng.choice(((), ("n",)))), rng.choice((0.0, 0.3 * rng.random())))
        simulation.start(_between(simulation, 1.0, 5.5), step)
    for _ in range(4):
        simulation.start(_between(simulation, 1.0, 5.5), read(key))
    if rng.random() < 0.5:
        simulation.start(_between(simulation, 1.3, 5.0), logout(key))
    if fault:
        fault(key)
    simulation.run(4.0)
    while not done and simulation.now < 11.0:
        simulation.run(simulation.now + 0.25)
    if done:
        _reload(simulation, 2, simulation.now, simulation.now + 1.0)
        for _ in range(3):
            simulation.start(simulation.now + 1.5 * rng.random(), read(key))
        if rng.random() < 0.5:
            simulation.start(simulation.now + 1.2 * rng.random(), logout(key))
    else:
        simulation.soft["the move was not done"] += 1
    simulation.run(simulation.now + 2.5)
    _conclude(simulation, key)
    return key


def _conclude(simulation: Simulation, key: bytes) -> None:
    outcome = finish(simulation, key)[key]
    story, plans = simulation.ledger.story(key), simulation.subject.plans
    if story.ended < NEVER and type(outcome) is not plans.Ended:
        simulation.violation("strict: the end is not known after the change of the pool", outcome)
    if story.tried == NEVER and type(outcome) is not plans.Found:
        simulation.violation("strict: the session is not there after the change of the pool", outcome)


def _homes_in_trouble(simulation: Simulation, key: bytes, forgetting: bool) -> None:
    rng = simulation.random
    names = simulation.placements[1](key)  # type: ignore[operator]
    for _ in range(rng.randint(1, 4)):
        kind = rng.choice((isolate, stop, cut, think_out))
        time, name, seconds = _between(simulation, 1.0, 5.0), rng.choice(names), 0.3 + 1.5 * rng.random()
        if kind is cut:
            simulation.at(time, cut, simulation, [rng.randrange(3)], name, seconds)
        elif kind is think_out:
            simulation.at(time, think_out, simulation, rng.choice(simulation.processes), name, seconds)
        else:
            simulation.at(time, kind, simulation, name, seconds)
    if forgetting:
        simulation.at(_between(simulation, 1.0, 5.0), forget, simulation, rng.choice(names), "restart", key)


@scenario(nodes=4, copies=3, strict=1)
def strict_pool_one_node_replaced(simulation: Simulation) -> None:
    """One node of three is replaced, in every kind of trouble."""
    trouble = partial(_homes_in_trouble, simulation, forgetting=simulation.random.random() < 0.5)
    _change_pool(simulation, "ABC", "ABD", trouble)


@scenario(nodes=6, copies=3, strict=1)
def strict_pool_all_nodes_replaced(simulation: Simulation) -> None:
    """All three nodes are replaced by others, in every kind of trouble."""
    trouble = partial(_homes_in_trouble, simulation, forgetting=simulation.random.random() < 0.5)
    _change_pool(simulation, "ABC", "DEF", trouble)


@scenario(nodes=6, copies=3, strict=1)
def strict_pool_split(simulation: Simulation) -> None:
    """Some web servers know the former pool only, or the new one only, and others cannot reach its homes."""
    key = _stage(simulation, ("ABC",), ("ABC", "DEF"), ("DEF",))
    rng, done, plans = simulation.random, list[float](), simulation.subject.plans
    both, one, mover = simulation.processes
    if rng.random() < 0.5:
        homes = "ABC"
        for process in (both, mover):
            process.reload(1)
    else:
        homes = "DEF"
        for process in simulation.processes:
            process.reload(1)
    if homes == "DEF" or rng.random() < 0.7:
        simulation.start(0.5, _move(simulation, key, done), mover)
        simulation.run(1.0)
        if not done:
            simulation.violation("strict: a healthy move was not done")
    if homes == "DEF":
        one.reload(2)
    simulation.at(_between(simulation, 1.0, 1.1), cut, simulation, [both.link], homes[0], 0.0)
    for name in homes[1 : rng.randint(2, 3)]:
        simulation.at(_between(simulation, 1.0, 1.1), cut, simulation, [both.link], name, 0.0)
    ends = rng.choice((both, one))
    simulation.start(_between(simulation, 1.2, 1.4), change(key, Intent(("k0",))), ends)
    simulation.start(1.9, logout(key, loaded=False), ends)
    for process in (both, both, one, one):
        simulation.start(_between(simulation, 1.7, 3.0), read(key), process)
    simulation.run(4.0)
    outcome = finish(simulation, key, converge=False)[key]
    if simulation.ledger.story(key).ended < NEVER and type(outcome) is not plans.Ended:
        simulation.violation("strict: the end is not known after the change of the pool")


@scenario(nodes=4, copies=3, strict=1)
def strict_pool_dead_node_replaced(simulation: Simulation) -> None:
    """A node is dead for good, and another one takes its place: nothing is refused meanwhile."""
    dead = simulation.random.choice("ABC")
    new = "ABC".replace(dead, "D")
    key = _stage(simulation, ("ABC",), ("ABC", new))
    simulation.at(0.9, down, simulation, dead, 100.0)
    _reload(simulation, 1, 1.5, 2.5)
    for _ in range(3):
        step, done = modify(key, "u", {}), partial(served, simulation, "modify")
        simulation.start(_between(simulation, 1.0, 3.5), step, None, done)
    every_kind_of_request(simulation, key, 1.0, 3.5)
    simulation.run(10.0)
    finish(simulation, key, b"r")
