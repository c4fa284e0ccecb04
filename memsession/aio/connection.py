"""One connection to one node, shared by all requests of an event loop.

What a connection costs is paid per turn of the event loop, not per command: commands of all requests are gathered
and leave in one write at the end of the next turn; whatever has arrived is parsed in one pass; and one timer, which
looks at the oldest command only, watches all of them. There is no task, no lock and no stream reader.

A connection ends at the first sign of trouble, with everything in flight unanswered. So one whose reply was not
read is never used again. A request that is cancelled leaves its commands here: their replies are read, checked and
dropped.

The timer has two limits. After a fifth of the time-out without a reply the node is *slow*: whoever holds the
connection is told, and told again when a reply has come. After the time-out it is *silent*, and the connection ends.

A silent node and a busy web server look the same to a timer: an event loop that was blocked for half a second finds
the timer due and the reply in the socket. So when the timer is due, the event loop first gets turns to read what is
there, as many as it takes while something keeps arriving, and only then the node is slow or silent. And when the
timer comes late, the whole machine may have been stopped, the node included: then it gets another fifth, once.
"""

import asyncio
import itertools
import math
import time
from collections.abc import Callable
from typing import TypeAlias, cast

from memsession.aio.round import Round
from memsession.commands import Unreachable
from memsession.health import LATE_S, SUSPECT_SHARE, Fault
from memsession.wire import Parser, ProtocolError, Request, encode

READ_BYTES_MAX = 65_536
LOOKS_MAX = 32
"""Turns in which a late reply may still come in: so many reads hold the longest value there is, and more."""
TURNS_TO_READ = 2
"""Turns that each look takes at least: some event loops see to timers first and to sockets last."""

CLOSING_TURNS_MAX = 10
"""Bounded, for uvloop does not tell of the end of a connection whose making was cancelled at the last moment."""

_serials = itertools.count(1)


class Batch:
    """Commands of one turn of the loop, and when they were sent."""

    __slots__ = ("parts", "sent_at")

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.sent_at = math.inf


Ticket: TypeAlias = tuple[Round, int, Batch]
Ended: TypeAlias = Callable[["Connection", Fault, str], None]
Noticed: TypeAlias = Callable[[float | None], None]


