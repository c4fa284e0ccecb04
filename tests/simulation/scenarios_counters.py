"""Counters: every confirmed increment exactly once, whatever fails."""

from functools import partial

from .faults import ALL, FORGETFUL, chaos, cut, forget, fork_process, isolate, lossy, restart_process
from .requests import Intent, assign, change, increment, modify
from .scenario import finish, quiet, scenario, seed_session
from .world import Simulation

KEY = b"s"
NAMES = (("n",), ("p",), ("n", "p"), ("p", "n"))
LOSSES = ((0.0, 0.0, 0.0), (0.02, 0.02, 0.03), (0.05, 0.05, 0.1))


def _between(simulation: Simulation, begin: float, end: float) -> float:
    return begin + (end - begin) * simulation.random.random()


def _count(simulation: Simulation, times: int, end: float, *keys: bytes, hold: float = 0.3) -> None:
    rng = simulation.random
    for _ in range(times):
        key = rng.choice(keys) if keys else KEY
        names = rng.choice(NAMES)
        pause = rng.choice((0.0, 0.0, hold * rng.random()))
        plain = (f"k{rng.randint(0, 3)}",) if rng.random() < 0.2 else ()
        simulation.start(_between(simulation, 1.0, end), change(key, Intent(plain, names), pause))


def _assign(simulation: Simulation, most: int, end: float) -> None:
    for _ in range(simulation.random.randint(0, most)):
        hold = simulation.random.choice((0.0, 0.2 * simulation.random.random()))
        step = assign(KEY, "n", hold, delete=simulation.random.random() < 0.4)
        simulation.start(_between(simulation, 1.0, end), step)


def _lossy(simulation: Simulation) -> None:
    lossy(simulation, *simulation.random.choice(LOSSES), 2.0)


@scenario(name="counters_calm_r2", processes=4)
@scenario(name="counters_calm_r3", nodes=3, copies=3, processes=4)
def counters_calm(simulation: Simulation) -> None:
    """No fault: all increments are confirmed, and the sum is exact."""
    seed_session(simulation)
    for _ in range(8):
        simulation.start(_between(simulation, 1.0, 1.4), increment(KEY, "n"))
    simulation.run(2.5)
    record = finish(simulation)[KEY].record
    amounts = simulation.ledger.amounts
    if amounts.number(record, "n") != sum(one.amount for one in amounts.increments):
        simulation.violation("counter: a healthy sum is wrong")


@scenario(name="counters_tiny_memory_r2", memory_limit=1)
@scenario(name="counters_tiny_memory_r3", nodes=3, copies=3, memory_limit=2)
def counters_tiny_memory(simulation: Simulation) -> None:
    """Web processes that can remember one or two counters only, two sessions, every fault."""
    keys = (KEY, b"t")
    for key in keys:
        seed_session(simulation, key)
    _lossy(simulation)
    _count(simulation, simulation.random.randint(5, 9), 2.2, *keys)
    for _ in range(simulation.random.randint(0, 2)):
        index = simulation.random.randrange(3)
        simulation.at(_between(simulation, 1.0, 2.2), restart_process, simulation, index)
    chaos(simulation, ALL, 1.0, 2.4, 3)
    simulation.run(4.0)
    finish(simulation, *keys)


@scenario(processes=2)
def counters_process_restart(simulation: Simulation) -> None:
    """Web processes restart between and during increments, while nodes are away."""
    seed_session(simulation)
    _lossy(simulation)
    _count(simulation, simulation.random.randint(4, 8), 2.2)
    for _ in range(simulation.random.randint(1, 3)):
        index = simulation.random.randrange(2)
        simulation.at(_between(simulation, 1.0, 2.2), restart_process, simulation, index)
    chaos(simulation, ("restart", "cut", "isolate", "evict", "view", "stop"), 1.0, 2.2, 3)
    simulation.run(4.0)
    finish(simulation)


