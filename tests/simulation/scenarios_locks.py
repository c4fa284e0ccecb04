"""The lock: requests that read, add one and write back, one at a time, while nodes and holders fail.

Each adds one to the same key and sets a key of its own. The sum is judged at the end, and at every moment that nobody
has the lock beside another.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from .faults import crash, cut, down, forget, lossy, stop, think_out
from .process import BUDGET_S, Process, Request
from .requests import Step, Steps, confirm, look
from .scenario import finish, scenario, seed_session
from .world import Simulation

KEY = b"s"
EXPIRE_S = 8.0
HOLD_S = 0.1
WAIT_S = 30.0
SAVING_MS = 1500
"""What a save may take; the lock must last so much longer when it is asked for."""


class Turn(NamedTuple):
    """One request's plan: how long its application works, and how long it is paused right before it saves."""

    name: str
    hold_s: float = 0.0
    pause_s: float = 0.0


class Turns:
    """All requests of a run: what became of each, and who has the lock until when."""

    def __init__(self, simulation: Simulation, expire_s: float = EXPIRE_S) -> None:
        self.simulation = simulation
        self.expire_ms = int(expire_s * 1000)
        self.ends: Counter[str] = Counter()
        self.holders: dict[str, int] = {}
        self.last = 0.0

    def enter(self, owner: str, deadline_ms: int) -> None:
        """Somebody has the lock."""
        now_ms = self.simulation.now_ms()
        for other, until_ms in self.holders.items():
            if until_ms > now_ms:
                self.simulation.violation("lock: two have it", owner, other)
        self.holders[owner] = deadline_ms

    def leave(self, owner: str, end: str) -> None:
        """Somebody is done with it."""
        self.holders.pop(owner, None)
        self.ends[end] += 1
        self.last = self.simulation.now

    def judge(self, *, all_of: int = 0, slow: int = 0) -> None:
        """The sum is exact; and with `all_of`, so many requests had their turn, `slow` of them too slow to save."""
        found = finish(self.simulation)[KEY]
        number = int(self.simulation.ledger.amounts.number(found.record, "u"))
        sure, maybe = self.ends["Saved"], self.ends["Unconfirmed"] + self.ends["Gone"] + len(self.holders)
        if number < sure:
            self.simulation.violation("lock: an update was lost", number, self.ends)
        if number > sure + maybe:
            self.simulation.violation("lock: an update was made twice", number, self.ends)
        lost = self.ends["lock lost"]
        if all_of and sure + lost != all_of:
            self.simulation.violation("lock: somebody had no turn", self.ends)
        if lost < slow:
            self.simulation.violation("lock: saved though it had run out", self.ends)
        elif lost > slow:
            self.simulation.soft["thought the lock lost, saved nothing"] += lost - slow


def add_one(turns: Turns, turn: Turn) -> Step:
    """Lock, load, add one, ask for the lock again, save, unlock."""

    def adding(request: Request) -> Steps:
        simulation, world = request.simulation, request.process.world
        plans, owner = simulation.subject.plans, simulation.nonce()
        began = simulation.now
        while True:
            outcome = yield from plans.acquire(world, KEY, owner, turns.expire_ms)
            if type(outcome) is plans.Locked:
                break
            if simulation.now > began + WAIT_S:
                yield from plans.release(world, KEY, owner)
                turns.ends["gave up"] += 1
                return
            yield 0.02 + 0.06 * simulation.random.random()
            request.deadline = simulation.now + BUDGET_S
        turns.enter(owner, outcome.deadline_ms)
        request.deadline = simulation.now + BUDGET_S
        end = yield from _add(request, turn, owner)
        turns.leave(owner, end)
        yield from plans.release(world, KEY, owner)

    return adding


