"""Metrics for Prometheus: `observe=PrometheusMetrics()`, and memcached's own figures by `PoolCollector`.

They can be read wherever `prometheus_client` shows its registry. In its multi-process mode a gauge says what one of
the living processes has learnt last, for another one may have had nothing to do, and not know that a node is back.
"""

from functools import partial
from typing import Final, Literal

try:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
except ImportError as error:
    raise ImportError(
        'prometheus_client, which memsession.metrics.prometheus needs, is missing: pip install "memsession[metrics]"'
    ) from error

from memsession.events import Observe, log
from memsession.metrics.counting import Counting
from memsession.metrics.measures import ALL, Kind, Measure, Reading
from memsession.metrics.memcached import PoolCollector
from memsession.metrics.registering import chosen, registered
from memsession.pool import Pool

__all__ = ["PoolCollector", "PrometheusMetrics"]

Metric = Counter | Gauge | Histogram

SECONDS: Final = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
"""Buckets of durations."""


class PrometheusMetrics(Counting):
    """Counts all events in metrics of `registry`; None: the default registry of `prometheus_client`.

    `pool`: give it, so that its nodes' series are there from the start. `then` is called with every event afterwards,
    by default with the log, so nothing is lost that is logged without it; None: nobody is.

    Raises:
        ConfigurationError: the registry has such metrics already.
    """

    def __init__(
        self, *, registry: CollectorRegistry | None = None, pool: Pool | None = None, then: Observe | None = log
    ) -> None:
        self._registry = chosen(registry)
        self._metrics: dict[Measure, Metric] = {}
        try:
            for measure in ALL:
                self._metrics[measure] = registered(type(self).__name__, partial(self._made, measure))
        except BaseException:
            self.unregister()
            raise
        super().__init__(pool, then)

    def unregister(self) -> None:
        """Take all of it out of the registry: for tests, and for whoever makes his application anew."""
        while self._metrics:
            self._registry.unregister(self._metrics.popitem()[1])

    def _made(self, measure: Measure) -> Metric:
        labels = [label.name for label in measure.labels]
        match measure.kind:
            case Kind.COUNTER:
                return Counter(measure.snake, measure.text, labels, registry=self._registry)
            case Kind.GAUGE:
                mode: Literal["livemostrecent"] = "livemostrecent"
                return Gauge(measure.snake, measure.text, labels, registry=self._registry, multiprocess_mode=mode)
            case Kind.DURATION:  # pragma: no branch
                return Histogram(measure.snake, measure.text, labels, registry=self._registry, buckets=SECONDS)

    def _put(self, reading: Reading) -> None:
        match self._child(reading):
            case Counter() as counter:
                counter.inc(reading.value)
            case Gauge() as gauge:
                gauge.set(reading.value)
            case Histogram() as histogram:  # pragma: no branch
                histogram.observe(reading.value)

    def _expect(self, reading: Reading) -> None:
        self._child(reading)

    def _child(self, reading: Reading) -> Metric:
        metric = self._metrics[reading.measure]
        return metric.labels(*reading.labels) if reading.labels else metric
