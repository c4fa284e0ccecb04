"""The plainest plans there are, for tests of clients."""

import asyncio

from memsession.commands import Add, Bury, Cas, Get, Hit
from memsession.events import NodeSlow

PATIENCE_S = 60.0


async def until(condition):
    """Let the loop turn until something has happened that other processes have a part in."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - nothing here could set an event
            await asyncio.sleep(0.001)


class News(list):
    """An observer that notes what it is told, but for slow nodes: on a busy machine any node is, now and then."""

    def __call__(self, event):
        if not isinstance(event, NodeSlow):
            self.append(event)


class InThreads:
    """A blocking client with the face of the asyncio one: each plan runs in a thread."""

    def __init__(self, client):
        self.blocking = client

    def __getattr__(self, name):
        return getattr(self.blocking, name)

    async def run(self, plan, *, deadline=None):
        return await asyncio.to_thread(self.blocking.run, plan, deadline=deadline)

    async def greet(self):
        await asyncio.to_thread(self.blocking.greet)

    async def aclose(self):
        await asyncio.to_thread(self.blocking.close)


def rounds(*commands):
    """Send rounds one after the other; all replies in one list."""
    replies = []
    for round_ in commands:
        replies.extend((yield round_))
    return replies


def visit(nodes, key, value):
    """Load from all nodes and save to all nodes: the value before, or None, and the replies to the writes."""
    hits = yield [Get(node, key) for node in nodes]
    found = [(node, hit) for node, hit in zip(nodes, hits, strict=True) if type(hit) is Hit]
    if not found:
        return None, (yield [Add(node, key, value, 60) for node in nodes])
    replies = yield [Cas(node, key, value, 60, hit.token) for node, hit in found]
    return found[0][1].value, replies


def bury(nodes, key, value):
    """Store a value blindly, for a start."""
    return (yield [Bury(node, key, value, 60) for node in nodes])


def kinds(replies):
    """The kinds of replies, by name: replies without content are all equal as tuples."""
    return [type(reply).__name__ for reply in replies]
