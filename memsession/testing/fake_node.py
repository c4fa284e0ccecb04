"""One fake node: a port of this machine, what the process behind it holds, and the road that leads to it.

Two things can be wrong at once, as in the world. The *process* runs, hangs (paused) or is gone (stopped). The *road*
is open or cut.

- Stopped: whoever connects is refused, open connections are reset, and what it held is gone.
- Paused: it reads nothing and answers nothing. The system goes on taking connections and bytes for it, and when it
  resumes it answers all of that, late.
- Cut: nothing arrives, not even the news that the process stopped. What was sent is lost; when the road is healed,
  connections from before and from meanwhile are reset.

Everything here belongs to one event loop, and every change takes effect before it returns.
"""

import asyncio
import contextlib
import socket
import struct

from memsession.testing.dialogue import Dialogue
from memsession.testing.items import Items

HOST = "127.0.0.1"
BACKLOG = 512
CONNECTIONS_MAX = 1_024
READ_BYTES_MAX = 65_536
UNSENT_BYTES_MAX = 1_048_576
"""No more commands are answered while so many bytes wait to be sent."""

_RESET = struct.pack("ii", 1, 0)


class FakeNode:
    """See the top of this file. Made on any thread, used on that of `loop` only; it begins stopped.

    `port`: 0 for any that is free.
    """

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop, items_max: int, port: int = 0) -> None:
        self.name = name
        self.items = Items(items_max)
        self.running = False
        self.paused = False
        self.cut = False
        self._loop = loop
        self._items_max = items_max
        self._connections: set[_Connection] = set()
        self._listens = False
        self._door = _bound(port)
        self.port: int = self._door.getsockname()[1]

    def state(self) -> str:
        """`up`, `paused` or `stopped`; `, cut` if it is."""
        process = "stopped" if not self.running else "paused" if self.paused else "up"
        return f"{process}, cut" if self.cut else process

    def start(self) -> None:
        """Run, if it is stopped; empty, for it is a new process."""
        if not self.running:
            self.items = Items(self._items_max)
            self.running = True
            self._settle()

    def stop(self) -> None:
        """Be gone, as after SIGKILL."""
        self.running = self.paused = False
        self.items = Items(self._items_max)
        if not self.cut:
            self._reset()
        self._settle()

    def pause(self) -> None:
        """Hang, as after SIGSTOP. For one that runs."""
        self.paused = True
        self._settle()

    def resume(self) -> None:
        """Go on, as after SIGCONT, with what was sent meanwhile."""
        self.paused = False
        self._settle()

    def cut_off(self) -> None:
        """Let nothing arrive."""
        self.cut = True
        self._settle()

    def heal(self) -> None:
        """Open the road again. What is connected knows nothing of what was sent, so it ends."""
        if self.cut:
            self.cut = False
            self._reset()
            self._settle()

    def close(self) -> None:
        """Stop, and give the port back."""
        self.heal()
        self.stop()
        self._door.close()

    def _settle(self) -> None:
        """Listen and read as the state has it. A cut road looks the same whether or not somebody is at its end."""
        self._listen(wanted=self.running or self.cut)
        reads = self.running and not self.paused and not self.cut
        if reads:
            self._loop.add_reader(self._door, self._accept)
        else:
            self._loop.remove_reader(self._door)
        for connection in tuple(self._connections):
            connection.work(reads)

    def _listen(self, *, wanted: bool) -> None:
        if wanted and not self._listens:
            self._door.listen(BACKLOG)
        elif not wanted and self._listens:
            self._loop.remove_reader(self._door)
            with contextlib.suppress(OSError):
                # For whoever forked meanwhile and holds the door open.
                self._door.shutdown(socket.SHUT_RDWR)
            self._door.close()
            # Bound and not listening refuses, and keeps the port from everybody else.
            self._door = _bound(self.port)
        self._listens = wanted

    def _accept(self) -> None:
        for door in self._waiting():
            connection = _Connection(self, self._loop, door)
            if len(self._connections) > CONNECTIONS_MAX:
                connection.refuse()
            else:
                connection.work(reads=True)

    def _waiting(self) -> "list[socket.socket]":
        """Those that have connected and were not taken yet."""
        doors: list[socket.socket] = []
        with contextlib.suppress(OSError):
            while True:
                doors.append(self._door.accept()[0])
        return doors

    def _reset(self) -> None:
        for connection in tuple(self._connections):
            connection.reset()
        if self._listens:
            for door in self._waiting():
                _Connection(self, self._loop, door).reset()

    def joined(self, connection: "_Connection") -> None:
        """A connection began."""
        self._connections.add(connection)
        self.items.counts["total_connections"] += 1
        self.items.counts["curr_connections"] = len(self._connections)

    def left(self, connection: "_Connection") -> None:
        """It ended."""
        self._connections.discard(connection)
        self.items.counts["curr_connections"] = len(self._connections)


class _Connection:
    """A connection to the node. It reads only while nothing waits to be sent."""

    def __init__(self, node: FakeNode, loop: asyncio.AbstractEventLoop, door: socket.socket) -> None:
        door.setblocking(False)
        door.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._node = node
        self._loop = loop
        self._door = door
        self._dialogue = Dialogue(node.items)
        self._unsent = bytearray()
        node.joined(self)

    def work(self, reads: bool) -> None:
        """Go on reading and writing, or leave everything as it is."""
        self._loop.remove_reader(self._door)
        self._loop.remove_writer(self._door)
        if reads and self._unsent:
            self._loop.add_writer(self._door, self._send)
        elif reads:
            self._loop.add_reader(self._door, self._read)

    def refuse(self) -> None:
        """There are too many."""
        with contextlib.suppress(OSError):
            self._door.send(b"ERROR Too many open connections\r\n")
        self._close()

    def reset(self) -> None:
        """End it at once, with an error for the other side."""
        with contextlib.suppress(OSError):
            self._door.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._close()

    def _close(self) -> None:
        self.work(reads=False)
        self._door.close()
        self._node.left(self)

    def _read(self) -> None:
        try:
            data = self._door.recv(READ_BYTES_MAX)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close()
            return
        self._dialogue.feed(data)
        self._send()

    def _send(self) -> None:
        """Answer and send until there is no command left, or no room."""
        while True:
            while len(self._unsent) < UNSENT_BYTES_MAX and (reply := self._dialogue.reply()) is not None:
                self._unsent += reply
            if not self._unsent:
                break
            try:
                sent = self._door.send(self._unsent)
            except BlockingIOError:
                break
            except OSError:
                self._close()
                return
            del self._unsent[:sent]
        if self._dialogue.over and not self._unsent:
            self._close()
        else:
            self.work(reads=True)


def _bound(port: int) -> socket.socket:
    door = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        door.setblocking(False)
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind((HOST, port))
    except BaseException:
        door.close()
        raise
    return door
