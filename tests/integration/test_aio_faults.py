"""Nodes that hang, die, come back or forget, and web servers that are busy: what requests see of it."""

import asyncio
import time
from datetime import timedelta

import pytest

from memsession.aio import AsyncClient
from memsession.commands import Add, Bury, Cas, Get, Token
from memsession.events import NodeBack, NodeForgot, NodeOut, SameProcess
from memsession.pool import Pool
from tests.replies import KEY, line, value
from tests.rounds import PATIENCE_S, News, bury, kinds, rounds, until, visit
from tests.scripted import ScriptedNode, silent
from tests.servers import free_port

SHORT = timedelta(milliseconds=250)


class Bench:
    """A client of some nodes, with everything it reported."""

    def __init__(self, *nodes, timeout=SHORT, addresses=()):
        self.pool = Pool(*(addresses or (node.address for node in nodes)), timeout=timeout)
        self.names = [node.name for node in self.pool.nodes]
        self.events = News()
        self.client = AsyncClient(self.pool, observe=self.events)

    async def ask(self, *commands, deadline=None):
        return await self.client.run(rounds(commands), deadline=deadline)

    async def until_answered(self, command, kind):
        async with asyncio.timeout(PATIENCE_S):
            while kinds(await self.ask(command)) != [kind]:  # noqa: ASYNC110 - it comes from another process
                await asyncio.sleep(0.005)

    def told(self, kind):
        return [event.node for event in self.events if isinstance(event, kind)]


def test_a_hung_node_is_met_once_then_skipped_and_comes_back_by_itself(runner, memcached):
    """SIGSTOP: one round times out, later ones skip the node; SIGCONT: a probe finds it, without any request."""
    a, b = memcached(), memcached()
    bench = Bench(a, b)

    async def main():
        hung, healthy = bench.names
        get = [Get(hung, KEY), Get(healthy, KEY)]
        await bench.client.run(bury(bench.names, KEY, b"v"))
        a.stop()
        together = await asyncio.gather(*(bench.ask(*get) for _ in range(5)))
        assert {tuple(kinds(replies)) for replies in together} == {("Unreachable", "Hit")}
        assert "no reply within 0.25 s" in together[0][0].reason
        for command in (Get(hung, KEY), Add(hung, KEY, b"", 9), Cas(hung, KEY, b"", 9, Token(1, 1))):
            assert kinds(await bench.ask(command, Get(healthy, KEY))) == ["Skipped", "Hit"]
        insisting = await bench.ask(Get(hung, KEY, force=True), Bury(hung, KEY, b"", 9))
        assert kinds(insisting) == ["Unreachable", "Unreachable"]
        assert "does not answer a knock" in insisting[0].reason
        assert not bench.client.is_up(hung)
        assert bench.client.is_up(healthy)

        a.cont()
        await until(lambda: bench.client.is_up(hung))
        assert kinds(await bench.ask(*get)) == ["Hit", "Hit"]
        assert bench.events == [NodeOut(hung, "no reply within 0.25 s"), NodeBack(hung)]
        await bench.client.aclose()

    runner.run(main())


def test_late_replies_of_a_hung_node_reach_nobody(runner, memcached):
    """What a node answers after the time-out is never read: everyone gets their own value afterwards."""
    node = memcached()
    bench = Bench(node)

    async def main():
        [name] = bench.names
        for number in range(20):
            await bench.ask(Bury(name, b"k%d" % number, b"v%d" % number, 60))
        node.stop()
        lost = await asyncio.gather(*(bench.ask(Get(name, b"k%d" % number)) for number in range(20)))
        node.cont()
        await until(lambda: bench.client.is_up(name))
        found = await asyncio.gather(*(bench.ask(Get(name, b"k%d" % number)) for number in range(19, -1, -1)))

        assert {kinds(replies)[0] for replies in lost} == {"Unreachable"}
        assert [hit.value for [hit] in found] == [b"v%d" % number for number in range(19, -1, -1)]
        await bench.client.aclose()

    runner.run(main())


