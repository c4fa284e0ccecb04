"""What visitors and background workers do, as generators over the shipped plans.

A yielded float is time that the application takes.
"""

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

from .checkers import judge
from .counting import Increment
from .ledger import NEVER, Change, Story
from .process import Request
from .world import Simulation

Steps = Generator[Any, Any, Any]
Step = Callable[[Request], Steps]
Own = tuple[float, float]
"""A session's own limits in seconds: idle, absolute."""


def look(request: Request, key: bytes) -> Steps:
    """A visitor's load, judged."""
    began = request.simulation.now
    request.reached = []
    outcome = yield from request.simulation.subject.plans.load(request.process.world, key)
    judge(request, key, began, outcome)
    return outcome


def _load_for_commit(request: Request, key: bytes, hold: float) -> Steps:
    """Load, let the application work, and load again if the pool has changed meanwhile; None if not found."""
    found = request.simulation.subject.plans.Found
    placement = request.process.placement
    outcome = yield from look(request, key)
    if hold:
        yield hold
    if type(outcome) is found and request.process.placement != placement:
        outcome = yield from look(request, key)
    return outcome if type(outcome) is found else None


def read(key: bytes) -> Step:
    """A request that changes nothing: it renews the session when that is due."""

    def reading(request: Request) -> Steps:
        plans, process, world = request.simulation.subject.plans, request.process, request.process.world
        outcome = yield from look(request, key)
        if type(outcome) is plans.Found:
            now_ms = world.now_ms()
            if now_ms - outcome.record.seen_ms > world.renewal_ms(outcome.record):
                renewed = replace(outcome.record, seen_ms=now_ms)
                yield from plans.save(process.world, key, renewed, outcome.tokens, request.deadline)
        return outcome

    return reading


class Intent:
    """What a request means to change. `counted` keys get coded numbers; `plain` keys are set to 1."""

    __slots__ = ("counted", "deleted", "increments", "plain")

    def __init__(
        self,
        plain: tuple[str, ...] = (),
        increments: tuple[str, ...] = (),
        counted: tuple[str, ...] = (),
        deleted: tuple[str, ...] = (),
    ) -> None:
        self.plain = plain
        self.increments = increments
        self.counted = counted
        self.deleted = deleted


def draft(request: Request, key: bytes, record: Any, intent: Intent) -> tuple[Any, list[Change | Increment]]:
    """The record with the intent on top, counted and noted in the ledger."""
    simulation, world = request.simulation, request.process.world
    amounts, module = simulation.ledger.amounts, simulation.subject.record
    puts: dict[str, Any] = dict.fromkeys(intent.plain, 1)
    for name in intent.counted:
        puts[name] = amounts.value()
    made = [amounts.increment(key, name, simulation.random.choice((1, 1, -1))) for name in intent.increments]
    by = {increment.name: increment.amount for increment in made}
    with request.process.counters.counting(key, by) as own:
        changes = module.Changes(puts, intent.deleted, by)
        after = module.apply(record, changes, own, writer=world.nonce(), now_ms=world.now_ms())
    for increment in made:
        increment.writer, sub = own[increment.name]
        increment.n = sub[0]
    for name in (*intent.counted, *(name for name in intent.deleted if name in amounts.names)):
        amounts.assign(record, name, after)
    noted: list[Change | Increment] = list(made)
    for name in (*puts, *intent.deleted):
        noted.append(simulation.ledger.change(key, name, after))
    return after, noted


def confirm(simulation: Simulation, key: bytes, noted: list[Change | Increment]) -> None:
    """The request returned well."""
    for one in noted:
        one.confirmed = simulation.now
    story = simulation.ledger.story(key)
    story.used = max(story.used, simulation.now)


def _judge_stored(simulation: Simulation, key: bytes, noted: list[Change | Increment]) -> None:
    """What is confirmed was stored by some node."""
    ledger = simulation.ledger
    records = [record for *_, record in ledger.log.get(key, ()) if not isinstance(record, ledger.dead)]
    for one in noted:
        if not any(one.held(record) for record in reversed(records)):
            simulation.violation("confirmed though no node stored it", key, one.name)


def change(key: bytes, intent: Intent, hold: float = 0.0) -> Step:
    """Load, change, save."""

    def changing(request: Request) -> Steps:
        plans = request.simulation.subject.plans
        found = yield from _load_for_commit(request, key, hold)
        if found is None:
            return "not found"
        record, noted = draft(request, key, found.record, intent)
        outcome = yield from plans.save(request.process.world, key, record, found.tokens, request.deadline)
        if type(outcome) is plans.Saved:
            confirm(request.simulation, key, noted)
            _judge_stored(request.simulation, key, noted)
        elif type(outcome) is plans.Gone and outcome.record is None:
            _judge_gone(request, key)
        return outcome

    return changing