def _add(request: Request, turn: Turn, owner: str) -> Steps:
    simulation, world = request.simulation, request.process.world
    plans, module = simulation.subject.plans, simulation.subject.record
    found = yield from look(request, KEY)
    if type(found) is not plans.Found:
        return "not found"
    if turn.hold_s:
        yield turn.hold_s
    puts = {"u": module.visible(found.record).get("u", 0) + 1, turn.name: 1}
    record = module.apply(found.record, module.Changes(puts), {}, writer=world.nonce(), now_ms=world.now_ms())
    noted: list[Any] = [simulation.ledger.change(KEY, turn.name, record)]
    if not (yield from plans.holds(world, KEY, owner, SAVING_MS)):
        return "lock lost"
    if turn.pause_s:
        yield turn.pause_s
    outcome = yield from plans.save(world, KEY, record, found.tokens, request.deadline)
    if type(outcome) is plans.Saved:
        confirm(simulation, KEY, noted)
    return type(outcome).__name__


def _between(simulation: Simulation, begin: float, end: float) -> float:
    return begin + (end - begin) * simulation.random.random()


def _contend(simulation: Simulation, turns: Turns, count: int, end: float, *processes: Process) -> int:
    """So many requests come in, and all of them wait for their turn."""
    rng = simulation.random
    for i in range(count):
        turn = Turn(f"k{i}", rng.choice((0.0, HOLD_S * rng.random())))
        process = processes[i % len(processes)] if processes else None
        simulation.start(_between(simulation, 1.0, end), add_one(turns, turn), process)
    return count


def _in_time(turns: Turns, count: int, end: float = 2.0) -> None:
    """Nobody waited for a lock to run out: all are done before that."""
    if turns.last > end + 5.0:
        turns.simulation.violation("lock: somebody waited for nothing", turns.last)
    turns.judge(all_of=count)


@scenario(name="lock_healthy_r2")
@scenario(name="lock_healthy_r3", nodes=3, copies=3)
def lock_healthy(simulation: Simulation) -> None:
    """All nodes healthy: two to five requests take turns, and the sum is exact."""
    seed_session(simulation)
    turns = Turns(simulation)
    count = _contend(simulation, turns, simulation.random.randint(2, 5), 1.3)
    simulation.run(15.0)
    _in_time(turns, count)
    if turns.ends["Saved"] != count:
        simulation.violation("lock: thought lost though all was well", turns.ends)


def _restart(simulation: Simulation, name: str, _seconds: float) -> None:
    forget(simulation, name, "restart", KEY)


def _evict(simulation: Simulation, name: str, _seconds: float) -> None:
    forget(simulation, name, "evict", KEY + b".lock")


@scenario(name="lock_node_fails_r2")
@scenario(name="lock_node_fails_r3", nodes=3, copies=3)
def lock_node_fails(simulation: Simulation) -> None:
    """One node dies, hangs, restarts or evicts the lock while requests take turns, and may come back."""
    seed_session(simulation)
    turns, rng = Turns(simulation), simulation.random
    count = _contend(simulation, turns, rng.randint(2, 5), 1.6)
    fault: Callable[..., None] = rng.choice((down, stop, _restart, _evict))
    name = rng.choice(simulation.nodes).name
    simulation.at(_between(simulation, 0.95, 2.0), fault, simulation, name, _between(simulation, 0.05, 2.0))
    simulation.run(20.0)
    _in_time(turns, count)


@scenario()
def lock_nodes_fail_by_turns(simulation: Simulation) -> None:
    """One node after the other restarts empty, with turns in between: no holder ever loses the lock with it."""
    seed_session(simulation)
    turns = Turns(simulation)
    for i in range(12):
        simulation.start(1.0 + 0.75 * i, add_one(turns, Turn(f"k{i}", HOLD_S * simulation.random.random())))
    for i in range(3):
        time = _between(simulation, 1.0, 1.5) + 3.0 * i
        simulation.at(time, forget, simulation, simulation.nodes[i % 2].name, "noticed restart", KEY)
    simulation.run(25.0)
    _in_time(turns, 12, 10.0)


