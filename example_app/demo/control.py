"""The demo's ear: `scripts/demo stop a` in one terminal reaches the demo that runs in another.

A running demo listens on a socket in its own folder, and leaves a note in the project's `.run/demos` that says where.
One line is asked, one or more lines are answered, the first of which begins with "ok" or "error".
"""

import asyncio
import json
import os
import signal
import socket
from typing import Final

from example_app.demo.child import StartError
from example_app.demo.programs import PROJECT
from example_app.demo.stage import PROXY, Stage

NOTES: Final = PROJECT / ".run" / "demos"
ANSWER_S_MAX = 40.0
_ENDINGS: Final = {"stop": signal.SIGTERM, "kill": signal.SIGKILL}


class NotReached(Exception):
    """No demo runs, or more than one and none was chosen."""


class Ear:
    """An async context manager: inside it, the demo obeys commands from outside."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._note = NOTES / f"{os.getpid()}.json"
        self._turn = asyncio.Lock()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> "Ear":
        path = self._stage.folder / "control"
        self._server = await asyncio.start_unix_server(self._serve, path)
        NOTES.mkdir(parents=True, exist_ok=True)
        port = self._stage.children[PROXY].port
        self._note.write_text(json.dumps({"socket": str(path), "port": port}), encoding="utf-8")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._note.unlink(missing_ok=True)
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            words = (await reader.readline()).decode("utf-8", "replace").split()
            async with self._turn:
                answer = await self._obey(words)
            writer.write(f"{answer}\n".encode())
            await writer.drain()
        except (OSError, ValueError):
            pass  # whoever asked has gone, or sent something endless
        finally:
            writer.close()

    async def _obey(self, words: list[str]) -> str:
        match words:
            case ["status"]:
                return "ok\n" + "\n".join(status(self._stage))
            case ["start" | "stop" | "kill", name] if name not in self._stage.children:
                return f"error: there is no {name} here, but {', '.join(self._stage.children)}"
            case ["start", name]:
                try:
                    await self._stage.start(name)
                except StartError as error:
                    return f"error: {error}"
                return f"ok: {name} runs, as process {self._stage.children[name].pid}"
            case ["stop" | "kill" as verb, name]:
                if not self._stage.children[name].running:
                    return f"error: {name} does not run"
                await self._stage.end(name, _ENDINGS[verb])
                return f"ok: {name} has ended"
            case _:
                return "error: say status, or start, stop or kill and a name"


def status(stage: Stage) -> list[str]:
    """Return a line for each server: its name, address and process."""
    return [
        f"  {name:<8} 127.0.0.1:{child.port:<6} {f'process {child.pid}' if child.running else 'ended'}"
        for name, child in stage.children.items()
    ]


def command(words: list[str], port: int = 0) -> str:
    """Tell a running demo, the one on `port` if given, and return its answer.

    Raises:
        NotReached: no demo runs, or several do and `port` does not say which.
    """
    opened = _open_doors()
    try:
        doors = {number: door for number, door in opened.items() if port in (0, number)}
        if not doors:
            raise NotReached("no demo runs" + (f" on port {port}" if port else "") + "; start it with scripts/demo")
        if len(doors) > 1:
            choices = " or ".join(f"--port {number}" for number in sorted(doors))
            raise NotReached(f"several demos run; say which: {choices}")
        (door,) = doors.values()
        door.sendall(" ".join(words).encode() + b"\n")
        with door.makefile(encoding="utf-8") as lines:
            return lines.read().rstrip("\n") or "error: the demo has ended"
    except OSError as error:
        raise NotReached(f"the demo did not answer: {error}") from error
    finally:
        for door in opened.values():
            door.close()


def _open_doors() -> dict[int, socket.socket]:
    """Connect to every demo that left a note, by its port; the notes of demos that were killed are taken away."""
    doors: dict[int, socket.socket] = {}
    for note in NOTES.glob("*.json"):
        door = socket.socket(socket.AF_UNIX)
        door.settimeout(ANSWER_S_MAX)
        try:
            content = json.loads(note.read_text(encoding="utf-8"))
            door.connect(content["socket"])
        except (OSError, ValueError, KeyError):
            door.close()
            note.unlink(missing_ok=True)
        else:
            doors[content["port"]] = door
    return doors
