"""One connection through a fault proxy: both its ends, what waits between them, and what is done to the replies."""

import asyncio
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING

from tests.faults.framing import Commands, Replies, is_listed
from tests.faults.modes import Delay, Garbage, Replay, Reset, Slices, Swallow, Truncate
from tests.faults.nonsense import garbage, replayed

if TYPE_CHECKING:
    from tests.faults.proxy import FaultProxy

NO_LINGER = struct.pack("ii", 1, 0)


class Road:
    """One connection of a web server and the one to the node that belongs to it."""

    def __init__(self, proxy: "FaultProxy") -> None:
        self.proxy = proxy
        self.web: asyncio.Transport | None = None
        self.node: asyncio.Transport | None = None
        self.left = proxy.allowance.after if proxy.allowance else None
        self._loop = asyncio.get_running_loop()
        self._commands = Commands()
        self._replies = Replies()
        self._to_node = b""
        self._held: list[bytes] = []
        self._queue: deque[tuple[float, bytes | None]] = deque()
        self._free_at = 0.0
        self._connecting: asyncio.Task[None] | None = None
        self._draining: asyncio.Handle | None = None

    def begun(self, web: asyncio.Transport) -> None:
        """A web server has connected."""
        self.web = web
        self.proxy.taken += 1
        self.proxy.roads.add(self)
        self._connecting = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            await self._loop.create_connection(lambda: _NodeSide(self), "127.0.0.1", self.proxy.upstream)
        except OSError:
            self.reset()

    def reached(self, node: asyncio.Transport) -> None:
        """The node has taken the connection."""
        self.node = node
        self._send()
        if self.web is None:
            self._end()

    def asked(self, data: bytes) -> None:
        """The web server has sent something."""
        for kind, key in self._commands.feed(data):
            self.proxy.commands[kind] += 1
            if kind == "get":
                self.proxy.read[key] += 1
        self._to_node += data
        self._send()

    def _send(self) -> None:
        cut = self.proxy.cut
        if self.node is not None and self._to_node and not (cut and cut.to_node):
            self.node.write(self._to_node)
            self._to_node = b""

    def answered(self, data: bytes) -> None:
        """The node has sent something."""
        for reply in self._replies.feed(data):
            if self.proxy.cut and self.proxy.cut.to_web:
                self._held.append(reply)
            else:
                self._treat(reply)

    def _treat(self, reply: bytes) -> None:
        proxy = self.proxy
        mode = None
        if not is_listed(reply):
            if b" O" in reply and b":node" not in reply:
                proxy.earlier.append(reply)
            mode = next((mode for mode in proxy.strikes if proxy.chance.random() < mode.chance), None)
        if mode is not None:
            proxy.done[type(mode).__name__] += 1
        match mode:
            case Delay(seconds=seconds):
                self._put(reply, delay=seconds)
            case Slices():
                for at in range(len(reply)):
                    self._put(reply[at : at + 1], delay=1e-6 * at)
            case Garbage():
                self._put(garbage(reply, proxy.chance))
            case Replay():
                self._put(replayed(reply, proxy.earlier, proxy.chance))
            case Swallow():
                pass
            case Reset() | Truncate():
                self._put(reply[: min(mode.after, len(reply) - 1)])
                self._put(None if isinstance(mode, Reset) else b"")
            case _:
                self._put(reply)

    def _put(self, piece: bytes | None, *, delay: float = 0.0) -> None:
        """Send this to the web server later: bytes, b"" for the end of the connection, or None for a RST."""
        now = self._loop.time()
        due = now + delay
        if self.proxy.throttle and piece:
            due = self._free_at = max(due, self._free_at) + len(piece) / self.proxy.throttle.bytes_per_s
        if due <= now and not self._queue:
            self._write(piece)
            return
        self._queue.append((due, piece))
        if self._draining is None:
            self._drain()

    def _drain(self) -> None:
        self._draining = None
        if self._queue and self._queue[0][0] <= self._loop.time():
            self._write(self._queue.popleft()[1])
        if self._queue:
            self._draining = self._loop.call_at(self._queue[0][0], self._drain)

    def _write(self, piece: bytes | None) -> None:
        if self.web is None or self.web.is_closing():
            return
        if piece is None:
            self.reset()
        elif not piece:
            self.web.close()
        elif self.left is None or len(piece) <= self.left:
            self.web.write(piece)
            self.left = None if self.left is None else self.left - len(piece)
        else:
            self.web.write(piece[: self.left])
            self.proxy.done[type(self.proxy.allowance).__name__] += 1
            if isinstance(self.proxy.allowance, Truncate):
                self.web.close()
            else:
                self.reset()

    def heal(self, *, late: bool) -> None:
        """The road was cut and is not any more."""
        if not late and (self._held or self._to_node):
            self.reset()
            return
        held, self._held = self._held, []
        for reply in held:
            self._treat(reply)
        self._send()
        if self.web is None:
            self._end()

    def reset(self) -> None:
        """RST to the web server; the node's connection goes, too."""
        self._to_node = b""
        if self.web is not None:
            self.web.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            self.web.abort()
        self._end()

    def left_by_web(self) -> None:
        """The web server has closed the connection. What was held for the node may still get there."""
        self.web = None
        cut = self.proxy.cut
        if not (cut and cut.late and self._to_node):
            self._end()

    def left_by_node(self) -> None:
        """The node has closed the connection, or died."""
        self.node = None
        if self.proxy.cut is None or not self.proxy.cut.to_web:
            self._put(b"")

    def _end(self) -> None:
        self.proxy.roads.discard(self)
        if self._connecting is not None:
            self._connecting.cancel()
        if self.node is not None:
            self.node.close()
        if self._draining is not None:
            self._draining.cancel()
        self._queue.clear()


class WebSide(asyncio.Protocol):
    """The end that a web server has connected to."""

    def __init__(self, road: Road) -> None:
        self.road = road

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.road.begun(transport)

    def data_received(self, data: bytes) -> None:
        self.road.asked(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.road.left_by_web()


class _NodeSide(asyncio.Protocol):
    def __init__(self, road: Road) -> None:
        self.road = road

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.road.reached(transport)

    def data_received(self, data: bytes) -> None:
        self.road.answered(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.road.left_by_node()
