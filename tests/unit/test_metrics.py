"""What is measured: each event counts, labels have few values, and whatever counts passes events on."""

import dataclasses
import itertools
import re
import threading
from collections import Counter

import pytest

from memsession import Pool, events
from memsession.events import (
    ChangesDropped,
    ChangesForgotten,
    ChangesUnsaved,
    CookieRefused,
    Created,
    Ended,
    Event,
    InDoubt,
    Loaded,
    LockBusy,
    LockExpired,
    Moved,
    MoveDone,
    NodeBack,
    NodeEvent,
    NodeForgot,
    NodeOut,
    NodeSlow,
    NotThere,
    PoolReplaced,
    PoolsDiffer,
    RefillBegan,
    RefillDone,
    RefillFailed,
    RefillProgress,
    SameProcess,
    Saved,
    SaveFailed,
    TombstoneDelivered,
    TombstoneMissed,
    TooFewCopies,
    Unanswered,
    Unreadable,
    UpkeepFailed,
    guarded,
    log,
)
from memsession.metrics import measures
from memsession.metrics.counting import Counting
from memsession.metrics.measures import ALL, OTHER, Kind
from memsession.metrics.readings import readings

NODE = "10.0.0.94:11211"
SESSION = "fingerprint1"
REASON = "free text of an error"

COUNTED = [
    (Loaded(SESSION), {"loads found": 1}),
    (Loaded(SESSION, (NODE, "b")), {"loads found": 1, f"copies.repaired {NODE}": 1, "copies.repaired b": 1}),
    (NotThere(SESSION, "ended"), {"loads ended": 1}),
    (NotThere(SESSION, "expired"), {"loads expired": 1}),
    (NotThere(SESSION), {"loads unknown": 1}),
    (InDoubt(SESSION), {"loads in_doubt": 1}),
    (Unreadable(SESSION), {"loads unreadable": 1}),
    (Unanswered(SESSION), {"loads unanswered": 1}),
    (TooFewCopies(SESSION), {"loads too_few_refused": 1}),
    (TooFewCopies(SESSION, "shown empty"), {"loads too_few_shown_empty": 1}),
    (Created(SESSION), {"sessions.begun": 1}),
    (Saved(SESSION), {"sessions.saved": 1}),
    (Saved(SESSION, 3), {"sessions.saved": 1, "conflicts.merged": 3}),
    (Moved(SESSION, "fingerprint2"), {"sessions.moved": 1}),
    (Ended(SESSION), {"sessions.ended": 1}),
    (SaveFailed(SESSION), {"saves.failed": 1}),
    (ChangesDropped(SESSION), {"changes.lost ended": 1}),
    (ChangesForgotten(SESSION), {"changes.lost forgotten": 1}),
    (ChangesUnsaved(SESSION), {"changes.lost outage": 1}),
    (LockExpired(SESSION), {"changes.lost lock_expired": 1}),
    (LockBusy(SESSION), {"locks.busy error": 1}),
    (LockBusy(SESSION, "read_only"), {"locks.busy read_only": 1}),
    (LockBusy(SESSION, "merge"), {"locks.busy merge": 1}),
    (CookieRefused(""), {"cookies.refused signature": 1}),
    (CookieRefused("", conflict=True), {"cookies.refused conflict": 1}),
    (TombstoneMissed(SESSION, (NODE, "b")), {f"tombstones.missed {NODE}": 1, "tombstones.missed b": 1}),
    (TombstoneDelivered(NODE, SESSION), {f"tombstones.delivered {NODE}": 1}),
    (NodeOut(NODE, REASON), {f"node.out {NODE}": 1, f"node.outages {NODE}": 1}),
    (NodeBack(NODE), {f"node.out {NODE}": 0}),
    (NodeSlow(NODE), {f"node.slow {NODE}": 1}),
    (NodeForgot(NODE), {f"node.forgot {NODE}": 1}),
    (SameProcess((NODE, "b")), {"pool.wrong same_process": 1}),
    (PoolsDiffer((NODE,), ()), {"pool.wrong pools_differ": 1}),
    (PoolReplaced((NODE,), ()), {"pool.wrong pool_replaced": 1}),
    (MoveDone(), {"pool.moves": 1, "refill.running (all)": 0}),
    (
        RefillBegan(NODE, "missed"),
        {
            f"refills.begun {NODE} missed": 1,
            f"refill.running {NODE}": 1,
            f"refill.looked_at {NODE}": 0,
            f"refill.known {NODE}": 0,
            f"refill.written {NODE}": 0,
        },
    ),
    (
        RefillProgress(NODE, 20, 100, 7),
        {
            f"refill.running {NODE}": 1,
            f"refill.looked_at {NODE}": 20,
            f"refill.known {NODE}": 100,
            f"refill.written {NODE}": 7,
        },
    ),
    (
        RefillDone(NODE, 100, 30, 2.5),
        {
            f"refills.done {NODE}": 1,
            f"refill.duration {NODE}": 2.5,
            f"refill.running {NODE}": 0,
            f"refill.looked_at {NODE}": 100,
            f"refill.known {NODE}": 100,
            f"refill.written {NODE}": 30,
        },
    ),
    (RefillFailed(NODE, REASON), {f"refills.failed {NODE}": 1, f"refill.running {NODE}": 0}),
    (UpkeepFailed(REASON), {"upkeep.failures": 1}),
]

