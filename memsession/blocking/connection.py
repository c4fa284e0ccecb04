"""One blocking connection to one node, used by one round at a time.

Commands are gathered, sent in one piece, and their replies are read until none is missing. From the first command
gathered to the last reply read the connection is *busy*; whoever finds a busy one that is not their own closes it.
So one with an unread reply is never used again, however the round ended: by an error, a signal or a greenlet's
time-out.

All waiting is done by `settimeout`, which works with gevent's sockets as well; between rounds the time-out is zero.

A silent node and a busy web server look the same to a clock: after the process was stopped, or another greenlet kept
the processor, time is up and the reply is in the socket. So when time is up, what is there is still read, and only
where nothing is there the node is silent.
"""

import errno
import itertools
import socket
import time
from typing import Any

from memsession.addresses import Node
from memsession.health import Fault
from memsession.wire import Parser, ProtocolError, Request, encode

READ_BYTES_MAX = 65_536

LOOKS_MAX = 32
"""Reads after time is up: so many hold the longest value there is, and more."""

LOOK_S = 0.002
"""What such a read waits while something keeps arriving: the node cannot send all of a long value at once."""

EARLY_S = 0.02
"""How much too early a time-out of one's own may come: some event loops count from when they last looked."""

_serials = itertools.count(1)


class Broken(Exception):
    """The connection is of no more use; `fault` says how it ended."""

    def __init__(self, fault: Fault, reason: str) -> None:
        super().__init__(reason)
        self.fault = fault


class Connection:
    """See the top of this file. `door` is a socket that is connected, or about to be, to the `node`.

    `serial` is unique among the blocking connections of this process: tokens count on the connection whose number
    they bear. `due` is when the replies to what was sent last are overdue, for whoever sets it. `steps` counts how
    often something went or came.
    """

    __slots__ = (
        "_awaited",
        "_door",
        "_opaque",
        "_parser",
        "_parts",
        "_unsent",
        "busy",
        "due",
        "node",
        "opened_at",
        "serial",
        "steps",
    )

    def __init__(self, door: socket.socket, node: Node) -> None:
        self.serial = next(_serials)
        self.node = node
        self.opened_at = time.monotonic()
        self.busy = False
        self.due = 0.0
        self.steps = 0
        self._door = door
        self._parser: Parser[int] = Parser(self.serial)
        self._awaited = self._parser.awaited
        self._opaque = 0
        self._parts: list[bytes] = []
        self._unsent = b""

    def add(self, request: Request, index: int) -> None:
        """Gather a command for the next `send`; its reply is to be the one at `index`."""
        self.busy = True
        self._opaque = opaque = self._opaque + 1
        self._parts.append(encode(request, opaque))
        self._parser.expect(request, opaque, index)

    def send(self) -> None:
        """Send what was gathered, as far as it goes without waiting: `take` sends the rest. May raise `Broken`."""
        self._unsent = b"".join(self._parts)
        self._parts.clear()
        self._flush(0.0)

    def take(self, replies: list[Any], until: float, looks: int = LOOKS_MAX) -> bool:
        """Put replies where they belong. False if some are missing `until` then (of `time.monotonic`).

        What has arrived by then is read in any case, in as many reads as `looks`. Raises `Broken`.
        """
        left = looks
        while self._awaited or self._unsent:
            wait_s = until - time.monotonic()
            if wait_s <= 0.0:
                if not left:
                    return False
                wait_s = 0.0 if left == looks else LOOK_S
                left -= 1
            if not (self._flush(wait_s) if self._unsent else self._read(replies, wait_s)) and left < looks:
                return False
        self.busy = False
        return True

    def ended(self) -> Broken | None:
        """How the connection ended while nobody used it; None if it is as it was left. It takes no time."""
        try:
            stray = self._door.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return None
        except OSError as problem:
            return _lost(problem)
        if not stray:
            return Broken(Fault.LOST, "the node closed the connection")
        try:
            self._read([], 0.0)
        except Broken as problem:
            return problem
        return Broken(Fault.REFUSED, "bytes that nobody asked for")

    def close(self) -> None:
        """Close at once. No farewell: in a forked process the connection may go on being its parent's."""
        self._door.close()

    def _flush(self, wait_s: float) -> bool:
        """Send on; whether anything went."""
        door, until = self._door, time.monotonic() + wait_s
        try:
            if wait_s:
                door.settimeout(wait_s)
            sent = door.send(self._unsent)
        except BlockingIOError:
            return False
        except TimeoutError as problem:
            return _nothing(problem, until)
        except OSError as problem:
            # Some systems say so of a connection that is still being made.
            if problem.errno != errno.ENOTCONN:
                raise _lost(problem) from problem
            time.sleep(min(wait_s, LOOK_S))
            return False
        finally:
            if wait_s:
                door.settimeout(0.0)
        self._unsent = self._unsent[sent:]
        self.steps += 1
        return True

    def _read(self, replies: list[Any], wait_s: float) -> bool:
        """One read; whether anything came."""
        door, until = self._door, time.monotonic() + wait_s
        try:
            if wait_s:
                door.settimeout(wait_s)
            data = door.recv(READ_BYTES_MAX)
        except BlockingIOError:
            return False
        except TimeoutError as problem:
            return _nothing(problem, until)
        except OSError as problem:
            raise _lost(problem) from problem
        finally:
            if wait_s:
                door.settimeout(0.0)
        if not data:
            raise Broken(Fault.LOST, "the node closed the connection")
        self.steps += 1
        try:
            for index, reply in self._parser.feed(data):
                replies[index] = reply
        except ProtocolError as anomaly:
            raise Broken(Fault.REFUSED, str(anomaly)) from None
        return True


def _nothing(problem: TimeoutError, until: float) -> bool:
    """Nothing within the time; but a time-out that is not the socket's own is raised to whoever set it."""
    if problem.errno is not None:
        raise _lost(problem) from problem
    if time.monotonic() < until - EARLY_S:
        raise problem
    return False


def _lost(problem: OSError) -> Broken:
    """An error of the socket; what a signal handler or a greenlet raised has no number, and is not ours to catch."""
    if problem.errno is None:
        raise problem
    return Broken(Fault.LOST, f"the connection was lost: {problem}")
