"""Strict mode on three memcached processes: one may fail, two are a 503, and a forgotten logout stays one."""

import asyncio
from datetime import timedelta

import pytest

from memsession.events import TooFewCopies
from tests.rounds import PATIENCE_S
from tests.web import Memcacheds, Visitor, web_server

MARK_AND_SESSION = 2
BUSY = {"timeout": timedelta(seconds=0.5), "budget": timedelta(seconds=5)}


@pytest.fixture
def store(memcached):
    return Memcacheds(memcached, 3, copies=3, consistency="majority", **BUSY)


@pytest.fixture
def events():
    return []


@pytest.fixture
def server(store, events):
    return web_server(store, observe=events.append)


@pytest.fixture
def visitor(server):
    return Visitor(server)


async def test_one_process_after_the_other_may_die_and_come_back_empty(store, visitor):
    """Each when the one before has its copy again, from a visit: nothing is refused, and nothing is lost."""
    count = 0
    for name in store.names:
        for act in (lambda: None, lambda name=name: store.stop(name)):
            act()
            count += 1
            assert (await visitor.get("/increment")).body == str(count).encode()
        store.start(name)
        async with asyncio.timeout(PATIENCE_S):
            while int(store.nodes[name].stats()["curr_items"]) < MARK_AND_SESSION:
                assert (await visitor.get("/get")).status == 200
                await asyncio.sleep(0.05)


async def test_two_that_are_away_are_a_503(store, server, events):
    """The cookie is kept. A logout is refused as well, and the session is there when one of them is back."""
    visitor = Visitor(server)
    await visitor.get("/set?k=v")
    store.stop(*store.names[1:])
    answers = [await visitor.get(path) for path in ("/get", "/set?k=w", "/logout")]

    assert [(answer.status, answer.cookie, answer.error) for answer in answers] == [(503, "kept", None)] * 3
    assert [type(event) for event in events if isinstance(event, TooFewCopies)] == [TooFewCopies] * 3


async def test_a_forgotten_logout_stays_one(store, server):
    """One process missed it, one has restarted, the last one that knows is away: refused; over when it is back."""
    visitor = Visitor(server)
    await visitor.get("/set?k=v")
    keeps, forgets, misses = store.names
    tab = visitor.copy()
    store.nodes[misses].stop()
    left = await visitor.get("/logout")
    store.nodes[misses].cont()
    store.stop(forgets)
    store.start(forgets)
    store.nodes[keeps].stop()
    refused = await tab.copy().get("/get")
    store.nodes[keeps].cont()
    async with asyncio.timeout(PATIENCE_S):
        while (over := await tab.copy().get("/get")).status != 200:  # noqa: ASYNC110 - nothing here could set an event
            await asyncio.sleep(0.05)

    assert (left.status, left.cookie, refused.status) == (200, "deleted", 503)
    assert (over.body, over.cookie) == (b"{}", "kept")