@scenario(processes=2)
def counters_fork(simulation: Simulation) -> None:
    """Web processes fork with a filled memory, and parent and child both go on counting."""
    seed_session(simulation)
    _count(simulation, 3, 1.3)
    _lossy(simulation)
    _count(simulation, simulation.random.randint(3, 7), 2.4)
    for _ in range(simulation.random.randint(1, 2)):
        index = simulation.random.randrange(2)
        simulation.at(_between(simulation, 1.2, 2.0), partial(fork_process, simulation), index)
    chaos(simulation, ("restart", "cut", "isolate", "evict", "view"), 1.0, 2.2, 1)
    simulation.run(4.0)
    finish(simulation)


@scenario(processes=1)
def counters_death_mid_save(simulation: Simulation) -> None:
    """The process dies in mid-save, a new one counts at once, and the old one's commands arrive late."""
    seed_session(simulation)
    lossy(simulation, 0.05, 0.05, 0.25, 1.0)
    time = 1.0
    for _ in range(simulation.random.randint(2, 5)):
        simulation.start(time, increment(KEY, "n"))
        death = _between(simulation, 0.0, 0.12)
        simulation.at(time + death, partial(restart_process, simulation), 0)
        time += death + 0.05 * simulation.random.random()
        simulation.start(time, increment(KEY, "n"))
        time += 0.4 * simulation.random.random()
    chaos(simulation, ("restart", "evict", "isolate", "stop"), 1.0, time, 2)
    simulation.run(time + 2)
    finish(simulation)


@scenario(processes=2)
def counters_split(simulation: Simulation) -> None:
    """Each of two processes sees one node only; both count, set and delete; then the split heals."""
    seed_session(simulation)
    _lossy(simulation)
    begin = _between(simulation, 1.0, 1.3)
    simulation.at(begin, cut, simulation, [0], "B", 0.0)
    simulation.at(begin, cut, simulation, [1], "A", 0.0)
    _count(simulation, simulation.random.randint(4, 8), 2.5)
    _assign(simulation, 3, 2.5)
    if simulation.random.random() < 0.3:
        simulation.at(_between(simulation, 1.0, 2.2), partial(restart_process, simulation), 0)
    simulation.at(begin + _between(simulation, 0.3, 1.2), simulation.network.heal)
    if simulation.random.random() < 0.3:
        chaos(simulation, FORGETFUL, 1.2, 2.8, 1)
    simulation.run(4.0)
    finish(simulation)


@scenario(processes=4)
def counters_hot(simulation: Simulation) -> None:
    """Many parallel increments of one session, with one fault."""
    seed_session(simulation)
    _lossy(simulation)
    for _ in range(simulation.random.randint(8, 12)):
        simulation.start(_between(simulation, 1.0, 1.15), increment(KEY, "n"))
    chaos(simulation, ("restart", "evict", "cut", "isolate", "view"), 1.0, 1.4, 1)
    simulation.run(3.0)
    finish(simulation)


@scenario(name="counters_assigned_r2")
@scenario(name="counters_assigned_r3", nodes=3, copies=3)
def counters_assigned(simulation: Simulation) -> None:
    """Increments race with assignments and deletions of the same key, and old copies come back."""
    seed_session(simulation)
    _lossy(simulation)
    _count(simulation, simulation.random.randint(4, 7), 2.2)
    _assign(simulation, 3, 2.2)
    chaos(simulation, ("restart", "cut", "isolate", "evict", "view", "stop"), 1.0, 2.4, 3)
    simulation.run(4.0)
    finish(simulation)


@scenario(memory_limit=1)
def counters_stale_copies(simulation: Simulation) -> None:
    """Late repairs and a node that was away bring old counts back, to processes that have forgotten theirs."""
    keys = (KEY, b"t")
    for key in keys:
        seed_session(simulation, key)
    lossy(simulation, 0.0, 0.0, 0.25, 2.0)
    for i in range(7):
        simulation.start(1.0 + 0.25 * i, increment(simulation.random.choice(keys), "n"))
    for _ in range(2):
        how = simulation.random.choice(("evict", "flush"))
        simulation.at(_between(simulation, 1.0, 2.4), forget, simulation, "A", how, KEY)
    simulation.at(_between(simulation, 1.2, 2.2), isolate, simulation, "B", _between(simulation, 0.2, 1.0))
    if simulation.random.random() < 0.5:
        simulation.start(_between(simulation, 1.0, 2.8), assign(KEY, "n"))
    simulation.run(4.0)
    finish(simulation, *keys)


