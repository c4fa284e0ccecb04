"""Visits without pause, while somebody outside stops and continues this process. Exits with 0 if no node was out.

    stopped_visits.py blocking|asyncio|uvloop <address>...

It says "ready" when it is under way, and ends when its standard input does.
"""

import asyncio
import sys
import threading

import uvloop

from memsession.aio import AsyncClient
from memsession.blocking import BlockingClient
from memsession.commands import Bury, Get
from memsession.events import NodeOut
from memsession.pool import Pool
from tests.rounds import kinds, rounds

KEY = b"memsession:stopped"
ended = threading.Event()


def round_of(names, number):
    """Long values, so that the process is often stopped while one is on its way."""
    writes = [Bury(name, KEY, b"%d" % number * 20_000, 60) for name in names]
    return rounds(writes, [Get(name, KEY) for name in names])


def in_turn(client, names):
    """As a WSGI worker makes them."""
    number = 0
    while not ended.is_set():
        number += 1
        replies = client.run(round_of(names, number % 10))
        assert "Unreachable" not in kinds(replies), replies
        if number == 10:
            print("ready", flush=True)
    client.close()


async def together(client, names):
    """Four at a time, as an ASGI server makes them."""

    async def visits(who):
        number = 0
        while not ended.is_set():
            number += 1
            replies = await client.run(round_of(names, (who + number) % 10))
            assert "Unreachable" not in kinds(replies), replies
            if (who, number) == (0, 10):
                print("ready", flush=True)

    await asyncio.gather(*map(visits, range(4)))
    await client.aclose()


def main(kind, *addresses):
    pool = Pool(*addresses)
    names = [node.name for node in pool.nodes]
    told = []
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    if kind == "blocking":
        in_turn(BlockingClient(pool, observe=told.append), names)
    else:
        factory = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}[kind]
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(together(AsyncClient(pool, observe=told.append), names))
    assert [event for event in told if isinstance(event, NodeOut)] == [], told


if __name__ == "__main__":
    main(*sys.argv[1:])
