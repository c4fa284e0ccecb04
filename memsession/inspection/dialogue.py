"""A few questions to one node over a connection of its own, answered by a table or by one line.

Nothing here trusts the other end: it may be a web server, speak TLS, or send without end.
"""

import socket
import ssl
import time
from collections.abc import Callable
from typing import Final

from memsession.addresses import Node
from memsession.resolver import Lookup, Place, Resolver, Unresolved, share_s

ANSWER_BYTES_MAX: Final = 1_048_576

LEAST_S: Final = 0.001
"""For the last of several addresses, when all the time is used up: 0 would mean not to wait at all."""

_TLS: Final = (b"\x15\x03", b"\x16\x03")
"""How an alert and a handshake record begin (RFC 8446, section 5.1)."""

TLS_SPOKEN: Final = "it speaks TLS, which memsession does not (memcached -Z, or another server)"

_TAIL = 64
"""So many bytes at the end of an answer are looked at to see whether it is over."""


class NotMemcached(Exception):
    """Somebody else listens there, or a memcached that does not talk to everybody; the text says who."""


class Dialogue:
    """A context manager around one connection.

    Raises:
        OSError: nobody listens, or is silent for `timeout_s`.
        Unresolved: nobody knows the node's name, or says so in time.
        NotMemcached: what came is no answer of memcached's.
    """

    def __init__(self, node: Node, timeout_s: float, resolver: Resolver) -> None:
        self._timeout_s = timeout_s
        self._door = _connected(node, timeout_s, resolver)

    def __enter__(self) -> "Dialogue":
        return self

    def __exit__(self, *_: object) -> None:
        self._door.close()

    def line(self, question: bytes) -> str:
        """The answer to a question that is answered in one line."""
        return self._ask(question, lambda tail: tail.endswith(b"\n")).strip()

    def table(self, question: bytes) -> dict[str, str]:
        """The answer to one of memcached's `stats` questions; empty if it is refused."""
        text = self._ask(question, _is_table_over)
        rows = (line.split(" ", 2) for line in text.splitlines() if line.startswith("STAT "))
        return {row[1]: row[2] for row in rows if len(row) == 3}

    def _ask(self, question: bytes, is_over: Callable[[bytes], bool]) -> str:
        give_up = time.monotonic() + self._timeout_s
        data = bytearray()
        self._door.settimeout(self._timeout_s)
        self._door.sendall(question)
        while not is_over(bytes(data[-_TAIL:])):
            remaining = give_up - time.monotonic()
            if remaining <= 0:
                raise TimeoutError(f"no answer within {self._timeout_s:g} s")
            self._door.settimeout(remaining)
            piece = self._door.recv(65_536)
            data += piece
            _check(bytes(data[:_TAIL]))
            if not piece:
                raise ConnectionError("it closed the connection without an answer")
            if len(data) > ANSWER_BYTES_MAX:
                raise NotMemcached("it sends without end, which memcached does not")
        return data.decode("utf-8", "replace")


def speaks_tls(node: Node, timeout_s: float, resolver: Resolver) -> bool:
    """Whether a TLS server answers there. Most of them hang up without a word on who speaks plainly.

    Takes up to about twice `timeout_s`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Who it is does not matter: nothing is told to it.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with _connected(node, timeout_s, resolver) as door:
            door.settimeout(timeout_s)
            context.wrap_socket(door).close()
    except ssl.SSLError as problem:
        return "ALERT" in (problem.reason or "")  # It refuses us, in TLS.
    except (OSError, Unresolved):
        return False
    return True


def _connected(node: Node, timeout_s: float, resolver: Resolver) -> socket.socket:
    give_up = time.monotonic() + timeout_s
    places = _places(node, timeout_s, resolver)
    problem: OSError = OSError("it has no address")
    for left in range(len(places), 0, -1):
        family, where = place = places[len(places) - left]
        remaining = max(give_up - time.monotonic(), LEAST_S)
        door = socket.socket(family, socket.SOCK_STREAM)
        try:
            door.settimeout(min(remaining, share_s(remaining, left)))
            door.connect(where)
        except OSError as refused:
            door.close()
            problem = refused
        else:
            resolver.met(node, place)
            return door
    raise problem


def _places(node: Node, timeout_s: float, resolver: Resolver) -> list[Place]:
    """Raises `memsession.resolver.Unresolved` where the node is given by a name that nobody knows in time."""
    while isinstance(found := resolver.places(node, timeout_s), Lookup):
        found.take(found.due)
    return found


def _is_table_over(tail: bytes) -> bool:
    return tail.endswith((b"END\r\n", b"RESET\r\n")) or (tail.endswith(b"\n") and b"ERROR" in tail)


def _check(head: bytes) -> None:
    """Whether the first bytes are none of memcached's.

    Raises:
        NotMemcached: they are somebody else's, or say that one has to sign in.
    """
    if head.startswith(_TLS):
        raise NotMemcached(TLS_SPOKEN)
    if head.startswith((b"HTTP/", b"<")):
        raise NotMemcached("it is a web server")
    if head.startswith(b"CLIENT_ERROR unauthenticated"):
        raise NotMemcached("it asks for a user name and a password (memcached -Y)")
    if head and not head[:1].isalpha():
        raise NotMemcached("its answer is none of memcached's")
