"""A pool of fake memcached nodes for tests: real ports of this machine, and all that can go wrong with them.

    with FakePool(nodes=3, copies=2) as fake:
        client = TestClient(create_app(fake.pool))
        assert client.get("/").text == "Visit 1"
        fake.stop(0)
        assert client.get("/").text == "Visit 2"

The nodes speak memcached's protocol over TCP, so application, middleware and client are those of production; the
same tests hold them and real memcached to the same bytes. They live in one background thread of this process with an
event loop of its own, so they answer while a test of any kind waits. See `fake_node` for what each fault means.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final, TypeAlias, TypeVar

from memsession.errors import ConfigurationError
from memsession.identity import ID_LENGTH, fingerprint
from memsession.pool import Pool
from memsession.testing.fake_node import HOST, FakeNode

T = TypeVar("T")

Which: TypeAlias = int | str
"""A node: its place in `nodes`, or its name."""

ITEMS_MAX: Final = 100_000


def _names(nodes: object) -> list[str]:
    if isinstance(nodes, int) and not isinstance(nodes, bool):
        return [f"fake-{number}" for number in range(nodes)]
    given = list(nodes) if isinstance(nodes, list | tuple) else [nodes]
    names = [name for name in given if isinstance(name, str)]
    if not isinstance(nodes, str) and len(set(names)) == len(given):
        return names
    raise ConfigurationError(f"FakePool(nodes={nodes!r}): give a number, or a list of different names")


def _check_items(items_max: object) -> None:
    if not isinstance(items_max, int) or isinstance(items_max, bool) or items_max < 1:
        raise ConfigurationError(f"FakePool(items_max={items_max!r}): give a whole number, 1 or more")


class FakePool:
    """Fake nodes on free ports of 127.0.0.1, and the `Pool` of them. They run until `close()`, or the block's end.

    `nodes`: how many, or their names; `fake-0`, `fake-1`, ... unless given. Names decide where sessions lie, so that
    is the same in every run. `items_max`: what one node holds before it forgets the least used. All other settings
    are those of `Pool`.

    Every method may be called from any thread and from a coroutine, and has had its effect when it returns.

    Raises:
        ConfigurationError: a setting is out of range; or, by a method, there is no such node, or it is in no state
            for that.
    """

    def __init__(self, *, nodes: int | Sequence[str] = 2, items_max: int = ITEMS_MAX, **settings: Any) -> None:
        names = _names(nodes)
        _check_items(items_max)
        self._loop: asyncio.AbstractEventLoop = asyncio.SelectorEventLoop()
        self._nodes: dict[str, FakeNode] = {}
        self._thread = threading.Thread(target=self._loop.run_forever, name="memsession-fake-pool", daemon=True)
        self._lock = threading.Lock()
        try:
            for name in names:
                self._nodes[name] = FakeNode(name, self._loop, items_max)
            self.pool = Pool(*(f"{name}={HOST}:{node.port}" for name, node in self._nodes.items()), **settings)
        except BaseException:
            for node in self._nodes.values():
                node.close()
            self._loop.close()
            raise
        self._thread.start()
        for name in self._nodes:
            self.start(name)

    @property
    def nodes(self) -> tuple[str, ...]:
        """The names, in order."""
        return tuple(self._nodes)

    def stop(self, *which: Which) -> None:
        """Kill nodes: connections to them are reset, new ones refused, and what they held is gone."""
        self._each(which, FakeNode.stop)

    def start(self, *which: Which) -> None:
        """Start nodes again that are stopped: empty, on the same port. One that runs goes on as it is."""
        self._each(which, _start)

    def empty(self, *which: Which) -> None:
        """Let nodes forget everything, as `flush_all` does: their connections and CAS numbers go on."""
        self._each(which, _empty)

    def pause(self, *which: Which) -> None:
        """Let nodes hang: they take connections and commands, and answer none until `resume`."""
        self._each(which, _pause)

    def resume(self, *which: Which) -> None:
        """Let paused nodes go on: they answer now what was sent meanwhile."""
        self._each(which, FakeNode.resume)

    def cut(self, *which: Which) -> None:
        """Cut nodes off: nothing arrives there, nothing comes back. They keep what they hold."""
        self._each(which, FakeNode.cut_off)

    def heal(self, *which: Which) -> None:
        """Let nodes be reached again that were cut off: what was sent meanwhile is lost, connections are reset."""
        self._each(which, FakeNode.heal)

    def state(self, which: Which) -> str:
        """`up`, `paused` or `stopped`; with `, cut` behind it if nothing arrives there."""
        return self._do(self._node(which).state)

    def homes(self, session_id: str) -> tuple[str, ...]:
        """The names of the nodes that are to hold a session, given its `session.id`; best first."""
        return self.pool.homes(self._key(session_id))

    def holders(self, session_id: str) -> tuple[str, ...]:
        """The names of the nodes that hold something of a session, given its `session.id`, in the pool's order.

        Also of one that has ended, which the pool remembers for a while. What hangs or is cut off still holds it.
        """
        key = self._key(session_id)
        return self._do(lambda: tuple(name for name, node in self._nodes.items() if node.items.find(key)))

    def sessions(self, *which: Which) -> frozenset[str]:
        """The `session.id` of all sessions that these nodes hold, or any node; ended ones included."""
        nodes = [self._node(one) for one in which or self.nodes]
        start = f"{self.pool.prefix}:".encode()
        keys = self._do(lambda: {key for node in nodes for key in node.items.keys()})  # noqa: SIM118 - no dict
        return frozenset(
            fingerprint(key) for key in keys if key.startswith(start) and len(key) == len(start) + ID_LENGTH
        )

    def close(self) -> None:
        """End all nodes and give their ports back. Calling it twice is harmless."""
        with self._lock:
            if self._thread.is_alive():
                self._do(self._end)
                self._loop.call_soon_threadsafe(self._loop.stop)
                self._thread.join()
                self._loop.close()

    def __enter__(self) -> "FakePool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        if not self._thread.is_alive():
            return "<FakePool, closed>"
        return f"<FakePool {'; '.join(f'{name} {self.state(name)}' for name in self.nodes)}>"

    def _end(self) -> None:
        for node in self._nodes.values():
            node.close()

    def _each(self, which: Sequence[Which], change: Callable[[FakeNode], None]) -> None:
        if not which:
            raise ConfigurationError(f"which node? Name one or more of {self._named()}")
        nodes = [self._node(one) for one in which]

        def change_all() -> None:
            for node in nodes:
                change(node)

        self._do(change_all)

    def _do(self, work: Callable[[], T]) -> T:
        """Do it on the nodes' thread, and wait until it is done."""
        if not self._thread.is_alive():
            raise ConfigurationError(
                "this FakePool is closed, or belongs to the process that forked this one: use it within its block"
            )

        async def performed() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(performed(), self._loop).result()

    def _node(self, which: object) -> FakeNode:
        names = self.nodes
        if isinstance(which, str):
            if which in self._nodes:
                return self._nodes[which]
        elif isinstance(which, int) and not isinstance(which, bool) and -len(names) <= which < len(names):
            return self._nodes[names[which]]
        raise ConfigurationError(f"there is no node {which!r}: name one of {self._named()}")

    def _named(self) -> str:
        return ", ".join(f"{place} or {name!r}" for place, name in enumerate(self.nodes))

    def _key(self, session_id: str) -> bytes:
        return f"{self.pool.prefix}:{session_id}".encode()


def _start(node: FakeNode) -> None:
    if node.paused:
        raise ConfigurationError(f"{node.name} hangs, it is not stopped: use resume(), or stop() before start()")
    node.start()


def _pause(node: FakeNode) -> None:
    if not node.running:
        raise ConfigurationError(f"{node.name} is stopped and cannot hang: use start() before pause()")
    node.pause()


def _empty(node: FakeNode) -> None:
    if not node.running:
        raise ConfigurationError(f"{node.name} is stopped and holds nothing: use start()")
    node.items.flush()
