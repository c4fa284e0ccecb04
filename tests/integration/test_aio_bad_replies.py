"""Bad replies over a real socket: unreachable and a closed connection, never a wrong value, never a hang."""

import asyncio
import select
import time
from datetime import timedelta

import pytest

from memsession.commands import Add, Bury, Cas, Get
from memsession.events import log
from tests.replies import GOOD, KEY, bad_replies, line, plain, value
from tests.rounds import kinds, rounds, until
from tests.scripted import MARK, ScriptedNode, drip, write_and_close, write_and_reset
from tests.stages import STAGES, Stage

TIMEOUT = timedelta(milliseconds=250)
PATIENCE_S = 20.0


@pytest.fixture(params=STAGES)
def stage(request):
    """The asyncio client in both loops, and the blocking one."""
    stage = Stage(request.param)
    with stage.runner:
        yield stage


def use(name, kind):
    """Load a value and then send a command of this kind for it: the reply to the command."""
    if kind == "get":
        [reply] = yield [Get(name, KEY)]
    elif kind == "cas":
        [hit] = yield [Get(name, KEY)]
        [reply] = yield [Cas(name, KEY, b"new", 60, hit.token)]
    else:
        [reply] = yield [Add(name, KEY, b"new", 60) if kind == "add" else Bury(name, KEY, b"new", 60)]
    return reply


async def outcome(stage, node, kind):
    """The reply that a client gets from a scripted node, and whether it thinks the node up."""
    pool = node.pool(timeout=TIMEOUT)
    name = pool.nodes[0].name
    client = stage.client(pool, observe=lambda event: None)
    async with asyncio.timeout(PATIENCE_S):
        reply = await client.run(use(name, kind))
        up = client.is_up(name)
        if not up:
            await node.closed.wait()
    await client.aclose()
    return reply, up


def answering(kind, text):
    """A script that gives one text to commands of a kind and a good value to others."""
    good = value(b"good")
    return lambda asked, key, opaque: (text if asked == kind else good)(key, opaque)


@pytest.mark.parametrize("kind", ["get", "add", "cas", "bury"])
def test_a_bad_reply_is_unreachable_and_ends_the_connection(stage, kind):
    """Whatever a node sends that is not the reply: no usable answer, and that connection is closed."""

    async def main():
        for asked, text in bad_replies():
            if asked == kind:
                async with ScriptedNode(answering(kind, text)) as node:
                    reply, up = await outcome(stage, node, kind)
                    assert (kinds([reply]), up, node.connections) == (["Unreachable"], False, 1), text(KEY, 1)[:80]

    stage.run(main())


@pytest.mark.parametrize("text", [line(b"EN"), value(b"again"), plain(b"ERROR\r\n"), plain(b"x")])
def test_a_second_reply_never_reaches_the_next_request(stage, text):
    """What comes after the reply is nobody's: the next request goes over another connection."""

    async def main():
        async with ScriptedNode(lambda kind, key, opaque: value(b"mine")(key, opaque) + text(key, opaque)) as node:
            first, up = await outcome(stage, node, "get")
            assert (first.value, up) == (b"mine", False)

    stage.run(main())


@pytest.mark.parametrize(
    "text",
    [
        lambda key, opaque: value(b"theirs")(key, opaque + 1),
        lambda key, opaque: line(b"EN")(key, opaque + 1),
        lambda key, opaque: value(b"theirs")(key, opaque - 1),
        value(b"theirs"),
        plain(b"ERROR Too many open connections\r\n"),
        plain(b"\x81\x00\x00\x00"),
    ],
    ids=["the next", "the next, a miss", "the one before", "the same again", "full", "binary"],
)
def test_a_reply_before_its_request_is_nobodys(stage, text):
    """The node speaks while nothing was asked, though it fits the next request: nobody gets that, and it is out."""
    said, writers = [], []

    async def write(writer, reply):
        writers.append(writer)
        writer.write(reply)

    def script(_kind, key, opaque):
        said.append(text(key, opaque))
        return value(b"mine")(key, opaque)

    async def main():
        async with ScriptedNode(script) as node:
            node.write = write
            pool = node.pool()
            name = pool.nodes[0].name
            client = stage.client(pool)
            await client.run(use(name, "get"))
            writers[0].write(said[0])
            if stage.blocking:
                door = client.blocking._process._idle[0]._connections[name]._door
                await asyncio.to_thread(select.select, [door], [], [], PATIENCE_S)
            else:
                await until(lambda: not client.is_up(name))
            assert kinds([await client.run(use(name, "get"))]) == ["Skipped"]
            assert (client.is_up(name), len(said), node.connections) == (False, 1, 1)
            await node.closed.wait()
            await client.aclose()

    stage.run(main())


