"""Strict mode: three homes, of which two have to agree.

What is confirmed is known wherever anything is shown, whichever homes are reached. A web server that reaches one home
only is refused. With one home restarted, cut or down nothing is refused.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from . import scenarios_counters, scenarios_moves, scenarios_refill, scenarios_saves, scenarios_time
from .faults import chaos, cut, down, forget, isolate, lossy, stop, think_out
from .process import Process, Request
from .requests import Intent, Jar, change, logout, look, read, refill, regenerate
from .scenario import connect_all, finish, scenario, seed_session
from .scenarios_pool import birth
from .world import Simulation

KEY = b"s"
HARMLESS = ("cut", "one way", "isolate", "stop", "view", "crash", "pause")
Done = Callable[[Any], None]


def _strict(play: Callable[[Simulation], None], name: str, *residue: str, **setting: int) -> None:
    """A scenario of the normal mode, in strict mode."""
    scenario(name=f"strict_{name}", residue=residue, **{"nodes": 3, "copies": 3, "strict": 1, **setting})(play)


_strict(scenarios_moves.regenerate_thought_out, "regenerate_thought_out", *scenarios_moves.LOST[:2])
_strict(scenarios_moves.regenerate_faults, "regenerate_faults", *scenarios_moves.LOST)
_strict(scenarios_moves.regenerate_parallel, "regenerate_parallel")
_strict(scenarios_saves.logout_race, "logout_race")
_strict(scenarios_saves.logout_race_lossy, "logout_race_lossy")
_strict(scenarios_saves.stale_return, "stale_return")
_strict(scenarios_saves.rolling_restarts, "rolling_restarts")
_strict(scenarios_saves.lost_messages, "lost_messages")
_strict(scenarios_refill.refill_alone, "refill_alone")
_strict(scenarios_refill.corrupt_value, "corrupt_value")
_strict(scenarios_counters.counters_tiny_memory, "counters_tiny_memory", memory_limit=2)
_strict(scenarios_counters.counters_assigned, "counters_assigned")
_strict(scenarios_time.visits_apart, "visits_apart")


def _between(simulation: Simulation, begin: float, end: float) -> float:
    return begin + (end - begin) * simulation.random.random()


def _writers(simulation: Simulation, count: int, begin: float, end: float, done: Done | None = None) -> None:
    rng = simulation.random
    for i in range(count):
        step = change(KEY, Intent((f"k{i}",), rng.choice(((), ("n",)))), rng.choice((0.0, 0.2 * rng.random())))
        simulation.start(_between(simulation, begin, end), step, None, done)


def _readers(simulation: Simulation, count: int, begin: float, end: float, process: Process | None = None) -> None:
    for _ in range(count):
        simulation.start(_between(simulation, begin, end), read(KEY), process)


def _split(simulation: Simulation) -> tuple[Process, Process]:
    """Two web processes that share no home: one reaches a single home, the other one the other two."""
    few, most = simulation.random.sample(simulation.processes, 2)
    alone = simulation.random.choice(simulation.nodes).name
    cut(simulation, [most.link], alone, 0.0)
    for node in simulation.nodes:
        if node.name != alone:
            cut(simulation, [few.link], node.name, 0.0)
    return few, most


@scenario(nodes=3, copies=3, processes=2, strict=1)
def strict_split(simulation: Simulation) -> None:
    """One side of a split has two homes and goes on, logouts included; the other side has one, and is refused."""
    seed_session(simulation)
    plans = simulation.subject.plans
    _writers(simulation, 3, 0.8, 1.0)
    simulation.run(1.0)
    few, most = _split(simulation)
    served, refused = list[Any](), list[Any]()
    for i in range(3):
        simulation.start(_between(simulation, 1.1, 2.4), change(KEY, Intent((f"m{i}",))), most, served.append)
        step = change(KEY, Intent((f"f{i}",))) if simulation.random.random() < 0.5 else read(KEY)
        simulation.start(_between(simulation, 1.1, 2.9), step, few, refused.append)
    leaves = simulation.random.choice((None, few, most))
    if leaves:
        simulation.start(3.1, logout(KEY), leaves)
    _readers(simulation, 2, 3.2, 4.4, few)
    _readers(simulation, 2, 3.2, 4.4, most)
    simulation.run(5.4)
    if any(type(outcome) is not plans.Saved for outcome in served):
        simulation.violation("strict: refused on the side of two homes", *served)
    if any(type(outcome) in (plans.Found, plans.Saved) for outcome in refused):
        simulation.violation("strict: served on the side of one home", *refused)
    finish(simulation)


@scenario(nodes=3, copies=3, strict=1)
def strict_forgotten_logout(simulation: Simulation) -> None:
    """One home misses the logout, another one restarts, the third is cut off: nobody brings the session back."""
    seed_session(simulation)
    rng, plans = simulation.random, simulation.subject.plans
    keeps, forgets, misses = rng.sample(["A", "B", "C"], 3)
    simulation.at(1.1, isolate, simulation, misses)
    buried: list[Any] = []
    simulation.start(1.3, logout(KEY), simulation.processes[0], buried.append)
    simulation.at(2.2, simulation.network.heal)
    simulation.at(_between(simulation, 2.3, 2.5), forget, simulation, forgets, rng.choice(("restart", "evict")), KEY)
    if rng.random() < 0.8:
        simulation.at(_between(simulation, 2.3, 2.5), isolate, simulation, keeps)
    for _ in range(rng.randint(0, 2)):
        simulation.start(_between(simulation, 2.25, 3.0), refill(KEY))
    _readers(simulation, 3, 2.5, 3.5)
    simulation.run(4.0)
    if not buried or not buried[0].final:
        simulation.violation("strict: a logout at two homes was refused", *buried)
    if type(finish(simulation)[KEY]) is not plans.Ended:
        simulation.violation("strict: a tombstone at one home does not end the session")


@scenario(nodes=3, copies=3, strict=1)
def strict_mix(simulation: Simulation) -> None:
    """Every fault at once, but no more than one home forgets: what is confirmed is seen by whoever is served."""
    seed_session(simulation)
    rng = simulation.random
    lossy(simulation, *rng.choice(((0.0, 0.0, 0.0), (0.03, 0.03, 0.05))), 2.0)
    _writers(simulation, 4, 1.0, 2.4)
    _readers(simulation, 4, 1.0, 3.5)
    if rng.random() < 0.5:
        simulation.start(_between(simulation, 1.2, 2.5), logout(KEY))
    if rng.random() < 0.3:
        simulation.start(_between(simulation, 1.2, 2.5), logout(KEY, loaded=False))
    for _ in range(rng.randint(0, 2)):
        simulation.start(_between(simulation, 1.0, 3.0), refill(KEY, rng.choice((0.0, 0.1))))
    chaos(simulation, HARMLESS, 1.0, 2.6, 5)
    chaos(simulation, ("restart", "evict", "flush", "down", "corrupt"), 1.0, 2.6, 1)
    simulation.run(4.5)
    finish(simulation)


@scenario(nodes=3, copies=3, strict=1)
def strict_slow_repair(simulation: Simulation) -> None:
    """Loads wait for homes that do not answer, while the session changes or ends and one home forgets it."""
    seed_session(simulation)
    rng = simulation.random
    forgets, misses, stays = rng.sample(["A", "B", "C"], 3)
    reader, writer = simulation.processes[:2]
    simulation.at(0.5, cut, simulation, [writer.link], misses, 2.0)
    think_out(simulation, writer, misses, 3.0)
    for name in (forgets, misses):
        simulation.at(0.9, cut, simulation, [reader.link], name, _between(simulation, 0.2, 0.6))
    if rng.random() < 0.5:
        # One home lags, and the web server that brings it up to date is slow.
        simulation.at(0.3, cut, simulation, [2], forgets, 0.4)
        simulation.start(0.31, change(KEY, Intent(("k1",))), simulation.processes[2])
        simulation.at(_between(simulation, 1.0, 1.5), setattr, reader, "paused_until", 1.7)
    for _ in range(4):
        simulation.start(_between(simulation, 0.9, 1.2), read(KEY), reader)
    how = rng.choice(("evict", "flush"))

    def confirmed(outcome: Any) -> None:
        simulation.at(simulation.now + 0.02 * rng.random(), forget, simulation, forgets, how, KEY)

    step = logout(KEY, loaded=False) if rng.random() < 0.5 else change(KEY, Intent(("k0",), ("n",)))
    simulation.start(_between(simulation, 1.0, 1.1), step, writer, confirmed)
    simulation.at(2.1, isolate, simulation, stays, 1.0)
    _readers(simulation, 3, 2.2, 2.9, simulation.processes[2])
    simulation.run(3.5)
    finish(simulation)


@scenario(nodes=3, copies=3, strict=1)
def strict_confirmed_once(simulation: Simulation) -> None:
    """A home acknowledges and is cut off; what it alone acknowledged was not confirmed."""
    seed_session(simulation)
    rng = simulation.random
    name = rng.choice(simulation.nodes).name
    others = [node.name for node in simulation.nodes if node.name != name]
    moment = _between(simulation, 1.05, 1.2)
    for other in others:
        simulation.at(moment, cut, simulation, [0], other, 0.0)
    for i in range(2):
        simulation.start(
            _between(simulation, 1.0, 1.2), change(KEY, Intent((f"k{i}",), ("n",))), simulation.processes[0]
        )
    if rng.random() < 0.5:
        simulation.start(_between(simulation, 1.0, 1.2), logout(KEY), simulation.processes[0])
    simulation.at(2.2, isolate, simulation, name)
    _readers(simulation, 3, 2.3, 3.5, simulation.processes[1])
    simulation.run(4.0)
    finish(simulation)


@scenario(nodes=3, copies=3, strict=1)
def strict_regenerate_in_split(simulation: Simulation) -> None:
    """The session moves while a web server is cut off from two homes: once that is confirmed, the old ID is over."""
    seed_session(simulation)
    rng, jar = simulation.random, Jar(KEY)
    name = rng.choice(simulation.nodes).name
    moment = _between(simulation, 1.0, 1.15)
    for node in simulation.nodes:
        if node.name != name:
            simulation.at(moment, cut, simulation, [0], node.name, 0.0)
    outcomes: list[Any] = []
    simulation.start(1.0, regenerate(jar, b"r"), simulation.processes[0], outcomes.append)
    simulation.at(2.6, isolate, simulation, name)
    for _ in range(2):
        simulation.start(_between(simulation, 2.7, 3.5), read(KEY), simulation.processes[1])
        simulation.start(_between(simulation, 2.7, 3.5), read(jar.key), simulation.processes[1])
    simulation.run(4.5)
    if not outcomes:
        simulation.violation("strict: regenerate did not end")
    finish(simulation, KEY, b"r", converge=False)


def _modifications(process: Process, times: int, seen: dict[str, int]) -> Any:
    """One after the other; each must build on all that were confirmed."""

    def modifying(request: Request) -> Any:
        simulation, plans, record = (
            request.simulation,
            request.simulation.subject.plans,
            request.simulation.subject.record,
        )
        for _ in range(times):
            request.deadline = simulation.now + 1.0
            confirmed = seen["confirmed"]
            found = yield from look(request, KEY)
            if type(found) is not plans.Found:
                continue

            def plus_one(value: Any) -> Any:
                return 1 if value is record.ABSENT else value + 1

            if record.shown(found.record, "u") is record.ABSENT and confirmed:
                simulation.violation("strict: a confirmed modification is not seen")
            outcome = yield from plans.modify(process.world, KEY, "u", plus_one, found, request.deadline)
            if type(outcome) is plans.Modified:
                seen["confirmed"] = record.shown(outcome.record, "u")
        return seen

    return modifying


def _looks(seen: dict[str, int]) -> Any:
    def looking(request: Request) -> Any:
        simulation, record = request.simulation, request.simulation.subject.record
        confirmed = seen["confirmed"]
        outcome = yield from look(request, KEY)
        if type(outcome) is simulation.subject.plans.Found:
            value = record.shown(outcome.record, "u")
            if (0 if value is record.ABSENT else value) < confirmed:
                simulation.violation("strict: a confirmed modification is not seen", value, confirmed)

    return looking


@scenario(nodes=3, copies=3, strict=1)
def strict_modify(simulation: Simulation) -> None:
    """One web server modifies, cut off from some homes; the others see all that was confirmed, or are refused."""
    seed_session(simulation)
    rng = simulation.random
    writer = simulation.processes[0]
    seen = {"confirmed": 0}
    simulation.start(1.0, _modifications(writer, rng.randint(4, 8), seen), writer)
    for node in rng.sample(simulation.nodes, rng.randint(1, 2)):
        way = rng.choice(("both", "back"))
        simulation.at(_between(simulation, 1.0, 1.4), cut, simulation, [writer.link], node.name, 0.7, way)
    if rng.random() < 0.6:
        simulation.at(_between(simulation, 1.2, 1.8), isolate, simulation, rng.choice(simulation.nodes).name, 1.0)
    for _ in range(5):
        reader = rng.choice(simulation.processes[1:])
        simulation.start(_between(simulation, 1.1, 3.0), _looks(seen), reader)
    simulation.run(4.0)
    finish(simulation)


@scenario(nodes=3, copies=3, strict=1)
def strict_birth_in_split(simulation: Simulation) -> None:
    """A session that is confirmed to begin is found by whoever reaches two homes."""
    for process in simulation.processes:
        connect_all(process)
    born, plans = list[bytes](), simulation.subject.plans
    simulation.run(1.0)
    few, most = _split(simulation)
    for process in (few, most):
        for _ in range(2):
            simulation.start(_between(simulation, 1.05, 2.0), birth(simulation, born), process)
    simulation.run(3.5)
    if len(born) < 2:
        simulation.violation("strict: refused on the side of two homes")
    found: list[Any] = []
    for key in born:
        simulation.start(simulation.now, read(key), most, found.append)
    simulation.run(4.5)
    if any(type(outcome) is not plans.Found for outcome in found):
        simulation.violation("strict: a confirmed session is not there", *found)
    finish(simulation, *born)


@scenario(nodes=3, copies=3, strict=1)
def strict_two_forget(simulation: Simulation) -> None:
    """Two homes forget while the third is away: that is doubt, never absence, and nothing is written on a guess."""
    seed_session(simulation)
    first, second, away = simulation.random.sample(["A", "B", "C"], 3)
    plans, found = simulation.subject.plans, list[Any]()
    simulation.at(1.0, isolate, simulation, away)
    for name in (first, second):
        simulation.at(_between(simulation, 1.0, 1.1), forget, simulation, name, "noticed restart", KEY)
    simulation.start(_between(simulation, 1.2, 1.5), read(KEY), None, found.append)
    simulation.at(2.0, simulation.network.heal)
    simulation.start(_between(simulation, 2.3, 2.6), refill(KEY), None, found.append)
    simulation.run(4.0)
    last = finish(simulation)[KEY]
    if [type(outcome) for outcome in (*found, last)] != [plans.Doubt] * 3 or not last.outvoted:
        simulation.violation("strict: not in doubt", *found, last)
    if simulation.network.nodes[first].items or simulation.network.nodes[second].items:
        simulation.violation("strict: a single copy was spread")


def served(simulation: Simulation, title: str, outcome: Any) -> None:
    """Nothing may be refused."""
    plans = simulation.subject.plans
    kinds = (plans.Found, plans.Saved, plans.Modified, plans.Regenerated, plans.Ended)
    if type(outcome) is plans.Buried and outcome.final:
        return
    if type(outcome) is tuple:
        outcome = outcome[1]
    if type(outcome) not in kinds:
        simulation.violation("strict: refused with one home away", title, outcome)


def every_kind_of_request(simulation: Simulation, key: bytes, begin: float, end: float) -> None:
    """Reads, changes, increments, births and a modification; then the session is moved; then it is ended."""
    rng, judged = simulation.random, partial(served, simulation)
    for i in range(4):
        step = change(key, Intent((f"k{i}",), rng.choice(((), ("n",)))), rng.choice((0.0, 0.2 * rng.random())))
        simulation.start(_between(simulation, begin, end), step, None, partial(judged, "change"))
    for _ in range(3):
        simulation.start(_between(simulation, begin, end), read(key), None, partial(judged, "read"))
    simulation.start(_between(simulation, begin, end), birth(simulation, []), None, partial(judged, "birth"))
    jar = Jar(key)
    simulation.start(end + 1.0, regenerate(jar, b"r"), None, partial(judged, "regenerate"))
    simulation.start(end + 2.2, read(b"r"), None, partial(judged, "read"))
    simulation.start(end + 3.2, logout(b"r"), None, partial(judged, "logout"))


@scenario(nodes=3, copies=3, strict=1)
def strict_one_home_away(simulation: Simulation) -> None:
    """With one home restarted, emptied, cut, down or hung, for a while or for good, nothing is refused."""
    seed_session(simulation)
    rng = simulation.random
    name, seconds = rng.choice(simulation.nodes).name, rng.choice((0.3, 1.0, 20.0))
    fault: Any = rng.choice(
        (
            partial(forget, simulation, name, rng.choice(("restart", "evict", "flush", "corrupt")), KEY),
            partial(isolate, simulation, name, seconds),
            partial(cut, simulation, [0], name, seconds),
            partial(cut, simulation, [1], name, seconds, "back"),
            partial(down, simulation, name, seconds),
            partial(stop, simulation, name, seconds),
        )
    )
    simulation.at(_between(simulation, 1.0, 2.0), fault)
    every_kind_of_request(simulation, KEY, 1.0, 2.5)
    simulation.run(8.0)
    finish(simulation, KEY, b"r")


@scenario(nodes=3, copies=3, strict=1)
def strict_thought_out(simulation: Simulation) -> None:
    """A web server thinks most homes out, or all, though they are well: they are asked before it refuses."""
    seed_session(simulation)
    rng = simulation.random
    for process in rng.sample(simulation.processes, rng.randint(1, 3)):
        for node in rng.sample(simulation.nodes, rng.randint(2, 3)):
            simulation.at(_between(simulation, 1.0, 1.5), think_out, simulation, process, node.name, 10.0)
    every_kind_of_request(simulation, KEY, 1.0, 2.5)
    simulation.run(8.0)
    finish(simulation, KEY, b"r")
