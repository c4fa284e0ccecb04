"""memcached's own figures for Prometheus: asked at each scrape, and of all nodes at once."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Final, NamedTuple

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry

from memsession.inspection import NodeReport, report_pool
from memsession.metrics.measures import PREFIX
from memsession.metrics.registering import chosen, registered
from memsession.pool import Pool

_logger = logging.getLogger("memsession")

Family = GaugeMetricFamily | CounterMetricFamily


class Figure(NamedTuple):
    """A figure of a node; None where the node does not tell it."""

    name: str
    family: type[GaugeMetricFamily] | type[CounterMetricFamily]
    text: str
    of: Callable[[NodeReport], float | None]

    @property
    def metric(self) -> str:
        """The name of the metric."""
        return f"{PREFIX}_memcached_{self.name}"


def _number(name: str) -> Callable[[NodeReport], float | None]:
    return lambda report: report.number(name)


FIGURES: Final = (
    Figure("up", GaugeMetricFamily, "1 if memcached answers this machine, else 0", lambda node: float(node.is_up)),
    Figure("uptime_seconds", GaugeMetricFamily, "Seconds since it was started", _number("uptime")),
    Figure("items", GaugeMetricFamily, "Items that it holds, tombstones included", _number("curr_items")),
    Figure("used_bytes", GaugeMetricFamily, "Bytes of its items", _number("bytes")),
    Figure("limit_bytes", GaugeMetricFamily, "Bytes that it may take for items (-m)", _number("limit_maxbytes")),
    Figure("evictions_total", CounterMetricFamily, "Items that went before their time", _number("evictions")),
    Figure(
        "evicted_age_seconds",
        GaugeMetricFamily,
        "For how long the item that was evicted last had not been used",
        lambda node: node.evicted_age_s,
    ),
    Figure("hits_total", CounterMetricFamily, "Gets that found something", _number("get_hits")),
    Figure("misses_total", CounterMetricFamily, "Gets that found nothing", _number("get_misses")),
    Figure("connections", GaugeMetricFamily, "Open connections", _number("curr_connections")),
    Figure("connections_max", GaugeMetricFamily, "Connections that it takes (-c)", _number("max_connections")),
    Figure(
        "connections_refused_total",
        CounterMetricFamily,
        "Connections that it refused, or let wait, because there were too many",
        lambda node: node.refused_connections,
    ),
    Figure(
        "clock_skew_seconds",
        GaugeMetricFamily,
        "By how much its clock is ahead of this machine's",
        lambda node: node.skew_s,
    ),
)


class PoolCollector(Collector):
    """Asks the nodes of a pool for their figures whenever `registry` is read; None: the default registry.

    A node that does not answer within `timeout` has `memsession_memcached_up` 0 and nothing else. The answer waits
    for it: read the registry in a thread (`prometheus_client.start_http_server` has one of its own). In a running
    event loop nothing is asked, and that is logged. A `memory://` pool has no figures.

    Raises:
        ConfigurationError: the registry has a collector of this kind already.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        registry: CollectorRegistry | None = None,
        timeout: timedelta = timedelta(seconds=1),
    ) -> None:
        self._pool = pool
        self._timeout_s = timeout.total_seconds()
        self._has_complained = False
        self._registry = chosen(registry)
        registered("PoolCollector", lambda: self._registry.register(self))

    def adopt(self, pool: Pool) -> None:
        """Ask the nodes of another pool, after `reload`."""
        self._pool = pool

    def unregister(self) -> None:
        """Take it out of its registry."""
        self._registry.unregister(self)

    def describe(self) -> list[Family]:
        """The names, without asking anybody: for the registry."""
        return [figure.family(figure.metric, figure.text) for figure in FIGURES]

    def collect(self) -> Iterator[Family]:
        """Ask all nodes, and wait for them."""
        if self._pool.in_process or self._would_stop_everything():
            return
        reports = report_pool(self._pool, self._timeout_s)
        for figure in FIGURES:
            family = figure.family(figure.metric, figure.text, labels=["node"])
            for report in reports:
                value = figure.of(report)
                if value is not None:
                    family.add_metric([report.name], value)
            yield family

    def _would_stop_everything(self) -> bool:
        """Whether an event loop would wait for the nodes."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return False
        if not self._has_complained:
            self._has_complained = True
            _logger.error(
                "PoolCollector asked nothing, for an event loop would wait for the answers: read the registry in a "
                "thread, from a handler that is a plain def, or by prometheus_client.start_http_server"
            )
        return True