class Connection(asyncio.BufferedProtocol):
    """See the top of this file. `ended` is called once, unless the end was asked for by `close`.

    `noticed` is called with the time (of `time.monotonic`) when a slow node will be silent, and with None when it has
    answered.

    `serial` is unique in this process: tokens count on the connection whose number they bear. `fault` says how the
    connection ended, if it did by itself.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, timeout_s: float, ended: Ended, noticed: Noticed | None = None
    ) -> None:
        self.serial = next(_serials)
        self.fault: Fault | None = None
        self._loop = loop
        self._timeout_s = timeout_s
        self._slow_s = SUSPECT_SHARE * timeout_s
        self._ended: Ended | None = ended
        self._noticed = noticed
        self._parser: Parser[Ticket] = Parser(self.serial)
        self._awaited = self._parser.awaited
        self._opaque = 0
        self._batch = Batch()
        self._transport: asyncio.Transport | None = None
        self._watch: asyncio.Handle | None = None
        self._watch_due = math.inf
        self._watch_reads = 0
        # Of the commands in flight, the one that made the node slow, and the one that was forgiven.
        self._slow: object = None
        self._forgiven: object = None
        # One buffer for all reads: a fresh one of 256 KiB from asyncio costs more than to parse what is in it.
        self._buffer = memoryview(bytearray(READ_BYTES_MAX))
        self._reads = 0
        self._gone = False

    def send(self, request: Request, round_: Round, index: int) -> None:
        """Send at the end of the next turn of the event loop; the reply goes to `round_`. Not for a closed one."""
        self._opaque = opaque = self._opaque + 1
        part = encode(request, opaque)
        batch = self._batch
        if not batch.parts:
            # Not at the end of this turn but of the next: what the sockets have brought by then leaves with it.
            self._loop.call_soon(self._loop.call_soon, self._flush)
        batch.parts.append(part)
        self._parser.expect(request, opaque, (round_, index, batch))

    def fail(self, fault: Fault, reason: str) -> None:
        """Close at once; what is in flight has no answer, and whoever holds the connection is told."""
        ended, self._ended = self._ended, None
        if ended is not None:
            self.fault = fault
            ended(self, fault, reason)
            self._end(reason)

    async def close(self, reason: str) -> None:
        """Close at once, as asked. The loop gets the turns that it needs to close the socket."""
        self._ended = None
        self._end(reason)
        turns_left = CLOSING_TURNS_MAX
        while not self._gone and turns_left:
            turns_left -= 1
            await asyncio.sleep(0)

    def _end(self, reason: str) -> None:
        if self._watch is not None:
            self._watch.cancel()
        if self._transport is not None:
            self._transport.abort()
        else:
            self._gone = True
        unanswered = Unreachable(reason)
        while self._awaited:
            round_, index, _ = self._awaited.popleft()[2]
            round_.answer(index, unanswered)

    def _flush(self) -> None:
        batch, self._batch = self._batch, Batch()
        batch.sent_at = time.monotonic()
        if self._ended is None or self._transport is None:
            return
        self._transport.write(b"".join(batch.parts))
        batch.parts.clear()
        if self._watch is None:
            self._wake_in(self._slow_s)

    def _wake_in(self, seconds: float) -> None:
        self._watch_due = time.monotonic() + seconds
        self._watch_reads = self._reads
        self._watch = self._loop.call_later(seconds, self._look)

    def _look(self, looks: int = LOOKS_MAX, reads: int = 0) -> None:
        """The one timer: is the oldest command overdue, and nothing coming in any more?"""
        self._watch = None
        if not self._awaited:
            return
        now, oldest = time.monotonic(), self._awaited[0]
        sent_at = oldest[2][2].sent_at
        due_in = sent_at + (self._timeout_s if oldest is self._slow else self._slow_s) - now
        if due_in > 0.0:
            self._wake_in(min(due_in, self._timeout_s))
        elif looks > LOOKS_MAX - TURNS_TO_READ or (looks and self._reads > reads):
            self._watch = self._loop.call_soon(self._look, looks - 1, self._reads)
        elif now > self._watch_due + LATE_S and oldest is not self._forgiven:
            self._forgiven = oldest
            self._wake_in(self._slow_s)
        elif now < sent_at + self._timeout_s and self._is_busy():
            self._wake_in(min(self._slow_s, sent_at + self._timeout_s - now))
        elif now < sent_at + self._timeout_s:
            self._slow = oldest
            self._wake_in(sent_at + self._timeout_s - now)
            if self._noticed is not None:
                self._noticed(sent_at + self._timeout_s)
        else:
            self.fail(Fault.SILENT, f"no reply within {self._timeout_s:g} s")

    def _is_busy(self) -> bool:
        """Whether long values are on their way, one way or the other: that is no silence."""
        if self._transport is not None and self._transport.get_write_buffer_size():
            return True
        return self._parser.midway and self._reads > self._watch_reads

    def _heard(self) -> None:
        """Something came from a slow node. Once it was a reply, the node is slow no more."""
        if self._awaited and self._awaited[0] is self._slow:
            return
        self._slow = None
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._noticed is not None:
            self._noticed(None)
        if self._awaited and self._ended is not None:
            self._look()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast and not a check: uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        if self._ended is None:
            self._transport.abort()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._reads += 1
        try:
            for (round_, index, _), reply in self._parser.feed(bytes(self._buffer[:nbytes])):
                round_.answer(index, reply)
        except ProtocolError as anomaly:
            self.fail(Fault.REFUSED, str(anomaly))
            return
        if self._slow is not None:
            self._heard()

    def eof_received(self) -> None:
        self.fail(Fault.LOST, "the node closed the connection")

    def connection_lost(self, exc: Exception | None) -> None:
        self.fail(Fault.LOST, f"the connection was lost: {exc or 'no reason given'}")
        self._gone = True