def test_the_reply_to_the_request_before_is_none(stage):
    """A node that is one behind: the second request gets what belongs to the first, which is no answer."""
    opaques = []

    def script(_kind, key, opaque):
        opaques.append(opaque)
        return value(b"v%d" % len(opaques))(key, opaques[max(0, len(opaques) - 2)])

    async def main():
        async with ScriptedNode(script) as node:
            pool = node.pool()
            name = pool.nodes[0].name
            client = stage.client(pool)
            first, second = [await client.run(use(name, "get")) for _ in range(2)]
            assert (first.value, kinds([second]), client.is_up(name)) == (b"v1", ["Unreachable"], False)
            await node.closed.wait()
            await client.aclose()

    stage.run(main())


@pytest.mark.parametrize("missing", [1, 2, 3, 5])
def test_a_reply_that_is_not_complete_is_silence(stage, missing):
    """The last bytes never come, the line's end among them: no answer, and the node is out."""

    async def main():
        for whole in (value(b"abc"), line(b"EN")):
            async with ScriptedNode(
                answering("get", lambda key, opaque, whole=whole: whole(key, opaque)[:-missing])
            ) as node:
                reply, up = await outcome(stage, node, "get")
                assert (reply.reason, up) == ("no reply within 0.25 s", False)

    stage.run(main())


@pytest.mark.parametrize("at", range(4))
def test_replies_before_a_bad_one_count_and_those_after_it_do_not(stage, at):
    """In whatever position of a round: each good reply reaches its own command, nothing after the bad one does."""
    keys = [b"memsession:%d" % number for number in range(4)]

    def script(_kind, key, opaque):
        if key == keys[at]:
            return value(b"of another")(b"memsession:x", opaque)
        return value(b"of " + key)(key, opaque)

    async def main():
        async with ScriptedNode(script) as node:
            pool = node.pool(timeout=TIMEOUT)
            name = pool.nodes[0].name
            client = stage.client(pool)
            replies = await client.run(rounds([Get(name, key) for key in keys]))
            assert [reply.value for reply in replies[:at]] == [b"of " + key for key in keys[:at]]
            assert kinds(replies[at:]) == ["Unreachable"] * (4 - at)
            await client.aclose()

    stage.run(main())


@pytest.mark.parametrize(
    ("kind", "text", "expected"), [case for case in GOOD if case[0] in ("get", "add", "cas", "bury")]
)
def test_every_legal_reply_is_understood(stage, kind, text, expected):
    """As over the wire, so in the parser: the whole table of good replies."""

    async def main():
        async with ScriptedNode(answering(kind, text)) as node:
            reply, up = await outcome(stage, node, kind)
            assert (kinds([reply]), up) == (kinds([expected]), True)
            if kinds([reply]) == ["Hit"]:
                assert (reply.value, reply.token.cas) == (expected.value, expected.token.cas)
            elif kinds([reply]) == ["Unreachable"]:
                assert reply == expected

    stage.run(main())


def test_the_greatest_cas_number_goes_there_and_back(stage):
    """2^64-1 is a number like any other."""
    asked = []

    def script(kind, key, opaque):
        asked.append(kind)
        return (line(b"HD") if kind == "cas" else value(b"v", cas=b"18446744073709551615"))(key, opaque)

    async def main():
        async with ScriptedNode(script) as node:
            reply, up = await outcome(stage, node, "cas")
            assert (kinds([reply]), up, asked) == (["Stored"], True, ["get", "cas"])
            assert node.lines[-1].split()[4] == b"C18446744073709551615"

    stage.run(main())


