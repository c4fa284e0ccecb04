"""A connection in the making: connect, greet, understand; without waiting, or for as long as is wanted."""

import errno
import socket
import time
from typing import Any, TypeAlias

from memsession.addresses import Node
from memsession.blocking.connection import LOOKS_MAX, Broken, Connection
from memsession.commands import Unreachable
from memsession.greeting import Greeting, address_of, questions, understood
from memsession.health import Fault

Place: TypeAlias = tuple[int, Any]
"""Family and address of a socket."""


def places_of(node: Node) -> list[Place]:
    """Where a node may be reached, best first. It asks the resolver, which may take its time.

    Raises `OSError`, or `UnicodeError` for a name that none can have.
    """
    if node.port == 0:
        return [(socket.AF_UNIX, node.host)]
    found = socket.getaddrinfo(node.host, node.port, type=socket.SOCK_STREAM)
    return [(family, where) for family, _, _, _, where in found]


class Opening:
    """One attempt, at one place after the other. To begin it takes no time.

    `due` is when a node that has not greeted by then is silent. `tried` says that the node was out when it began.
    Raises `OSError` if there is no place to begin with.
    """

    def __init__(self, node: Node, places: list[Place], *, prefix: str, timeout_s: float, tried: bool) -> None:
        self.due = time.monotonic() + timeout_s
        self.tried = tried
        self._address = address_of(node)
        self._places = iter(places)
        self._questions = questions(prefix)
        self._replies: list[Any] = []
        self._connection = self._next(OSError(errno.EADDRNOTAVAIL, "no address"))

    def look(self, until: float, looks: int = LOOKS_MAX) -> tuple[Connection, Greeting] | None:
        """The connection, if the node has greeted `until` then (of `time.monotonic`).

        Raises `TooOld`, `NoGreeting`, `Broken` or `OSError`; the connection is closed then.
        """
        try:
            while True:
                try:
                    if not self._connection.take(self._replies, until, looks):
                        return None
                except Broken as problem:
                    self._after(problem)
                else:
                    greeting = understood(self._replies, self._address)
                    if self._connection.ended():
                        raise Broken(Fault.REFUSED, "it greeted and closed the connection")
                    return self._connection, greeting
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give it up."""
        self._connection.close()

    def _after(self, problem: Broken) -> None:
        """The next place, unless somebody was met at this one."""
        if any(reply is not None for reply in self._replies) or problem.fault is Fault.REFUSED:
            missing = Unreachable(str(problem))
            understood([missing if reply is None else reply for reply in self._replies], self._address)
        self._connection.close()
        self._connection = self._next(problem)

    def _next(self, problem: Exception) -> Connection:
        for family, where in self._places:
            door = socket.socket(family, socket.SOCK_STREAM)
            try:
                return self._begun(door, where)
            except (OSError, Broken) as refused:
                door.close()
                if isinstance(refused, OSError) and refused.errno is None:
                    raise
                problem = refused
            except BaseException:
                door.close()
                raise
        raise problem

    def _begun(self, door: socket.socket, where: Any) -> Connection:
        door.settimeout(0.0)
        if door.family != socket.AF_UNIX:
            door.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            door.connect(where)
        except BlockingIOError as problem:
            if problem.errno != errno.EINPROGRESS:
                raise
        connection = Connection(door)
        self._replies = [None] * len(self._questions)
        for index, question in enumerate(self._questions):
            connection.add(question, index)
        connection.send()
        return connection
