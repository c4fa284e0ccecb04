"""Change of the pool, birth of sessions, and doubt."""

from functools import lru_cache
from types import ModuleType
from typing import Any, NamedTuple

from .faults import chaos, down, forget, isolate, lossy, stop, think_out
from .ledger import NEVER
from .process import Process, Request
from .requests import Intent, change, logout, look, read, refill
from .scenario import connect_all, finish, scenario, seed_session
from .world import Placing, Simulation

KEY = b"s"
GONE = (
    "placement: confirmed change lost",
    "placement: revived",
    "called absent though a node that was not asked has it",
)


def _between(simulation: Simulation, begin: float, end: float) -> float:
    return begin + (end - begin) * simulation.random.random()


@lru_cache
def _pool(module: ModuleType, *stages: str) -> Placing:
    """The shipped placement on the latest of `stages`, each of which had the one before it as `previous`."""
    pool = None
    for names in stages:
        pool = module.Pool(*(f"{name.lower()}:11211" for name in names), copies=2, previous=pool)
    assert pool is not None
    return lru_cache(256)(lambda key: tuple(name[0].upper() for name in pool.homes(key)))


def _move(simulation: Simulation, key: bytes, index: int, begin: float, end: float) -> None:
    """Every web process switches to a placement at its own time."""
    for process in simulation.processes:
        simulation.at(_between(simulation, begin, end), setattr, process, "placement", index)


def _traffic(simulation: Simulation, key: bytes, end: float) -> None:
    rng = simulation.random
    for i in range(rng.randint(2, 5)):
        step = change(key, Intent((f"k{i}",), rng.choice(((), ("n",)))), rng.choice((0.0, 0.3 * rng.random())))
        simulation.start(_between(simulation, 1.0, end), step)
    for _ in range(rng.randint(0, 2)):
        simulation.start(_between(simulation, 1.0, end), read(key))
    if rng.random() < 0.4:
        simulation.start(_between(simulation, 1.3, end - 0.6), logout(key))


def _conclude(simulation: Simulation, key: bytes) -> None:
    outcome = finish(simulation, key)[key]
    story, ledger = simulation.ledger.story(key), simulation.ledger
    is_found = type(outcome) is simulation.subject.plans.Found
    if story.ended < NEVER and is_found:
        simulation.violation("placement: revived")
    if story.tried < NEVER:
        return
    for one in story.changes:
        everybody = ledger.memories(key)
        held = is_found and one.held(outcome.record)
        if not held and ledger.holders(key, everybody, one.confirmed, one.held) and one.confirmed < NEVER:
            simulation.violation("placement: confirmed change lost", one.name)


def _stage(simulation: Simulation, *pools: tuple[str, ...]) -> bytes:
    module = simulation.subject.pool
    simulation.placements = [_pool(module, *stages) for stages in pools]
    key = f"s{simulation.random.randrange(40)}".encode()
    seed_session(simulation, key)
    return key


def _change_pool(simulation: Simulation, old: str, new: str, *, fault: bool = False) -> None:
    key = _stage(simulation, (old,), (old, new), (new,))
    _move(simulation, key, 1, 1.0, 2.0)
    simulation.start(2.4, refill(key), simulation.processes[0])
    _move(simulation, key, 2, 3.0, 4.0)
    _traffic(simulation, key, 4.4)
    if fault:
        chaos(simulation, ("restart", "evict"), 1.0, 4.0, 1, key)
    simulation.run(5.0)
    _conclude(simulation, key)


@scenario(nodes=4)
def pool_one_node_replaced(simulation: Simulation) -> None:
    """One node of three is replaced, while visitors come and go."""
    _change_pool(simulation, "ABC", "ABD")


@scenario(nodes=4)
def pool_all_nodes_replaced(simulation: Simulation) -> None:
    """Both nodes are replaced by two others."""
    _change_pool(simulation, "AB", "CD")


@scenario(nodes=4)
def pool_changed_with_faults(simulation: Simulation) -> None:
    """A node forgets while the pool changes; if it alone held a change, that is forgotten too."""
    _change_pool(simulation, "ABC", "BCD", fault=True)


@scenario(nodes=6)
def pool_changed_twice(simulation: Simulation) -> None:
    """The pool changes again before the first change is complete: `previous` has a `previous`."""
    key = _stage(simulation, ("AB",), ("AB", "CD"), ("AB", "CD", "EF"), ("EF",))
    _move(simulation, key, 1, 1.0, 2.0)
    _move(simulation, key, 2, 2.1, 2.6)
    simulation.start(3.0, refill(key), simulation.processes[0])
    _move(simulation, key, 3, 3.4, 4.0)
    _traffic(simulation, key, 4.4)
    simulation.run(5.0)
    _conclude(simulation, key)


@scenario(nodes=4, residue=GONE)
def pool_previous_dropped_early(simulation: Simulation) -> None:
    """Out of contract: `previous` is taken away before the move is complete."""
    key = _stage(simulation, ("AB",), ("AB", "CD"), ("CD",))
    _move(simulation, key, 1, 1.0, 2.0)
    simulation.start(1.5, refill(key))
    _move(simulation, key, 2, 2.0, 3.0)
    _traffic(simulation, key, 3.4)
    simulation.run(5.0)
    _conclude(simulation, key)


class _Drawn(NamedTuple):
    key: bytes


