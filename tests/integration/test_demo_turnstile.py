"""The small proxy in HAProxy's place: visitors in turn, servers that fail passed over, nothing unclear passed on."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from memsession.demo import turnstile
from memsession.demo.messages import Head, parse_head
from memsession.demo.ports import HOST, free_ports
from memsession.demo.turnstile import CONNECTIONS_MAX, Turnstile, WebServer

Answering = Callable[[Head, bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
PATIENCE_S = 20


class Backend:
    """A web server that answers as it is told, and keeps the requests that came."""

    def __init__(self, name: str, answering: Answering | bytes) -> None:
        self.name = name
        self.answering = answering
        self.requests: list[tuple[Head, bytes]] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = parse_head(await reader.readuntil(b"\r\n\r\n"))
            body = await reader.readexactly(head.length() or 0)
            self.requests.append((head, body))
            if isinstance(self.answering, bytes):
                writer.write(self.answering)
                await writer.drain()
            else:
                await self.answering(head, body, reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


def page(text: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n{text}".encode()


async def silence(head: Head, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hang until the other side goes."""
    await reader.read()


@asynccontextmanager
async def proxied(*backends: Backend) -> AsyncIterator[tuple[Turnstile, int]]:
    """The proxy before these web servers, without its checks; and the port it listens on."""
    doors = [await asyncio.start_server(backend.serve, HOST, 0) for backend in backends]
    for backend, door in zip(backends, doors, strict=True):
        backend.port = door.sockets[0].getsockname()[1]
    proxy = Turnstile([WebServer(name=backend.name, port=backend.port) for backend in backends])
    front = await asyncio.start_server(proxy.serve, HOST, 0, limit=turnstile.HEAD_BYTES_MAX)
    try:
        yield proxy, front.sockets[0].getsockname()[1]
    finally:
        for door in (front, *doors):
            door.close()


async def exchange(port: int, data: bytes) -> bytes:
    """Everything that comes back for these bytes, until the connection ends."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        async with asyncio.timeout(PATIENCE_S):
            writer.write(data)
            with suppress(ConnectionError):
                return await reader.read()
            return b""
    finally:
        writer.close()


def get(path: str = "/", *fields: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", "Connection: close", *fields, "", ""]).encode()


def names(answers: list[bytes]) -> list[str]:
    return [parse_head(answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n").all("x-served-by")[0] for answer in answers]


async def test_visitors_are_handed_on_in_turn():
    """Each request goes to the next web server, whichever connection it comes over, and the answer names it."""
    one, two = Backend("web-1", page("1")), Backend("web-2", page("2"))
    async with proxied(one, two) as (_, port):
        answers = [await exchange(port, get()) for _ in range(4)]

    served = names(answers)
    assert sorted(served[:2]) == ["web-1", "web-2"]
    assert served[2:] == served[:2]
    assert [answer[-1:].decode() for answer in answers] == [name[-1] for name in served]


async def test_a_connection_serves_for_several_requests():
    """A visitor's connection stays, and serves both web servers' answers in order."""
    one, two = Backend("web-1", page("1")), Backend("web-2", page("2"))
    async with proxied(one, two) as (_, port):
        answer = await exchange(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 3 + get())

    assert answer.count(b"HTTP/1.1 200 OK") == 4
    assert answer.count(b"Connection: close") == 1
    assert (len(one.requests), len(two.requests)) == (2, 2)


async def test_what_a_web_server_is_told():
    """It learns the visitor's address as the last one, and gets the body; what is for one connection stays behind."""
    only = Backend("web-1", page("1"))
    async with proxied(only) as (_, port):
        await exchange(
            port,
            b"POST /x?y HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 198.51.100.1\r\nContent-Length: 4\r\nUpgrade: h2c\r\n"
            b"Connection: close, X-Own\r\nX-Own: 1\r\nCookie: a=b\r\n\r\nbody",
        )

    ((head, body),) = only.requests
    assert head.encode() == (
        b"POST /x?y HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 198.51.100.1\r\nContent-Length: 4\r\nCookie: a=b\r\n"
        b"X-Forwarded-For: 127.0.0.1\r\nConnection: close\r\n\r\n"
    )
    assert body == b"body"


