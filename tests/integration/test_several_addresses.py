"""A name that stands for two addresses, of which the first leads nowhere: the node is met at the other one."""

import socket

import pytest

from memsession.commands import Get, Miss
from memsession.events import NodeOut
from memsession.pool import Pool
from tests.stages import STAGES, Stage, are, ask, ask_until

NAME = "two-addresses.invalid"


@pytest.fixture(params=STAGES)
def stage(request):
    """The asyncio client in both loops, and the blocking one."""
    stage = Stage(request.param)
    with stage.runner:
        yield stage


@pytest.fixture
def hole():
    """Opens a port of 127.0.0.2 that takes no connection and refuses none, as a host that is gone."""
    doors = []

    def dig(port):
        doors.append(socket.socket())
        doors[0].bind(("127.0.0.2", port))
        doors[0].listen(0)
        for _ in range(4):  # More than it keeps waiting.
            doors.append(socket.socket())
            doors[-1].setblocking(False)
            doors[-1].connect_ex(("127.0.0.2", port))

    yield dig
    for door in doors:
        door.close()


def test_the_node_is_met_at_the_address_that_works(stage, memcached, hole, monkeypatch):
    """At once, and so it is again with the next connection."""
    node = memcached()
    hole(node.port)
    places = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, node.port)) for host in ("127.0.0.2", "127.0.0.1")]
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *a, **k: places if host == NAME else real(host, *a, **k))
    client = stage.client(Pool(f"a={NAME}:{node.port}"))

    async def main():
        assert await ask(client, Get("a", b"memsession:x", True)) == [Miss()]
        node.kill()
        node.start()
        await ask_until(client, are("Miss"), Get("a", b"memsession:x", True))

    stage.run(main())
    reasons = [event.reason for event in stage.events if isinstance(event, NodeOut)]
    assert not [reason for reason in reasons if "within" in reason]
