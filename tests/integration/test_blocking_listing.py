"""Listing a node's sessions: all of them and nothing else, or an error that says so."""

import secrets
import socket
import threading
import time
from contextlib import contextmanager, suppress

import pytest

from memsession.addresses import Node
from memsession.blocking import listing as listing_of_node
from memsession.blocking.listing import keys
from memsession.wire import ProtocolError
from memsession.wire.listing import ListingRefused

PREFIX = "memsession"

LONG_KEYS = [b"x" * 240 + b"%010d" % number for number in range(60_000)]
"""Of another program. Their listing has more bytes than the sockets between two processes hold."""


def node_at(port):
    """The node as a pool names it."""
    return Node(f"127.0.0.1:{port}", "127.0.0.1", port)


def listed(port, *, prefix=PREFIX, timeout_s=5.0):
    """All keys that are listed, sorted."""
    return sorted(key for batch in keys(node_at(port), timeout_s=timeout_s, prefix=prefix) for key in batch)


def session_keys(count, prefix=PREFIX):
    """Storage keys as sessions have them."""
    return [f"{prefix}:{secrets.token_urlsafe(32)}".encode() for _ in range(count)]


def fill(memcached, some, value=b"v"):
    """Store all these keys."""
    with memcached.connect() as door:
        for at in range(0, len(some), 500):
            lines = [b"ms %b %d T600 q\r\n%b\r\n" % (key, len(value), value) for key in some[at : at + 500]]
            door.sendall(b"".join(lines) + b"mn\r\n")
            answer = b""
            while not answer.endswith(b"MN\r\n"):
                answer += door.recv(65_536)
            assert answer == b"MN\r\n"


@contextmanager
def scripted(answers, *, then_close=True):
    """A server that answers each line with what `answers` has for it, as in a newer memcached; its port and log."""
    asked = []

    def serve():
        while True:
            try:
                door, _ = listener.accept()
            except OSError:
                return
            with suppress(ConnectionError), door, door.makefile("rb") as lines:
                for line in lines:
                    asked.append(line.strip().decode())
                    door.sendall(answers.get(asked[-1], b"ERROR\r\n"))
                    if then_close and asked[-1] in answers:
                        break

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1], asked
        finally:
            # Closing alone does not wake a thread that waits in accept().
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_all_of_ten_thousand_sessions_are_listed(memcached):
    """Every session key once, whatever else the node holds: locks, marks, other prefixes, other programs' keys."""
    node, ours = memcached(), session_keys(10_000)
    digest = ours[0].partition(b":")[2]
    others = [
        *session_keys(500, "other"),
        *session_keys(500, "memsession2"),
        *session_keys(100, "x:memsession"),
        *(key + b".lock" for key in ours[:500]),
        *(b"memsession:node", b"memsession:status", b"memsession", b"memsession:", b"a%3Ab", b"\xff\xfe"),
        *(b"memsession:" + digest[:-1], b"memsession:" + digest[:-1] + b"%", b"memsession%3A" + digest),
    ]
    fill(node, ours + others)

    assert listed(node.port) == sorted(ours)
    assert len(listed(node.port, prefix="other")) == 500
    assert len(listed(node.port, prefix="x:memsession")) == 100


def test_a_prefix_means_itself(memcached):
    """What is special in a pattern is not in a prefix."""
    node = memcached()
    fill(node, session_keys(3, "a.c") + session_keys(5, "abc"))

    assert len(listed(node.port, prefix="a.c")) == 3
    assert listed(node.port, prefix=".*") == []


def test_an_empty_node_and_expired_sessions(memcached):
    """Nothing to list is an empty listing and no error; what was deleted or flushed is not listed."""
    node = memcached()
    assert listed(node.port) == []
    fill(node, session_keys(10))
    node.flush()

    assert listed(node.port) == []


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_node_that_fails_in_the_middle_is_an_error(memcached, how):
    """Killed, or hung for longer than the time-out: the listing raises, and never looks complete."""
    node, ours = memcached(options=["-m", "256"]), session_keys(5_000)
    fill(node, ours + LONG_KEYS)
    listing = keys(node_at(node.port), timeout_s=0.5, prefix=PREFIX)
    got = next(listing)
    getattr(node, how)()

    with pytest.raises(OSError, match="silent for 0.5 s" if how == "stop" else "closed|reset"):
        got.extend(key for batch in listing for key in batch)
    assert len(got) < len(ours)
    if how == "stop":
        node.cont()
        assert node.ask(b"mn") == b"MN\r\n"


