"""Metrics for OpenTelemetry: what a reader of the SDK gets."""

import logging
import threading

import opentelemetry.metrics
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from memsession import Pool
from memsession.events import Created, Loaded, NodeBack, NodeOut, RefillBegan, RefillDone, RefillProgress
from memsession.metrics import opentelemetry as ours
from memsession.metrics.measures import ALL
from memsession.metrics.opentelemetry import OpenTelemetryMetrics


class Read:
    """A provider, and what its reader gets."""

    def __init__(self):
        self._reader = InMemoryMetricReader()
        self.provider = MeterProvider([self._reader], shutdown_on_exit=False)

    @property
    def scopes(self):
        data = self._reader.get_metrics_data()
        return [scope for resource in data.resource_metrics for scope in resource.scope_metrics] if data else []

    @property
    def metrics(self):
        return {metric.name: metric for scope in self.scopes for metric in scope.metrics}

    @property
    def points(self):
        """ "name value-of-attribute ..." and the point's value, or count and sum."""
        return {
            " ".join((name, *point.attributes.values())): getattr(point, "value", None)
            if hasattr(point, "value")
            else (point.count, point.sum)
            for name, metric in self.metrics.items()
            for point in metric.data.data_points
        }


@pytest.fixture
def read():
    reading = Read()
    yield reading
    reading.provider.shutdown()


def test_a_reader_gets_what_was_counted(read):
    """Sums, gauges and durations, with attributes of our namespace."""
    metrics = OpenTelemetryMetrics(meter_provider=read.provider, then=None)
    for event in [Created("s"), Loaded("s"), Loaded("s", ("a",)), NodeOut("a", "refused"), RefillBegan("a")]:
        metrics(event)
    metrics(RefillProgress("a", 5, 10, 2))
    points = read.points

    assert points["memsession.sessions.begun"] == 1
    assert points["memsession.loads found"] == 2
    assert points["memsession.copies.repaired a"] == 1
    assert points["memsession.node.out a"] == 1
    assert points["memsession.refill.looked_at a"] == 5
    metrics(NodeBack("a"))
    metrics(RefillDone("a", 10, 4, 2.5))
    assert read.points["memsession.node.out a"] == 0
    assert read.points["memsession.refill.running a"] == 0
    assert read.points["memsession.refill.duration a"] == (1, 2.5)
    [outage] = read.metrics["memsession.node.outages"].data.data_points
    assert dict(outage.attributes) == {"memsession.node": "a"}


def test_a_pool_is_there_before_anything_happens(read):
    """So that an increase from 0 to 1 is one; and another pool takes its place."""
    metrics = OpenTelemetryMetrics(meter_provider=read.provider, pool=Pool("a=10.0.0.1", "b=10.0.0.2"), then=None)

    assert read.points["memsession.node.out b"] == 0
    assert read.points["memsession.loads unanswered"] == 0
    metrics(NodeOut("a", "refused"))
    metrics(NodeOut("b", "refused"))
    metrics.adopt(Pool("b=10.0.0.2", "c=10.0.0.3"))
    assert [read.points[f"memsession.node.out {node}"] for node in "abc"] == [0, 1, 0]


def test_every_measure_is_an_instrument(read):
    """With its unit and its description, in a meter with our name."""
    metrics = OpenTelemetryMetrics(meter_provider=read.provider, pool=Pool("a", "b"), then=None)
    metrics(RefillDone("a:11211", 1, 1, 1.0))
    found = read.metrics

    assert {(one.dotted, one.unit, one.text) for one in ALL} == {
        (metric.name, metric.unit, metric.description) for metric in found.values()
    }
    assert [scope.scope.name for scope in read.scopes] == ["memsession"]


def test_the_meter_has_our_version(read, monkeypatch):
    """Nothing where the package only lies there and is not installed."""
    monkeypatch.setattr(ours, "version", lambda name: f"{name} 1.2.3")
    OpenTelemetryMetrics(meter_provider=read.provider, then=None)(Created("s"))
    assert [scope.scope.version for scope in read.scopes] == ["memsession 1.2.3"]


def test_a_version_that_nobody_knows_is_none(read, monkeypatch):
    """And no error."""

    def unknown(name):
        raise ours.PackageNotFoundError(name)

    monkeypatch.setattr(ours, "version", unknown)
    OpenTelemetryMetrics(meter_provider=read.provider, then=None)(Created("s"))
    assert [scope.scope.version for scope in read.scopes] == [""]


def test_without_an_sdk_nothing_happens(caplog):
    """But for the log, which is told by default."""
    assert isinstance(opentelemetry.metrics.get_meter_provider(), opentelemetry.metrics.MeterProvider)
    caplog.set_level(logging.INFO, "memsession")
    OpenTelemetryMetrics(pool=Pool("a", "b"))(NodeOut("a", "refused"))

    assert caplog.messages == ["memcached node a is out: refused"]


def test_threads_count_exactly_while_somebody_reads(read):
    """Eight at once."""
    metrics = OpenTelemetryMetrics(meter_provider=read.provider, then=None)

    def tell(number):
        for at in range(500):
            metrics(Loaded("s"))
            metrics(NodeOut(f"n{number}.{at % 100}", ""))

    threads = [threading.Thread(target=tell, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert read.points is not None
    for thread in threads:
        thread.join()

    assert read.points["memsession.loads found"] == 4_000
    assert len([name for name in read.points if name.startswith("memsession.node.out ")]) == 800