def test_a_killed_node_is_known_dead_before_it_is_asked_again(runner, memcached):
    """SIGKILL: the closed connection tells; the next round is refused a connection and waits for no time-out."""
    a, b = memcached(), memcached()
    bench = Bench(a, b, timeout=timedelta(seconds=1))

    async def main():
        dead, healthy = bench.names
        await bench.client.run(bury(bench.names, KEY, b"v"))
        a.kill()
        await until(lambda: not bench.client.is_up(dead))
        replies = await bench.ask(Get(dead, KEY, force=True), Get(healthy, KEY))
        assert kinds(replies) == ["Unreachable", "Hit"]
        assert "cannot connect" in replies[0].reason
        assert kinds(await bench.ask(Get(dead, KEY), Get(healthy, KEY))) == ["Skipped", "Hit"]
        assert bench.told(NodeOut) == [dead]

        a.start()
        await bench.until_answered(Get(dead, KEY), "Miss")
        assert kinds(await bench.ask(Get(dead, KEY), Get(healthy, KEY))) == ["Miss", "Hit"]
        assert bench.told(NodeBack) == bench.told(NodeForgot) == [dead]
        await bench.client.aclose()

    runner.run(main())


def test_a_node_killed_between_load_and_save_costs_no_wait(runner, memcached):
    """The save of a visit whose node died meanwhile goes to the other node and skips the dead one."""
    a, b = memcached(), memcached()
    bench = Bench(a, b)

    async def main():
        await bench.client.run(bury(bench.names, KEY, b"v"))
        hits = await bench.ask(*(Get(name, KEY) for name in bench.names))
        a.kill()
        await until(lambda: not bench.client.is_up(bench.names[0]))
        writes = [Cas(name, KEY, b"w", 60, hit.token) for name, hit in zip(bench.names, hits, strict=True)]
        assert kinds(await bench.ask(*writes)) == ["Skipped", "Stored"]
        await bench.client.aclose()

    runner.run(main())


def test_commands_in_flight_on_a_dying_node_are_unreachable(runner):
    """A connection that breaks answers everything that was waiting on it, at once."""

    async def main():
        async with ScriptedNode(silent) as node:
            bench = Bench(addresses=[f"127.0.0.1:{node.port}"], timeout=timedelta(seconds=1))
            [name] = bench.names
            waiting = [asyncio.ensure_future(bench.ask(Get(name, b"k%d" % number))) for number in range(10)]
            await until(lambda: len(node.commands) == 10)
            await node.__aexit__()
            replies = [reply for [reply] in await asyncio.gather(*waiting)]
            assert set(kinds(replies)) == {"Unreachable"}
            assert "lost" in replies[0].reason or "closed" in replies[0].reason
            await bench.client.aclose()

    runner.run(main())


def test_a_node_that_was_never_there_is_refused(runner):
    """Nobody listens: the first request is told so, those in the same second do not try again."""

    async def main():
        bench = Bench(addresses=[f"127.0.0.1:{free_port()}"])
        [name] = bench.names
        together = await asyncio.gather(*(bench.ask(Get(name, KEY)) for _ in range(3)))
        assert {kinds(replies)[0] for replies in together} == {"Unreachable"}
        assert kinds(await bench.ask(Get(name, KEY), Add(name, KEY, b"", 9))) == ["Skipped", "Skipped"]
        assert bench.told(NodeOut) == [name]
        await bench.client.aclose()

    runner.run(main())


def test_a_name_that_does_not_resolve_is_a_node_that_is_out(runner):
    """A host unknown to the resolver is no exception, only a node without an answer."""

    async def main():
        bench = Bench(addresses=["nowhere.invalid:11211"], timeout=timedelta(seconds=1))
        assert kinds(await bench.ask(Get(bench.names[0], KEY))) == ["Unreachable"]
        await bench.client.aclose()

    runner.run(main())


def test_a_token_from_before_a_reconnection_is_refused_unsent(runner):
    """A Cas is sent on the connection that delivered its token or not at all."""

    async def main():
        async with ScriptedNode(lambda _kind, key, opaque: value(b"v")(key, opaque)) as node:
            bench = Bench(addresses=[f"127.0.0.1:{node.port}"])
            [name] = bench.names
            [old] = await bench.ask(Get(name, KEY))
            await bench.client.aclose()
            assert kinds(await bench.ask(Cas(name, KEY, b"w", 60, old.token))) == ["Conflict"]
            [new] = await bench.ask(Get(name, KEY))
            assert old.token.cas == new.token.cas
            assert kinds(await bench.ask(Cas(name, KEY, b"w", 60, old.token))) == ["Conflict"]
            assert node.commands == ["get", "get"]
            await bench.client.aclose()

    runner.run(main())


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("connected", [True, False])
def test_a_blocked_event_loop_is_no_hung_node(runner, memcached, turns, connected):
    """The loop stands for longer than the time-out while a request is at any stage: the node stays up."""
    node = memcached()
    bench = Bench(node)

    async def main():
        [name] = bench.names
        if connected:
            await bench.ask(Bury(name, KEY, b"v", 60))
        request = asyncio.ensure_future(bench.ask(Get(name, KEY)))
        for _ in range(turns):
            await asyncio.sleep(0)
        time.sleep(1.5 * SHORT.total_seconds())  # noqa: ASYNC251 - the blocked loop is what is tested
        assert kinds(await request) == ["Hit" if connected else "Miss"]
        assert bench.client.is_up(name)
        assert bench.events == []
        await bench.client.aclose()

    runner.run(main())


