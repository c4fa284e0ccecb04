"""A node that answers as the test says: a healthy greeting, then whatever a script makes of a command."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable

from memsession.pool import Pool
from tests.replies import line

STATS = b"STAT pid 7\r\nSTAT time 1795177655\r\nEND\r\n"
MARK = b"0123456789abcdef0123456789abcdef"

Script = Callable[[str, bytes, int], bytes]
"""From a command's kind (`get`, `add`, `cas`, `bury`), key and opaque number to the bytes of its reply."""


def silent(_kind: str, _key: bytes, _opaque: int) -> bytes:
    """No reply at all."""
    return b""


class ScriptedNode:
    """A server in the running event loop. `closed` is set whenever a client has closed its connection.

    `greeting` maps `version`, `mark`, `incarnation` and `stats` to the bytes to say in their place; `write` sends a
    reply (by default at once) and may take its time or break the connection; `hello` is said before any command;
    with `leaves` it closes the connection after its greeting; it `sleeps_s` seconds before it greets. `commands` has
    the kinds of what was asked, `lines` the commands themselves.
    """

    def __init__(self, script: Script = silent, *, hello: bytes = b"", **greeting: bytes) -> None:
        self.script = script
        self.hello = hello
        self.leaves = False
        self.sleeps_s = 0.0
        self.greeting = greeting
        self.write: Callable[[asyncio.StreamWriter, bytes], Awaitable[None]] = write_at_once
        self.commands: list[str] = []
        self.lines: list[bytes] = []
        self.connections = 0
        self.closed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "ScriptedNode":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._server.wait_closed()

    def pool(self, **options) -> Pool:
        """A pool of this node alone."""
        return Pool(f"127.0.0.1:{self.port}", **options)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        try:
            await asyncio.sleep(self.sleeps_s)
            writer.write(self.hello)
            while command := await reader.readline():
                await self._answer(command, reader, writer)
            self.closed.set()
        except (ConnectionError, asyncio.CancelledError):
            self.closed.set()
        finally:
            writer.transport.abort()

    async def _answer(self, command: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        words = command.split()
        if words[0] in (b"version", b"stats"):
            told = self.greeting.get(words[0].decode(), b"VERSION 1.6.18\r\n" if words[0] == b"version" else STATS)
            writer.write(told)
            return writer.close() if words[0] == b"stats" and self.leaves else None
        key, opaque = words[1], int(words[-1][1:])
        if words[0] == b"ms":
            await reader.readexactly(int(words[2]) + 2)
        if key.endswith(b":node"):
            usual = line(b"NS") if words[0] == b"ms" else line(b"VA 32 c1")
            name = "mark" if words[0] == b"ms" else "incarnation"
            value = MARK + b"\r\n" if words[0] == b"mg" else b""
            return writer.write(self.greeting.get(name, usual(key, opaque) + value))
        kind = "get" if words[0] == b"mg" else "add" if b"ME" in words else "cas" if words[4][:1] == b"C" else "bury"
        self.commands.append(kind)
        self.lines.append(command)
        return await self.write(writer, self.script(kind, key, opaque))


async def write_at_once(writer: asyncio.StreamWriter, reply: bytes) -> None:
    """The whole reply in one piece."""
    writer.write(reply)


async def write_and_reset(writer: asyncio.StreamWriter, reply: bytes) -> None:
    """The reply, then a RST."""
    writer.write(reply)
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def write_and_close(writer: asyncio.StreamWriter, reply: bytes) -> None:
    """The reply, then the end of the connection."""
    writer.write(reply)
    writer.close()


async def drip(writer: asyncio.StreamWriter, reply: bytes) -> None:
    """The reply, a byte in every hundredth of a second."""
    for at in range(len(reply)):
        if writer.transport.is_closing():
            raise ConnectionResetError("the client went away")
        writer.write(reply[at : at + 1])
        await asyncio.sleep(0.01)
