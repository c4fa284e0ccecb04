"""Visits, forks, and visits in both processes with the one client object. Exits with 0 if each got its own values."""

import asyncio
import os
import sys

import uvloop

from memsession.aio import AsyncClient
from memsession.pool import Pool
from tests.rounds import News, visit

CHILDREN = 3
VISITS = 50


async def visits(client, names, who):
    """How many connections it took, and whether each visit found what the one before it stored."""
    before = None
    for number in range(VISITS):
        value = b"%s %d" % (who, number)
        found, _ = await client.run(visit(names, b"memsession:" + who.replace(b" ", b"-"), value))
        assert found == before, (found, before)
        before = value


def child(client, names, factory, number):
    """A forked process: its own loop, the parent's client."""
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(visits(client, names, b"child %d" % number))
        incarnations = dict(client.incarnations)
    assert len(incarnations) == len(names)


def main(kind, *addresses):
    factory = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}[kind]
    pool = Pool(*addresses)
    names = [node.name for node in pool.nodes]
    told = News()
    client = AsyncClient(pool, observe=told)
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(visits(client, names, b"parent"))
        children = []
        for number in range(CHILDREN):
            process = os.fork()
            if process == 0:
                code = 1
                try:
                    child(client, names, factory, number)
                    code = 0
                finally:
                    sys.stderr.flush()
                    os._exit(code)
            children.append(process)
        runner.run(visits(client, names, b"parent in between"))
        codes = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in children]
        runner.run(visits(client, names, b"parent at last"))
        runner.run(client.aclose())
    assert codes == [0] * CHILDREN, codes
    assert told == [], "no connection of the parent was lost"


if __name__ == "__main__":
    main(*sys.argv[1:])
