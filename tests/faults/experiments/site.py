"""A site: some memcached and some web servers with the probed application, and no proxies between them.

async with Site(nodes=3, copies=2) as site:
    web = await site.web("asgi")
    page = await web.door.get("/incr")
    site.nodes["a"].restart()
    await web.ear.heard("RefillDone", node="a", patience_s=30)
"""

import asyncio
import random
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Any

from tests.faults.experiments.ear import Ear
from tests.faults.pages import Door
from tests.faults.proxy import steady_port
from tests.faults.webs import WebServer
from tests.servers import Memcached

SERVERS = {"asgi": "ASGI (uvicorn)", "wsgi": "WSGI (gunicorn)"}


@dataclass(frozen=True, slots=True)
class Web:
    """A web server: `kind` is "asgi" or "wsgi", `door` is for visitors."""

    kind: str
    door: Door
    ear: Ear


class Site:
    """See the top of this file. `nodes` are the memcached processes by the names that they have in the pool.

    `pool`: further settings of the pool (`timeout` and `budget` in seconds). `env` goes to the probed application.
    """

    def __init__(self, *, nodes: int, copies: int, pool: Mapping[str, Any] | None = None, **env: str) -> None:
        self.settings = {"copies": copies, **(pool or {})}
        self.nodes = {name: Memcached(steady_port()) for name in ascii_lowercase[:nodes]}
        self._env = env
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "Site":
        for node in self.nodes.values():
            self._stack.callback(node.kill)
            node.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def add(self, name: str) -> None:
        """One more memcached, which no web server knows yet."""
        node = self.nodes[name] = Memcached(steady_port())
        self._stack.callback(node.kill)
        await asyncio.to_thread(node.start)

    def pool(self, *names: str) -> dict[str, Any]:
        """The pool of these nodes, all unless named, as web servers are told."""
        told = [f"{name}=127.0.0.1:{self.nodes[name].port}" for name in names or self.nodes]
        return {"nodes": told, **self.settings}

    async def web(self, kind: str) -> Web:
        """Start a web server."""
        server = WebServer(kind, self.pool(), **self._env)
        self._stack.push_async_callback(server.stop)
        await server.start()
        door = Door(server.port)
        self._stack.callback(door.close)
        return Web(kind, door, Ear(server))


def seeded(seed: int, *about: object) -> random.Random:
    """Chance that depends on the seed and on what it is for, and is the same in every process."""
    return random.Random(" ".join(map(str, (seed, *about))))