def test_each_command_has_the_whole_time_out_to_itself(runner):
    """One timer watches all commands of a connection, but it judges none by the age of another."""
    replies_due = set()

    async def later(writer, reply):
        replies_due.add(asyncio.get_running_loop().call_later(0.6 * SHORT.total_seconds(), writer.write, reply))

    async def main():
        async with ScriptedNode(lambda _kind, key, opaque: line(b"EN")(key, opaque)) as node:
            node.write = later
            bench = Bench(addresses=[f"127.0.0.1:{node.port}"])
            asked = []
            for _ in range(12):
                asked.append(asyncio.ensure_future(bench.ask(Get(bench.names[0], KEY))))
                await asyncio.sleep(0.2 * SHORT.total_seconds())
            assert {kinds(replies)[0] for replies in await asyncio.gather(*asked)} == {"Miss"}
            assert bench.told(NodeOut) == []
            await bench.client.aclose()

    runner.run(main())


def test_a_long_value_that_waits_in_the_socket_is_read_to_its_end(runner):
    """After the loop was blocked, a reply of many reads still counts, although its time is over."""

    async def write_and_block(writer, reply):
        writer.write(reply)
        time.sleep(1.5 * SHORT.total_seconds())  # noqa: ASYNC251 - the blocked loop is what is tested

    async def main():
        async with ScriptedNode(lambda _kind, key, opaque: value(b"x" * 900_000)(key, opaque)) as node:
            node.write = write_and_block
            bench = Bench(addresses=[f"127.0.0.1:{node.port}"])
            [hit] = await bench.ask(Get(bench.names[0], KEY))
            assert len(hit.value) == 900_000
            await bench.client.aclose()

    runner.run(main())


def test_a_round_after_the_deadline_is_not_sent(runner, memcached):
    """Too late is unreachable without a command; a tombstone is sent and waited for all the same."""
    node = memcached()
    bench = Bench(node)

    async def main():
        [name] = bench.names
        now = time.monotonic()
        assert kinds(await bench.ask(Get(name, KEY), deadline=now)) == ["Unreachable"]
        assert node.stats()["cmd_get"] == "0"
        assert kinds(await bench.ask(Bury(name, KEY, b"dead", 60), deadline=now)) == ["Stored"]
        assert kinds(await bench.ask(Get(name, KEY), deadline=now + PATIENCE_S)) == ["Hit"]
        await bench.client.aclose()

    runner.run(main())


def test_no_round_waits_beyond_the_deadline(runner):
    """What has answered by the deadline counts, the rest is unreachable; the node stays up."""
    answers = {"fast": line(b"EN")}

    async def main():
        async with ScriptedNode(lambda _kind, key, opaque: answers.get(key.decode(), silent)(key, opaque)) as node:
            bench = Bench(addresses=[f"127.0.0.1:{node.port}"], timeout=timedelta(seconds=1))
            [name] = bench.names
            assert kinds(await bench.ask(Get(name, b"fast"), deadline=time.monotonic() + 0.5)) == ["Miss"]
            begun = time.monotonic()
            replies = await bench.ask(Get(name, b"fast"), Get(name, b"slow"), deadline=begun + 0.05)
            assert kinds(replies) == ["Miss", "Unreachable"]
            assert "deadline" in replies[1].reason
            await asyncio.sleep(0.5)
            assert bench.told(NodeOut) == []
            await bench.client.aclose()

    answers["slow"] = lambda _key, _opaque: b""
    runner.run(main())


