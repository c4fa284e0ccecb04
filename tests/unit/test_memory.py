"""The in-process node as a model of one memcached: expiry, eviction, restart, and the client's own reports."""

import pytest

from memsession.commands import Add, Bury, Cas, Conflict, Get, Hit, Miss, NotFound, Skipped, Stored, Unreachable
from memsession.events import NodeBack, NodeOut
from memsession.memory import MemoryClient, MemoryNode
from memsession.pool import Pool


class Clock:
    """Seconds, moved by hand."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def client(clock):
    return MemoryClient(Pool("memory://?nodes=2"), monotonic=clock)


def rounds(*commands):
    """A plan that sends rounds one after the other and returns all replies."""
    replies = []
    for round_ in commands:
        replies.extend((yield round_))
    return replies


def kinds(replies):
    return [type(reply) for reply in replies]


def test_items_expire_by_the_clock(clock):
    """A value is there for its ttl and then it is not; another may be added."""
    node = MemoryNode(monotonic=clock)
    node.add(b"k", b"v", 10)
    clock.now += 9.9
    before = node.get(b"k")
    clock.now += 0.1

    assert type(before) is Hit
    assert type(node.get(b"k")) is Miss
    assert type(node.cas(b"k", b"w", 10, before.token)) is NotFound
    assert type(node.add(b"k", b"v", 10)) is Stored


def test_the_least_used_item_goes_when_the_node_is_full(clock):
    """What was neither read nor written for longest is evicted, silently."""
    node = MemoryNode(monotonic=clock, items_max=2)
    node.add(b"one", b"", 10)
    node.add(b"two", b"", 10)
    node.get(b"one")
    node.add(b"three", b"", 10)

    assert kinds(map(node.get, [b"one", b"two", b"three"])) == [Hit, Miss, Hit]
    assert len(node) == 2


def test_numbers_begin_again_after_a_restart_and_old_tokens_are_void(clock):
    """A CAS number from before a restart may be the number of something else now; its connection tells."""
    node = MemoryNode(monotonic=clock)
    node.bury(b"k", b"old", 10)
    old = node.get(b"k").token
    node.restart()
    empty = node.get(b"k")
    node.bury(b"k", b"new", 10)
    new = node.get(b"k").token

    assert type(empty) is Miss
    assert old.cas == new.cas == 1
    assert type(node.cas(b"k", b"lost", 10, old)) is Conflict
    assert node.get(b"k").value == b"new"


def test_a_flush_forgets_and_goes_on_counting(clock):
    """`flush_all` empties the node; the process and its numbers stay."""
    node = MemoryNode(monotonic=clock)
    node.bury(b"k", b"v", 10)
    token = node.get(b"k").token
    node.flush()

    assert type(node.get(b"k")) is Miss
    assert type(node.cas(b"k", b"w", 10, token)) is NotFound


@pytest.mark.parametrize("key", [b"", b"k" * 251, b"a b"])
def test_it_refuses_the_keys_that_memcached_would_not_take(clock, key):
    """An error that would show with memcached shows here."""
    with pytest.raises(ValueError, match="storage key"):
        MemoryNode(monotonic=clock).get(key)


@pytest.mark.parametrize("ttl", [0, 2_592_001])
def test_it_refuses_the_times_that_memcached_would_misread(clock, ttl):
    """So does a ttl that means something else to memcached."""
    with pytest.raises(ValueError, match="ttl"):
        MemoryNode(monotonic=clock).bury(b"k", b"", ttl)


async def test_a_stopped_node_is_out_and_a_started_one_back(clock):
    """A stopped node is skipped, or unreachable to those who insist; both changes are told, once."""
    events = []
    client = MemoryClient(Pool("memory://?nodes=2"), observe=events.append, monotonic=clock)
    name = next(iter(client.nodes))
    one = [Get(name, b"k"), Add(name, b"k", b"", 9), Get(name, b"k", force=True), Bury(name, b"k", b"", 9)]
    client.nodes[name].stop()

    stopped = await client.run(rounds(one))
    up_while_stopped = client.is_up(name)
    client.nodes[name].restart()
    started = await client.run(rounds(one))

    assert kinds(stopped) == [Skipped, Skipped, Unreachable, Unreachable]
    assert kinds(started) == [Miss, Stored, Hit, Stored]
    assert (up_while_stopped, client.is_up(name)) == (False, True)
    assert events == [NodeOut(name, "stopped"), NodeBack(name)]


async def test_commands_are_counted_by_kind(client):
    """What was asked of nodes is counted; what was skipped is not."""
    name, other = client.nodes
    token = (await client.run(rounds([Bury(name, b"k", b"", 9)], [Get(name, b"k")])))[1].token
    client.nodes[other].stop()
    await client.run(rounds([Cas(name, b"k", b"", 9, token), Add(name, b"k", b"", 9), Get(other, b"k")]))

    assert client.commands == {"bury": 1, "get": 1, "cas": 1, "add": 1}


async def test_rounds_after_the_deadline_are_not_sent_except_tombstones(client, clock):
    """Too late means unreachable without a command; a tombstone is never too late."""
    name = next(iter(client.nodes))

    late = await client.run(rounds([Get(name, b"k")]), deadline=clock.now)
    buried = await client.run(rounds([Bury(name, b"k", b"", 9)]), deadline=clock.now)
    in_time = await client.run(rounds([Get(name, b"k")]), deadline=clock.now + 1)

    assert kinds([*late, *buried, *in_time]) == [Unreachable, Stored, Hit]
    assert client.commands == {"bury": 1, "get": 1}


async def test_it_tells_the_time_and_closes(client):
    """It has this machine's time, and nothing to close: what it holds stays."""
    name = next(iter(client.nodes))
    await client.run(rounds([Bury(name, b"k", b"v", 9)]))
    await client.aclose()

    assert client.now_ms() > 1_700_000_000_000
    assert kinds(await client.run(rounds([Get(name, b"k")]))) == [Hit]