async def test_only_the_proxy_names_the_web_server():
    """An X-Served-By of the web server's own is taken away, as is what is for its connection only."""
    only = Backend(
        "web-1",
        b"HTTP/1.1 200 OK\r\nX-Served-By: web-9\r\nKeep-Alive: timeout=5\r\n"
        b"Set-Cookie: a=b\r\nContent-Length: 0\r\n\r\n",
    )
    async with proxied(only) as (_, port):
        answer = await exchange(port, get())

    assert answer == (
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\nX-Served-By: web-1\r\nConnection: close\r\n\r\n"
    )


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_web_server_that_refuses_is_passed_over(method):
    """A request that never reached it goes to the other one, whatever its method, and it gets no more of them."""
    one, two = Backend("web-1", page("1")), Backend("web-2", page("2"))
    async with proxied(one, two) as (proxy, port):
        gone = WebServer(name="gone", port=free_ports(1)[0])
        proxy._servers.append(gone)
        answers = [await exchange(port, f"{method} / HTTP/1.0\r\n\r\n".encode()) for _ in range(6)]

    assert [answer.startswith(b"HTTP/1.1 200") for answer in answers] == [True] * 6
    assert set(names(answers)) == {"web-1", "web-2"}
    assert not gone.up


@pytest.mark.parametrize(
    "trouble", [b"", b"HTTP/1.1 ", b"nonsense\r\n\r\n", b"HTTP/1.1 two hundred\r\n\r\n", silence]
)
async def test_a_web_server_without_an_answer_is_passed_over_for_a_get(trouble, monkeypatch):
    """One that dies with the request, talks nonsense or hangs is replaced by the other one, which may be repeated."""
    monkeypatch.setattr(turnstile, "PATIENCE_S", 0.1)
    one, two = Backend("web-1", trouble), Backend("web-2", page("2"))
    async with proxied(one, two) as (_, port):
        answers = [await exchange(port, get()) for _ in range(4)]

    assert names(answers) == ["web-2"] * 4
    assert len(one.requests) == 1


