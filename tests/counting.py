"""What crosses the wire: a TCP proxy before a memcached that counts its commands."""

import asyncio
import contextlib
from collections import Counter


class CountingProxy:
    """Hands everything on as it comes. `commands` counts gets, adds, cas and buries, the greeting excepted."""

    def __init__(self, port: int) -> None:
        self.upstream = port
        self.commands: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "CountingProxy":
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

    def counted(self) -> dict[str, int]:
        """The commands since the last time; and forget them."""
        commands, self.commands = self.commands, Counter()
        return dict(commands)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(task := asyncio.current_task())
        task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(asyncio.CancelledError):
            await self._connect(reader, writer)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        there = asyncio.ensure_future(self._count(reader, far_writer))
        back = asyncio.ensure_future(_hand_on(far_reader, writer))
        try:
            await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in (writer, far_writer):
                end.transport.abort()
            there.cancel()
            back.cancel()
            await asyncio.wait({there, back})

    async def _count(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
            words = line.split()
            if words[0] == b"ms":
                writer.write(await reader.readexactly(int(words[2]) + 2))
            if len(words) > 1 and not words[1].endswith(b":node"):
                self.commands[_kind(words)] += 1


def _kind(words: list[bytes]) -> str:
    if words[0] == b"mg":
        return "get"
    if b"ME" in words:
        return "add"
    return "cas" if any(word.startswith(b"C") for word in words[3:]) else "bury"


async def _hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
