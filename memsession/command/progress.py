"""What is told while nodes are refilled: bars on a terminal, lines elsewhere, to programs only how it ended."""

from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Literal

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from memsession.command.output import console, plain
from memsession.events import AnyEvent, RefillBegan, RefillDone, RefillFailed, RefillProgress


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How it went with a node. `reason`: why it is not complete; empty if it is.

    Figures are None where another worker did it, or nobody.
    """

    node: str
    state: Literal["done", "incomplete", "silent", "left"]
    looked_at: int | None = None
    written: int | None = None
    seconds: float | None = None
    reason: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether the node has its copies of all sessions that any node knows."""
        return self.state == "done"

    @property
    def data(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)

    @property
    def line(self) -> str:
        """For people."""
        if self.state != "done":
            return f"{self.node}: not complete: {self.reason}"
        if self.seconds is None:
            return f"{self.node}: done"
        figures = f"{self.looked_at:,} sessions looked at, {self.written:,} copied, in {self.seconds:.1f} s"
        return f"{self.node}: done: {figures}"


class Telling:
    """To be called with the events of refills, and used as a context manager around them."""

    def __init__(self, *, quiet: bool) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self._quiet = quiet
        self._console = console()
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        if self._console.is_terminal and not quiet:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            self._bars = Progress(*columns, console=self._console)

    def __enter__(self) -> "Telling":
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, event: AnyEvent) -> None:
        """An event of the upkeep; others are passed over."""
        match event:
            case RefillBegan(node):
                self._bar(node, 0, None)
                self.say(f"{node}: begins")
            case RefillProgress(node, looked_at, known, written):
                self._bar(node, looked_at, known)
                self._line(f"{node}: {looked_at:,} of {known:,} sessions, {written:,} copied")
            case RefillDone(node, looked_at, written, seconds):
                self._bar(node, looked_at, looked_at)
                self.end(Outcome(node=node, state="done", looked_at=looked_at, written=written, seconds=seconds))
            case RefillFailed(node, reason):
                self.broken(node, "incomplete", plain(reason))

    def broken(self, node: str, state: Literal["incomplete", "silent", "left"], reason: str) -> None:
        """A node is not complete."""
        self.end(Outcome(node=node, state=state, reason=reason))

    def end(self, outcome: Outcome) -> None:
        """How it went with a node."""
        self.outcomes[outcome.node] = outcome
        self.say(outcome.line)

    def say(self, text: str) -> None:
        """A line; above the bars, where there are some."""
        if not self._quiet:
            self._console.print(text, soft_wrap=True)

    def _line(self, text: str) -> None:
        """What a bar shows, where there is none."""
        if self._bars is None:
            self.say(text)

    def _bar(self, node: str, completed: int, total: int | None) -> None:
        if self._bars is None:
            return
        if node not in self._tasks:
            self._tasks[node] = self._bars.add_task(node, total=total)
        self._bars.update(self._tasks[node], completed=completed, total=total)