async def test_a_post_is_not_done_twice(monkeypatch):
    """Where nobody knows whether a change was made, the visitor is told so, and nobody else is asked."""
    monkeypatch.setattr(turnstile, "SERVER_S_MAX", 0.1)
    one, two = Backend("web-1", silence), Backend("web-2", silence)
    async with proxied(one, two) as (_, port):
        answer = await exchange(port, b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert len(one.requests) + len(two.requests) == 1


async def test_without_any_web_server():
    """With nobody to hand on to, the visitor is told, at once."""
    async with proxied() as (proxy, port):
        proxy._servers.append(WebServer(name="gone", port=free_ports(1)[0]))
        answer = await exchange(port, get())

    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")


async def test_a_web_server_that_is_back_has_to_answer_two_checks():
    """After a failure it counts as up when it has answered twice in a row; one more failure begins anew."""
    only = Backend("web-1", b"")
    async with proxied(only) as (proxy, port):
        await exchange(port, get())
        (server,) = proxy._servers
        ups = [server.up]
        for answering in (page("1"), b"", page("1"), page("1")):
            only.answering = answering
            await proxy.check(server)
            ups.append(server.up)

    assert ups == [False, False, False, False, True]


async def test_those_that_failed_are_the_last_resort():
    """If all have failed, they are tried all the same: one may be back already."""
    only = Backend("web-1", b"")
    async with proxied(only) as (_, port):
        first = await exchange(port, get())
        only.answering = page("1")
        second = await exchange(port, get())

    assert (first[9:12], second[9:12]) == (b"503", b"200")


async def test_an_answer_without_a_length_is_passed_on_as_it_comes():
    """What a web server sends piece by piece arrives piece by piece, and ends with the connection."""
    more = asyncio.Event()

    async def stream(head: Head, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        await more.wait()
        writer.write(b"4\r\nlast\r\n0\r\n\r\n")
        await writer.drain()

    async with proxied(Backend("web-1", stream)) as (_, port):
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(PATIENCE_S):
            first = await reader.readuntil(b"first\r\n")
            more.set()
            rest = await reader.read()
        writer.close()

    assert b"Transfer-Encoding: chunked" in first
    assert b"Connection: close" in first
    assert rest == b"4\r\nlast\r\n0\r\n\r\n"


async def test_an_answer_that_breaks_off_ends_the_connection():
    """A page that is shorter than it said is not passed for a whole one."""
    only = Backend("web-1", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    async with proxied(only) as (_, port):
        answer = await exchange(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2)

    assert answer.endswith(b"half")
    assert len(only.requests) == 1


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (b"HEAD / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"),
        (b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n"),
        (b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"),
    ],
)
async def test_answers_without_a_body(request_, answer):
    """No body is waited for where there is none, and the connection stays."""
    async with proxied(Backend("web-1", answer)) as (_, port):
        answers = await exchange(port, request_ + get())

    assert answers.count(b"X-Served-By: web-1") == 2


async def test_an_answer_with_an_unclear_length_is_not_passed_on():
    """What the visitor could misunderstand does not reach him."""
    unclear = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"
    async with proxied(Backend("web-1", unclear)) as (_, port):
        answer = await exchange(port, get())

    assert answer.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/2.0\r\n\r\n", b"400"),
        (b"GET http://elsewhere/ HTTP/1.1\r\n\r\n", b"400"),
        (b"CONNECT elsewhere:443 HTTP/1.1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"411"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1048577\r\n\r\n", b"413"),
        (b"GET / HTTP/1.1\r\nA: " + b"b" * 40_000 + b"\r\n\r\n", b"400"),
    ],
)
async def test_requests_that_are_not_passed_on(request_, status):
    """Unclear, foreign and endless requests are refused with a reason; no web server sees them."""
    only = Backend("web-1", page("1"))
    async with proxied(only) as (_, port):
        answer = await exchange(port, request_)

    assert answer[9:12] == status
    assert only.requests == []


@pytest.mark.parametrize("data", [b"", b"GET / HT", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf"])
async def test_a_request_that_breaks_off(data):
    """A visitor who goes in the middle of a request leaves nothing behind, and no web server sees it."""
    only = Backend("web-1", page("1"))
    async with proxied(only) as (proxy, port):
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(data)
        writer.write_eof()
        async with asyncio.timeout(PATIENCE_S):
            answer = await reader.read()
        writer.close()

        assert proxy._connections == 0
    assert (answer, only.requests) == (b"", [])


async def test_a_visitor_who_says_nothing_is_left(monkeypatch):
    """A connection over which nothing comes is closed after a while."""
    monkeypatch.setattr(turnstile, "CLIENT_S_MAX", 0.05)
    async with proxied(Backend("web-1", page("1"))) as (_, port):
        assert await exchange(port, b"GET / HTTP/1.1\r\n") == b""


async def test_a_body_that_waits_for_permission_is_asked_for():
    """Programs such as curl send a large body only when they are told to go on."""
    only = Backend("web-1", page("1"))
    async with proxied(only) as (_, port):
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(b"POST / HTTP/1.1\r\nContent-Length: 4\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
        async with asyncio.timeout(PATIENCE_S):
            told = await reader.readuntil(b"\r\n\r\n")
            writer.write(b"body")
            answer = await reader.read()
        writer.close()

    assert told == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    ((head, body),) = only.requests
    assert (head.all("expect"), body) == ([], b"body")


async def test_there_is_a_limit_to_connections():
    """More visitors than it takes at once are told so."""
    async with proxied(Backend("web-1", page("1"))) as (proxy, port):
        proxy._connections = CONNECTIONS_MAX
        answer = await exchange(port, get())

    assert answer.startswith(b"HTTP/1.1 503 ")


async def test_it_runs_and_checks(monkeypatch):
    """The program listens on its port of this machine, and notices by itself which web servers serve."""
    monkeypatch.setattr(turnstile, "CHECK_S", 0.01)
    only = Backend("web-1", page("1"))
    door = await asyncio.start_server(only.serve, HOST, 0)
    server = WebServer(name="web-1", port=door.sockets[0].getsockname()[1], answered=0)
    (port,) = free_ports(1)
    running = asyncio.ensure_future(turnstile.run(port, [server]))
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not server.up:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            answer = await exchange(port, get())
    finally:
        running.cancel()
        door.close()
        await asyncio.gather(running, return_exceptions=True)

    assert names([answer]) == ["web-1"]


def test_a_taken_port_is_an_error_without_a_traceback(capsys):
    """The program says which port is taken, and ends."""
    import socket

    with socket.create_server((HOST, 0)) as other:
        port = str(other.getsockname()[1])

        assert turnstile.main([port, "web-1=1"]) == 1

    assert "in use" in capsys.readouterr().err
