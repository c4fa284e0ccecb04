"""Which nodes are worth asking, told by a clock and a chance that the test holds."""

import logging
import math

import pytest

from memsession.events import NodeBack, NodeForgot, NodeOut, NodeSlow, SameProcess, log
from memsession.health import Fault, Health, recognise


class Setting:
    """Health with its surroundings: `now` and `chance` to set, `events` to read."""

    def __init__(self):
        self.now = 100.0
        self.chance = 0.0
        self.events = []
        self.health = Health(
            ["a", "b"],
            monotonic=lambda: self.now,
            chance=lambda: self.chance,
            observe=self.events.append,
        )


@pytest.fixture
def setting():
    return Setting()


def test_a_node_is_up_until_something_says_otherwise(setting):
    """Nothing known is good news: a node never asked is up, and need not be tried or probed."""
    assert setting.health.is_up("a")
    assert not setting.health.claim("a")
    assert setting.health.probe_pause_s("a") is None


def test_a_refused_node_is_tried_once_a_second(setting):
    """After a second one request may try; the others go without until the next second."""
    setting.health.failed("a", Fault.REFUSED, "refused")

    tried = []
    for _ in range(20):
        setting.now += 0.125
        tried.append(setting.health.claim("a"))

    assert not setting.health.is_up("a")
    assert setting.health.is_up("b")
    assert [turn for turn, may in enumerate(tried, start=1) if may] == [8, 16]
    assert setting.health.probe_pause_s("a") is None


def test_a_silent_node_is_knocked_at_shortly_and_more_shortly_once_that_was_in_vain(setting):
    """Who insists waits 50 ms, 5 ms after a probe that nobody answered; as long as it takes for one that refuses."""
    waits = [setting.health.patience_s("a")]
    for fault in (Fault.SILENT, Fault.SILENT, Fault.SILENT, Fault.REFUSED):
        setting.health.failed("a", fault, "it failed")
        waits.append(setting.health.patience_s("a"))
    setting.health.succeeded("a")
    setting.health.failed("a", Fault.SILENT, "silent")
    waits.append(setting.health.patience_s("a"))

    assert waits == [math.inf, 0.05, 0.005, 0.005, math.inf, 0.05]


def test_a_lost_connection_is_tried_again_at_once(setting):
    """A node that closed a connection opened long ago is out, and the very next request asks again."""
    setting.health.tried("a")
    setting.now += 60.0
    setting.health.failed("a", Fault.LOST, "closed")

    assert not setting.health.is_up("a")
    assert setting.health.claim("a")
    assert not setting.health.claim("a")


def test_a_node_that_closes_every_connection_is_asked_once_a_second(setting):
    """A connection lost right after it was opened does not lead to one for every request."""
    setting.health.tried("a")
    setting.now += 0.5
    setting.health.failed("a", Fault.LOST, "closed")

    assert not setting.health.claim("a")
    setting.now += 0.5
    assert setting.health.claim("a")


def test_a_silent_node_is_never_tried_by_requests(setting):
    """Whoever hangs is left to the probes: first after 0.25 s, then twice as long each time, up to 5 s."""
    pauses = []
    for _ in range(8):
        setting.health.failed("a", Fault.SILENT, "no reply")
        pauses.append(setting.health.probe_pause_s("a"))
        setting.now += 1000.0
        assert not setting.health.claim("a")

    assert pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0]


def test_probes_of_many_web_servers_spread(setting):
    """Chance makes a pause shorter by up to a quarter, never longer."""
    setting.health.failed("a", Fault.SILENT, "no reply")
    setting.chance = 0.999

    assert setting.health.probe_pause_s("a") == pytest.approx(0.25 * 0.75, rel=0.01)


def test_pauses_begin_anew_after_another_fault_or_a_recovery(setting):
    """A node that was back, or refused meanwhile, has not been probed in vain."""
    for _ in range(3):
        setting.health.failed("a", Fault.SILENT, "no reply")
    setting.health.failed("a", Fault.REFUSED, "refused")
    setting.health.failed("a", Fault.SILENT, "no reply")
    after_refusal = setting.health.probe_pause_s("a")
    setting.health.succeeded("a")
    setting.health.failed("a", Fault.SILENT, "no reply")

    assert after_refusal == setting.health.probe_pause_s("a") == 0.25


def test_pauses_are_bounded_after_ever_so_many_probes(setting):
    """A node that is away for weeks is still probed, and no number grows without end."""
    for _ in range(5_000):
        setting.health.failed("a", Fault.SILENT, "no reply")

    assert setting.health.probe_pause_s("a") == 5.0


@pytest.mark.parametrize("fault", Fault)
def test_each_change_is_told_once(setting, fault):
    """Out is told with its reason when it begins, back when it ends, and nothing in between."""
    setting.health.succeeded("a")
    setting.health.failed("a", fault, "first reason")
    setting.health.failed("a", fault, "second reason")
    setting.health.succeeded("a")
    setting.health.succeeded("a")

    assert setting.events == [NodeOut("a", "first reason"), NodeBack("a")]
    assert setting.health.is_up("a")


def test_a_node_that_forgot_is_recognised():
    """The first name heard of a node is news to nobody; another one later means that its memory is gone."""
    events, incarnations = [], {}

    for incarnation in ("one", "one", "two"):
        recognise(incarnations, "a", incarnation, events.append)

    assert events == [NodeForgot("a")]
    assert incarnations == {"a": "two"}


