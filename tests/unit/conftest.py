"""One web server, one visitor, and nodes in this process whose time and failures the test decides."""

import pytest

from tests.visits import Browser, Nodes, WebServer


@pytest.fixture
def nodes():
    return Nodes()


@pytest.fixture
def server(nodes):
    return WebServer(nodes)


@pytest.fixture
def browser():
    return Browser()
