"""The heads of HTTP messages as the demo reads and writes them: what is not clear is refused."""

import asyncio

import pytest

from memsession.demo.messages import Head, Malformed, parse_head, read_head


def reader_of(data: bytes, limit: int = 200) -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=limit)
    reader.feed_data(data)
    reader.feed_eof()
    return reader


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /x?y=1 HTTP/1.0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX: \r\n\r\n",
        b"HTTP/1.1 404 Not so Found\r\nX: caf\xe9\r\n\r\n",
    ],
)
async def test_a_head_is_read_and_written(data):
    """Requests and answers are written as they were read, fields in their order, also two of one name."""
    head = await read_head(reader_of(data))

    assert head is not None
    assert head.encode() == data


async def test_heads_follow_each_other():
    """What stands behind a head is left for the next reader; where the connection ended properly there is none."""
    reader = reader_of(b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n")

    heads = [await read_head(reader) for _ in range(3)]

    assert [head and head.start[1] for head in heads] == ["/1", "/2", None]


def test_a_status_without_a_reason():
    """The words behind the status may be missing."""
    assert parse_head(b"HTTP/1.1 200\r\n\r\n").start == ("HTTP/1.1", "200", "")
    assert parse_head(b"HTTP/1.1 200 \r\n\r\n").start == ("HTTP/1.1", "200", "")


@pytest.mark.parametrize(
    "head",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\rC: d\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\x00c\r\n\r\n",
        b"GET / HTTP/1.1\r\nno field\r\n\r\n",
        b"GET /\x80 HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_head_is_refused(head):
    """Blanks before the colon, folded lines, bare line ends, control characters: nothing of it comes through."""
    with pytest.raises(Malformed):
        parse_head(head)


async def test_a_head_that_is_too_long_is_refused():
    """A head has the reader's limit, and one that ends too early is a broken connection."""
    with pytest.raises(Malformed, match="too long"):
        await read_head(reader_of(b"GET / HTTP/1.1\r\nA: " + b"b" * 300))
    with pytest.raises(ConnectionError, match="within a head"):
        await read_head(reader_of(b"GET / HTTP/1.1\r\nA: "))


@pytest.mark.parametrize(("lengths", "length"), [([], None), (["0"], 0), (["17"], 17)])
def test_the_length_of_a_body(lengths, length):
    """It is what one field says, or not known."""
    head = Head(start=("GET", "/", "HTTP/1.1"), fields=tuple(("Content-Length", text) for text in lengths))

    assert head.length() == length


@pytest.mark.parametrize(
    "fields",
    [
        [("Content-Length", "3"), ("content-length", "3")],
        [("Content-Length", "3, 3")],
        [("Content-Length", "-3")],
        [("Content-Length", "+3")],
        [("Content-Length", "")],
        [("Content-Length", "٣")],
        [("Content-Length", "9999999999999")],
        [("Content-Length", "3"), ("Transfer-Encoding", "chunked")],
    ],
)
def test_a_length_that_is_not_clear_is_refused(fields):
    """Two programs that disagree where a message ends let one visitor's request pass for another's."""
    with pytest.raises(Malformed, match="how long"):
        Head(start=("POST", "/", "HTTP/1.1"), fields=tuple(fields)).length()


def test_a_head_is_changed():
    """Fields go and others come; the rest stays in its order."""
    head = parse_head(b"GET / HTTP/1.1\r\nA: 1\r\nConnection: Keep-Alive, X-Own\r\nX-Own: 2\r\nB: 3\r\n\r\n")

    changed = head.changed(("C", "4"), without={"connection"} | head.tokens("connection"))

    assert changed.encode() == b"GET / HTTP/1.1\r\nA: 1\r\nB: 3\r\nC: 4\r\n\r\n"
    assert head.tokens("connection") == {"keep-alive", "x-own"}
