"""The demo's ear: a socket in its own folder, on which it is told what to do to its servers.

One line is asked; one or more lines are answered, see `orders`. The web servers know the socket as COUNTER_CONTROL,
so that the page's buttons can ask for the same as a command in a terminal. It may then be a web server's own end that
it asks for: that one is answered first, and ended a moment later.
"""

import asyncio
import contextlib
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from memsession.demo.child import Kind, State
from memsession.demo.orders import LOOKS, SILENCING, Children, obey

LINE_BYTES_MAX: Final = 1_024
LINE_S_MAX: Final = 5.0
PARTING_S: Final = 0.3
"""What a web server is given to pass on the answer before it is ended."""

_ASKERS_MAX: Final = 100


class Ear:
    """An async context manager: inside it, orders are taken, one after the other.

    `turn`: whoever holds it keeps them waiting, except for those who only look. `children`: those that there are at
    the moment.
    """

    def __init__(self, path: Path, children: Callable[[], Children]) -> None:
        self.turn = asyncio.Lock()
        self._path = path
        self._children = children
        self._askers: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._heard, self._path, limit=LINE_BYTES_MAX)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for asker in self._askers:
            asker.cancel()
        # Else one of them could start a server that nobody ends.
        await asyncio.gather(*self._askers, return_exceptions=True)

    def _heard(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._askers) >= _ASKERS_MAX:
            writer.close()
            return
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._askers.add(task)
        task.add_done_callback(self._askers.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # OSError: whoever asked has gone, or says nothing. ValueError: sent something endless.
        with contextlib.suppress(OSError, ValueError), contextlib.closing(writer):
            async with asyncio.timeout(LINE_S_MAX):
                words = (await reader.readline()).decode("utf-8", "replace").split()
            if not words:
                return
            if words[0] in LOOKS:
                await _answer(writer, await obey(self._children(), words))
                return
            # Now, for it may have ended when its turn comes.
            process = _process_of(writer)
            by_page = process != 0 and any(web.pid == process for web in self._web_servers().values())
            async with self.turn:
                if by_page and self._leaves_nobody(words):
                    await _answer(writer, f"error: {words[1]} is the last web server that runs")
                    return
                if self._is_own_end(words, process):
                    await _answer(writer, f"ok: {words[1]} has heard it")
                    writer.close()
                    await asyncio.sleep(PARTING_S)
                answer = await obey(self._children(), words)
            if not writer.is_closing():
                await _answer(writer, answer)

    def _web_servers(self) -> Children:
        return {name: child for name, child in self._children().items() if child.kind is Kind.WEB}

    def _leaves_nobody(self, words: list[str]) -> bool:
        """Whether no web server would run after this, so that nobody could press the next button."""
        webs = self._web_servers()
        match words:
            case [verb, name] if verb in SILENCING and name in webs:
                return not any(web.state is State.RUNS for other, web in webs.items() if other != name)
        return False

    def _is_own_end(self, words: list[str], process: int) -> bool:
        match words:
            case [verb, name] if verb in SILENCING and name in self._children():
                return process != 0 and self._children()[name].pid == process
        return False


async def _answer(writer: asyncio.StreamWriter, text: str) -> None:
    writer.write(f"{text}\n".encode())
    await writer.drain()


def _process_of(writer: asyncio.StreamWriter) -> int:
    """The number of the process at the other end; 0 if the system does not tell."""
    door: socket.socket = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        if sys.platform == "linux":
            pid, _, _ = struct.unpack("3i", door.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            return int(pid)
        if sys.platform == "darwin":
            # SOL_LOCAL and LOCAL_PEERPID of <sys/un.h>, which Python does not name.
            return door.getsockopt(0, 2)
    return 0
