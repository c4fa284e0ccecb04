"""One process of the demo: started, waited for until it answers, ended."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from example_app.demo.ports import ask

START_S_MAX = 20.0
END_S_MAX = 5.0
PAUSE_S = 0.02


class StartError(Exception):
    """A process did not come up; the message holds the last lines it wrote."""


class PortTaken(StartError):
    """A process did not come up because another one has its port."""


@dataclass(kw_only=True)
class Child:
    """A server on a port of this machine, as one process after the other.

    `question` is sent to the port to see whether it serves, and `answer`, with {pid} in it, must begin the reply.
    """

    name: str
    port: int
    command: Sequence[str]
    log: Path
    question: bytes
    answer: str
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    """Not an asyncio process: this one is known from the moment it exists, whatever is cancelled meanwhile."""

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        """The process's number, 0 if there is none."""
        return self.process.pid if self.process is not None and self.running else 0

    async def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            StartError: it ended by itself, or did not answer in time; then it is ended.
        """
        self._spawn()
        give_up = time.monotonic() + START_S_MAX
        while not await self._answers():
            if not self.running:
                raise self.failure("ended at once")
            if time.monotonic() > give_up:
                await self.end(signal.SIGKILL)
                raise self.failure(f"did not answer within {START_S_MAX:.0f} s")
            await asyncio.sleep(PAUSE_S)

    async def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Send it the signal and wait until it is gone; one that does not go is killed."""
        if self.process is None:
            return
        self.process.send_signal(how)
        give_up = time.monotonic() + END_S_MAX
        while self.process.poll() is None:
            if time.monotonic() > give_up:
                self.process.kill()
            await asyncio.sleep(PAUSE_S)

    def _spawn(self) -> None:
        with self.log.open("wb") as log:
            try:
                self.process = subprocess.Popen(
                    self.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, **self.environment},
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