KINDS = {
    kind
    for kind in vars(events).values()
    if isinstance(kind, type) and issubclass(kind, Event | NodeEvent) and kind not in (Event, NodeEvent)
}


class Sheet(Counting):
    """Counts on paper: "measure label label" and its value."""

    def __init__(self, pool=None, then=None):
        self.values = Counter()
        super().__init__(pool, then)

    def _put(self, reading):
        if reading.measure.kind is Kind.GAUGE:
            self.values[self._name(reading)] = reading.value
        else:
            self.values[self._name(reading)] += reading.value

    def _expect(self, reading):
        self.values.setdefault(self._name(reading), reading.value)

    def _name(self, reading):
        return " ".join((reading.measure.name, *reading.labels))


def test_no_event_is_forgotten():
    """The table below has all there are, so each is counted."""
    assert {type(event) for event, _ in COUNTED} == KINDS


@pytest.mark.parametrize(("event", "counted"), COUNTED, ids=lambda value: type(value).__name__)
def test_what_an_event_counts(event, counted):
    """In which measures, by which labels, how much."""
    sheet = Sheet()
    sheet.values.clear()
    sheet(event)

    assert sheet.values == counted


def test_nothing_is_measured_that_no_event_tells():
    """Each measure has an event."""
    assert {reading.measure for event, _ in COUNTED for reading in readings(event)} == set(ALL)


def test_what_is_no_event_counts_nothing():
    """Of another's making, or of a later version."""

    @dataclasses.dataclass(frozen=True)
    class Unheard(Event):
        pass

    assert readings(Unheard(SESSION)) == ()


def test_no_session_and_no_free_text_is_a_label():
    """Each would be a time series for ever."""
    values = {label for event, _ in COUNTED for reading in readings(event) for label in reading.labels}

    assert not values & {SESSION, "fingerprint2", REASON}


def test_labels_fit_their_measure():
    """As many as it has, and values that it has."""
    for reading in (reading for event, _ in COUNTED for reading in readings(event)):
        assert len(reading.labels) == len(reading.measure.labels)
        for value, label in zip(reading.labels, reading.measure.labels, strict=True):
            assert value in (label.values or (NODE, "b", "(all)"))


@pytest.mark.parametrize(
    ("event", "label"),
    [
        (NotThere(SESSION, REASON), 0),
        (TooFewCopies(SESSION, REASON), 0),
        (LockBusy(SESSION, REASON), 0),
        (RefillBegan(NODE, REASON), 1),
    ],
)
def test_what_was_not_foreseen_is_other(event, label):
    """One value for all of it."""
    assert readings(event)[0].labels[label] == OTHER