def _judge_modify(simulation: Simulation, tally: dict[str, int], number: int, plain: int = 0) -> None:
    sure, maybe = tally.get("Modified", 0) + plain, tally.get("Unconfirmed", 0) + tally.get("Gone", 0)
    if number < sure:
        simulation.violation("modify: lost")
    if number > sure + maybe:
        simulation.violation("modify: done twice")


def _modify(simulation: Simulation, times: int, name: str = "u") -> dict[str, int]:
    tally: dict[str, int] = {}
    for _ in range(times):
        simulation.start(_between(simulation, 1.0, 1.4), modify(KEY, name, tally))
    return tally


def _modified(simulation: Simulation) -> int:
    found = finish(simulation)[KEY]
    return int(simulation.ledger.amounts.number(found.record, "u"))


@scenario(name="modify_healthy_r2")
@scenario(name="modify_healthy_r3", nodes=3, copies=3)
def modify_healthy(simulation: Simulation) -> None:
    """All nodes healthy: modifications in parallel add up exactly."""
    seed_session(simulation)
    tally = _modify(simulation, 5)
    simulation.start(1.2, change(KEY, Intent(plain=("k0",))))
    simulation.run(3.0)
    _judge_modify(simulation, tally, _modified(simulation))


@scenario()
def modify_lossy(simulation: Simulation) -> None:
    """Writes and their replies are lost: what is not confirmed may have happened once."""
    seed_session(simulation)
    lossy(simulation, 0.1, 0.1)
    simulation.network.blips = True
    tally = _modify(simulation, 4)
    simulation.run(3.0)
    _judge_modify(simulation, tally, _modified(simulation))


@scenario(residue=("modify: lost",), processes=1)
def modify_view_changes(simulation: Simulation) -> None:
    """Out of contract: the orderer falls out, and the next home has not heard of the last modification."""
    seed_session(simulation)
    lossy(simulation, 0.05, 0.05)
    tally = _modify(simulation, 4)
    simulation.run(3.0)
    _judge_modify(simulation, tally, _modified(simulation))


@scenario()
def modify_and_increments(simulation: Simulation) -> None:
    """Increments of the same key while it is modified: both count."""
    seed_session(simulation)
    tally = _modify(simulation, 4)
    done: list[str] = []
    for _ in range(4):
        simulation.start(_between(simulation, 1.0, 1.4), _one_more(done))
    simulation.run(3.0)
    _judge_modify(simulation, tally, _modified(simulation), len(done))


def _one_more(done: list[str]):
    def adding(request):
        simulation, process, plans = request.simulation, request.process, request.simulation.subject.plans
        record = simulation.subject.record
        found = yield from plans.load(process.world, KEY)
        by = {"u": 1}
        with process.counters.counting(KEY, by) as own:
            after = record.apply(
                found.record,
                record.Changes({}, (), by),
                own,
                writer=simulation.nonce(),
                now_ms=process.world.now_ms(),
            )
        outcome = yield from plans.save(process.world, KEY, after, found.tokens, request.deadline)
        if type(outcome) is plans.Saved:
            done.append("u")

    return adding


@scenario(residue=("modify: lost",))
def modify_restarts(simulation: Simulation) -> None:
    """Out of contract: a home forgets while modifications are under way; then one whole value wins."""
    seed_session(simulation)
    tally = _modify(simulation, 5)
    chaos(simulation, ("restart",), 1.0, 1.5, 2)
    simulation.run(3.0)
    if quiet(simulation) is None and _alive(simulation):
        _judge_modify(simulation, tally, _modified(simulation))


@scenario(residue=("modify: lost",))
def modify_views_differ(simulation: Simulation) -> None:
    """Out of contract: web servers disagree on which node is out; then one whole value wins."""
    seed_session(simulation)
    tally = _modify(simulation, 5)
    chaos(simulation, ("view",), 1.0, 1.3, 3)
    simulation.run(3.0)
    _judge_modify(simulation, tally, _modified(simulation))


def _alive(simulation: Simulation) -> bool:
    return any(node.item(KEY, simulation.now) for node in simulation.nodes)