def test_two_names_for_one_process_are_recognised():
    """Copies on two names of one memcached are one copy: that is an error in the configuration."""
    events, incarnations = [], {}

    for node in ("b", "a", "a"):
        recognise(incarnations, node, "one", events.append)
    recognise(incarnations, "c", "another", events.append)

    assert events == [SameProcess(("a", "b"))]


@pytest.mark.parametrize(
    ("event", "level", "text"),
    [
        (NodeOut("a", "no reply"), logging.WARNING, "memcached node a is out: no reply"),
        (NodeBack("a"), logging.INFO, "memcached node a is back"),
        (NodeForgot("a"), logging.WARNING, "memcached node a has restarted or was flushed: it is empty"),
        (SameProcess(("a", "b")), logging.ERROR, "these nodes are one memcached process"),
    ],
)
def test_events_are_logged_by_default(caplog, event, level, text):
    """Each event is a line of the logger `memsession`, loud according to what it means."""
    with caplog.at_level(logging.DEBUG, "memsession"):
        log(event)

    [record] = caplog.records
    assert (record.name, record.levelno) == ("memsession", level)
    assert record.getMessage().startswith(text)


class TestSuspects:
    """A node for which somebody has waited long: the others do without."""

    def test_it_is_not_up_and_not_out(self, setting):
        """Births avoid it, but nobody tries or probes it."""
        setting.health.slow("a", 100.2)

        assert setting.health.is_suspect("a")
        assert not setting.health.is_up("a")
        assert not setting.health.is_out("a")
        assert not setting.health.claim("a")
        assert setting.health.probe_pause_s("a") is None
        assert setting.health.is_up("b")
        assert not setting.health.is_suspect("b")

    @pytest.mark.parametrize("how", ["answered", "succeeded", "failed", "nobody says so"])
    def test_it_ends(self, setting, how):
        """With a reply, with a new connection, when the node is out, or when nobody can be waiting any more."""
        setting.health.slow("a", 100.2)
        match how:
            case "answered":
                setting.health.answered("a")
            case "succeeded":
                setting.health.succeeded("a")
            case "failed":
                setting.health.failed("a", Fault.SILENT, "silent")
            case _:
                setting.now = 100.2

        assert not setting.health.is_suspect("a")
        assert setting.health.suspects == {}
        assert setting.health.is_out("a") == (how == "failed")

    def test_an_out_node_is_not_suspect(self, setting):
        """Who waits for it insists, and knows why."""
        setting.health.failed("a", Fault.SILENT, "silent")
        setting.health.slow("a", 100.2)

        assert not setting.health.is_suspect("a")
        assert setting.events == [NodeOut("a", "silent")]

    def test_the_one_who_waits_longest_decides_when_it_ends(self, setting):
        """Several may wait for it; the end of one is not the end of all."""
        setting.health.slow("a", 100.2)
        setting.health.slow("a", 100.1)
        setting.now = 100.15

        assert setting.health.is_suspect("a")

    def test_each_spell_is_told_once_and_no_more_than_one_a_second(self, setting):
        """An observer is not flooded by a node that is slow a hundred times in two seconds."""
        for _ in range(100):
            setting.health.slow("a", setting.now + 0.2)
            setting.health.slow("a", setting.now + 0.2)
            setting.now += 0.01
            setting.health.answered("a")
            setting.now += 0.01
        setting.health.slow("b", setting.now + 0.2)

        assert setting.events == [NodeSlow("a"), NodeSlow("a"), NodeSlow("b")]


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
def test_after_hanging_a_node_is_back_within_five_seconds(setting, chance):
    """However long it hung. A probe that nobody answers takes the time-out, and the next pause begins after it."""
    setting.chance = chance
    begun_at, waits = setting.now, []
    probes = []
    while setting.now < begun_at + 60.0:
        setting.health.failed("a", Fault.SILENT, "silent")
        setting.now += setting.health.probe_pause_s("a")
        probes.append(setting.now)
        setting.now += 0.25
    for tenths in range(1, 500):
        goes_on_at = begun_at + tenths / 10.0
        # The first probe that is answered: one that was under way then, or the next.
        waits.append(next(max(0.0, at - goes_on_at) for at in probes if at + 0.25 > goes_on_at))

    assert 4.0 * (1.0 - 0.25 * chance) < max(waits) <= 5.0


def test_after_refusing_a_node_is_back_within_a_second(setting):
    """With a request every hundredth of a second, whenever it is started again."""
    for hundredths in range(300):
        setting.health.failed("a", Fault.REFUSED, "refused")
        started_at = setting.now + hundredths / 100.0
        while True:
            setting.now += 0.01
            if setting.health.claim("a"):
                if setting.now >= started_at:
                    break
                setting.health.failed("a", Fault.REFUSED, "refused")
        setting.health.succeeded("a")

        assert setting.now - started_at < 1.02


def test_what_is_forgotten_was_never_known(setting):
    """A node that left the pool, or moved: its next connection is its first."""
    setting.health.failed("a", Fault.SILENT, "silent")
    setting.health.slow("b", 200.0)
    for node in ("a", "b", "c"):
        setting.health.forget(node)

    assert [setting.health.is_up(node) for node in ("a", "b", "c")] == [True, True, True]
    setting.health.failed("c", Fault.LOST, "lost")
    assert setting.health.claim("c")