def test_the_deadline_beats_a_drip(stage):
    """However long the time-out: a byte now and then does not hold a request beyond its deadline."""

    async def main():
        async with ScriptedNode(lambda _kind, key, opaque: value(b"x" * 100_000)(key, opaque)) as node:
            node.write = drip
            pool = node.pool(timeout=timedelta(seconds=60), budget=timedelta(seconds=60))
            client = stage.client(pool)
            await client.greet()
            async with asyncio.timeout(PATIENCE_S):
                plan = rounds([Get(pool.nodes[0].name, KEY)])
                [reply] = await client.run(plan, deadline=time.monotonic() + 0.3)
            assert reply.reason == "the deadline has passed"
            await client.aclose()

    stage.run(main())


@pytest.mark.parametrize("write", [write_and_close, write_and_reset])
def test_a_connection_that_ends_anywhere_in_a_reply_is_no_answer(stage, write):
    """Closed or reset after each number of bytes: unreachable, but for the whole reply, which is an answer."""

    async def main():
        whole = value(b"good")(KEY, 5)
        for cut in range(len(whole)):
            async with ScriptedNode(lambda _kind, key, opaque, cut=cut: value(b"good")(key, opaque)[:cut]) as node:
                node.write = write
                reply, up = await outcome(stage, node, "get")
                assert (kinds([reply]), up) == (["Unreachable"], False)

    stage.run(main())


def test_a_reply_that_drips_is_out_of_time(stage):
    """A byte now and then does not keep a request waiting: its time runs from when it was sent."""

    async def main():
        async with ScriptedNode(lambda _kind, key, opaque: value(b"x" * 100)(key, opaque)) as node:
            node.write = drip
            reply, up = await outcome(stage, node, "get")
            assert "no reply within" in reply.reason
            assert not up

    stage.run(main())


@pytest.mark.parametrize(
    "text", ["SERVER_ERROR out of memory storing object", "SERVER_ERROR object too large for cache"]
)
def test_a_declined_command_leaves_the_connection_in_use(stage, text):
    """memcached may decline a command; that is no fault of the connection, which goes on."""

    def script(kind, key, opaque):
        return text.encode() + b"\r\n" if kind == "bury" else value(b"good")(key, opaque)

    async def main():
        async with ScriptedNode(script) as node:
            pool = node.pool()
            client = stage.client(pool)
            name = pool.nodes[0].name
            replies = await client.run(rounds([Bury(name, KEY, b"x", 60), Get(name, KEY)], [Get(name, KEY)]))
            assert kinds(replies) == ["Unreachable", "Hit", "Hit"]
            assert replies[0].reason == text
            assert (client.is_up(name), node.connections) == (True, 1)
            await client.aclose()

    stage.run(main())


GREETINGS = {
    "full": {"hello": b"ERROR Too many open connections\r\n"},
    "another server": {"hello": b"220 mail.example ESMTP\r\n"},
    "http": {"version": b"HTTP/1.1 400 Bad Request\r\n\r\n"},
    "no version": {"version": b"ERROR\r\n"},
    "no figures": {"stats": b"ERROR\r\n"},
    "figures declined": {"stats": b"SERVER_ERROR out of memory writing stats\r\n"},
    "no mark": {"mark": b"CLIENT_ERROR bad data chunk\r\n"},
    "silent": dict.fromkeys(("version", "mark", "incarnation", "stats"), b""),
    "silent in the end": {"stats": b"STAT pid 7\r\n"},
}


