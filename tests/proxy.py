"""A slow stretch of road: a TCP proxy in the running event loop that hands bytes on in small pieces.

Between two pieces it lets the loop turn, so how far a request has got is counted in turns and not in seconds.
"""

import asyncio


class SlowProxy:
    """Hands bytes on, `piece` at a time, a turn of the loop after each. `connections` counts those it took."""

    def __init__(self, port: int, *, piece: int) -> None:
        self.upstream = port
        self.piece = piece
        self.connections = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "SlowProxy":
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

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(task := asyncio.current_task())
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        there = asyncio.ensure_future(self._hand_on(reader, far_writer))
        back = asyncio.ensure_future(self._hand_on(far_reader, writer))
        try:
            await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            pass
        finally:
            there.cancel()
            back.cancel()
            await asyncio.wait({there, back})
            for end in (writer, far_writer):
                end.close()
                await asyncio.gather(end.wait_closed(), return_exceptions=True)

    async def _hand_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            for at in range(0, len(data), self.piece):
                writer.write(data[at : at + self.piece])
                await asyncio.sleep(0)
