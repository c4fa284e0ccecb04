"""What the page shows of the pool: each node as it describes itself, and the copies of one session.

However many pages look, a node is asked about itself once at a time, and at most about once a second. One that hangs,
or whose name leads nowhere for ten seconds, costs those who look a moment only: they are told that it is silent.
"""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from memsession.addresses import Node
from memsession.blocking import BlockingClient
from memsession.greeting import address_of
from memsession.identity import SessionId, short, storage_key
from memsession.inspection import CopyReport, NodeReport, NodeState, locate, report_of
from memsession.lifetime import Lifetime
from memsession.pool import Pool

FRESH_S: Final = 0.8
NODE_S_MAX: Final = 0.4
LOOK_S_MAX: Final = 0.5

_TOLD: Final = {
    NodeState.UP: "",
    NodeState.REFUSED: "Nothing listens at its address: it is stopped.",
    NodeState.SILENT: "It does not answer: it hangs, or the way to it is cut.",
    NodeState.UNKNOWN: "Nobody knows its name: it is stopped, or spelt wrong.",
    NodeState.LOST: "It closes connections without an answer.",
    NodeState.OTHER: "Something listens there that is no memcached.",
}


class PoolView:
    """The pool, seen with the application's own `keys` (what `secret_keys()` returned).

    A pool in this process's memory has no nodes to be seen.
    """

    def __init__(self, pool: Pool, keys: Sequence[bytes]) -> None:
        self._pool, self._keys = pool, keys
        self._client = None if pool.in_process else BlockingClient(pool, observe=_nobody)
        nodes = () if pool.in_process else pool.nodes
        threads = ThreadPoolExecutor(max(1, len(nodes)), thread_name_prefix="memsession-page")
        self._watches = [_Watch(node, threads) for node in nodes]

    async def look(self, id: SessionId | None) -> dict[str, Any]:  # noqa: A002
        """All of it as JSON has it: `session` (the public ID, shortened), `wanted` copies, `nodes`, `copies`."""
        key = None if id is None else storage_key(id, self._pool.prefix)
        nodes = asyncio.gather(*(watch.report() for watch in self._watches))
        copies = await self._copies(key)
        return {
            "session": None if key is None else short(key),
            "wanted": self._pool.copies,
            "nodes": [_node(report) for report in await nodes],
            "copies": copies,
        }

    async def _copies(self, key: bytes | None) -> list[dict[str, Any]]:
        if key is None or self._client is None:
            return []
        found = await asyncio.to_thread(
            locate, self._pool, key, keys=self._keys, lifetime=Lifetime(), client=self._client
        )
        return [_copy(copy) for copy in found.copies]


class _Watch:
    """One node, and what it said last."""

    def __init__(self, node: Node, threads: ThreadPoolExecutor) -> None:
        self._node, self._threads = node, threads
        self._asked: Future[NodeReport] | None = None
        self._asked_at = 0.0

    async def report(self) -> NodeReport:
        """What it says, or that it is silent."""
        asked = self._asked
        if asked is None or (asked.done() and time.monotonic() - self._asked_at > FRESH_S):
            asked = self._asked = self._threads.submit(report_of, self._node, NODE_S_MAX)
            self._asked_at = time.monotonic()
        # Not wait_for, which would cancel what others wait for, too.
        await asyncio.wait([asyncio.wrap_future(asked)], timeout=LOOK_S_MAX)
        if asked.done():
            return asked.result()
        return NodeReport(name=self._node.name, address=address_of(self._node), state=NodeState.SILENT)


def _node(report: NodeReport) -> dict[str, Any]:
    return {
        "name": report.name,
        "address": report.address,
        "state": report.state.name.lower(),
        "problem": _TOLD[report.state],
        "version": report.version,
        "uptime_s": report.number("uptime"),
        "items": report.number("curr_items"),
        "bytes": report.number("bytes"),
        "bytes_max": report.number("limit_maxbytes"),
        "hit_rate": report.hit_rate,
        "evictions": report.number("evictions"),
    }


def _copy(copy: CopyReport) -> dict[str, Any]:
    return {
        "node": copy.node,
        "state": copy.state.name.lower(),
        "version": copy.version,
        "idle_left_s": copy.idle_left_s,
        "absolute_left_s": copy.absolute_left_s,
        "bytes": copy.bytes,
    }


def _nobody(_: object) -> None:
    """The middleware tells the log of nodes that go out; that we noticed, too, is no news."""
