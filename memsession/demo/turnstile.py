"""A small proxy in HAProxy's place, for machines that have none: hands visitors to the web servers in turn.

    python -m memsession.demo.turnstile 8080 web-1=8001 web-2=8002

It listens on 127.0.0.1 only, and does what `haproxy.cfg` asks of HAProxy, as far as the demo shows it. A web server
that refuses is passed over, whatever the request. One that took the request and answers nothing is passed over for
GET and HEAD only, since others must not be done twice. Whoever failed gets no more visitors until it has answered two
checks, which are made every second; if all have failed, they are tried all the same.

One request goes over one connection to a web server, so that a response may end with it. Its body is passed on as it
comes, which server-sent events need.
"""

import asyncio
import contextlib
import sys
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from memsession.demo.messages import HEAD_BYTES_MAX, Head, Malformed, read_head
from memsession.demo.ports import HOST, ask

PROBE: Final = b"GET /ready HTTP/1.0\r\n\r\n"
"""A page that does not exist: it is answered without a session, so that nothing is stored by asking."""

CONNECTIONS_MAX: Final = 1_000
BODY_BYTES_MAX: Final = 1_048_576
PIECE_BYTES_MAX: Final = 65_536
CLIENT_S_MAX: Final = 30.0
CONNECT_S_MAX: Final = 1.0
PATIENCE_S: Final = 2.0
"""So long one web server may take to begin its answer if another one can be asked instead."""

SERVER_S_MAX: Final = 10.0
PARTING_S: Final = 1.0
"""So long is waited for a visitor who was refused to see it and go."""

CHECK_S: Final = 1.0
RISE: Final = 2

_REPEATABLE: Final = frozenset({"GET", "HEAD"})
_FOR_ONE_HOP: Final = frozenset({"connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade"})
_TROUBLE: Final = (OSError, Malformed)
"""What a web server can do to us. A `TimeoutError` is an `OSError`."""

_REASONS: Final = {
    400: "Bad Request",
    411: "Length Required",
    413: "Content Too Large",
    502: "Bad Gateway",
    503: "Service Unavailable",
}


class _Refused(Exception):
    """The request is not passed on; the argument is the status of the answer."""


@dataclass(kw_only=True)
class WebServer:
    """A web server behind the proxy, and how many checks in a row it has answered since it failed."""

    name: str
    port: int
    answered: int = RISE

    @property
    def up(self) -> bool:
        return self.answered >= RISE


@dataclass(frozen=True, kw_only=True)
class _Request:
    head: Head
    body: bytes

    @property
    def repeatable(self) -> bool:
        return self.head.start[0] in _REPEATABLE

    @property
    def stays(self) -> bool:
        """Whether the visitor's connection may serve for more."""
        return self.head.start[2] == "HTTP/1.1" and "close" not in self.head.tokens("connection")


class Turnstile:
    """The proxy. `serve` takes visitors' connections; `watch` checks the web servers until it is cancelled."""

    def __init__(self, servers: Sequence[WebServer]) -> None:
        self._servers = deque(servers)
        self._connections = 0

    async def watch(self) -> None:
        """Check every web server once a second."""
        while True:
            await asyncio.sleep(CHECK_S)
            await asyncio.gather(*(self.check(server) for server in self._servers))

    async def check(self, server: WebServer) -> None:
        """Ask a web server whether it serves; of one that hangs the system takes connections all the same."""
        well = await ask(server.port, PROBE, len(b"HTTP/1.")) == b"HTTP/1."
        server.answered = server.answered + 1 if well else 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on the requests of one connection until it ends."""
        self._connections += 1
        try:
            if self._connections > CONNECTIONS_MAX:
                raise _Refused(503)
            while await self._pass_one(reader, writer):
                pass
        except _Refused as refusal:
            await _refuse(reader, writer, refusal.args[0])
        except Malformed:
            await _refuse(reader, writer, 400)
        except OSError:
            pass  # one side has gone, or says nothing any more: that the other one sees by the connection's end
        finally:
            self._connections -= 1
            writer.close()

    async def _pass_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Pass on one request and its answer. False: nothing more can come over this connection."""
        async with asyncio.timeout(CLIENT_S_MAX):
            request = await _request(reader, writer)
        if request is None:
            return False
        for server in self._in_turn():
            async with contextlib.AsyncExitStack() as road:
                try:
                    async with asyncio.timeout(CONNECT_S_MAX):
                        answer, to_server = await road.enter_async_context(_connection(server))
                except OSError:
                    server.answered = 0
                    continue
                try:
                    head = await _answered(request, answer, to_server)
                except _TROUBLE:
                    server.answered = 0
                    if request.repeatable:
                        continue
                    raise _Refused(502) from None
                return await _hand_over(request, server, head, answer, writer)
        raise _Refused(503)

    def _in_turn(self) -> list[WebServer]:
        self._servers.rotate(-1)
        return sorted(self._servers, key=lambda server: not server.up)


