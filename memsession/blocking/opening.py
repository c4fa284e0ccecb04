"""A connection in the making: resolve, connect, greet, understand; without waiting, or for as long as is wanted."""

import errno
import math
import socket
import time
from collections import deque
from typing import Any

from memsession.addresses import Node
from memsession.blocking.connection import LOOKS_MAX, Broken, Connection
from memsession.commands import Unreachable
from memsession.greeting import Greeting, address_of, questions, understood
from memsession.health import Fault
from memsession.resolver import Lookup, Place, places_of, share_s

__all__ = ["Opening", "places_of"]


class Opening:
    """One attempt, at one place after the other. To begin it takes no time.

    `places` may be a question to the resolver that is under way. `due` is when a node that has not greeted by then is
    silent. `tried` says that the node was out when it began. `place` is where the node is looked for now. Raises
    `OSError` if there is no place to begin with.
    """

    def __init__(
        self, node: Node, places: list[Place] | Lookup, *, prefix: str, timeout_s: float, tried: bool
    ) -> None:
        self.node = node
        self.begun_at = time.monotonic()
        self.due = self.begun_at + timeout_s
        self.tried = tried
        self._address = address_of(node)
        self._questions = questions(prefix)
        self._replies: list[Any] = []
        self._lookup = places if isinstance(places, Lookup) else None
        self._places: deque[Place] = deque(() if isinstance(places, Lookup) else places)
        self._turn_at = math.inf
        self.place: Place | None = None
        self._connection = None if self._lookup else self._first()

    @property
    def resolving(self) -> bool:
        """Whether it is not the node that is waited for, but the resolver."""
        return self._connection is None

    def look(self, until: float, looks: int = LOOKS_MAX) -> tuple[Connection, Greeting] | None:
        """The connection, if the node has greeted `until` then (of `time.monotonic`).

        Raises `TooOld`, `NoGreeting`, `Broken`, `OSError` or `Unresolved`; the connection is closed then.
        """
        try:
            connection = self._connection or self._resolved(until)
            while connection is not None:
                try:
                    if not self._take(connection, until, looks):
                        if connection.steps or time.monotonic() < self._turn_at:
                            return None
                        raise Broken(Fault.SILENT, "nobody is there")
                except Broken as problem:
                    connection = self._after(connection, problem)
                else:
                    greeting = understood(self._replies, self._address)
                    if connection.ended():
                        raise Broken(Fault.REFUSED, "it greeted and closed the connection")
                    return connection, greeting
            return None
        except BaseException:
            self.close()
            raise

    def _take(self, connection: Connection, until: float, looks: int) -> bool:
        """Whether the node has greeted. Before it was met, only until it is the next place's turn."""
        first_until = until if connection.steps else min(until, self._turn_at)
        if connection.take(self._replies, first_until, looks):
            return True
        return first_until < until and connection.steps > 0 and connection.take(self._replies, until, looks)

    def close(self) -> None:
        """Give it up."""
        if self._connection is not None:
            self._connection.close()

    def _resolved(self, until: float) -> Connection | None:
        """The first connection, if the resolver has answered by then."""
        places = self._lookup.take(until) if self._lookup is not None else None
        if places is not None:
            self._places = deque(places)
            self._connection = self._first()
        return self._connection

    def _after(self, connection: Connection, problem: Broken) -> Connection:
        """The next place, unless somebody was met at this one."""
        if any(reply is not None for reply in self._replies) or problem.fault is Fault.REFUSED:
            missing = Unreachable(str(problem))
            understood([missing if reply is None else reply for reply in self._replies], self._address)
        connection.close()
        self._connection = following = self._next(problem)
        return following

    def _first(self) -> Connection:
        return self._next(OSError(errno.EADDRNOTAVAIL, "no address"))

    def _next(self, problem: Exception) -> Connection:
        while self._places:
            self.place = family, where = self._places.popleft()
            now = time.monotonic()
            self._turn_at = now + share_s(self.due - now, len(self._places) + 1)
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
        connection = Connection(door, self.node)
        self._replies = [None] * len(self._questions)
        for index, question in enumerate(self._questions):
            connection.add(question, index)
        connection.send()
        return connection
