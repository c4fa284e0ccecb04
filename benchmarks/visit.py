"""Requests a second, latency and processor time of a visit: no session, the framework's cookie session, memsession.

    python -m benchmarks.visit [--framework starlette|flask] [--seconds 5] [--rounds 3] [--json FILE]

Starlette runs under uvicorn (uvloop, httptools), Flask under gunicorn (one worker, gthread).

The web server runs on the first processor, wrk and both memcached on the second. Each round starts every kind once,
so that a drift of the machine hits all alike; the figures are medians over the rounds. Needs memcached and wrk.
Only the ratios mean something on another machine.
"""

import argparse
import http.client
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
KINDS = ("none", "cookie", "memsession", "assign")
CONNECTIONS = (1, 16, 64)
COLUMNS = ("requests/s", "p50 ms", "p99 ms", "CPU us/request")


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(port: int) -> None:
    end = time.monotonic() + 15
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


@contextmanager
def process(cpu: int, *command: str, **env: str) -> Iterator[int]:
    """A process on one processor, ended by its PID."""

    def pin() -> None:
        if hasattr(os, "sched_setaffinity") and len(os.sched_getaffinity(0)) > cpu:
            os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[cpu]})

    child = subprocess.Popen(command, env={**os.environ, **env}, preexec_fn=pin, cwd=HERE.parent)  # noqa: PLW1509
    try:
        yield child.pid
    finally:
        child.terminate()
        child.wait()


def processor_time_us(pid: int) -> float:
    """Processor time of a process's threads so far."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1000


def visitors(port: int, number: int) -> list[str]:
    """Make `number` first visits; the cookies they got."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    cookies = []
    for _ in range(number):
        connection.request("GET", "/visit")
        response = connection.getresponse()
        response.read()
        cookies.append((response.getheader("set-cookie") or "none=1").split(";")[0])
    return cookies


def load(port: int, pid: int, connections: int, seconds: float) -> tuple[float, ...]:
    with tempfile.NamedTemporaryFile("w", suffix=".cookies") as file:
        file.write("\n".join(visitors(port, 4 * connections)) + "\n")
        file.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(HERE / "visit.lua")]
        before = processor_time_us(pid)
        pin = ["taskset", "-c", "1"] if (os.cpu_count() or 1) > 1 else []
        out = subprocess.run(
            [*pin, *command, f"http://127.0.0.1:{port}/"],
            env={**os.environ, "COOKIES": file.name},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        used = processor_time_us(pid) - before
    line = next(line for line in out.splitlines() if line.startswith("RESULT"))
    requests, duration_us, p50, p99, _, bad, broken = map(int, line.split()[1:])
    if bad or broken:
        sys.exit(f"{bad} responses were no 2xx, {broken} connections broke: {out}")
    return requests / duration_us * 1e6, p50 / 1000, p99 / 1000, used / requests


def web_server(framework: str, port: int) -> tuple[str, ...]:
    if framework == "flask":
        threads = str(max(CONNECTIONS))
        options = ("--bind", f"127.0.0.1:{port}", "--worker-class", "gthread", "--threads", threads)
        return (sys.executable, "-m", "gunicorn", "benchmarks.visit_flask:app", *options, "--log-level", "warning")
    command = (sys.executable, "-m", "uvicorn", "benchmarks.visit_app:app", "--port", str(port))
    return *command, "--no-access-log", "--log-level", "warning", "--loop", "uvloop", "--http", "httptools"


def worker_of(pid: int) -> int:
    """The process that answers: gunicorn's is a child of the one that was started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else pid


def measure(framework: str, kind: str, seconds: float) -> dict[int, tuple[float, ...]]:
    with ExitStack() as stack:
        nodes = [free_port(), free_port()]
        for port in nodes:
            memcached = ("memcached", "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-t", "1", "-u", "nobody")
            stack.enter_context(process(1, *memcached))
            wait_for(port)
        port = free_port()
        env = {"APP": kind, "NODES": ",".join(f"127.0.0.1:{node}" for node in nodes)}
        pid = stack.enter_context(process(0, *web_server(framework, port), **env))
        wait_for(port)
        load(port, worker_of(pid), 16, 1)
        pid = worker_of(pid)
        return {connections: load(port, pid, connections, seconds) for connections in CONNECTIONS}


def report(figures: dict[str, dict[int, list[tuple[float, ...]]]]) -> None:
    print("| kind | connections | " + " | ".join(COLUMNS) + " | x cookie |")
    print("|---|---:|" + "---:|" * (len(COLUMNS) + 1))
    for connections in CONNECTIONS:
        for kind, by_connections in figures.items():
            rounds = by_connections[connections]
            medians = [statistics.median(column) for column in zip(*rounds, strict=True)]
            cookie = [row[0] for row in figures["cookie"][connections]]
            ratio = statistics.median(row[0] / other for row, other in zip(rounds, cookie, strict=True))
            rate, p50, p99, cpu = medians
            print(f"| {kind} | {connections} | {rate:,.0f} | {p50:.2f} | {p99:.2f} | {cpu:.0f} | {ratio:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--framework", choices=("starlette", "flask"), default="starlette")
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    kinds = options.kinds.split(",")
    figures: dict[str, dict[int, list[tuple[float, ...]]]] = {kind: {c: [] for c in CONNECTIONS} for kind in kinds}
    for _ in range(options.rounds):
        for kind in kinds:
            for connections, row in measure(options.framework, kind, options.seconds).items():
                figures[kind][connections].append(row)
    print(f"Python {platform.python_version()}, {os.cpu_count()} processors, {options.rounds} rounds")
    report(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
