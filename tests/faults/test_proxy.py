"""The fault proxy does what it says, or the matrix would prove nothing."""

import asyncio
import random

import pytest

from tests.faults.framing import Commands, Replies
from tests.faults.modes import Cut, Delay, Garbage, Refuse, Replay, Reset, Slices, Swallow, Throttle, Truncate
from tests.faults.nonsense import replayed
from tests.faults.proxy import FaultProxy

SET = b"ms k 5 T0 k O1\r\nhello\r\n"
GET = b"mg k v k O2\r\n"
MISS = b"EN kk O2\r\n"
HIT = b"VA 5 kk O2\r\nhello\r\n"


@pytest.fixture
async def proxy(memcached):
    async with FaultProxy(memcached().port, seed=1) as proxy:
        yield proxy


class Client:
    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def ask(self, command, size):
        self.writer.write(command)
        return await asyncio.wait_for(self.reader.readexactly(size), 5)

    async def rest(self):
        return await asyncio.wait_for(self.reader.read(), 5)

    async def silent(self):
        """Nothing arrives, for as long as a healthy node would need a hundred times over."""
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(self.reader.readexactly(1), 0.1)


@pytest.fixture
async def connect():
    """Clients of a proxy, whose connections are gone after the test."""
    clients = []

    async def connect(proxy):
        clients.append(Client(*await asyncio.open_connection("127.0.0.1", proxy.port)))
        return clients[-1]

    yield connect
    for client in clients:
        client.writer.transport.abort()


@pytest.fixture
async def client(connect, proxy):
    client = await connect(proxy)
    assert await client.ask(SET, 10) == b"HD kk O1\r\n"
    return client


@pytest.mark.parametrize("size", range(1, len(SET + GET)))
def test_commands_are_counted_however_they_are_cut(size):
    commands = Commands()
    data = SET + GET

    assert commands.feed(data[:size]) + commands.feed(data[size:]) == [("bury", b"k"), ("get", b"k")]


@pytest.mark.parametrize("size", range(1, 40))
def test_replies_are_found_however_they_are_cut(size):
    replies = Replies()
    data = HIT + b"EN\r\n" + HIT

    assert replies.feed(data[:size]) + replies.feed(data[size:]) == [HIT, b"EN\r\n", HIT]


@pytest.mark.parametrize("size", range(1, 60))
def test_lists_come_in_pieces_of_whole_lines(size):
    replies = Replies()
    dump = b"key=one exp=1\r\nkey=two exp=2\r\n"
    data = dump + b"END\r\n" + HIT

    pieces = replies.feed(data[:size]) + replies.feed(data[size:])

    assert pieces[-2:] == [b"END\r\n", HIT]
    assert b"".join(pieces[:-2]) == dump
    assert all(piece.startswith(b"key=") and piece.endswith(b"\r\n") for piece in pieces[:-2])


async def test_it_hands_on_and_counts(proxy, client):
    assert await client.ask(GET, len(HIT)) == HIT
    assert proxy.counted() == {"bury": 1, "get": 1}
    assert proxy.open == proxy.taken == 1


async def test_refused_and_taken_again_on_the_same_port(proxy, client, connect):
    proxy.set(Refuse())
    with pytest.raises(ConnectionResetError):
        await client.rest()
    with pytest.raises(ConnectionRefusedError):
        await connect(proxy)

    proxy.heal()

    again = await connect(proxy)
    assert await again.ask(GET, len(HIT)) == HIT


async def test_a_cut_swallows_and_resets_when_it_heals(proxy, client, connect):
    proxy.set(Cut())
    client.writer.write(GET)
    await client.silent()
    late = await connect(proxy)
    late.writer.write(GET)
    await late.silent()

    proxy.heal()

    for one in (client, late):
        with pytest.raises(ConnectionResetError):
            await one.rest()


