"""Web servers in processes of their own, and browsers that visit them over keep-alive connections."""

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers import PATIENCE_S

PROJECT = Path(__file__).parents[1]


class Program:
    """A Python program that takes a free port and prints the URL; ended by its PID. `said` is what it printed."""

    def __init__(self, *command: str, **env: str) -> None:
        self.port = 0
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed at the end
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", *command],
            cwd=PROJECT,
            env={**os.environ, "PYTHONPATH": str(PROJECT), **env},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    def __enter__(self) -> "Program":
        give_up = time.monotonic() + 2 * PATIENCE_S
        while not (url := re.search(r"http://127\.0\.0\.1:(\d+)", self.said)):
            if self.process.poll() is not None or time.monotonic() > give_up:
                self.end()
                raise AssertionError(f"it did not start: {self.said}")
            time.sleep(0.02)
        self.port = int(url[1])
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._output.close()

    @property
    def said(self) -> str:
        self._output.seek(0)
        return self._output.read().decode("utf-8", "replace")

    def end(self) -> None:
        """SIGTERM, and wait until it is gone."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


GUNICORN = {
    "sync": ("-k", "sync", "-w", "2"),
    "gthread": ("-k", "gthread", "-w", "1", "--threads", "8"),
    "gevent": ("-k", "gevent", "-w", "2"),
}
"""Its kinds of workers."""


@contextmanager
def gunicorn(pool: str, *options: str, app: str = "tests.programs.flask_shop", **env: str) -> Iterator[Program]:
    """A Flask application under gunicorn."""
    given = ["--no-control-socket", "--keep-alive", "60", *options]
    command = ["-m", "gunicorn", "-b", "127.0.0.1:0", *given, f"{app}:app"]
    with Program(*command, POOL=pool, **env) as server:
        yield server


@contextmanager
def uvicorn(pool: str) -> Iterator[Program]:
    """The Starlette application of `tests.programs.starlette_shop`."""
    command = ["-m", "uvicorn", "--port", "0", "--no-access-log", "tests.programs.starlette_shop:app"]
    with Program(*command, POOL=pool) as server:
        yield server


@dataclass
class Page:
    """What a browser got."""

    status: int
    set_cookie: str
    body: bytes
    worker: str


@dataclass
class Browser:
    """One keep-alive connection, opened again when the server closed it. It keeps one cookie."""

    port: int
    cookie: str = ""
    _connection: socket.socket | None = field(default=None, repr=False)
    _rest: bytes = b""

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection, self._rest = None, b""

    def get(self, path: str, *, obey: bool = True) -> Page:
        """One request; with `obey` it takes the cookie that comes with the answer."""
        cookie = f"Cookie: {self.cookie}\r\n" if self.cookie else ""
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{cookie}\r\n".encode()
        fresh = self._connection is None
        try:
            page = self._exchange(request)
        except ConnectionError:
            # A server may close an idle connection at any time; then, and only then, it has not seen the request.
            assert not fresh, "the server closed a new connection"
            self.close()
            page = self._exchange(request)
        if obey and page.set_cookie:
            self.cookie = "" if "Max-Age=0" in page.set_cookie else page.set_cookie.partition(";")[0]
        return page

    def _exchange(self, request: bytes) -> Page:
        if self._connection is None:
            self._connection = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)
        self._connection.sendall(request)
        head, headers = self._head()
        length = int(headers.get("content-length", "0"))
        while len(self._rest) < length:
            self._receive()
        body, self._rest = self._rest[:length], self._rest[length:]
        if headers.get("connection", "").lower() == "close":
            self.close()
        return Page(int(head.split()[1]), headers.get("set-cookie", ""), body, headers.get("x-worker", ""))

    def _head(self) -> tuple[str, dict[str, str]]:
        while b"\r\n\r\n" not in self._rest:
            self._receive()
        raw, _, self._rest = self._rest.partition(b"\r\n\r\n")
        head, *lines = raw.decode("latin-1").split("\r\n")
        return head, {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

    def _receive(self) -> None:
        assert self._connection is not None
        piece = self._connection.recv(65_536)
        if not piece:
            raise ConnectionResetError("the server closed the connection")
        self._rest += piece
