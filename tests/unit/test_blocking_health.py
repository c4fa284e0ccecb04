"""Threads share what is known of nodes: of two that come at the same moment, one tries, and one tells."""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

from memsession.commands import Get, Unreachable
from memsession.events import NodeBack, NodeOut
from memsession.health import Fault, Health
from memsession.memory import BlockingMemoryClient
from memsession.pool import Pool
from tests.rounds import kinds, rounds


class Moment(float):
    """A time at which two threads meet when they add to it, if nothing keeps one of them from coming."""

    barrier = threading.Barrier(2, timeout=0.2)

    def __add__(self, seconds):
        with contextlib.suppress(threading.BrokenBarrierError):
            self.barrier.wait()
        return float(self) + seconds


def test_of_two_threads_one_may_try():
    """Both find the node out and its second over; only one of them gets the claim."""
    moments = [0.0]
    health = Health(["a"], monotonic=lambda: moments[-1], chance=lambda: 0.0, observe=lambda event: None)
    health.failed("a", Fault.REFUSED, "refused")
    moments.append(Moment(5.0))
    with ThreadPoolExecutor(2) as threads:
        claims = list(threads.map(health.claim, ["a", "a"]))
    assert sorted(claims) == [False, True]


def test_each_change_is_told_once():
    """However many threads meet the same failure."""
    events = []
    health = Health(["a"], monotonic=lambda: 0.0, chance=lambda: 0.0, observe=events.append)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: health.failed("a", Fault.SILENT, "silent"), range(50)))
        list(threads.map(lambda _: health.succeeded("a"), range(50)))
    assert events == [NodeOut("a", "silent"), NodeBack("a")]


def test_an_observer_may_ask_what_it_is_told_of():
    """It is called when nothing is locked: it may use the client, or wait."""
    told = []

    def observe(event):
        told.append((event, health.is_up("a"), health.claim("a")))

    health = Health(["a"], monotonic=lambda: 0.0, chance=lambda: 0.0, observe=observe)
    health.failed("a", Fault.LOST, "lost")
    health.succeeded("a")
    assert [up for _, up, _ in told] == [False, True]


def test_the_in_process_client_tells_of_nodes_when_nothing_is_locked():
    """An observer may run a plan."""
    seen = []

    def observe(event):
        seen.append((type(event).__name__, kinds(client.run(rounds([Get("memory-2", b"k")])))))

    client = BlockingMemoryClient(Pool("memory://?nodes=2"), observe=observe)
    client.greet()
    client.nodes["memory-1"].stop()
    [reply] = client.run(rounds([Get("memory-1", b"k", force=True)]))
    client.close()
    assert isinstance(reply, Unreachable)
    assert seen == [("NodeOut", ["Miss"])]
