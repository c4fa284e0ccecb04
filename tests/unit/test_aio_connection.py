"""The one timer of a connection, with a clock, a loop and a socket that the test holds: slow, silent, or forgiven."""

import pytest

from memsession.aio import connection
from memsession.aio.connection import Connection
from memsession.aio.round import Round
from memsession.commands import Get
from memsession.health import Fault
from tests.replies import KEY, line, value
from tests.rounds import kinds


class Loop:
    """An event loop whose time is the test's, and the module `time` of the connection."""

    def __init__(self):
        self.now = 100.0
        self.soon = []
        self.later = []

    def monotonic(self):
        return self.now

    def call_soon(self, call, *arguments):
        self.soon.append((call, arguments))
        return self

    def call_later(self, seconds, call, *arguments):
        self.later.append(timer := Timer(self.now + seconds, call, arguments))
        return timer

    def turn(self):
        """One turn of what is to be done soon."""
        turn, self.soon = self.soon, []
        for call, arguments in turn:
            call(*arguments)

    def go_on(self, seconds, *, turns=4):
        """Time passes, and timers that are due then are called: late, if there are several."""
        self.now = round(self.now + seconds, 6)
        due = [timer for timer in self.later if timer.at <= self.now]
        self.later = [timer for timer in self.later if timer.at > self.now]
        for timer in due:
            if not timer.cancelled:
                timer.call(*timer.arguments)
        for _ in range(turns):
            self.turn()


class Timer:
    """What `call_later` returns."""

    def __init__(self, at, call, arguments):
        self.at, self.call, self.arguments = round(at, 6), call, arguments
        self.cancelled = False

    def cancel(self):
        self.cancelled = True


class Transport:
    """A socket that takes everything; `unsent` bytes are still there."""

    def __init__(self):
        self.unsent = 0
        self.aborted = False

    def write(self, data):
        pass

    def abort(self):
        self.aborted = True

    def get_write_buffer_size(self):
        return self.unsent


class Bench:
    """A connection with a time-out of 0.25 s, so slow after 0.05. `told` has what its holder was told."""

    def __init__(self, monkeypatch):
        self.loop = Loop()
        monkeypatch.setattr(connection, "time", self.loop)
        self.told = []
        self.transport = Transport()
        self.connection = Connection(self.loop, 0.25, self._ended, self.told.append)
        self.connection.connection_made(self.transport)
        self.asked = 0

    def _ended(self, _connection, fault, reason):
        self.told.append((fault, reason))

    def ask(self):
        round_ = Round(1)
        self.connection.send(Get("a", KEY), round_, 0)
        self.loop.turn()
        self.loop.turn()
        self.asked += 1
        return round_

    def hear(self, data):
        self.connection.get_buffer(-1)[: len(data)] = data
        self.connection.buffer_updated(len(data))

    def reply(self, opaque):
        self.hear(line(b"EN")(KEY, opaque))


@pytest.fixture
def bench(monkeypatch):
    return Bench(monkeypatch)


def test_it_is_slow_after_a_fifth_of_the_time_out_and_silent_after_all_of_it(bench):
    """Told once; and when it is silent, the connection ends."""
    round_ = bench.ask()
    bench.loop.go_on(0.04)
    assert bench.told == []
    bench.loop.go_on(0.01)
    assert bench.told == [100.25]
    for _ in range(19):
        bench.loop.go_on(0.01)
    assert bench.told == [100.25]
    bench.loop.go_on(0.01)
    assert bench.told == [100.25, (Fault.SILENT, "no reply within 0.25 s")]
    assert kinds(round_.replies) == ["Unreachable"]
    assert bench.transport.aborted


def test_a_reply_ends_it_and_the_next_command_counts_for_itself(bench):
    """Slow, heard, slow again by another command that was sent meanwhile: fifty milliseconds after that was sent."""
    bench.ask()
    bench.loop.go_on(0.05)
    bench.loop.go_on(0.03)
    bench.ask()
    bench.loop.go_on(0.02)
    bench.reply(1)
    assert bench.told == [100.25, None]
    bench.loop.go_on(0.02)
    assert bench.told == [100.25, None]
    bench.loop.go_on(0.01)
    assert bench.told == [100.25, None, 100.33]
    bench.reply(2)
    assert bench.told == [100.25, None, 100.33, None]
    for _ in range(50):
        bench.loop.go_on(0.01)
    assert len(bench.told) == 4


def test_replies_to_others_do_not_end_it_when_the_next_is_overdue_as_well(bench):
    """A reply came, so the node lives; what is still overdue makes it slow again."""
    for _ in range(2):
        bench.ask()
    bench.loop.go_on(0.05)
    bench.reply(1)
    for _ in range(4):
        bench.loop.turn()
    assert bench.told == [100.25, None, 100.25]


def test_a_reply_that_waits_in_the_socket_is_read_first(bench):
    """The loop was blocked for less than counts as late: the reply is there, and nobody is told anything."""
    bench.ask()
    bench.loop.go_on(0.06, turns=0)
    bench.reply(1)
    for _ in range(4):
        bench.loop.turn()
    bench.loop.go_on(0.3)
    assert bench.told == []


@pytest.mark.parametrize("late_s", [0.2, 0.6, 3600.0])
def test_a_timer_that_comes_late_is_no_proof(bench, late_s):
    """The process or the machine stood still: the node gets a moment to answer, and is neither slow nor out."""
    round_ = bench.ask()
    bench.loop.go_on(late_s)
    assert bench.told == []
    bench.loop.go_on(0.04)
    bench.reply(1)
    bench.loop.go_on(0.3)
    assert bench.told == []
    assert kinds(round_.replies) == ["Miss"]


def test_a_node_is_forgiven_once(bench):
    """If nothing has come by then, it is silent, however late the timer comes again."""
    bench.ask()
    bench.loop.go_on(0.6)
    bench.loop.go_on(0.6)
    assert bench.told == [(Fault.SILENT, "no reply within 0.25 s")]


def test_long_values_on_their_way_are_no_silence(bench):
    """While a value comes in or goes out the node is not slow; but it has to be done in time."""
    bench.ask()
    data = value(b"x" * 1_000)(KEY, 1)
    bench.hear(data[:100])
    bench.loop.go_on(0.05)
    bench.hear(data[100:200])
    bench.loop.go_on(0.05)
    assert bench.told == []
    bench.loop.go_on(0.05)
    assert bench.told == [100.25]
    bench.hear(data[200:])
    assert bench.told == [100.25, None]

    bench.ask()
    bench.transport.unsent = 10_000
    for _ in range(4):
        bench.loop.go_on(0.05)
    assert bench.told == [100.25, None]
    bench.loop.go_on(0.05)
    assert bench.told[2:] == [(Fault.SILENT, "no reply within 0.25 s")]


def test_a_reply_that_drips_is_slow_and_then_out(bench):
    """Bytes alone do not end the suspicion."""
    bench.ask()
    data = value(b"x" * 100)(KEY, 1)
    bench.loop.go_on(0.05)
    for at in range(20):
        bench.hear(data[at : at + 1])
        bench.loop.go_on(0.01)
    assert bench.told == [100.25, (Fault.SILENT, "no reply within 0.25 s")]
