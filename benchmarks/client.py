"""Processor time that the client itself takes: two rounds to two nodes, as the load and the save of one visit.

    python benchmarks/client.py [--workers 16] [--seconds 1] [--repeat 3] [--bytes 500] [--loop asyncio|uvloop]

Each worker reads its value with a token from both nodes, then writes it back by CAS to both, again and again: once
by `AsyncClient`, once by aiomcache, once by nobody (the event loop turning, for comparison). Time is that of this
process, user and system, the event loop and the kernel's sockets included and memcached's own excluded. Compare
figures of one run only.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiomcache
import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))

from memsession.aio import AsyncClient
from memsession.commands import Cas, Get, Hit, Stored
from memsession.pool import Pool
from tests.servers import Memcached

Visit = Callable[[bytes, bytes], Awaitable[None]]


def pair(names, key, value):
    """The rounds of one visit, as a plan."""
    hits = yield [Get(name, key) for name in names]
    if all(type(hit) is Hit for hit in hits):
        replies = yield [Cas(name, key, value, 3600, hit.token) for name, hit in zip(names, hits, strict=True)]
        assert all(type(reply) is Stored for reply in replies), replies
    else:
        raise AssertionError(hits)


async def measure(visit: Visit, keys: list[bytes], value: bytes, seconds: float) -> tuple[float, float]:
    """Microseconds of processor time a visit, and visits a second."""
    done = 0
    end = time.perf_counter() + seconds

    async def worker(key: bytes) -> None:
        nonlocal done
        while time.perf_counter() < end:
            await visit(key, value)
            done += 1

    begun, begun_cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*map(worker, keys))
    return (time.process_time() - begun_cpu) / done * 1e6, done / (time.perf_counter() - begun)


async def compare(nodes: list[Memcached], options: argparse.Namespace) -> dict[str, list[tuple[float, float]]]:
    """Every way in turn, several times over, in one process."""
    pool = Pool(*(node.address for node in nodes))
    names = [node.name for node in pool.nodes]
    client = AsyncClient(pool)
    others = [aiomcache.Client("127.0.0.1", node.port, pool_size=options.workers) for node in nodes]

    async def by_memsession(key: bytes, value: bytes) -> None:
        await client.run(pair(names, key, value))

    async def by_aiomcache(key: bytes, value: bytes) -> None:
        hits = await asyncio.gather(*(other.gets(key) for other in others))
        stored = await asyncio.gather(
            *(other.cas(key, value, hit[1], 3600) for other, hit in zip(others, hits, strict=True))
        )
        assert all(stored)

    async def by_nobody(_key: bytes, _value: bytes) -> None:
        for _ in range(2):
            await asyncio.sleep(0)

    keys = [b"bench:%d" % number for number in range(options.workers)]
    value = b"x" * options.bytes
    for key in keys:
        await asyncio.gather(*(other.set(key, value) for other in others))
    ways: dict[str, Visit] = {"memsession": by_memsession, "aiomcache": by_aiomcache, "nobody": by_nobody}
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(options.repeat):
        for name, visit in ways.items():
            await measure(visit, keys, value, 0.1)
            figures[name].append(await measure(visit, keys, value, options.seconds))
    await client.aclose()
    for other in others:
        await other.close()
    return figures


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--bytes", type=int, default=500)
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], action="append")
    options = parser.parse_args()
    print(f"{options.workers} workers, {options.bytes} bytes, medians of {options.repeat}")
    print(f"{'loop':8} {'client':12} {'CPU us a visit':>15} {'lowest':>8} {'visits/s':>10} {'ratio':>7}")
    with Memcached() as one, Memcached() as two:
        for loop in options.loop or ["asyncio", "uvloop"]:
            runner = asyncio.Runner(loop_factory=uvloop.new_event_loop if loop == "uvloop" else None)
            with runner:
                figures = runner.run(compare([one, two], options))
            ours = statistics.median(cpu for cpu, _ in figures["memsession"])
            for name, rows in figures.items():
                cpu = statistics.median(cpu for cpu, _ in rows)
                rate = statistics.median(rate for _, rate in rows)
                lowest = min(cpu for cpu, _ in rows)
                print(f"{loop:8} {name:12} {cpu:15.1f} {lowest:8.1f} {rate:10,.0f} {cpu / ours:7.2f}")


if __name__ == "__main__":
    main()
