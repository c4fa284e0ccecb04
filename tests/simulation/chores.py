"""The shipped keepers in the simulated world: one behind the requests of each web process."""

from collections.abc import Callable, Iterator
from typing import Any

from .process import Process, Request
from .world import Simulation

PLAN_S = 5.0
NOT_SESSIONS = (b".lock", b":node", b":upkeep")


def perform(request: Request, chore: Any) -> Any:
    """A chore as the steps of a request."""
    upkeep = request.simulation.subject.upkeep
    answer: Any = None
    while True:
        try:
            step = chore.send(answer)
        except StopIteration as done:
            return done.value
        if isinstance(step, upkeep.Pause):
            request.rounds = 0
            answer = yield float(step.seconds)
        elif isinstance(step, upkeep.Listing):
            answer = _listed(request, step.node)
        else:
            request.deadline = request.simulation.now + PLAN_S
            answer = yield from step


def _listed(request: Request, name: str) -> Iterator[list[bytes]]:
    """What a node lists. Often the connection ends in the middle; an item that moves is missed, but not twice."""
    simulation, node = request.simulation, request.simulation.network.nodes[name]
    chance = simulation.random.random
    if node.down or node.stopped or (request.process.link, name) in simulation.network.cuts:
        raise_at = 0
    else:
        raise_at = 1 if chance() < 0.2 else 10**9
    for at, key in enumerate(sorted(node.items)):
        if at >= raise_at:
            break
        if key.endswith(NOT_SESSIONS):
            continue
        if key in node.unlisted or chance() > 0.1:
            node.unlisted.discard(key)
            yield [key]
        else:
            node.unlisted.add(key)
    if raise_at < 10**9:
        raise ConnectionError(f"{name} does not list")


class Upkeeper:
    """The keeper of one web process. `told` has the events."""

    def __init__(self, process: Process, pool: Any, begin: float) -> None:
        self.process = process
        self.told: list[Any] = []
        self._seen_out: set[str] = set()
        simulation = process.simulation
        upkeep = simulation.subject.upkeep
        self.keeper = upkeep.Keeper(pool, site_for=self._site, chance=simulation.random.random)
        simulation.start(begin, self._work, process)

    def _site(self, pool: Any) -> Any:
        simulation, process = self.process.simulation, self.process
        return simulation.subject.upkeep.site_of(
            pool,
            world=process.world,
            status_world=process.world,
            observe=self.told.append,
            mark=self._mark,
            rate=1000,
        )

    def _mark(self) -> bytes:
        return f"{self.process.simulation.random.getrandbits(128):032x}".encode()

    def _work(self, request: Request) -> Any:
        """What the client of a real process tells, is seen here between the steps."""
        events = request.simulation.subject.events
        steps, replies = perform(request, self.keeper.run()), None
        while True:
            out = {name for name, until in self.process.out.items() if until > request.simulation.now}
            for name in out - self._seen_out:
                self.keeper.heard(events.NodeOut(name, "simulated"))
            for name in self._seen_out - out:
                self.keeper.heard(events.NodeBack(name))
            self._seen_out = out
            replies = yield steps.send(replies)


def keepers(simulation: Simulation, pool: Any, begin: float = 0.5) -> list[Upkeeper]:
    """One for each web process."""
    return [Upkeeper(process, pool, begin) for process in simulation.processes]


def logout(key: bytes, upkeeper: Upkeeper) -> Callable[[Request], Any]:
    """A visitor's logout, in the process of that keeper, which is told who has missed it."""

    def leaving(request: Request) -> Any:
        simulation, plans = request.simulation, request.simulation.subject.plans
        story = simulation.ledger.story(key)
        story.tried = min(story.tried, simulation.now)
        buried = yield from plans.end(request.process.world, key)
        if buried.confirmed:
            story.ended = min(story.ended, simulation.now)
        upkeeper.keeper.missed(key, plans.INVALIDATED, buried.missed)
        return buried

    return leaving
