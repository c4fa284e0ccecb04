"""Real memcached processes on free loopback ports, to kill, pause and start again."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence

PATIENCE_S = 10.0


def free_port() -> int:
    """A TCP port of 127.0.0.1 on which nobody listens now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Memcached:
    """One memcached process. The port stays the same over `kill()` and `start()`; the memory does not.

    `port` 0 picks a free one. With `path` it listens on that unix socket instead and `port` is 0.
    """

    def __init__(self, port: int = 0, *, path: str = "", options: Sequence[str] = ()) -> None:
        self.port = 0 if path else port or free_port()
        self.path = path
        self.options = tuple(options)
        self.process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"Memcached({self.address}, pid={self.process.pid if self.process else None})"

    def __enter__(self) -> "Memcached":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        assert self.process is not None, "not started"
        return self.process.pid

    @property
    def address(self) -> str:
        return self.path or f"127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> "Memcached":
        """Start it and wait until it takes connections. Starting a running one is an error."""
        assert not self.running, f"{self!r} runs already"
        where = ["-s", self.path] if self.path else ["-l", "127.0.0.1", "-p", str(self.port), "-U", "0"]
        user = ["-u", "root"] if os.getuid() == 0 else []
        self.process = subprocess.Popen(
            ["memcached", *where, *user, "-m", "64", "-t", "2", "-c", "512", *self.options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._await_listening()
        return self

    def _await_listening(self) -> None:
        give_up = time.monotonic() + PATIENCE_S
        while True:
            try:
                self.connect().close()
                # It listens at one address after the other.
                if "::1" in self.options:
                    socket.create_connection(("::1", self.port), timeout=PATIENCE_S).close()
            except OSError:
                assert self.running, f"memcached did not start at {self.address}"
                assert time.monotonic() < give_up, f"memcached does not listen at {self.address}"
                time.sleep(0.005)
            else:
                return

    def connect(self) -> socket.socket:
        """A plain blocking socket to it, for a look from outside."""
        if not self.path:
            return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)
        door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        door.settimeout(PATIENCE_S)
        try:
            door.connect(self.path)
        except OSError:
            door.close()
            raise
        return door

    def ask(self, line: bytes, *, until: bytes = b"\r\n") -> bytes:
        """Send one line over a connection of its own; what came back up to and including `until`."""
        with self.connect() as door:
            door.sendall(line + b"\r\n")
            answer = b""
            while not answer.endswith(until):
                piece = door.recv(65536)
                if not piece:
                    break
                answer += piece
            return answer

    def stats(self) -> dict[str, str]:
        """memcached's own counters, by name (`curr_connections`, `cmd_get`, `curr_items`, ...)."""
        lines = self.ask(b"stats", until=b"END\r\n").decode().split("\r\n")
        return dict(line.split(" ", 2)[1:] for line in lines if line.startswith("STAT "))

    def await_connections(self, least: int, most: int) -> None:
        """Wait until it counts so many connections, without the one that asks. It is not quick to forget one."""
        for _ in range(2_000):
            count = int(self.stats()["curr_connections"]) - 1
            if least <= count <= most:
                return
            time.sleep(0.005)
        raise AssertionError(f"{count} connections")

    def flush(self) -> None:
        """Forget everything, as `flush_all` does."""
        assert self.ask(b"flush_all") == b"OK\r\n"

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone. Harmless when it is not running."""
        self._end(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM, and wait until it is gone. Harmless when it is not running."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(how)
            if how is not signal.SIGKILL:
                self.process.send_signal(signal.SIGCONT)
            self.process.wait(PATIENCE_S)
        self.process = None

    def restart(self) -> None:
        """Kill it and start it empty on the same port."""
        self.kill()
        self.start()

    def stop(self) -> None:
        """SIGSTOP: it hangs, its sockets stay open and the kernel still takes connections for it."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitpid(self.pid, os.WUNTRACED)

    def cont(self) -> None:
        """SIGCONT: it goes on where it hung, and answers what was sent meanwhile."""
        os.kill(self.pid, signal.SIGCONT)
