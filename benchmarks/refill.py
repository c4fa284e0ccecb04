"""What a refill costs the visitors: the same load with the work behind the requests at rest, and at full rate.

    python -m benchmarks.refill [--sessions 50000] [--seconds 8] [--rounds 3] [--connections 16]

Two memcached servers hold idle sessions. A round is a stretch of load at rest, and one during which a server has been
emptied and is refilled. The web server runs on the first processor and does the refill itself, which is the worst
case: with several, only one of them does. The load is full, so whatever the refill takes is missing. Only the ratios
mean something on another machine. Needs wrk.
"""

import argparse
import os
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.visit import free_port, load, process, wait_for
from memsession import Lifetime, Pool
from memsession.blocking import BlockingClient
from memsession.identity import SessionId, storage_key
from memsession.plans import create
from memsession.plans.together import together
from memsession.record import Changes, Live, apply
from memsession.secret import secret_keys
from memsession.surroundings import world_of

SECRET = "benchmark-only-7d0f1b3a5c9e2846-not-a-secret"


def fill(pool: Pool, count: int) -> None:
    """Idle sessions of some 300 bytes."""
    client = BlockingClient(pool)
    world = world_of(secret_keys(SECRET), Lifetime(), client, pool.placed)
    now_ms = world.now_ms()
    empty = Live({}, {}, now_ms, now_ms + 36_000_000, now_ms)
    record = apply(empty, Changes({"user_id": 7, "cart": ["x" * 200]}), {}, writer="w", now_ms=now_ms)
    for begin in range(0, count, 100):
        keys = [storage_key(SessionId.new(), pool.prefix) for _ in range(min(100, count - begin))]
        client.run(together([create(world, key, record) for key in keys]))
    client.close()


def flush(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as door:
        door.sendall(b"flush_all\r\n")
        door.recv(64)


class Log:
    """What the web server says of its refills."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def count(self, words: str) -> int:
        return self._path.read_text().count(words)

    def wait(self, words: str, times: int) -> None:
        end = time.monotonic() + 120
        while self.count(words) < times:
            if time.monotonic() > end:
                sys.exit(f"the web server never said {words!r} for the {times}th time")
            time.sleep(0.05)


@contextmanager
def flushing(port: int, log: Log) -> Iterator[None]:
    """Empty the server again whenever it is full, so that there is always a refill going on."""
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            done = log.count("is done")
            flush(port)
            while log.count("is done") == done and not over.wait(0.05):
                pass

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield
    finally:
        over.set()
        worker.join()


def measure(sessions: int, seconds: int, rounds: int, connections: int) -> list[tuple[tuple[float, ...], ...]]:
    with ExitStack() as stack:
        nodes = [free_port(), free_port()]
        for port in nodes:
            stack.enter_context(
                process(1, "memcached", "-l", "127.0.0.1", "-p", str(port), "-m", "256", "-u", "nobody")
            )
            wait_for(port)
        fill(Pool(*(f"127.0.0.1:{port}" for port in nodes)), sessions)
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        log = Log(Path(folder, "log"))
        port = free_port()
        env = {"APP": "memsession", "NODES": ",".join(f"127.0.0.1:{node}" for node in nodes)}
        code = (
            "import logging, sys, uvicorn; "
            "logging.basicConfig(level=logging.INFO, filename=sys.argv[2]); "
            "uvicorn.run('benchmarks.visit_app:app', port=int(sys.argv[1]), access_log=False, log_level='warning', "
            "loop='uvloop', http='httptools')"
        )
        Path(folder, "log").touch()
        pid = stack.enter_context(process(0, sys.executable, "-c", code, str(port), folder + "/log", **env))
        wait_for(port)
        log.wait("is done", 2)
        load(port, pid, connections, 1)
        pairs = []
        for _ in range(rounds):
            rest = load(port, pid, connections, seconds)
            with flushing(nodes[0], log):
                log.wait("begins", log.count("is done") + 1)
                work = load(port, pid, connections, seconds)
            log.wait("is done", log.count("begins"))
            pairs.append((rest, work))
        return pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=50_000)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=16)
    options = parser.parse_args()
    pairs = measure(options.sessions, options.seconds, options.rounds, options.connections)
    print(f"{options.sessions:,} idle sessions, {options.connections} connections, load {os.getloadavg()[0]:.1f}")
    for name, at in (("requests/s", 0), ("p50 ms", 1), ("p99 ms", 2)):
        rest, work = (statistics.median(pair[side][at] for pair in pairs) for side in (0, 1))
        ratio = statistics.median(pair[1][at] / pair[0][at] for pair in pairs)
        print(f"{name:12} at rest {rest:10,.2f}   during a refill {work:10,.2f}   x {ratio:.2f}")


if __name__ == "__main__":
    main()
