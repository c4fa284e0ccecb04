"""What is judged at every load: nothing confirmed lost, nothing ended alive, counters exact, ends on time."""

from typing import TYPE_CHECKING, Any

from .counting import Assignment, Increment, digits
from .ledger import NEVER, Reached, Story
from .process import Request

if TYPE_CHECKING:
    from .world import Simulation

TOLERANCE_S = 3.0


def judge(request: Request, key: bytes, began: float, outcome: Any) -> None:
    """Judge what a visitor's load found. In strict mode it must know of what any node remembers, reached or not."""
    simulation = request.simulation
    story = simulation.ledger.story(key)
    if type(outcome) is simulation.subject.plans.Found:
        reached = simulation.ledger.memories(key) if simulation.strict else request.reached
        _judge_found(simulation, story, reached, began, outcome.record)
    else:
        _judge_nothing(simulation, story, request.reached, began, outcome)


def _judge_found(simulation: "Simulation", story: Story, reached: Reached, began: float, record: Any) -> None:
    if story.ended <= began:
        _judge_revived(simulation, story, reached, began)
    if began > story.deadline_s + TOLERANCE_S:
        simulation.violation("alive after the absolute end", story.key)
    if began > story.used + story.idle_s + TOLERANCE_S:
        simulation.violation("alive after the idle time", story.key, "last use", story.used)
    marker = record.entries.get("marker")
    if marker is None or marker.value != story.marker:
        simulation.violation("another session's data", story.key, marker)
    story.used = max(story.used, began)
    if story.tried < simulation.now:
        return
    for change in story.changes:
        if change.confirmed <= began and not change.held(record):
            holders = simulation.ledger.holders(story.key, reached, began, _live(simulation, change.held))
            if holders:
                simulation.violation("confirmed change lost or stale", story.key, change.name, holders)
    judge_counters(simulation, story, reached, began, record)


def _live(simulation: "Simulation", holds: Any) -> Any:
    dead = simulation.ledger.dead
    return lambda record: not isinstance(record, dead) and holds(record)


def _judge_revived(simulation: "Simulation", story: Story, reached: Reached, began: float) -> None:
    ledger = simulation.ledger

    def tombstone(record: Any) -> bool:
        return isinstance(record, ledger.dead)

    if ledger.holders(story.key, reached, began, tombstone):
        simulation.violation("ended session revived", story.key)
    elif ledger.holders(story.key, ledger.memories(story.key), began, tombstone):
        simulation.soft["revived, no holder reached"] += 1
    else:
        simulation.soft["revived, all holders forgot"] += 1


def _judge_nothing(simulation: "Simulation", story: Story, reached: Reached, began: float, outcome: Any) -> None:
    plans = simulation.subject.plans
    if story.tried <= simulation.now:
        return
    if type(outcome) is plans.Ended:
        simulation.violation("ended though nobody ended it", story.key)
    now_ms = simulation.now_ms()
    soon = TOLERANCE_S * 1000

    def alive(record: Any) -> bool:
        idle_end = record.seen_ms + story.idle_s * 1000
        return bool(min(idle_end, record.deadline_ms) > now_ms + soon)

    holds = _live(simulation, alive)
    refused = simulation.strict and type(outcome) is not plans.Absent
    if not refused and simulation.ledger.holders(story.key, reached, began, holds):
        simulation.violation("session lost", story.key, outcome)
    elif type(outcome) is plans.Absent:
        everybody = simulation.ledger.memories(story.key)
        if simulation.ledger.holders(story.key, everybody, began, holds):
            simulation.violation("called absent though a node that was not asked has it", story.key)


def judge_counters(
    simulation: "Simulation", story: Story, reached: Reached, began: float, record: Any, final: bool = False
) -> None:
    """Each increment at most once, each confirmed one exactly once, none again after an assignment."""
    amounts = simulation.ledger.amounts
    if not amounts.increments:
        return
    family = _family(story)
    for name in amounts.names:
        number = digits(amounts.number(record, name))
        base = _base(simulation, name, number, record)
        beyond = False
        for increment in amounts.increments:
            if increment.name != name or increment.key not in family:
                continue
            times = number.pop(increment.place, 0) * increment.sign
            beyond |= times == 1
            _judge_increment(simulation, story, reached, began, record, increment, times, base, final)
        if number:
            simulation.violation("counter: garbage", name, number)
        entry = record.entries.get(name)
        if entry and entry.deleted and amounts.is_shown(record, name) and not beyond:
            simulation.violation("counter: deleted key is there", name)


def _family(story: Story) -> set[bytes]:
    family, older = {story.key}, story.parent
    while older is not None:
        family.add(older.key)
        older = older.parent
    return family


def _base(simulation: "Simulation", name: str, number: dict[int, int], record: Any) -> Assignment | None:
    """The assignment that the number stands on; its own digit is taken out of `number`."""
    amounts = simulation.ledger.amounts
    entry = record.entries.get(name)
    base = entry and amounts.stamped.get((name, entry[:2]))
    places = [place for place in number if place in amounts.assigned]
    expected = [base.place] if base and base.place is not None else places[:1]
    if places != expected or any(number[place] != 1 for place in places):
        simulation.violation("counter: assigned value wrong", name, number)
    for place in places:
        del number[place]
    if base is None and places:
        base = amounts.assigned[places[0]]
    return base


def _judge_increment(
    simulation: "Simulation",
    story: Story,
    reached: Reached,
    began: float,
    record: Any,
    increment: Increment,
    times: int,
    base: Assignment | None,
    final: bool,
) -> None:
    if base is not None and increment.place in base.covers:
        if times:
            simulation.violation("counter: counted again after an assignment", increment.place)
        return
    if times not in (0, 1):
        simulation.violation(f"counter: counted {times} times", increment.place)
    if times or increment.confirmed > began:
        return
    ledger = simulation.ledger
    if increment.key == story.key:
        if ledger.holders(story.key, reached, began, _live(simulation, increment.held)):
            simulation.violation("counter: confirmed increment lost", increment.place)
    elif final and base is None and not _deleted_on_the_way(simulation, increment):
        _judge_left_behind(simulation, increment)


def _deleted_on_the_way(simulation: "Simulation", increment: Increment) -> bool:
    """A fold hides on which deletion a number stands."""
    amounts = simulation.ledger.amounts
    return any(
        increment.place in assignment.covers and assignment.place is None for assignment in amounts.stamped.values()
    )


def _judge_left_behind(simulation: "Simulation", increment: Increment) -> None:
    """A regenerate left a confirmed increment behind on the old ID."""
    ledger = simulation.ledger
    everybody = ledger.memories(increment.key)
    before = increment.confirmed
    holders = ledger.holders(increment.key, everybody, before, _live(simulation, increment.held))
    if len(set(holders)) >= len(simulation.processes[0].homes(increment.key)):
        simulation.violation("regenerate: lost what every home held", increment.place)
    elif holders and before < NEVER:
        simulation.violation("regenerate: confirmed increment lost", increment.place)
