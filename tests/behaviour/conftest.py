"""The parameter: each test of this folder runs on Starlette, FastAPI, Flask and bare WSGI.

Those that need not look inside of the server run on Flask under real gunicorn, too, with each kind of worker.
"""

import inspect
from contextlib import ExitStack
from functools import cache

import pytest

from memsession import memory
from memsession.pool import Pool
from tests.behaviour.adapters import ADAPTERS, Clock, UnderGunicorn, Visitor
from tests.servers import Memcached
from tests.webservers import GUNICORN, gunicorn


@pytest.fixture
def clock(monkeypatch):
    """The time of all in-process clients."""
    clock = Clock()
    monkeypatch.setattr(memory._InProcess, "now_ms", clock.now_ms)
    return clock


@pytest.fixture
def told():
    """Every event of the test's web servers."""
    return []


@pytest.fixture(scope="session")
def running():
    """Gunicorn with each kind of worker, on two memcached of its own; started when it is first needed."""
    with ExitStack() as stack:

        @cache
        def port(worker):
            pool = ",".join(stack.enter_context(Memcached()).address for _ in range(2))
            return stack.enter_context(gunicorn(pool, *GUNICORN[worker], app="tests.programs.flask_probe")).port

        yield port


INSIDE = {"start", "nodes", "clock", "told", "kinds", "spent", "caplog"}
"""Fixtures that set up a server or look inside; tests that do without run under gunicorn, too."""


def pytest_generate_tests(metafunc):
    """See the top of this file."""
    if "start" in metafunc.fixturenames:
        asked = set(inspect.signature(metafunc.function).parameters)
        workers = [] if asked & INSIDE else [f"gunicorn-{worker}" for worker in GUNICORN]
        metafunc.parametrize("start", [*ADAPTERS, *workers], indirect=True)


@pytest.fixture
def start(request, clock, told):
    """Start web servers of one kind; without a `pool`, on two nodes in this process."""
    started = []

    def start(**options):
        options = {"pool": Pool("memory://?nodes=2"), "observe": told.append} | options
        started.append(ADAPTERS[request.param](**options))
        return started[-1]

    yield start if request.param in ADAPTERS else None
    for server in started:
        server.close()


@pytest.fixture
def server(request, start):
    if start is not None:
        return start()
    kind = request.node.callspec.params["start"].removeprefix("gunicorn-")
    return UnderGunicorn(request.getfixturevalue("running")(kind))


@pytest.fixture
def nodes(server):
    """The nodes in this process."""
    return [*server.client.nodes.values()]


@pytest.fixture
def visitor(server):
    return Visitor(server)


@pytest.fixture
def kinds(told):
    """Names of the events since the last time; and forget them."""

    def kinds():
        names = [type(event).__name__ for event in told]
        told.clear()
        return names

    return kinds


@pytest.fixture
def spent(server):
    """How many store commands were asked since the last time."""

    def spent():
        total = sum(server.client.commands.values())
        server.client.commands.clear()
        return total

    return spent
