"""The pool's clock: what it makes of several clocks, with all of them in the test's hands."""

import pytest

from memsession.clock import PoolClock

NOON_S = 1_800_000_000
HOUR_S = 3_600


class Clocks:
    """A monotonic clock and a wall clock `wrong_s` off, both moved on by `pass_s`."""

    def __init__(self, wrong_s=0.0):
        self.elapsed_s = 0.0
        self.wrong_s = wrong_s
        self.clock = PoolClock(monotonic=lambda: 500.0 + self.elapsed_s, wall=self.wall)

    def wall(self):
        return NOON_S + self.elapsed_s + self.wrong_s

    def hear(self, node, wrong_s=0):
        self.clock.observe(node, int(NOON_S + self.elapsed_s + wrong_s))

    def off_s(self):
        return self.clock.now_ms() / 1000 - NOON_S - self.elapsed_s


def test_alone_it_is_this_machines_clock():
    """Before any node is heard, there is no other clock than one's own."""
    clocks = Clocks()
    clocks.elapsed_s = 1.25

    assert clocks.clock.now_ms() == NOON_S * 1000 + 1_250


@pytest.mark.parametrize("wrong_s", [-86_400, -HOUR_S, HOUR_S, 86_400])
@pytest.mark.parametrize("nodes", [1, 2, 3, 4, 5])
def test_one_wrong_web_server_agrees_with_the_pool(wrong_s, nodes):
    """However wrong one's own clock is, the nodes' clocks decide, to the second in which they tell the time."""
    clocks = Clocks(wrong_s)
    for number in range(nodes):
        clocks.hear(f"node {number}")
    clocks.elapsed_s = 10.0

    assert abs(clocks.off_s()) <= 0.5


@pytest.mark.parametrize("wrong_s", [-86_400, HOUR_S])
def test_one_wrong_node_among_two_has_no_say(wrong_s):
    """Two nodes and one's own clock: the one that is wrong is outvoted."""
    clocks = Clocks()
    clocks.hear("right")
    clocks.hear("wrong", wrong_s)

    assert abs(clocks.off_s()) <= 0.5


def test_it_goes_on_by_the_monotonic_clock():
    """Setting this machine's clock while nothing is heard changes nothing."""
    clocks = Clocks()
    clocks.hear("a")
    clocks.hear("b")
    before = clocks.off_s()
    clocks.wrong_s = 7 * HOUR_S
    clocks.elapsed_s = 60.0

    assert clocks.off_s() == pytest.approx(before, abs=0.002)


def test_a_small_step_back_is_a_pause():
    """A node's whole seconds may move the median back a little: the clock then stands until it is right."""
    clocks = Clocks()
    times = [clocks.clock.now_ms()]
    clocks.hear("a", -1.5)
    for _ in range(20):
        clocks.elapsed_s += 0.1
        times.append(clocks.clock.now_ms())

    assert times == sorted(times)
    assert times[5] == times[0]
    assert times[-1] > times[0]


@pytest.mark.parametrize("wrong_s", [-HOUR_S, HOUR_S])
def test_a_large_correction_is_made_at_once(wrong_s):
    """A clock that was wrong by an hour is put right in one step, in either direction."""
    clocks = Clocks(wrong_s)
    assert clocks.off_s() == wrong_s
    clocks.hear("a")

    assert abs(clocks.off_s()) <= 0.5


def test_a_node_heard_again_counts_once():
    """A node that reconnects often has one vote."""
    clocks = Clocks()
    clocks.hear("right")
    for _ in range(10):
        clocks.hear("wrong", HOUR_S)

    assert abs(clocks.off_s()) <= 0.5
