"""Some memcached, two web servers, and a road of its own from each web server to each memcached.

    async with Cluster(nodes=3, copies=2, seed=1) as cluster:
        await cluster.kill("a")                     # refused from now on, as a dead process's port is
        await cluster.start("a")                    # empty
        await cluster.stop("b"), await cluster.cont("b")
        cluster.set(Cut(), web="asgi", node="c")    # the ASGI server does not reach c; see `modes`
        cluster.heal()

Both web servers know the nodes by the same names (a, b, c, ...), so they place sessions alike. Where something of a
node's is done that takes time, it is done beside the event loop, in which the proxies run.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

from tests.faults.modes import Mode, Refuse
from tests.faults.proxy import FaultProxy, steady_port
from tests.faults.webs import WebServer
from tests.servers import Memcached

WEBS = ("asgi", "wsgi")


class Cluster:
    """See the top of this file.

    `pool`: further settings of the pool (`timeout` and `budget` in seconds). `node_options`: memcached's command line
    for single nodes, by name. `workers`: processes of each web server. `env` goes to the probed application.
    """

    def __init__(
        self,
        *,
        nodes: int = 3,
        copies: int = 2,
        seed: int = 0,
        workers: int = 1,
        pool: dict[str, Any] | None = None,
        node_options: dict[str, Sequence[str]] | None = None,
        **env: str,
    ) -> None:
        self.copies = copies
        self.seed = seed
        self.workers = workers
        self.settings = pool or {}
        self.node_options = node_options or {}
        self.env = env
        self.names = [chr(ord("a") + at) for at in range(nodes)]
        """The nodes of the pool as the web servers have it now."""
        self.nodes: dict[str, Memcached] = {}
        self.proxies: dict[tuple[str, str], FaultProxy] = {}
        self.webs: dict[str, WebServer] = {}

    async def __aenter__(self) -> "Cluster":
        try:
            await _all(self.add_node(name) for name in self.names)
            await _all(self.deploy(web, self.pool(web)) for web in WEBS)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(web.stop() for web in self.webs.values()))
        for proxy in self.proxies.values():
            await proxy.__aexit__()
        for node in self.nodes.values():
            await asyncio.to_thread(node.kill)

    async def add_node(self, name: str) -> None:
        """Start one more memcached, with its roads. No web server knows of it until `deploy`."""
        node = self.nodes[name] = Memcached(steady_port(), options=self.node_options.get(name, ()))
        await asyncio.to_thread(node.start)
        for web in WEBS:
            seed = hash((self.seed, WEBS.index(web), ord(name)))
            self.proxies[web, name] = await FaultProxy(node.port, seed=seed).__aenter__()

    def pool(self, web: str, names: Sequence[str] | None = None, **settings: Any) -> dict[str, Any]:
        """The pool as one web server is to be told; of other nodes, or with other settings."""
        nodes = [f"{name}=127.0.0.1:{self.proxies[web, name].port}" for name in names or self.names]
        return {"nodes": nodes, "copies": self.copies, **self.settings, **settings}

    async def deploy(self, web: str, pool: dict[str, Any], **env: str) -> WebServer | None:
        """Start a web server in the place of the one that was there, which is returned and not stopped."""
        server = await WebServer(web, pool, workers=self.workers, **{**self.env, **env}).start()
        before, self.webs[web] = self.webs.get(web), server
        return before

    def roads(self, web: str | None = None, node: str | None = None) -> list[FaultProxy]:
        """The proxies from one web server, or from all, to one node, or to all."""
        return [
            proxy
            for (from_web, to_node), proxy in self.proxies.items()
            if web in (None, from_web) and node in (None, to_node)
        ]

    def set(self, *modes: Mode, web: str | None = None, node: str | None = None) -> None:
        """From now on this goes wrong on some roads, and nothing else."""
        for road in self.roads(web, node):
            road.set(*modes)

    def heal(self) -> None:
        """All roads are well again. Nodes that are dead stay so, see `start`."""
        for (_, name), road in self.proxies.items():
            road.set(*([] if self.nodes[name].running else [Refuse()]))

    async def kill(self, name: str) -> None:
        """SIGKILL."""
        await asyncio.to_thread(self.nodes[name].kill)
        self.set(Refuse(), node=name)

    async def start(self, name: str) -> None:
        """Start a killed one; it is empty."""
        await asyncio.to_thread(self.nodes[name].start)
        self.set(node=name)

    async def restart(self, *names: str) -> None:
        """SIGKILL, all at once, then start them, empty."""
        await asyncio.gather(*(self.kill(name) for name in names))
        await asyncio.gather(*(self.start(name) for name in names))

    async def stop(self, name: str) -> None:
        """SIGSTOP."""
        await asyncio.to_thread(self.nodes[name].stop)

    async def cont(self, name: str) -> None:
        """SIGCONT."""
        self.nodes[name].cont()

    async def flush(self, name: str) -> None:
        """`flush_all`."""
        await asyncio.to_thread(self.nodes[name].flush)

    def swap(self, one: str, other: str) -> None:
        """Each of the two names leads to the other's process from now on, as after a wrong change of addresses."""
        for web in WEBS:
            here, there = self.proxies[web, one], self.proxies[web, other]
            here.upstream, there.upstream = there.upstream, here.upstream
            here.reset()
            there.reset()


async def _all(starting: Iterable[Coroutine[Any, Any, Any]]) -> None:
    """Start all, then raise what went wrong with one: those that did start are known by then, and can be ended."""
    outcomes = await asyncio.gather(*starting, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
