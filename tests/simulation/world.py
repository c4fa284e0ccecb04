"""The simulated world: one heap of events, one seeded source of chance, nodes, web processes, a ledger."""

import random
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from heapq import heappop, heappush
from typing import Any

from .ledger import Ledger
from .network import CORRUPT, TIMEOUT_S, Network, Round
from .process import Process, Request
from .subject import Subject
from .telling import told

IDLE_S, ABSOLUTE_S = 100.0, 1000.0
EPOCH_S = 1_000_000.0
ROUNDS_MAX = 300
EVENTS_MAX = 60_000

Body = Callable[[Request], Generator[Any, Any, Any]]
Placing = tuple[str, ...] | Callable[[bytes], tuple[str, ...]]


class RecordCodec:
    """Stores records as they are; what a fault has corrupted cannot be opened."""

    def seal(self, key: bytes, record: Any) -> Any:
        return record

    def open(self, key: bytes, value: Any) -> Any:
        return None if value is CORRUPT else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a scenario starts from."""

    nodes: int = 2
    copies: int = 2
    processes: int = 3
    memory_limit: int = 65_536
    longest_s: int = int(ABSOLUTE_S)
    strict: int = 0


@cache
def _lifetime(subject: Subject, longest_s: int) -> Any:
    idle, absolute, longest = (timedelta(seconds=limit) for limit in (IDLE_S, ABSOLUTE_S, longest_s))
    return subject.lifetime.Lifetime(idle=idle, absolute=absolute, longest=longest)


class Simulation:
    """One run. The same subject, setting and seed give the same run, event by event."""

    def __init__(self, subject: Subject, setting: Setting, seed: int, trace: list[str] | None = None) -> None:
        self.subject = subject
        self.random = random.Random(seed)
        self.trace = trace
        self.now = 0.0
        self.epoch_s = EPOCH_S
        self.longest_s = setting.longest_s
        self.lifetime = _lifetime(subject, setting.longest_s)
        self.codec = RecordCodec()
        self.heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self.events = self.serial = self.names = 0
        self.out_least_s = 0.1
        self.memory_limit = setting.memory_limit
        self.strict = bool(setting.strict)
        self.violations: Counter[str] = Counter()
        self.soft: Counter[str] = Counter()
        names = [chr(ord("A") + i) for i in range(setting.nodes)]
        self.network = Network(self, names)
        self.nodes = list(self.network.nodes.values())
        self.placements: list[Placing] = [tuple(names[: setting.copies])]
        self.sets: list[Callable[[bytes], tuple[tuple[str, ...], ...]]] = []
        """Of each placement that has previous pools: the homes by pool."""
        self.ledger = Ledger(self)
        self.processes = [Process(self, i, f"web{i + 1}") for i in range(setting.processes)]

    def monotonic(self) -> float:
        """Seconds, as the plans see them."""
        return self.now

    def nonce(self) -> str:
        """A fresh name; their order is random."""
        self.names += 1
        return f"{self.random.getrandbits(20):05x}{self.names:x}"

    def now_ms(self) -> int:
        """The true time."""
        return int((self.epoch_s + self.now) * 1000)

    def at(self, time: float, action: Callable[..., None], *arguments: Any) -> None:
        """Do something at a time; in order of calling when the times are equal."""
        self.events += 1
        heappush(self.heap, (time, self.events, action, arguments))

    def run(self, until: float) -> None:
        """Let things happen up to a time."""
        heap = self.heap
        while heap and heap[0][0] <= until:
            time, _, action, arguments = heappop(heap)
            self.now = max(self.now, time)
            action(*arguments)
            if self.events > EVENTS_MAX:
                self.violation("the run does not end")
                heap.clear()
        self.now = max(self.now, until)

    def start(
        self, time: float, body: Body, process: Process | None = None, done: Callable[[Any], None] | None = None
    ) -> None:
        """A request comes in at `time`, at this process or at any."""

        def begin() -> None:
            chosen = process
            if chosen is None or not chosen.alive:
                chosen = self.any_process()
            request = Request(chosen, getattr(body, "__name__", "request"), done)
            request.steps = body(request)
            self._step(request, None)

        self.at(time, begin)

    def any_process(self) -> Process:
        """A living web process."""
        return self.random.choice([process for process in self.processes if process.alive])

    def _step(self, request: Request, replies: Any) -> None:
        process = request.process
        if not process.alive:
            request.steps.close()
            return
        if process.paused_until > self.now:
            request.paused = True
            self.at(process.paused_until, self._step, request, replies)
            return
        try:
            wish = request.steps.send(replies)
        except StopIteration as stop:
            self._finished(request, stop.value)
            return
        except Exception as error:  # noqa: BLE001 - any exception of a plan is a finding
            self.violation(f"exception {type(error).__name__}", request, error)
            return
        if type(wish) is float:
            request.deadline += wish
            self.at(self.now + wish, self._step, request, None)
            return
        request.rounds += 1
        if not wish or request.rounds > ROUNDS_MAX:
            self.violation("runaway" if wish else "empty round", request)
            return
        self.network.send(Round(request, wish, self.now))

    def resume(self, round_: Round) -> None:
        """All replies are in: go on, sometimes after the event loop was busy."""
        chance = self.random.random()
        delay = 0.0001 if chance < 0.67 else 0.03 * (chance - 0.67) / 0.33
        self.at(round_.latest + delay, self._step, round_.request, round_.replies)

    def _finished(self, request: Request, outcome: Any) -> None:
        if self.trace is not None:
            self.say(f"{request} done: {told(outcome)}")
        if self.now > request.deadline + 3 * TIMEOUT_S and not request.paused:
            self.violation("over the time budget", request, self.now - request.deadline)
        if request.done is not None:
            request.done(outcome)

    def violation(self, kind: str, *details: object) -> None:
        """A promise is broken."""
        self.violations[kind] += 1
        if self.trace is not None:
            self.say(f"***** VIOLATION: {kind} {' '.join(map(told, details))}")

    def say(self, text: str) -> None:
        """A line for the trace."""
        if self.trace is not None:
            self.trace.append(f"{self.now:9.4f} {text}")