@scenario(name="lock_thought_out_r2")
@scenario(name="lock_thought_out_r3", nodes=3, copies=3)
def lock_thought_out(simulation: Simulation) -> None:
    """Web servers think a healthy home out, each at its own times: they lock at another one, which they share."""
    seed_session(simulation)
    turns, rng = Turns(simulation), simulation.random
    count = _contend(simulation, turns, rng.randint(3, 5), 1.3, *simulation.processes)
    name = rng.choice(simulation.nodes).name
    for process in simulation.processes:
        for _ in range(rng.randint(0, 4)):
            thought = simulation, process, name, _between(simulation, 0.02, 0.8)
            simulation.at(_between(simulation, 0.9, 2.5), think_out, *thought)
    simulation.run(20.0)
    _in_time(turns, count)


@scenario(name="lock_holder_dies_r2", processes=4)
@scenario(name="lock_holder_dies_r3", nodes=3, copies=3, processes=4)
def lock_holder_dies(simulation: Simulation) -> None:
    """A web process dies with the lock, or on its way to it: the next one has its turn when the lock has run out."""
    seed_session(simulation)
    turns = Turns(simulation)
    first, *others = simulation.processes
    simulation.start(1.0, add_one(turns, Turn("dies", 1.0)), first)
    simulation.at(_between(simulation, 1.0, 1.8), crash, simulation, first)
    for i, process in enumerate(others):
        simulation.start(_between(simulation, 1.05, 1.8), add_one(turns, Turn(f"k{i}", 0.0)), process)
    simulation.run(25.0)
    if turns.last > 1.0 + EXPIRE_S + 3.0:
        simulation.violation("lock: a dead holder keeps others waiting", turns.last)
    turns.judge(all_of=len(others))


@scenario(name="lock_slow_holder_r2")
@scenario(name="lock_slow_holder_r3", nodes=3, copies=3)
def lock_slow_holder(simulation: Simulation) -> None:
    """A holder's application takes longer than the lock lasts: others have their turns, it saves nothing."""
    seed_session(simulation)
    turns = Turns(simulation, 2.5)
    simulation.start(1.0, add_one(turns, Turn("slow", _between(simulation, 1.2, 6.0))), simulation.processes[0])
    count = simulation.random.randint(2, 4)
    for i in range(count):
        turn = Turn(f"k{i}", _between(simulation, 0.0, 0.5))
        simulation.start(_between(simulation, 1.1, 5.0), add_one(turns, turn), simulation.processes[1 + i % 2])
    simulation.run(40.0)
    turns.judge(all_of=count + 1, slow=1)


@scenario(residue=("lock: an update was lost",))
def lock_paused_before_saving(simulation: Simulation) -> None:
    """Out of contract: a holder sleeps between its question and its save; only keys that both assign can be lost."""
    seed_session(simulation)
    turns = Turns(simulation, 2.5)
    first, *others = simulation.processes
    simulation.start(1.0, add_one(turns, Turn("slow", pause_s=_between(simulation, 2.0, 6.0))), first)
    for i, process in enumerate(others):
        simulation.start(_between(simulation, 1.4, 2.0), add_one(turns, Turn(f"k{i}")), process)
    simulation.run(40.0)
    turns.judge()


@scenario(processes=2, residue=("lock: two have it", "lock: an update was lost"))
def lock_split(simulation: Simulation) -> None:
    """Out of contract: each web process sees one node only, so each has its own lock."""
    seed_session(simulation)
    turns = Turns(simulation)
    cut(simulation, [0], "B", 3.0)
    cut(simulation, [1], "A", 3.0)
    _contend(simulation, turns, 4, 1.5, *simulation.processes)
    simulation.run(20.0)
    turns.judge()


@scenario(residue=("lock: two have it", "lock: an update was lost"))
def lock_lossy(simulation: Simulation) -> None:
    """Out of contract: messages are lost, so web servers think different nodes out at the same time."""
    seed_session(simulation)
    lossy(simulation, 0.05, 0.05, 0.05, 3.0)
    turns = Turns(simulation)
    _contend(simulation, turns, 5, 1.5)
    simulation.run(40.0)
    turns.judge()