async def test_a_late_cut_delivers_what_was_sent_even_by_those_who_left(proxy, client, connect):
    proxy.set(Cut(late=True))
    client.writer.write(b"ms k 5 T0 k O3\r\nlater\r\n")
    await client.silent()
    client.writer.close()
    await client.writer.wait_closed()

    proxy.heal()

    again = await connect(proxy)
    async with asyncio.timeout(5):
        while await again.ask(GET, len(HIT)) != HIT.replace(b"hello", b"later"):  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_a_cut_towards_the_web_server_lets_commands_through(proxy, client):
    proxy.set(Cut(to_node=False, late=True))
    client.writer.write(GET)
    await client.silent()

    proxy.heal()

    assert await asyncio.wait_for(client.reader.readexactly(len(HIT)), 5) == HIT


async def test_reset_now(proxy, client):
    proxy.reset()

    with pytest.raises(ConnectionResetError):
        await client.rest()


@pytest.mark.parametrize("after", [0, 3, 12])
async def test_reset_after_some_bytes(proxy, client, after):
    proxy.set(Reset(after=after))
    client.writer.write(GET)

    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await asyncio.wait_for(client.reader.readexactly(after + 1), 5)
    assert proxy.done == {"Reset": 1}


async def test_truncated_then_closed(proxy, client):
    proxy.set(Truncate(after=7))
    client.writer.write(GET)

    assert await client.rest() == HIT[:7]


async def test_slices_arrive_whole(proxy, client):
    proxy.set(Slices())

    assert await client.ask(GET + GET, 2 * len(HIT)) == HIT + HIT


async def test_delayed_and_throttled_replies_keep_their_order(proxy, client):
    proxy.set(Delay(0.02, chance=0.5), Throttle(20_000))
    asked = b"".join(b"mg k v k O%d\r\n" % number for number in range(10, 60))
    expected = b"".join(b"VA 5 kk O%d\r\nhello\r\n" % number for number in range(10, 60))

    assert await client.ask(asked, len(expected)) == expected
    assert 0 < proxy.done["Delay"] < 50


async def test_a_swallowed_reply_never_comes_and_the_next_one_does(proxy, client):
    proxy.set(Swallow())
    client.writer.write(GET)
    await client.silent()
    proxy.heal()

    assert await client.ask(GET.replace(b"O2", b"O9"), len(HIT)) == HIT.replace(b"O2", b"O9")


async def test_replayed_replies_are_earlier_ones(proxy, client):
    other = HIT.replace(b"hello", b"hullo")
    await client.ask(SET.replace(b"hello", b"hullo"), 10)
    assert await client.ask(GET, len(HIT)) == other
    proxy.set(Replay())
    proxy.earlier.clear()
    proxy.earlier.append(HIT)

    assert await client.ask(GET, len(HIT)) in (other, HIT)
    assert proxy.done == {"Replay": 1}


async def test_garbage_is_not_the_reply(proxy, client):
    proxy.set(Garbage())

    assert await client.ask(GET, 4) != HIT[:4] or await client.ask(b"", len(HIT) - 4) != HIT[4:]
    assert proxy.done == {"Garbage": 1}


async def test_another_memcached_behind_the_same_address(proxy, client, connect, memcached):
    proxy.upstream = memcached().port
    proxy.reset()

    again = await connect(proxy)
    assert await again.ask(GET, len(MISS)) == MISS


async def test_the_same_seed_strikes_the_same_replies(memcached, connect):
    node = memcached()
    seen = []
    for _ in range(2):
        async with FaultProxy(node.port, seed=11) as proxy:
            client = await connect(proxy)
            proxy.set(Slices(chance=0.3))
            struck = []
            for _ in range(20):
                await client.ask(GET, len(MISS))
                struck.append(proxy.done["Slices"])
            seen.append(struck)

    assert seen[0] == seen[1]
    assert seen[0][-1] > 0


def test_no_older_value_comes_under_a_newer_number():
    """A value is disguised as another key's only: nobody could notice a mixture of two versions."""
    now = b"VA 5 c7 kk O2\r\nhullo\r\n"
    older = b"VA 5 c6 kk O1\r\nhello\r\n"
    foreign = b"VA 3 c9 kj O1\r\nhey\r\n"
    chance = random.Random(1)

    assert {replayed(now, [older], chance) for _ in range(100)} == {now + older, older}
    assert {replayed(now, [foreign], chance) for _ in range(100)} == {
        now + foreign,
        foreign,
        b"VA 3 c7 kk O2\r\nhey\r\n",
    }