@contextlib.asynccontextmanager
async def _connection(server: WebServer) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(HOST, server.port, limit=HEAD_BYTES_MAX)
    try:
        yield reader, writer
    finally:
        writer.close()


async def _request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> _Request | None:
    """The next request, as it goes to a web server; None if there is none.

    Raises:
        _Refused, Malformed: it is not passed on.
    """
    head = await read_head(reader)
    if head is None:
        return None
    if not head.start[1].startswith("/") or head.start[2] not in ("HTTP/1.0", "HTTP/1.1"):
        raise _Refused(400)
    length = head.length() or 0
    if head.all("transfer-encoding"):
        raise _Refused(411)
    if length > BODY_BYTES_MAX:
        raise _Refused(413)
    if length and "100-continue" in head.tokens("expect"):
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    try:
        body = await reader.readexactly(length)
    except asyncio.IncompleteReadError:
        raise ConnectionError("the connection ended within a body") from None
    peer = ("X-Forwarded-For", writer.get_extra_info("peername")[0])
    return _Request(head=head.changed(peer, without={"expect"}), body=body)


async def _answered(request: _Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Head:
    """Send the request and return the head of its answer.

    Raises:
        OSError, Malformed: there is none.
    """
    fields = _FOR_ONE_HOP | request.head.tokens("connection")
    async with asyncio.timeout(PATIENCE_S if request.repeatable else SERVER_S_MAX):
        writer.write(request.head.changed(("Connection", "close"), without=fields).encode() + request.body)
        await writer.drain()
        while head := await read_head(reader):
            if len(head.start[1]) != 3 or not head.start[1].isdigit():
                raise Malformed("there is no status in the first line")
            if not head.start[1].startswith("1"):
                return head
    raise ConnectionError("no answer")


async def _hand_over(
    request: _Request, server: WebServer, head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> bool:
    """Pass an answer on. False: it ends with the connection."""
    empty = request.head.start[0] == "HEAD" or head.start[1] in ("204", "304")
    try:
        left = 0 if empty else head.length()
    except Malformed:
        raise _Refused(502) from None
    stays = request.stays and left is not None
    fields = _FOR_ONE_HOP | head.tokens("connection") | {"x-served-by"}
    more = [("X-Served-By", server.name), *([] if stays else [("Connection", "close")])]
    writer.write(head.changed(*more, without=fields).encode())
    while left is None or left > 0:
        async with asyncio.timeout(SERVER_S_MAX):
            piece = await reader.read(PIECE_BYTES_MAX if left is None else min(left, PIECE_BYTES_MAX))
        if not piece:
            break  # an answer that is too short for its length ends the connection, so that the visitor notices
        left = None if left is None else left - len(piece)
        writer.write(piece)
        async with asyncio.timeout(CLIENT_S_MAX):
            await writer.drain()
    async with asyncio.timeout(CLIENT_S_MAX):
        await writer.drain()
    return stays and not left


async def _refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, status: int) -> None:
    text = f"{status} {_REASONS[status]}\n".encode()
    fields = (("Content-Type", "text/plain"), ("Content-Length", str(len(text))), ("Connection", "close"))
    head = Head(start=("HTTP/1.1", str(status), _REASONS[status]), fields=fields)
    with contextlib.suppress(OSError):
        async with asyncio.timeout(PARTING_S):
            writer.write(head.encode() + text)
            writer.write_eof()
            # Closed with something unread, the connection would be reset, and the answer might never be seen.
            while await reader.read(PIECE_BYTES_MAX):
                pass


async def run(port: int, servers: Sequence[WebServer]) -> None:
    """Be the proxy on this port of 127.0.0.1 until cancelled.

    Raises:
        OSError: the port is taken.
    """
    turnstile = Turnstile(servers)
    async with await asyncio.start_server(turnstile.serve, HOST, port, limit=HEAD_BYTES_MAX):
        await turnstile.watch()


def main(arguments: Sequence[str]) -> int:
    """`arguments`: the own port, and for each web server its name, "=" and its port."""
    port, *servers = arguments
    named = (entry.partition("=") for entry in servers)
    try:
        asyncio.run(run(int(port), [WebServer(name=name, port=int(where)) for name, _, where in named]))
    except OSError as problem:
        print(f"port {port}: {problem}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
