"""What goes wrong while visitors work: memcached servers. Each driver is a coroutine over a cell.

It begins with a second in which nothing is wrong, and either tells a story and ends, or holds on until the workload
has done its part (`cell.worked`). When it has ended, everything heals.
"""

import asyncio
import contextlib
import socket
import sys
from collections.abc import Iterator

from tests.faults.cell import Cell
from tests.faults.cluster import WEBS
from tests.faults.modes import Cut, Delay, Garbage, Refuse, Replay, Reset, Slices, Swallow, Truncate

LEAD_S = 1.0
FULL_S = 20.0


async def nothing(cell: Cell) -> None:
    """F0."""
    await cell.worked.wait()


async def killed(cell: Cell) -> None:
    """F1: SIGKILL; the node stays dead."""
    await cell.sleep(LEAD_S)
    await cell.cluster.kill("a")
    await cell.worked.wait()
    await cell.cluster.start("a")


async def restarted_in_turn(cell: Cell) -> None:
    """F2: one node after the other restarts empty; between two, every session is used once."""
    await cell.sleep(LEAD_S)
    for name in cell.cluster.names:
        since = cell.now
        await cell.cluster.restart(name)
        await cell.in_use(name)
        await cell.touched(cell.now)
        await asyncio.sleep(max(0.0, since + 6.0 / cell.haste - cell.now))
    await cell.worked.wait()


async def restarted_together(cell: Cell) -> None:
    """F3: all but one of the copies of a session forget at once."""
    await cell.sleep(LEAD_S)
    await cell.cluster.restart("a", "b")
    await cell.worked.wait()


async def stopped(cell: Cell) -> None:
    """F4: a node hangs for ten seconds."""
    await cell.sleep(2 * LEAD_S)
    cell.history.notes["struck"] = cell.now
    await cell.cluster.stop("a")
    try:
        await cell.sleep(10.0)
    finally:
        cell.history.notes["eased"] = cell.now
        await cell.cluster.cont("a")
    await cell.in_use("a")


async def paused(cell: Cell) -> None:
    """F5: a node hangs until it was given up, then answers what it was asked before; each node in turn.

    In between every session is used once: what was confirmed while one node hung, only the others have.
    """
    await cell.sleep(LEAD_S)
    for name in cell.cluster.names:
        await cell.cluster.stop(name)
        try:
            await asyncio.sleep(2.0 * cell.cluster.settings.get("timeout", 0.25))
        finally:
            await cell.cluster.cont(name)
        await cell.in_use(name)
        await cell.touched(cell.now)
    await cell.worked.wait()


async def cut_off(cell: Cell) -> None:
    """F6: no web server reaches a node for a while; it comes back with what it had, and with late commands."""
    await cell.sleep(LEAD_S)
    cell.cluster.set(Cut(late=True), node="a")
    await cell.sleep(5.0)
    cell.cluster.heal()
    await cell.in_use("a")
    await cell.worked.wait()


async def split(cell: Cell) -> None:
    """F7: each web server sees another half of the nodes."""
    await cell.sleep(LEAD_S)
    first, *others = cell.cluster.names
    strict = cell.cluster.settings.get("consistency") == "majority"
    for name in others:
        cell.cluster.set(Cut(late=True), web="asgi", node=name)
    cell.cluster.set(Cut(late=True), web="wsgi", node=first)
    for name in [] if strict else others[1:]:
        cell.cluster.set(Cut(late=True), web="wsgi", node=name)
    await cell.sleep(5.0)
    cell.history.notes["healed"] = cell.now
    cell.cluster.heal()
    await cell.in_use(*cell.cluster.names)
    await cell.worked.wait()


async def bad_roads(cell: Cell) -> None:
    """F8: one reply in twenty is cut short, broken to pieces, or late."""
    await cell.sleep(LEAD_S)
    share = 0.05 / 4
    breaks = (Reset(after=20, chance=share), Truncate(after=20, chance=share))
    cell.cluster.set(*breaks, Slices(chance=share), Delay(0.2, chance=share))
    await cell.worked.wait()


async def wrong_replies(cell: Cell) -> None:
    """F9: one reply in a hundred is garbage, somebody else's, or missing."""
    await cell.sleep(LEAD_S)
    share = 0.01 / 3
    cell.cluster.set(Garbage(chance=share), Replay(chance=share), Swallow(chance=share))
    await cell.worked.wait()


async def flushed(cell: Cell) -> None:
    """F10: `flush_all` on one node, four times."""
    for _ in range(4):
        await cell.sleep(LEAD_S)
        await cell.cluster.flush("a")
    await cell.worked.wait()


async def full(cell: Cell) -> None:
    """F11: a node has no memory left; with `-M` it declines, without it evicts."""
    await cell.sleep(LEAD_S)
    command = ("-m", "tests.faults.junk", str(cell.cluster.nodes["a"].port))
    filling = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)
    try:
        for _ in range(2):
            assert await asyncio.wait_for(filling.stdout.readline(), FULL_S) == b"full\n", "it does not get full"
        await cell.worked.wait()
        assert filling.returncode is None, "the node was not kept full"
    finally:
        filling.kill()
        await filling.wait()


async def all_down(cell: Cell) -> None:
    """F17: nobody reaches any node, for so long that the workload ends meanwhile, but for its last tenth."""
    await cell.sleep(LEAD_S)
    cell.history.notes["struck"] = cell.now
    cell.cluster.set(Refuse())
    await asyncio.sleep(max(0.0, cell.begun + 0.9 * cell.span_s - cell.now))
    cell.history.notes["eased"] = cell.now
    cell.cluster.heal()
    await cell.in_use(*cell.cluster.names)
    await cell.worked.wait()


async def swapped(cell: Cell) -> None:
    """Two names lead to each other's process, and back again."""
    await cell.sleep(LEAD_S)
    cell.cluster.swap("a", "b")
    await cell.in_use("a", "b")
    await cell.touched(cell.now)
    await cell.sleep(3.0)
    cell.cluster.swap("a", "b")
    await cell.worked.wait()


async def crowded(cell: Cell) -> None:
    """A node takes no more connections (`-c`), and those of the web servers are lost."""
    await cell.sleep(LEAD_S)
    with _guests(cell.cluster.nodes["a"].port):
        for web in WEBS:
            cell.cluster.proxies[web, "a"].reset()
        await cell.worked.wait()


@contextlib.contextmanager
def _guests(port: int) -> Iterator[None]:
    """So many connections that the node turns away the next one."""
    guests: list[socket.socket] = []
    try:
        for _ in range(600):
            guests.append(socket.create_connection(("127.0.0.1", port), timeout=5.0))
            guests[-1].setblocking(False)
        yield
    finally:
        for guest in guests:
            guest.close()
