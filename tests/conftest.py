"""Fixtures for all tests: memcached processes that are gone after the test, and event loops of both kinds."""

import asyncio
from collections.abc import Callable, Iterator

import pytest
import uvloop

from memsession.caretaker import Caretaker
from tests.servers import Memcached

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


@pytest.fixture
def memcached() -> Iterator[Callable[..., Memcached]]:
    """Start memcached processes; they are killed when the test ends."""
    started: list[Memcached] = []

    def start(**options) -> Memcached:
        node = Memcached(**options)
        started.append(node)
        return node.start()

    yield start
    for node in started:
        node.kill()


@pytest.fixture(autouse=True)
def _no_upkeep(request, monkeypatch) -> None:
    """No work behind the requests, which would add commands and connections, unless a test is marked `upkeep`."""
    if request.node.get_closest_marker("upkeep") is None:
        monkeypatch.setattr(Caretaker, "start", lambda self: None)


@pytest.fixture(params=LOOPS)
def runner(request) -> Iterator[asyncio.Runner]:
    """Runs coroutines in an event loop of its own, once of asyncio and once of uvloop."""
    with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
        yield runner
