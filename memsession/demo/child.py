"""One process of the demo: started, waited for until it answers, stopped for a while, ended."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from memsession.demo.ports import ask

START_S_MAX = 20.0
END_S_MAX = 5.0
PAUSE_S = 0.02


class StartError(Exception):
    """A process did not come up; the message holds the last lines it wrote."""


class PortTaken(StartError):
    """A process did not come up because another one has its port."""


class Kind(Enum):
    """What a server is for; a stand-in is what it stands for."""

    MEMCACHED = "memcached"
    WEB = "web"
    PROXY = "proxy"


class State(Enum):
    """What a process does. One that hangs was stopped by SIGSTOP: the system still takes connections for it."""

    RUNS = "runs"
    HANGS = "hangs"
    ENDED = "ended"


@dataclass(kw_only=True)
class Child:
    """A server on a port of this machine, as one process after the other.

    `question` is sent to the port to see whether it serves, and `answer`, with {pid} in it, must begin the reply.
    """

    name: str
    kind: Kind
    port: int
    command: Sequence[str]
    log: Path
    question: bytes
    answer: str
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    """Not an asyncio process: this one is known from the moment it exists, whatever is cancelled meanwhile."""

    told_to_hang: bool = False

    @property
    def running(self) -> bool:
        """Whether there is a process; it may hang."""
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        """The process's number, 0 if there is none."""
        return self.process.pid if self.process is not None and self.running else 0

    @property
    def state(self) -> State:
        pid = self.pid
        if not pid:
            return State.ENDED
        stopped = _is_stopped(pid)
        return State.HANGS if (self.told_to_hang if stopped is None else stopped) else State.RUNS

    async def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            StartError: it runs already, ended by itself, or did not answer in time; then it is ended.
        """
        if self.running:
            raise StartError(f"{self.name} runs already, as process {self.pid}")
        self._spawn()
        await self._until_it_answers()

    async def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Send it the signal and wait until it is gone; one that does not go is killed."""
        if self.process is None:
            return
        self.process.send_signal(how)
        # One that hangs would get the signal only when it goes on.
        self.process.send_signal(signal.SIGCONT)
        give_up = time.monotonic() + END_S_MAX
        while self.process.poll() is None:
            if time.monotonic() > give_up:
                self.process.kill()
            await asyncio.sleep(PAUSE_S)

    async def hang(self) -> None:
        """Stop it without ending it, and wait until it has stopped.

        Raises:
            StartError: it has not; or it ended meanwhile.
        """
        if self.process is None:
            return
        self.process.send_signal(signal.SIGSTOP)
        self.told_to_hang = True
        give_up = time.monotonic() + END_S_MAX
        while self.state is not State.HANGS:
            if not self.running or time.monotonic() > give_up:
                raise StartError(f"{self.name} could not be stopped")
            await asyncio.sleep(PAUSE_S)

    async def go_on(self) -> None:
        """Let it continue, and wait until it answers.

        Raises:
            StartError: it does not; then it is ended.
        """
        if self.process is None:
            return
        self.process.send_signal(signal.SIGCONT)
        self.told_to_hang = False
        await self._until_it_answers()

    async def _until_it_answers(self) -> None:
        give_up = time.monotonic() + START_S_MAX
        while not await self._answers():
            if not self.running:
                raise self.failure("ended at once")
            if time.monotonic() > give_up:
                await self.end(signal.SIGKILL)
                raise self.failure(f"did not answer within {START_S_MAX:.0f} s")
            await asyncio.sleep(PAUSE_S)

    def _spawn(self) -> None:
        self.told_to_hang = False
        with self.log.open("wb") as log:
            try:
                self.process = subprocess.Popen(
                    self.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    # Not where the demo was started: Python would look for modules there.
                    cwd=self.log.parent,
                    env={**_inherited(), **self.environment},
                    # Ctrl-C at the terminal goes to the demo alone, which then ends all in order.
                    start_new_session=True,
                )
            except OSError as error:
                raise StartError(f"{self.name} cannot be started: {error}") from error

    async def _answers(self) -> bool:
        expected = self.answer.format(pid=self.pid).encode()
        return await ask(self.port, self.question, len(expected)) == expected and self.running

    def failure(self, what: str) -> StartError:
        """Return the error that says `what` happened to it, with its own last words."""
        written = self.log.read_text(encoding="utf-8", errors="replace").strip()
        last = "\n".join(f"    {line}" for line in written.splitlines()[-8:]) or "    (it wrote nothing)"
        kind = PortTaken if "in use" in written.lower() else StartError
        return kind(f"{self.name} {what} (port {self.port}). Its last lines:\n{last}")


def _inherited() -> dict[str, str]:
    """This process's environment, without settings for a visit counter that is not the demo's."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COUNTER_")}


def _is_stopped(pid: int) -> bool | None:
    """Whether a process was stopped, by whomever; None where the system does not tell in passing."""
    try:
        # Linux: the state follows the program's name, which is in brackets and may hold any of them.
        words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return words[:1] == ["T"]
