"""Metrics for Prometheus: what a scrape shows, registries, threads, several processes, memcached's own figures."""

import asyncio
import importlib
import logging
import os
import re
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from memsession import ConfigurationError, Pool
from memsession.events import Created, Loaded, NodeBack, NodeOut, RefillDone, Saved
from memsession.metrics import memcached as ours
from memsession.metrics.measures import ALL
from memsession.metrics.memcached import FIGURES
from memsession.metrics.prometheus import PoolCollector, PrometheusMetrics
from tests.servers import free_port

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def registry():
    return CollectorRegistry()


def scraped(registry):
    """Each series as it stands in the text, and its value."""
    lines = generate_latest(registry).decode().splitlines()
    return {series: float(value) for series, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def test_a_scrape_shows_what_was_counted(registry):
    """By the names and labels of the documentation."""
    metrics = PrometheusMetrics(registry=registry, then=None)
    for event in [Created("s"), Loaded("s"), Loaded("s", ("a",)), Saved("s", 2), NodeOut("a", "refused")]:
        metrics(event)
    metrics(RefillDone("a", 10, 4, 2.5))
    shown = scraped(registry)

    assert shown["memsession_sessions_begun_total"] == 1
    assert shown['memsession_loads_total{outcome="found"}'] == 2
    assert shown['memsession_copies_repaired_total{node="a"}'] == 1
    assert shown["memsession_conflicts_merged_total"] == 2
    assert shown['memsession_node_out{node="a"}'] == 1
    assert shown['memsession_refill_duration_seconds_bucket{le="1.0",node="a"}'] == 0
    assert shown['memsession_refill_duration_seconds_bucket{le="5.0",node="a"}'] == 1
    assert shown['memsession_refill_duration_seconds_sum{node="a"}'] == 2.5
    metrics(NodeBack("a"))
    assert scraped(registry)['memsession_node_out{node="a"}'] == 0


def test_a_pool_is_shown_before_anything_happens(registry):
    """So that an increase from 0 to 1 is one."""
    PrometheusMetrics(registry=registry, pool=Pool("a=10.0.0.1", "b=10.0.0.2"), then=None)
    shown = scraped(registry)

    assert shown['memsession_node_out{node="b"}'] == 0
    assert shown['memsession_loads_total{outcome="unanswered"}'] == 0
    assert shown['memsession_refills_failed_total{node="a"}'] == 0


def test_the_log_is_told_by_default(registry, caplog):
    """Who counts loses nothing that was logged before."""
    caplog.set_level(logging.INFO, "memsession")
    PrometheusMetrics(registry=registry)(NodeOut("a", "refused"))

    assert caplog.messages == ["memcached node a is out: refused"]


def test_the_default_registry_is_everybodys(monkeypatch, registry):
    """It is looked up when the metrics are made."""
    monkeypatch.setattr(prometheus_client, "REGISTRY", registry)
    PrometheusMetrics(then=None)(Created("s"))

    assert scraped(registry)["memsession_sessions_begun_total"] == 1


def test_two_in_one_registry_are_refused(registry):
    """In words that say what to do; the first one goes on."""
    metrics = PrometheusMetrics(registry=registry, then=None)
    with pytest.raises(ConfigurationError, match="metrics of a PrometheusMetrics already: make one, and use it"):
        PrometheusMetrics(registry=registry)
    metrics(Created("s"))

    assert scraped(registry)["memsession_sessions_begun_total"] == 1


def test_a_name_that_somebody_else_has_leaves_nothing_behind(registry):
    """All or none of them are registered."""
    prometheus_client.Counter("memsession_upkeep_failures", "theirs", registry=registry)
    with pytest.raises(ConfigurationError):
        PrometheusMetrics(registry=registry)

    assert {series for series in scraped(registry) if "upkeep" not in series} == set()


def test_they_can_be_taken_back(registry):
    """And made anew."""
    PrometheusMetrics(registry=registry).unregister()
    PoolCollector(Pool("memory://"), registry=registry).unregister()

    assert scraped(registry) == {}
    PrometheusMetrics(registry=registry, then=None)(Created("s"))
    PoolCollector(Pool("memory://"), registry=registry)
    assert scraped(registry)["memsession_sessions_begun_total"] == 1


def test_threads_count_exactly(registry):
    """Eight at once."""
    metrics = PrometheusMetrics(registry=registry, then=None)
    threads = [
        threading.Thread(target=lambda: [metrics(Loaded("s", ("a",))) for _ in range(1_000)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shown = scraped(registry)

    assert shown['memsession_loads_total{outcome="found"}'] == 8_000
    assert shown['memsession_copies_repaired_total{node="a"}'] == 8_000


@pytest.mark.parametrize("package", ["prometheus", "opentelemetry"])
def test_a_missing_package_is_named(monkeypatch, package):
    """In one line, with the command that installs it."""
    module = f"memsession.metrics.{package}"
    for name in [name for name in sys.modules if name == module or name.partition(".")[0].startswith(package)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, {"prometheus": "prometheus_client"}.get(package, package), None)

    with pytest.raises(ImportError, match=re.escape('is missing: pip install "memsession[metrics]"')) as refused:
        importlib.import_module(module)
    assert "\n" not in str(refused.value)


SEVERAL = """
import os, sys
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from memsession import Pool
from memsession.events import Loaded, NodeBack, NodeOut, RefillBegan, RefillDone
from memsession.metrics.prometheus import PrometheusMetrics

metrics = PrometheusMetrics(pool=Pool("a=10.0.0.1", "b=10.0.0.2"), then=None)

def child(*events):
    "Tells these in a process of its own, which lives until it is told to end."
    told, tell = os.pipe()
    rest, end = os.pipe()
    pid = os.fork()
    if pid:
        os.read(told, 1)
        return lambda: (os.write(end, b"."), os.waitpid(pid, 0), mark_process_dead(pid))
    for event in events:
        metrics(event)
    os.write(tell, b".")
    os.read(rest, 1)
    os._exit(0)

def show():
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    print(generate_latest(registry).decode(), "---")

end_first = child(Loaded("s"), Loaded("s"), NodeOut("a", "refused"), NodeOut("b", "refused"), RefillBegan("a"))
end_second = child(Loaded("s"), NodeOut("a", "refused"), NodeBack("a"), RefillDone("a", 3, 1, 2.0))
show()
end_first()
show()
end_second()
"""


def test_several_processes_count_together(tmp_path):
    """Counters add up, also of who has ended; gauges are what a living process has learnt last."""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", SEVERAL],
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    both, second = (set(page.splitlines()) for page in ran.stdout.split("---")[:2])

    assert {'memsession_loads_total{outcome="found"} 3.0', 'memsession_node_outages_total{node="a"} 2.0'} <= both
    assert {'memsession_node_out{node="a"} 0.0', 'memsession_node_out{node="b"} 1.0'} <= both
    assert {'memsession_refill_running{node="a"} 0.0', 'memsession_refill_looked_at{node="a"} 3.0'} <= both
    assert 'memsession_refill_duration_seconds_sum{node="a"} 2.0' in both
    assert {'memsession_loads_total{outcome="found"} 3.0', 'memsession_node_out{node="a"} 0.0'} <= second
    assert 'memsession_node_out{node="b"} 1.0' not in second, "nobody who lives has seen it out"


def test_memcacheds_own_figures_are_memcacheds(registry, memcached):
    """Asked at each scrape; a node that is not there is down, and has no figures."""
    node, nowhere = memcached(), free_port()
    pool = Pool(f"a={node.address}", f"b=127.0.0.1:{nowhere}")
    PoolCollector(pool, registry=registry)
    shown, stats = scraped(registry), node.stats()

    assert shown['memsession_memcached_up{node="a"}'] == 1
    assert shown['memsession_memcached_up{node="b"}'] == 0
    assert shown['memsession_memcached_limit_bytes{node="a"}'] == int(stats["limit_maxbytes"])
    assert shown['memsession_memcached_connections_max{node="a"}'] == int(stats["max_connections"])
    assert shown['memsession_memcached_evictions_total{node="a"}'] == 0
    assert [series for series in shown if 'node="b"' in series] == ['memsession_memcached_up{node="b"}']
    node.ask(b"ms key 1\r\n1")
    assert scraped(registry)['memsession_memcached_items{node="a"}'] == 1


def test_every_figure_is_there_that_memcached_tells(registry, memcached):
    """Of a node that has evicted nothing, all but the age of what was evicted."""
    PoolCollector(Pool(memcached().address), registry=registry)
    names = {series.partition("{")[0] for series in scraped(registry)}

    assert names == {figure.metric for figure in FIGURES} - {"memsession_memcached_evicted_age_seconds"}


def test_a_node_that_hangs_is_waited_for_no_longer_than_said(registry, memcached):
    """The others' figures are there."""
    up, hung = memcached(), memcached()
    hung.stop()
    PoolCollector(
        Pool(f"a={up.address}", f"b={hung.address}"), registry=registry, timeout=timedelta(milliseconds=100)
    )
    shown = scraped(registry)
    hung.cont()

    assert [shown[f'memsession_memcached_up{{node="{node}"}}'] for node in "ab"] == [1, 0]


def test_another_pool_is_asked_after_a_change(registry, memcached):
    """The former node is not shown any more."""
    collector = PoolCollector(Pool(f"a={memcached().address}"), registry=registry)
    collector.adopt(Pool(f"b={memcached().address}"))
    shown = scraped(registry)

    assert shown['memsession_memcached_up{node="b"}'] == 1
    assert not [series for series in shown if 'node="a"' in series]


def test_an_event_loop_is_not_kept_waiting(registry, memcached, caplog):
    """It asks nothing there, says so once, and how to do it; in a thread beside the loop it asks."""
    PoolCollector(Pool(f"a={memcached().address}"), registry=registry)

    async def scrape():
        return scraped(registry), scraped(registry), await asyncio.to_thread(scraped, registry)

    first, second, beside = asyncio.run(scrape())
    assert first == second == {}
    assert beside['memsession_memcached_up{node="a"}'] == 1
    assert [message for message in caplog.messages if "in a thread" in message] == caplog.messages
    assert len(caplog.messages) == 1


def test_a_collector_asks_nobody_when_it_is_registered(monkeypatch):
    """Though the default registry wants to know all names: an application starts without memcached, too."""

    def asked(*_):
        raise AssertionError("it asked")

    monkeypatch.setattr(ours, "report_pool", asked)
    described = CollectorRegistry(auto_describe=True)
    PoolCollector(Pool("a", "b"), registry=described)

    with pytest.raises(ConfigurationError, match="metrics of a PoolCollector already"):
        PoolCollector(Pool("a", "b"), registry=described)
    with pytest.raises(AssertionError, match="it asked"):
        generate_latest(described)


def test_sessions_in_the_process_have_no_figures(registry):
    """There is nobody to ask."""
    PoolCollector(Pool("memory://"), registry=registry)

    assert scraped(registry) == {}


def test_every_measure_is_a_metric(registry):
    """With its help text and its kind."""
    PrometheusMetrics(registry=registry, pool=Pool("a", "b"))
    text = generate_latest(registry).decode()

    for measure in ALL:
        assert f"# HELP {measure.snake} {measure.text}\n# TYPE {measure.snake} {measure.kind.value}\n" in text
