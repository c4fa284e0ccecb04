"""Flask under real gunicorn, with each kind of worker: exact counts, and no visitor notices a dead memcached."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from memsession.addresses import Node
from memsession.blocking.listing import keys
from tests.servers import PATIENCE_S
from tests.webservers import GUNICORN, Browser, gunicorn

TABS = 8


@pytest.fixture
def nodes(memcached):
    return [memcached(), memcached()]


@pytest.fixture(params=GUNICORN)
def port(request, nodes):
    with gunicorn(",".join(node.address for node in nodes), *GUNICORN[request.param]) as server:
        yield server.port


def visits(browser, number, before_each=lambda: None):
    """Visits of one visitor in several tabs at once: what each tab saw."""

    def tab(count):
        with Browser(browser.port, browser.cookie) as other:
            pages = []
            for _ in range(count):
                before_each()
                pages.append(other.get("/visit"))
            return pages

    shares = [number // TABS + (at < number % TABS) for at in range(TABS)]
    with ThreadPoolExecutor(TABS) as pool:
        return [page for pages in pool.map(tab, shares) for page in pages]


def test_the_articles_counter(port):
    """One after the other: 1, 2, 3; another browser begins at 1."""
    with Browser(port) as anna, Browser(port) as bert:
        assert [anna.get("/visit").body for _ in range(3)] == [b"1", b"2", b"3"]
        assert bert.get("/visit").body == b"1"


def test_parallel_visits_count_exactly(port):
    """50 at once are 50."""
    with Browser(port) as browser:
        browser.get("/visit")
        pages = visits(browser, 50)

        assert {(page.status, page.set_cookie) for page in pages} == {(200, "")}
        assert browser.get("/show").body == b'{"n":51}\n'


def test_no_visitor_notices_a_dead_memcached(port, nodes):
    """One is killed in the middle of traffic, comes back empty, and after a visit the other one is killed."""
    made, lock = 0, threading.Lock()
    killed = []

    def count():
        nonlocal made
        with lock:
            made += 1
            if made == 100:
                nodes[0].kill()
                killed.append(made)

    with Browser(port) as browser:
        browser.get("/visit")
        pages = visits(browser, 200, count)
        assert killed == [100]
        assert {(page.status, page.set_cookie) for page in pages} == {(200, "")}
        assert browser.get("/show").body == b'{"n":201}\n'
        ((session,),) = keys(Node("b", "127.0.0.1", nodes[1].port), timeout_s=PATIENCE_S, prefix="memsession")
        nodes[0].start()
        count = 201
        # The work behind the requests may bring it there while this worker still takes the node for out. So: until a
        # visit is written there.
        before, after = b"", b""
        while before == after or not before.startswith(b"HD"):
            before = nodes[0].ask(b"mg %b c" % session)
            assert browser.get("/visit").status == 200
            count += 1
            after = nodes[0].ask(b"mg %b c" % session)
        nodes[1].kill()
        assert browser.get("/show").body == b'{"n":%d}\n' % count


def test_workers_do_not_share_what_the_master_opened(nodes):
    """With `--preload` and connections opened before the fork: each visitor counts alone, each count is exact."""
    pool = ",".join(node.address for node in nodes)

    def visitor(_):
        with Browser(server.port) as browser:
            return [browser.get("/visit") for _ in range(50)]

    # One request for each connection, so that all workers get some.
    with (
        gunicorn(pool, "--preload", "-k", "sync", "-w", "4", WARM="1") as server,
        ThreadPoolExecutor(TABS) as threads,
    ):
        visitors = list(threads.map(visitor, range(TABS)))
        assert "is out" not in server.said, "a worker got a reply to what another one had asked"

    assert [[int(page.body) for page in pages] for pages in visitors] == [list(range(1, 51))] * TABS
    assert len({page.worker for pages in visitors for page in pages}) == 4