def test_a_listing_given_up_frees_the_crawler(memcached):
    """Whoever stops in the middle closes the connection, and memcached lists for others again."""
    node, ours = memcached(options=["-m", "256"]), session_keys(5_000)
    fill(node, ours + LONG_KEYS)
    listing = keys(node_at(node.port), timeout_s=5.0, prefix=PREFIX)
    next(listing)
    with pytest.raises(ListingRefused, match="BUSY") as refusal:
        listed(node.port)
    assert refusal.value.busy
    listing.close()

    for _ in range(1_000):
        with suppress(ListingRefused):
            assert listed(node.port) == sorted(ours)
            return
        time.sleep(0.01)
    pytest.fail("the crawler was busy for ever")


@pytest.mark.parametrize(
    ("options", "text"), [(["-o", "no_lru_crawler"], "CLIENT_ERROR lru crawler"), (["-X"], "metadump not allowed")]
)
def test_a_node_without_listings_says_how_to_get_them(memcached, options, text):
    """A memcached that was started without its crawler or without dumps is a clear refusal, not an empty listing."""
    node = memcached(options=options)
    fill(node, session_keys(3))

    with pytest.raises(
        ListingRefused, match=f"{text}.*start memcached without -X and with its LRU crawler"
    ) as refusal:
        listed(node.port)
    assert not refusal.value.busy


def test_a_node_that_is_gone_is_an_error(memcached):
    """Nobody listens there: an OSError, as for any socket."""
    node = memcached()
    node.kill()

    with pytest.raises(ConnectionRefusedError):
        listed(node.port)


def test_each_address_of_a_name_is_tried(memcached, monkeypatch):
    """The first one that answers lists; if none does, the last refusal is told."""
    node, gone = memcached(), memcached()
    gone.kill()
    places = [(socket.AF_INET, ("127.0.0.1", port)) for port in (gone.port, node.port)]
    monkeypatch.setattr(listing_of_node, "places_of", lambda _: places)
    fill(node, ours := session_keys(2))

    assert listed(1) == sorted(ours)
    places.pop()
    with pytest.raises(ConnectionRefusedError):
        listed(1)


def test_a_unix_socket_is_listed_as_well(memcached, tmp_path):
    """A node whose address is a path."""
    path = str(tmp_path / "mc.sock")
    node, ours = memcached(path=path), session_keys(5)
    fill(node, ours)

    batches = keys(Node(path, path, 0), timeout_s=5.0, prefix=PREFIX)
    assert sorted(key for batch in batches for key in batch) == sorted(ours)


@pytest.mark.parametrize("first", [b"", b"OK\r\n"])
def test_a_newer_memcached_is_asked_the_short_way(first):
    """Where `mgdump` is answered nothing else is asked."""
    ours = session_keys(3)
    lines = b"".join(b"mg %b\r\n" % key for key in [*ours, b"other"])
    with scripted({"lru_crawler mgdump hash": first + lines + b"mg AAEC b\r\nEN\r\n"}) as (port, asked):
        assert listed(port) == sorted(ours)

    assert asked == ["lru_crawler mgdump hash"]


def test_a_node_is_asked_in_every_way_it_may_know():
    """Each way that is unknown is followed by the next; the last refusal is told."""
    [ours] = session_keys(1)
    old = b"key=%b exp=-1 la=1 cas=1 fetch=no cls=1 size=1\nEND\r\n" % ours.replace(b":", b"%3A")
    answers = {"lru_crawler metadump hash": b"BADCLASS invalid class id\r\n", "lru_crawler metadump all": old}
    with scripted(answers, then_close=False) as (port, asked):
        assert listed(port) == [ours]
    assert asked == ["lru_crawler mgdump hash", "lru_crawler metadump hash", "lru_crawler metadump all"]

    with scripted({}) as (port, asked), pytest.raises(ListingRefused, match="ERROR"):
        listed(port)
    assert len(asked) == 3


def test_busy_is_not_asked_in_another_way():
    """One listing at a time: another way to ask would be refused as well."""
    answers = {"lru_crawler mgdump hash": b"BUSY currently processing\r\n"}
    with scripted(answers) as (port, asked), pytest.raises(ListingRefused) as refusal:
        listed(port)

    assert refusal.value.busy
    assert len(asked) == 1


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n", b"mg a\r\nx\r\n", b"x" * 100_000])
def test_garbage_ends_at_once(answer):
    """What is no listing is an error without waiting for more."""
    answers = {"lru_crawler mgdump hash": answer}
    with scripted(answers, then_close=False) as (port, _), pytest.raises(ProtocolError):
        listed(port, timeout_s=60.0)


@pytest.mark.parametrize("answer", [b"", b"mg a", b"mg a\r\n", b"EN\r"])
def test_half_a_listing_is_an_error(answer):
    """A node that closes before the last byte of a listing has not listed all."""
    ended = pytest.raises(ConnectionError, match="closed the connection within a listing")
    with scripted({"lru_crawler mgdump hash": answer}) as (port, _), ended:
        listed(port)