@pytest.mark.parametrize("name", GREETINGS)
def test_a_node_that_does_not_greet_properly_is_out(stage, name):
    """A greeting that is not memcached's: no command is sent, what waited is unreachable, the connection closed."""

    async def main():
        async with ScriptedNode(answering("get", value(b"good")), **GREETINGS[name]) as node:
            reply, up = await outcome(stage, node, "get")
            assert (kinds([reply]), up, node.commands) == (["Unreachable"], False, [])
            if name == "full":
                assert "Too many open connections" in reply.reason

    stage.run(main())


def test_a_node_that_closes_after_its_greeting_is_out(stage):
    """A connection that ends before the first command is none: what waited for it is unreachable, not forgotten."""

    async def main():
        for _ in range(20):
            async with ScriptedNode(answering("get", value(b"good"))) as node:
                node.leaves = True
                reply, up = await outcome(stage, node, "get")
                assert (kinds([reply]), up, node.commands) == (["Unreachable"], False, [])

    stage.run(main())


@pytest.mark.parametrize("version", ["1.4.15", "1.6.17", "1.5", "mcrouter 41.0.0", "0.9.99999.1"])
def test_an_old_memcached_is_told_by_name(stage, caplog, version):
    """A server without meta commands gives every command a reply that names the cure, and one line in the log."""

    async def main():
        async with ScriptedNode(version=f"VERSION {version}\r\n".encode(), mark=b"ERROR\r\nERROR\r\n") as node:
            pool = node.pool(timeout=TIMEOUT)
            name = pool.nodes[0].name
            client = stage.client(pool, observe=log)
            replies = [
                *await client.run(rounds([Get(name, KEY)], [Get(name, KEY)])),
                *await client.run(rounds([Add(name, KEY, b"x", 60)], [Get(name, KEY, force=True)])),
            ]
            await client.aclose()
            address = f"127.0.0.1:{node.port}"
            told = f"memcached {version} at {address} is too old: meta commands need 1.6.18 or newer, so upgrade"
            assert {reply.reason for reply in replies} == {f"{told} memcached there"}
            assert (node.commands, node.connections) == ([], 2)

    stage.run(main())
    assert sum("too old" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize("version", ["1.6.18", "1.6.45", "1.7.0", "2.0.0-rc1", "1.6.18_3_gabcdef"])
def test_a_new_memcached_is_used(stage, version):
    """1.6.18 and all that come after it are spoken to."""

    async def main():
        async with ScriptedNode(answering("get", value(b"good")), version=f"VERSION {version}\r\n".encode()) as node:
            reply, up = await outcome(stage, node, "get")
            assert (reply.value, up) == (b"good", True)

    stage.run(main())


@pytest.mark.parametrize(
    "greeting",
    [
        {"mark": b"SERVER_ERROR out of memory storing object\r\n"},
        {"incarnation": b"SERVER_ERROR out of memory writing get response\r\n"},
        {"stats": b"END\r\n"},
        {"stats": b"STAT time soon\r\nEND\r\n"},
        {"stats": b"STAT time " + b"9" * 30 + b"\r\nEND\r\n"},
    ],
)
def test_a_node_without_incarnation_or_time_is_used_all_the_same(stage, greeting):
    """A full node cannot keep its mark, and a time may be missing: sessions are read and written nevertheless."""

    async def main():
        async with ScriptedNode(answering("get", value(b"good")), **greeting) as node:
            reply, up = await outcome(stage, node, "get")
            assert (reply.value, up) == (b"good", True)

    stage.run(main())


@pytest.mark.parametrize("stored", [MARK, b"something else stored there, long", b"0123456789ABCDEF0123456789ABCDEF"])
def test_only_an_incarnation_is_taken_for_one(stage, stored):
    """What somebody else stored under that key is nobody's name."""

    async def main():
        async with ScriptedNode(answering("get", value(b"good"))) as node:
            node.greeting["incarnation"] = value(stored)(b"memsession:node", 3)
            pool = node.pool()
            client = stage.client(pool)
            await client.run(use(pool.nodes[0].name, "get"))
            expected = {pool.nodes[0].name: MARK.decode()} if stored == MARK else {}
            assert client.incarnations == expected
            await client.aclose()

    stage.run(main())
