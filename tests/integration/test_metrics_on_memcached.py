"""What a scrape shows of an application on memcached: the examples of the documentation, a node that dies."""

import asyncio
import logging
import re
import runpy
import secrets
import time
from pathlib import Path

import httpx
import pytest

from memsession.metrics.prometheus import PoolCollector, PrometheusMetrics
from tests.servers import PATIENCE_S
from tests.webservers import Browser, gunicorn

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def series(text):
    """Each series as it stands in a page of metrics, and its value."""
    lines = (line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("memsession_"))
    return {name: float(value) for name, value in lines}


@pytest.fixture
def nodes(memcached):
    return [memcached(), memcached()]


@pytest.fixture
def pool(nodes):
    return ",".join(node.address for node in nodes)


@pytest.fixture
def shop(pool, monkeypatch):
    """The Starlette example, on memcached."""
    monkeypatch.setenv("SECRET_KEY", secrets.token_urlsafe(32))
    monkeypatch.setenv("MEMSESSION_POOL", pool)
    names = runpy.run_path(str(EXAMPLES / "metrics_starlette.py"))
    yield names["app"]
    for thing in names.values():
        if isinstance(thing, PrometheusMetrics | PoolCollector):
            thing.unregister()


@pytest.fixture
async def visitor(shop):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(shop), base_url="http://localhost") as client:
        yield client


async def scraped(visitor):
    return series((await visitor.get("/metrics")).text)


async def visit_until(visitor, wanted, value):
    """Visit and scrape until a series has a value."""
    give_up = time.monotonic() + PATIENCE_S
    while (shown := await scraped(visitor)).get(wanted) != value:
        assert time.monotonic() < give_up, shown
        await visitor.get("/")
        await asyncio.sleep(0.05)
    return shown


async def test_a_scrape_shows_a_node_that_dies_and_is_back(visitor, nodes):
    """It is out and down, then neither; what it had lost was repaired; visitors notice nothing."""
    name = nodes[0].address
    assert (await visitor.get("/")).text == "Visit 1"
    shown = await scraped(visitor)
    assert shown["memsession_sessions_begun_total"] == 1
    assert shown[f'memsession_node_out{{node="{name}"}}'] == 0
    assert shown[f'memsession_memcached_up{{node="{name}"}}'] == 1

    nodes[0].kill()
    assert (await visitor.get("/")).text == "Visit 2"
    shown = await visit_until(visitor, f'memsession_node_out{{node="{name}"}}', 1.0)
    assert shown[f'memsession_memcached_up{{node="{name}"}}'] == 0
    assert shown[f'memsession_node_outages_total{{node="{name}"}}'] == 1
    assert shown[f'memsession_node_out{{node="{nodes[1].address}"}}'] == 0
    assert shown['memsession_loads_total{outcome="unanswered"}'] == 0

    nodes[0].start()
    shown = await visit_until(visitor, f'memsession_node_out{{node="{name}"}}', 0.0)
    assert shown[f'memsession_memcached_up{{node="{name}"}}'] == 1
    shown = await visit_until(visitor, f'memsession_copies_repaired_total{{node="{name}"}}', 1.0)
    assert shown[f'memsession_node_forgot_total{{node="{name}"}}'] == 1
    assert shown["memsession_saves_failed_total"] == 0


async def test_a_scrape_shows_that_nobody_answers(visitor, nodes):
    """Visitors get a 503; the scrape itself goes on."""
    await visitor.get("/")
    for node in nodes:
        node.kill()
    assert (await visitor.get("/")).status_code == 503
    shown = await scraped(visitor)

    assert shown['memsession_loads_total{outcome="unanswered"}'] == 1
    assert [value for name, value in shown.items() if name.startswith("memsession_node_out{")] == [1, 1]
    assert [value for name, value in shown.items() if name.startswith("memsession_memcached_up{")] == [0, 0]


async def test_a_scrape_names_no_session(visitor, caplog):
    """Neither as the log does, which is told as before, nor as the cookie."""
    caplog.set_level(logging.INFO, "memsession")
    await visitor.get("/")
    text = (await visitor.get("/metrics")).text
    [cookie] = visitor.cookies.values()
    [named] = re.findall(r"session (\S+) was created", caplog.text)

    assert "memsession_sessions_begun_total 1.0" in text
    assert named not in text
    assert cookie not in text


def test_two_workers_of_gunicorn_show_one_page(pool, nodes, tmp_path):
    """Whichever is asked: what both have counted, and memcached's figures."""
    options = ("-k", "sync", "-w", "2", "-c", str(EXAMPLES / "metrics_gunicorn.py"), "--chdir", str(EXAMPLES))
    env = {
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path),
        "SECRET_KEY": secrets.token_urlsafe(32),
        "MEMSESSION_POOL": pool,
    }
    with gunicorn(pool, *options, app="metrics_flask", **env) as server:
        give_up = time.monotonic() + PATIENCE_S
        while len([*tmp_path.glob("counter_*.db")]) < 2:
            assert time.monotonic() < give_up, "each worker has a file of its own"
            time.sleep(0.02)
        for _ in range(20):
            with Browser(server.port) as browser:
                assert browser.get("/").body == b"Visit 1"
                assert browser.get("/").body == b"Visit 2"
        nodes[0].kill()
        for _ in range(20):
            with Browser(server.port) as browser:
                assert browser.get("/").body == b"Visit 1"
        with Browser(server.port) as browser:
            shown = series(browser.get("/metrics").body.decode())

    assert shown["memsession_sessions_begun_total"] == 40
    assert shown['memsession_loads_total{outcome="found"}'] == 20
    assert shown[f'memsession_node_out{{node="{nodes[0].address}"}}'] == 1
    assert shown[f'memsession_memcached_up{{node="{nodes[0].address}"}}'] == 0
    assert shown[f'memsession_memcached_up{{node="{nodes[1].address}"}}'] == 1
