"""A stretch of road between one web server and one memcached, with whatever can go wrong on it.

    async with FaultProxy(memcached.port, seed=7) as proxy:   # in the running event loop
        Pool(f"a=127.0.0.1:{proxy.port}")                     # the web server's name for the node stays the same
        proxy.set(Cut())                                      # from now on; see `modes` for all that there is
        proxy.set(Delay(0.2, chance=0.05), Swallow(chance=0.01))
        proxy.reset()                                         # RST on all connections, once
        proxy.heal()
        proxy.commands["get"], proxy.done["Delay"]            # what was asked, what was done to the replies

One proxy stands for one pair of web server and node, so that web servers may see different halves of a pool. It knows
enough of the protocol to strike whole replies. While it refuses, it keeps its port to itself.
"""

import asyncio
import random
import socket
from collections import Counter, deque

from tests.faults.modes import Cut, Mode, Refuse, Reset, Throttle, Truncate
from tests.faults.road import Road, WebSide

PORTS = range(20_000, 32_000)
"""Below those that the system gives to outgoing connections, which might take one that refuses for a while."""
REMEMBERED = 64


def reserved_port() -> socket.socket:
    """A socket bound to a free port of 127.0.0.1 that does not listen: connecting there is refused."""
    for port in random.sample(PORTS, 1_000):
        try:
            return _bound(port)
        except OSError:
            continue
    raise OSError("no free port")


def steady_port() -> int:
    """A free port that no outgoing connection will take, for servers that are to come back on it."""
    with reserved_port() as bound:
        return int(bound.getsockname()[1])


class FaultProxy:
    """See the top of this file. `upstream` may be changed: new connections then lead to another memcached.

    `commands` counts what was sent to the node by kind (get, add, cas, bury, mark, version, stats, ...), `read` how
    often each key was asked for, `done` what was done to replies by the name of the mode, `taken` the connections.
    """

    def __init__(self, upstream: int, *, seed: int = 0) -> None:
        self.upstream = upstream
        self.modes: tuple[Mode, ...] = ()
        self.commands: Counter[str] = Counter()
        self.read: Counter[bytes] = Counter()
        self.done: Counter[str] = Counter()
        self.taken = 0
        self.chance = random.Random(seed)
        self.earlier: deque[bytes] = deque(maxlen=REMEMBERED)
        self.cut: Cut | None = None
        self.throttle: Throttle | None = None
        self.allowance: Reset | Truncate | None = None
        self.strikes: tuple[Mode, ...] = ()
        self.roads: set[Road] = set()
        self._bound = reserved_port()
        self._server: asyncio.Server | None = None
        self._opening: asyncio.Task[None] | None = None
        self.port: int = self._bound.getsockname()[1]

    async def __aenter__(self) -> "FaultProxy":
        self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.heal()
        self.reset()
        self._refuse()
        self._bound.close()
        await asyncio.sleep(0)

    @property
    def open(self) -> int:
        """Connections that are open now."""
        return len(self.roads)

    def set(self, *modes: Mode) -> None:
        """From now on this goes wrong, and nothing else."""
        was_cut, was_refused = self.cut, Refuse() in self.modes
        self.modes = modes
        self.cut = next((mode for mode in modes if isinstance(mode, Cut)), None)
        self.throttle = next((mode for mode in modes if isinstance(mode, Throttle)), None)
        self.allowance = next(
            (mode for mode in modes if isinstance(mode, Reset | Truncate) and mode.chance == 1.0), None
        )
        self.strikes = tuple(
            mode for mode in modes if mode is not self.allowance and not isinstance(mode, Cut | Refuse | Throttle)
        )
        for road in list(self.roads):
            road.left = self.allowance.after if self.allowance else None
            if was_cut is not None:
                road.heal(late=was_cut.late)
        if Refuse() in modes and not was_refused:
            self._refuse()
            self.reset()
        elif was_refused and Refuse() not in modes:
            self._listen()

    def heal(self) -> None:
        """Nothing goes wrong any more."""
        self.set()

    def reset(self) -> None:
        """RST on all connections, now."""
        for road in list(self.roads):
            road.reset()

    def counted(self) -> Counter[str]:
        """The commands since the last time; and forget them."""
        commands, self.commands = self.commands, Counter()
        return commands

    def _listen(self) -> None:
        if self._server is None and self._opening is None:
            self._bound.listen(512)
            self._bound.setblocking(False)
            self._opening = asyncio.get_running_loop().create_task(self._open())

    async def _open(self) -> None:
        self._server = await asyncio.get_running_loop().create_server(lambda: WebSide(Road(self)), sock=self._bound)
        self._opening = None

    def _refuse(self) -> None:
        listening, server, opening = self._bound, self._server, self._opening
        self._server = self._opening = None
        if opening is not None:
            opening.cancel()
        if server is not None:
            server.close()
        listening.close()
        self._bound = _bound(self.port)


def _bound(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(("127.0.0.1", port))
    except OSError:
        bound.close()
        raise
    return bound