def _judge_gone(request: Request, key: bytes) -> None:
    """*Gone* without a tombstone says that every home has forgotten the session."""
    simulation = request.simulation
    ledger, before = simulation.ledger, request.simulation.now - 5 * 0.25
    if ledger.story(key).tried < simulation.now:
        return
    homes = request.process.homes(key)
    everybody = [memory for memory in ledger.memories(key) if memory[0] in homes]
    if ledger.holders(key, everybody, before, lambda record: not isinstance(record, ledger.dead)):
        simulation.violation("called gone though a home has it", key)


def increment(key: bytes, *names: str, hold: float = 0.0) -> Step:
    """Count, on one or several keys."""
    return change(key, Intent(increments=names), hold)


def assign(key: bytes, name: str, hold: float = 0.0, *, delete: bool = False) -> Step:
    """Set or delete a key that is counted on."""
    return change(key, Intent(deleted=(name,)) if delete else Intent(counted=(name,)), hold)


def logout(key: bytes, *, loaded: bool = True) -> Step:
    """End the session; with or without looking first."""

    def leaving(request: Request) -> Steps:
        simulation, plans = request.simulation, request.simulation.subject.plans
        if loaded:
            outcome = yield from look(request, key)
            if type(outcome) in (plans.Ended, plans.Absent):
                return outcome
        story = simulation.ledger.story(key)
        story.tried = min(story.tried, simulation.now)
        buried = yield from plans.end(request.process.world, key)
        if buried.final:
            story.ended = min(story.ended, simulation.now)
        return buried

    return leaving


def refill(key: bytes, wait: float = 0.0) -> Step:
    """One key of the background refill."""

    def refilling(request: Request) -> Steps:
        if wait:
            yield wait
        return (yield from request.simulation.subject.plans.repair(request.process.world, key))

    return refilling


def refill_all(empty: str) -> Step:
    """The refill of an emptied node: keys are listed by the other nodes, and repaired one by one."""

    def refilling(request: Request) -> Steps:
        simulation = request.simulation
        listed = [key for node in simulation.nodes if node.name != empty and not node.down for key in node.items]
        for key in sorted(set(listed)):
            yield simulation.random.random() * 0.05
            yield from simulation.subject.plans.repair(request.process.world, key)
        return len(listed)

    return refilling


class Jar:
    """The visitor's cookie: which session it names, and what was confirmed under it."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.moves = 0


def regenerate(
    jar: Jar, new: bytes, intent: Intent | None = None, old: bytes | None = None, own: Own | None = None
) -> Step:
    """Move the session to a new ID, perhaps with limits of its own; the cookie follows when the old one has ended."""

    def moving(request: Request) -> Steps:
        simulation, plans, world = request.simulation, request.simulation.subject.plans, request.process.world
        key = old or jar.key
        found = yield from _load_for_commit(request, key, 0.0)
        if found is None:
            return "not found"
        record, noted = draft(request, key, found.record, intent or Intent())
        story = simulation.ledger.story(key)
        fresh = simulation.ledger.story(new, story)
        fresh.deadline_s = story.deadline_s
        limits = own and _limits(request, fresh, own)
        story.tried = min(story.tried, simulation.now)
        mark = f"{simulation.random.getrandbits(64):016x}"
        plan = plans.regenerate(world, key, new, record, found.tokens, mark, request.deadline, limits)
        outcome = yield from plan
        if type(outcome) is plans.Regenerated:
            story.ended = min(story.ended, simulation.now)
            confirm(simulation, key, noted)
            fresh.used = max(fresh.used, simulation.now)
            jar.key, jar.moves = new, jar.moves + 1
        else:
            fresh.tried = min(fresh.tried, simulation.now)
        return outcome

    return moving


def _limits(request: Request, story: Story, own: Own) -> Any:
    story.idle_s, story.deadline_s = own[0], request.simulation.now + own[1]
    deadline_ms = request.process.world.now_ms() + int(own[1] * 1000)
    return request.simulation.subject.plans.Limits(int(own[0] * 1000), deadline_ms)


def modify(key: bytes, name: str, tally: dict[str, int]) -> Step:
    """Read, add one, write; `tally` counts what came of it."""

    def modifying(request: Request) -> Steps:
        plans, absent = request.simulation.subject.plans, request.simulation.subject.record.ABSENT
        found = yield from _load_for_commit(request, key, 0.0)
        if found is None:
            return "not found"

        def plus_one(value: Any) -> Any:
            return 1 if value is absent else value + 1

        plan = plans.modify(request.process.world, key, name, plus_one, found, request.deadline)
        outcome = yield from plan
        title = type(outcome).__name__
        tally[title] = tally.get(title, 0) + 1
        return outcome

    return modifying


def forever(simulation: Simulation, key: bytes) -> bool:
    """Whether nobody has tried to end the session."""
    return simulation.ledger.story(key).tried == NEVER