def test_names_are_as_prometheus_wants_them():
    """Snake case, base units, counters in _total."""
    names = [measure.snake for measure in ALL]

    assert len({*names}) == len(names)
    assert all(re.fullmatch(r"memsession(_[a-z]+)+", name) for name in names)
    assert all(name.endswith("_total") is (one.kind is Kind.COUNTER) for name, one in zip(names, ALL, strict=True))
    assert measures.REFILL_DURATION.snake == "memsession_refill_duration_seconds"
    # Suffixes that Prometheus gives by itself.
    assert not [name for name in names if re.search(r"_(created|sum|count|bucket|info)(_total)?$", name)]


def test_names_are_as_opentelemetry_wants_them():
    """Dots, a namespace, and units by UCUM."""
    for measure in ALL:
        assert re.fullmatch(r"memsession\.[a-z]+(\.[a-z_]+)?", measure.dotted)
        assert re.fullmatch(r"s|\{[a-z]+\}", measure.unit)
    # A name is not the namespace of another one.
    assert not [
        (one, other)
        for one, other in itertools.permutations([measure.dotted for measure in ALL], 2)
        if other.startswith(f"{one}.")
    ]


def test_all_measures_are_in_the_table():
    """None is made that is not told."""
    assert {one for one in vars(measures).values() if isinstance(one, measures.Measure)} == set(ALL)


def test_events_are_passed_on():
    """To the next one, after they were counted."""
    told = []
    sheet = Sheet(then=lambda event: told.append((event, sheet.values["sessions.begun"])))
    sheet(Created(SESSION))

    assert told == [(Created(SESSION), 1)]


def test_a_pool_is_there_from_the_start():
    """Every series of every node, with 0, those of a former pool included; and what has counted stays."""
    sheet = Sheet(Pool("a=10.0.0.1", "b=10.0.0.2", previous=Pool("a=10.0.0.1", "c=10.0.0.3")))

    assert {*sheet.values.values()} == {0}
    assert {name for name in sheet.values if name.startswith("node.out ")} == {f"node.out {node}" for node in "abc"}
    assert {f"loads {outcome}" for outcome in measures.FOUND.values} <= sheet.values.keys()
    assert {"refills.begun a forgot", "refills.begun c moved", "upkeep.failures"} <= sheet.values.keys()


def test_without_a_pool_nothing_is_said_of_nodes():
    """They are not known."""
    assert not [name for name in Sheet().values if name.startswith("node.")]


def test_a_node_that_is_not_in_the_pool_any_more_is_not_out():
    """Nor is it being refilled; what has happened has happened, and the others are as they are."""
    sheet = Sheet(Pool("a=10.0.0.1", "b=10.0.0.2"))
    for node in "ab":
        sheet(NodeOut(node, "refused"))
        sheet(RefillBegan(node))
    sheet.adopt(Pool("b=10.0.0.2", "c=10.0.0.3"))

    assert [sheet.values[f"node.out {node}"] for node in "abc"] == [0, 1, 0]
    assert [sheet.values[f"refill.running {node}"] for node in "abc"] == [0, 1, 0]
    assert [sheet.values[f"node.outages {node}"] for node in "abc"] == [1, 1, 0]


def test_an_observer_that_fails_takes_nothing_with_it(caplog):
    """It has been counted, and the request goes on."""

    def broken(event):
        raise ZeroDivisionError

    sheet = Sheet(then=broken)
    guarded(sheet)(Created(SESSION))

    assert sheet.values["sessions.begun"] == 1
    assert "failed on Created" in caplog.text


def test_daily_events_are_wanted():
    """A log alone may not want them; who counts does."""
    assert guarded(Sheet(then=log)).hears(Loaded)


def test_nodes_may_come_from_any_thread():
    """While another thread changes the pool."""
    sheet, pools = Sheet(), [Pool(f"a{number}=10.0.0.1") for number in range(50)]
    threads = [
        threading.Thread(target=lambda: [sheet.adopt(pool) for pool in pools]),
        *(threading.Thread(target=lambda: [sheet(NodeOut(f"n{n}", "")) for n in range(500)]) for _ in range(3)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sheet.adopt(pools[-1])

    assert {value for name, value in sheet.values.items() if name.startswith("node.out n")} == {0}