def birth(simulation: Simulation, born: list[bytes], doubted: str = "", login: bool = False) -> Any:
    def begin(request: Request) -> Any:
        plans, record, world = simulation.subject.plans, simulation.subject.record, request.process.world
        if doubted and login:
            yield from _end(request, doubted.encode())
        now_ms = world.now_ms()
        remembered = "" if login else doubted
        empty = record.Live({}, {}, now_ms, now_ms + simulation.lifetime.absolute_ms, now_ms, 0, remembered)
        changes = record.Changes({"marker": "born"})
        wanted = record.apply(empty, changes, {}, writer=world.nonce(), now_ms=now_ms)
        plan = plans.bear(
            world, lambda: _Drawn(f"b{simulation.nonce()}".encode()), wanted, request.deadline, lambda key: wanted
        )
        drawn, outcome = yield from plan
        story = simulation.ledger.story(drawn.key)
        story.marker, story.deadline_s = "born", simulation.now + 1000
        if type(outcome) is plans.Saved:
            born.append(drawn.key)
        return drawn.key, outcome

    return begin


def _end(request: Request, key: bytes) -> Any:
    story = request.simulation.ledger.story(key)
    story.tried = min(story.tried, request.simulation.now)
    buried = yield from request.simulation.subject.plans.end(request.process.world, key)
    if buried.final:
        story.ended = min(story.ended, request.simulation.now)


@scenario(nodes=4)
def birth_while_nodes_are_away(simulation: Simulation) -> None:
    """Up to two of four nodes are down or hang: new sessions are all stored, on nodes that are up only."""
    simulation.placements = [_pool(simulation.subject.pool, "ABCD")]
    simulation.out_least_s = 1.0
    for process in simulation.processes:
        connect_all(process)
    rng = simulation.random
    away = [node.name for node in rng.sample(simulation.nodes, rng.randint(1, 2))]
    for name in away:
        simulation.at(1.0, rng.choice((down, stop)), simulation, name, 4.0)
    born: list[bytes] = []
    asked = rng.randint(2, 4)
    for _ in range(asked):
        simulation.start(_between(simulation, 1.1, 3.0), birth(simulation, born))
    simulation.run(4.9)
    if len(born) != asked:
        simulation.violation("birth: not stored")
    for key in born:
        if set(simulation.processes[0].homes(key)) & set(away):
            simulation.violation("birth: on a node that is away", key)
    finish(simulation, *born)


@scenario(nodes=3)
def birth_lossy(simulation: Simulation) -> None:
    """Messages are lost while sessions begin; a login that was confirmed is found by the next request."""
    simulation.placements = [_pool(simulation.subject.pool, "ABC")]
    lossy(simulation, 0.05, 0.05, 0.05, 1.0)
    born: list[bytes] = []
    for _ in range(4):
        simulation.start(_between(simulation, 1.0, 2.0), birth(simulation, born))
    simulation.run(4.0)
    finish(simulation, *born)


def _doubt(simulation: Simulation) -> tuple[str, str]:
    emptied, away = simulation.random.sample(["A", "B"], 2)
    isolate(simulation, away)
    forget(simulation, emptied, "noticed restart", KEY)
    return emptied, away


@scenario()
def doubt(simulation: Simulation) -> None:
    """One home is emptied while the other is away: doubt, never absence. It is all there when that home is back."""
    seed_session(simulation)
    simulation.start(0.5, change(KEY, Intent(plain=("k0",))))
    simulation.at(1.0, _doubt, simulation)
    outcomes: list[Any] = []
    for _ in range(3):
        simulation.start(_between(simulation, 1.1, 2.0), read(KEY), None, outcomes.append)
    simulation.at(3.0, simulation.network.heal)
    simulation.run(3.5)
    if any(type(outcome) is not simulation.subject.plans.Doubt for outcome in outcomes):
        simulation.violation("doubt was not noticed", *outcomes)
    if type(finish(simulation)[KEY]) is not simulation.subject.plans.Found:
        simulation.violation("the doubted session is not there")


@scenario()
def doubt_and_login(simulation: Simulation) -> None:
    """In doubt the visitor begins anew. A login ends the doubted session, and so does the logout of the new one."""
    seed_session(simulation)
    simulation.at(1.0, _doubt, simulation)
    born: list[bytes] = []
    login = simulation.random.random() < 0.5
    simulation.start(1.3, birth(simulation, born, KEY.decode(), login))
    simulation.run(2.4)
    leaves = simulation.random.random() < 0.5
    if leaves and born:
        simulation.start(2.4, _leave(born[0]))
    simulation.at(3.2, simulation.network.heal)
    simulation.run(4.0)
    found = finish(simulation, KEY, *born, converge=False)
    plans = simulation.subject.plans
    expected = plans.Ended if login or leaves else plans.Found
    if type(found[KEY]) is not expected:
        simulation.violation("the doubted session is not as it should be", found[KEY])
    if born and type(found[born[0]]) is not (plans.Ended if leaves else plans.Found):
        simulation.violation("the new session is not as it should be")


def _leave(key: bytes) -> Any:
    def leaving(request: Request) -> Any:
        outcome = yield from look(request, key)
        yield from _end(request, key)
        if outcome.record.doubted:
            yield from _end(request, outcome.record.doubted.encode())

    return leaving


@scenario()
def false_doubt(simulation: Simulation) -> None:
    """One home is emptied, and the other, healthy one is thought out: it is asked all the same."""
    seed_session(simulation)
    emptied, other = simulation.random.sample(["A", "B"], 2)
    process: Process = simulation.processes[0]
    how = simulation.random.choice(("noticed restart", "flush", "evict"))
    simulation.at(1.1, forget, simulation, emptied, how, KEY)
    simulation.at(1.15, think_out, simulation, process, other, 2.0)
    outcomes: list[Any] = []
    simulation.start(1.3, change(KEY, Intent(plain=("k0",))), process, outcomes.append)
    simulation.run(3.0)
    if [type(outcome) for outcome in outcomes] != [simulation.subject.plans.Saved]:
        simulation.violation("false doubt", *outcomes)
    finish(simulation)