def test_two_names_for_one_process_are_an_error(runner, memcached):
    """The incarnation shows that two addresses are one memcached."""
    node = memcached()
    bench = Bench(
        addresses=[f"one=127.0.0.1:{node.port}", f"two=localhost:{node.port}"], timeout=timedelta(seconds=1)
    )

    async def main():
        await bench.ask(*(Get(name, KEY) for name in bench.names))
        assert bench.events == [SameProcess(("one", "two"))]
        assert len(set(bench.client.incarnations.values())) == 1
        await bench.client.aclose()

    runner.run(main())


def test_an_incarnation_stays_over_connections_and_web_servers(runner, memcached):
    """Another client, or the same one connected anew, finds the name that the first one left; a flush ends it."""
    node = memcached()
    first, second = Bench(node), Bench(node)

    async def main():
        for bench in (first, second, first):
            await bench.ask(Get(bench.names[0], KEY))
            await bench.client.aclose()
        assert first.client.incarnations == second.client.incarnations
        node.flush()
        await first.ask(Get(first.names[0], KEY))
        await first.client.aclose()
        assert first.told(NodeForgot) == first.names
        assert first.client.incarnations != second.client.incarnations
        assert node.stats()["curr_items"] == "1"

    runner.run(main())


def test_the_clock_is_the_pools(runner):
    """A connection brings the node's time, which is what the client's clock then shows."""

    async def main():
        async with ScriptedNode(lambda _kind, key, opaque: line(b"EN")(key, opaque)) as node:
            bench = Bench(addresses=[f"127.0.0.1:{node.port}"])
            assert abs(bench.client.now_ms() - time.time_ns() // 1_000_000) < 5_000
            await bench.ask(Get(bench.names[0], KEY))
            assert abs(bench.client.now_ms() - 1_795_177_655_500) < 5_000
            await bench.client.aclose()

    runner.run(main())


def test_an_observer_that_fails_harms_nobody(runner, memcached, caplog):
    """What an application's observe function raises is logged; the request goes on."""
    node = memcached()

    def failing(event):
        raise LookupError(event)

    async def main():
        pool = Pool(f"one=127.0.0.1:{node.port}", f"two=localhost:{node.port}", timeout=timedelta(seconds=1))
        client = AsyncClient(pool, observe=failing)
        assert kinds(await client.run(rounds([Get("one", KEY), Get("two", KEY)]))) == ["Miss", "Miss"]
        await client.aclose()

    runner.run(main())
    assert ["observe function" in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize("where", ["unix", "ipv6"])
def test_nodes_may_be_unix_sockets_and_ipv6_addresses(runner, memcached, tmp_path, where):
    """A visit works the same over them, and errors name the address as people write it."""
    if where == "unix":
        node = memcached(path=str(tmp_path / "m.sock"))
        bench = Bench(addresses=[node.path])
    else:
        node = memcached(options=["-l", "::1"])
        bench = Bench(addresses=[f"[::1]:{node.port}"])

    async def main():
        for found in (None, b"1", b"2"):
            before, replies = await bench.client.run(visit(bench.names, KEY, b"%d" % (int(found or 0) + 1)))
            assert (before, kinds(replies)) == (found, ["Stored"])
        node.kill()
        await until(lambda: not bench.client.is_up(bench.names[0]))
        [reply] = await bench.ask(Get(bench.names[0], KEY, force=True))
        assert f"cannot connect to {node.path or f'[::1]:{node.port}'}: " in reply.reason
        await bench.client.aclose()

    runner.run(main())


def test_a_full_memcached_declines_values_and_keeps_the_connection(runner, memcached):
    """With `-M` a write is declined when memory is out; reads on the same connection go on."""
    node = memcached(options=["-M", "-m", "2"])
    bench = Bench(node, timeout=timedelta(seconds=1))

    async def main():
        [name] = bench.names
        replies = []
        for number in range(12):
            replies += await bench.ask(Bury(name, b"k%d" % number, b"x" * 500_000, 60), Get(name, b"k0"))
        declined = [reply for reply in replies if kinds([reply]) == ["Unreachable"]]
        assert {reply.reason for reply in declined} == {"SERVER_ERROR out of memory storing object"}
        assert kinds(replies[1::2]) == ["Hit"] * 12
        assert kinds(await bench.ask(Bury(name, b"big", b"x" * 1_048_576, 60), Get(name, b"k0"))) == [
            "Unreachable",
            "Hit",
        ]
        assert bench.events == []
        await bench.client.aclose()

    runner.run(main())
