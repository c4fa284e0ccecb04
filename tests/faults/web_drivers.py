"""What goes wrong while visitors work: web servers, their clocks, their visitors, and the pool itself."""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import time
from typing import Any
from urllib.parse import quote

from memsession import Lifetime
from tests.faults.cell import Cell, Visitor
from tests.faults.cluster import WEBS
from tests.faults.drivers import LEAD_S
from tests.faults.pages import LEFT, Door

ABSOLUTE_S = Lifetime().absolute.total_seconds()
SWEEP_S = 0.02
SWEEP_STEPS = 50
MOVED_S = 60.0
KILLS = 13
"""In each cell; eight cells make a hundred."""


async def workers_killed(cell: Cell) -> None:
    """F13: processes of both web servers die by SIGKILL in the middle of saves."""
    await cell.sleep(LEAD_S)
    disagreed = 0
    kills = cell.count(KILLS, least=2)
    for number in range(kills):
        web = WEBS[number % 2]
        disagreed += await _kill_in_mid_save(cell, web, f"k{number}")
        await cell.sleep(0.3)
    cell.history.notes.update(kills=kills, disagree=disagreed)
    await cell.worked.wait()


async def _kill_in_mid_save(cell: Cell, web: str, name: str) -> bool:
    """Whether the next two readers saw different sessions."""
    visitor = Visitor(cell, name)
    await visitor.enter()
    path = f"/set?saved=1&hold={cell.chance.uniform(0.0, 4.0):.2f}"
    saving = asyncio.ensure_future(visitor.do("save", path, web=web, cookie=visitor.cookie))
    await asyncio.sleep(cell.chance.uniform(0.001, 0.006))
    for pid in cell.cluster.webs[web].workers[:1]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    await saving
    shown = []
    for side in WEBS:
        shown.append(await _seen(visitor, side))
    return shown[0] != shown[1]


async def _seen(visitor: Visitor, web: str) -> Any:
    """What is in the session, asked until a web server answers."""
    while True:
        op = await visitor.do("agree", "/get", see=lambda shown: shown.get("data"), web=web)
        if op.ok:
            return op.seen
        await asyncio.sleep(0.1)


async def hung_up(cell: Cell) -> None:
    """F14: visitors hang up, sooner or later, in every third request."""
    await cell.sleep(LEAD_S)
    numbers = itertools.count()

    def leave() -> float | None:
        number = next(numbers)
        return None if number % 3 else SWEEP_S * (number // 3 % SWEEP_STEPS) / SWEEP_STEPS

    cell.leave = leave
    await cell.worked.wait()
    cell.leave = lambda: None
    cell.history.notes["hung_up"] = sum(op.status == LEFT for op in cell.history.ops)


async def clocks_shifted(cell: Cell) -> None:
    """F15: the clock of one web server is an hour fast, then the other's an hour slow, then a day slow."""
    skews: list[float] = []
    for web, hours in (("asgi", 1), ("wsgi", -1), ("wsgi", -24)):
        await cell.sleep(LEAD_S)
        for other in WEBS:
            await _shift(cell.doors[other], 3_600.0 * hours if other == web else 0.0)
        # Clocks are compared whenever a connection is opened.
        for name in cell.cluster.names:
            for road in cell.cluster.roads(node=name):
                road.reset()
            await cell.in_use(name)
        skews += [await _skew_s(cell, side) for side in WEBS]
    cell.history.notes["skew_s"] = round(max(skews), 1)
    await cell.worked.wait()
    for web in WEBS:
        await _shift(cell.doors[web], 0.0)


async def _skew_s(cell: Cell, web: str) -> float:
    """By how much the absolute end of a session that is born there is wrong."""
    visitor = Visitor(cell, f"skewed-{web}")
    born = time.time()
    await visitor.do("enter", f"/set?owner={visitor.name}", web=web)
    op = await visitor.do("expires", "/get", see=lambda shown: shown.get("expires"), web=web)
    return abs(op.seen - born - ABSOLUTE_S) if op.seen else 0.0


async def _shift(door: Door, seconds: float) -> None:
    await door.get(f"/clock?shift={seconds}")


async def pool_changed(cell: Cell) -> None:
    """F12: a node is added by restarting one web server after the other, and another one removed by `reload`."""
    cluster = cell.cluster
    await cell.sleep(LEAD_S)
    old = list(cluster.names)
    added = chr(ord(old[-1]) + 1)
    await cluster.add_node(added)
    grown, shrunk = [*old, added], [*old[1:], added]
    for web in WEBS:
        await _restart(cell, web, cluster.pool(web, grown, previous=cluster.pool(web, old)))
    await _moved(cell)
    for web in WEBS:
        await _restart(cell, web, cluster.pool(web, grown))
    for web in WEBS:
        pool = quote(json.dumps(cluster.pool(web, shrunk)))
        await cell.doors[web].get(f"/reload?pool={pool}")
    await _moved(cell)
    cluster.names = shrunk
    await cluster.kill(old[0])
    await cell.worked.wait()


async def _restart(cell: Cell, web: str, pool: dict[str, Any]) -> None:
    """A new process with this pool takes the place of the old one, which ends when its requests are answered."""
    old = await cell.cluster.deploy(web, pool)
    await cell.doors[web].move(cell.cluster.webs[web].port)
    await old.stop()


async def _moved(cell: Cell) -> None:
    """Wait until one web server says that all sessions are where they belong; with no upkeep, until all were used."""
    await cell.touched(cell.now)
    if cell.cluster.env.get("UPKEEP") == "0":
        return
    webs = list(cell.cluster.webs.values())
    async with asyncio.timeout(MOVED_S):
        while not any(web.events("MoveDone") for web in webs):  # noqa: ASYNC110 - told by another process
            await asyncio.sleep(0.2)
