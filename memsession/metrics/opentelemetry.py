"""Metrics for OpenTelemetry: `observe=OpenTelemetryMetrics()`. It needs the API only; the application has the SDK.

Gauges are kept here and told whenever a reader asks, so they are never older than what this process knows.
"""

from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Final

try:
    from opentelemetry.metrics import CallbackOptions, Counter, Histogram, MeterProvider, Observation, get_meter
except ImportError as error:
    raise ImportError(
        'opentelemetry, which memsession.metrics.opentelemetry needs, is missing: pip install "memsession[metrics]"'
    ) from error

from memsession.events import Observe, log
from memsession.metrics.counting import Counting
from memsession.metrics.measures import ALL, PREFIX, Kind, Measure, Reading
from memsession.pool import Pool

__all__ = ["OpenTelemetryMetrics"]

METER: Final = "memsession"

Series = tuple[str, ...]


class OpenTelemetryMetrics(Counting):
    """Counts all events in instruments of the meter "memsession"; None: of the global `meter_provider`.

    `pool`: give it, so that its nodes' series are there from the start. `then` is called with every event afterwards,
    by default with the log, so nothing is lost that is logged without it; None: nobody is.
    """

    def __init__(
        self, *, meter_provider: MeterProvider | None = None, pool: Pool | None = None, then: Observe | None = log
    ) -> None:
        meter = get_meter(METER, _version(), meter_provider)
        self._counters: dict[Measure, Counter] = {}
        self._gauges: dict[Measure, dict[Series, float]] = {}
        self._durations: dict[Measure, Histogram] = {}
        for measure in ALL:
            name, unit, text = measure.dotted, measure.unit, measure.text
            match measure.kind:
                case Kind.COUNTER:
                    self._counters[measure] = meter.create_counter(name, unit, text)
                case Kind.GAUGE:
                    values = self._gauges.setdefault(measure, {})
                    meter.create_observable_gauge(name, [_asked(measure, values)], unit, text)
                case Kind.DURATION:  # pragma: no branch
                    self._durations[measure] = meter.create_histogram(name, unit, text)
        super().__init__(pool, then)

    def _put(self, reading: Reading) -> None:
        measure, value, labels = reading
        match measure.kind:
            case Kind.COUNTER:
                self._counters[measure].add(value, _attributes(measure, labels))
            case Kind.GAUGE:
                self._gauges[measure][labels] = value
            case Kind.DURATION:  # pragma: no branch
                self._durations[measure].record(value, _attributes(measure, labels))

    def _expect(self, reading: Reading) -> None:
        match reading.measure.kind:
            case Kind.COUNTER:
                self._put(reading)
            case Kind.GAUGE:
                self._gauges[reading.measure].setdefault(reading.labels, 0.0)


def _version() -> str:
    """Ours, if it is installed and not only lies there."""
    try:
        return version("memsession")
    except PackageNotFoundError:
        return ""


def _asked(measure: Measure, values: dict[Series, float]) -> Callable[[CallbackOptions], Iterable[Observation]]:
    """What a reader calls, in a thread of its own; meanwhile events go on, so it looks at a copy."""
    return lambda _: [Observation(value, _attributes(measure, at)) for at, value in values.copy().items()]


def _attributes(measure: Measure, labels: Series) -> dict[str, str]:
    return {f"{PREFIX}.{label.name}": value for label, value in zip(measure.labels, labels, strict=True)}
