"""The web servers: the probed application under uvicorn and under gunicorn, each in processes of its own."""

import asyncio
import contextlib
import json
import os
from pathlib import Path
from typing import Any

from tests.webservers import Program

UVICORN = ("-m", "uvicorn", "--port", "0", "--no-access-log", "--timeout-keep-alive", "75")
UVICORN_END = ("--timeout-graceful-shutdown", "3", "tests.faults.probe_asgi:app")
GUNICORN = ("-m", "gunicorn", "-b", "127.0.0.1:0", "--no-control-socket", "--keep-alive", "75")
GUNICORN_END = ("--graceful-timeout", "3", "-k", "gthread", "--threads", "16", "tests.faults.probe_wsgi:app")
COMMANDS = {"asgi": (UVICORN, "--workers", UVICORN_END), "wsgi": (GUNICORN, "-w", GUNICORN_END)}
READY_S = 20.0


class WebServer:
    """One of `kind` "asgi" or "wsgi". `pool` as `probe.pool_from` takes it; `env` goes to the probed application."""

    def __init__(self, kind: str, pool: dict[str, Any], *, workers: int = 1, **env: str) -> None:
        self.kind = kind
        first, workers_option, last = COMMANDS[kind]
        self._command = (*first, workers_option, str(workers), *last)
        self._env = {"POOL": json.dumps(pool), **env}
        self._program: Program | None = None

    @property
    def port(self) -> int:
        assert self._program is not None
        return self._program.port

    @property
    def said(self) -> str:
        """All that it has printed."""
        return self._program.said if self._program else ""

    def events(self, kind: str = "") -> list[tuple[str, dict[str, Any]]]:
        """Events of nodes and of the pool that it has told so far, of one kind or of all."""
        told = [
            line.split(" ", 2)[1:] for line in self.said.rpartition("\n")[0].splitlines() if line.startswith("EVENT ")
        ]
        return [(name, json.loads(fields)) for name, fields in told if kind in ("", name)]

    @property
    def workers(self) -> list[int]:
        """Its processes that serve requests."""
        assert self._program is not None
        children = _children(self._program.process.pid)
        return children or [self._program.process.pid]

    @property
    def sockets(self) -> int:
        """How many sockets its workers have open."""
        return sum(_sockets(pid) for pid in self.workers)

    async def start(self) -> "WebServer":
        """Start it, and wait until it answers."""
        program = Program(*self._command, **self._env)
        try:
            self._program = await asyncio.to_thread(program.__enter__)
            async with asyncio.timeout(READY_S):
                while not await self._answers():  # noqa: ASYNC110 - nobody would set an event
                    await asyncio.sleep(0.02)
        except BaseException:
            await asyncio.to_thread(program.__exit__)
            raise
        return self

    async def stop(self) -> None:
        """SIGTERM, and wait until it is gone."""
        program, self._program = self._program, None
        if program is not None:
            await asyncio.to_thread(program.__exit__)

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        try:
            writer.write(b"GET /noaccess HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return b"200" in await reader.readline()
        except ConnectionError:
            return False
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


def _children(pid: int) -> list[int]:
    """Child processes that serve; not the one with which Python watches over shared things."""
    try:
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:
        return []
    return [int(child) for child in listed if b"resource_tracker" not in _command_of(child)]


def _command_of(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _sockets(pid: int) -> int:
    count = 0
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                count += os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:")
    return count
