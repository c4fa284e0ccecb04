"""Another pool while requests are under way: new nodes are asked, old ones let go, and nobody notices."""

import asyncio
import os
import threading
from datetime import timedelta

import pytest

from memsession.aio import AsyncClient
from memsession.blocking import BlockingClient
from memsession.commands import Add, Bury, Cas, Get
from memsession.events import NodeBack, NodeOut, SameProcess
from memsession.pool import Pool
from tests.conftest import LOOPS
from tests.replies import KEY
from tests.rounds import bury, kinds, rounds, until, visit
from tests.scripted import ScriptedNode
from tests.servers import PATIENCE_S
from tests.stages import STAGES, Stage, are, ask, ask_until, until_connections

TIMES = {"timeout": timedelta(milliseconds=250), "budget": timedelta(milliseconds=250)}


@pytest.fixture(params=STAGES)
def stage(request):
    """The asyncio client in both loops, and the blocking one in threads."""
    stage = Stage(request.param)
    with stage.runner:
        yield stage


def stepping(plan, between):
    """The same plan, with something that happens after its first round."""
    commands = next(plan)
    replies = yield commands
    between()
    try:
        while True:
            replies = yield plan.send(replies)
    except StopIteration as ended:
        return ended.value


def test_new_nodes_are_asked_and_old_ones_let_go(stage, memcached):
    """One node leaves, one joins, one stays with its connection; in the end nobody is connected to the old one."""
    gone, stays, joins = memcached(), memcached(), memcached()
    before = Pool(f"gone={gone.address}", f"stays={stays.address}", **TIMES)
    after = Pool(f"stays={stays.address}", f"joins={joins.address}", **TIMES)

    async def main():
        client = stage.client(before)
        await client.run(bury(["gone", "stays"], KEY, b"v"))
        [old] = await ask(client, Get("stays", KEY))
        client.adopt(after)
        assert kinds(await ask(client, Get("stays", KEY), Get("joins", KEY))) == ["Hit", "Miss"]
        assert kinds(await ask(client, Get("gone", KEY))) == ["Hit"], "plans begun before still may"
        assert kinds(await ask(client, Cas("stays", KEY, b"w", 60, old.token))) == ["Stored"], "the same connection"
        await until_connections(gone, 0, lambda: ask(client, Get("stays", KEY)))
        gone_commands = [Get("gone", KEY), Add("gone", KEY, b"", 9), Cas("gone", KEY, b"", 9, old.token)]
        assert kinds(await ask(client, *gone_commands, Get("stays", KEY))) == ["Skipped"] * 3 + ["Hit"]
        assert (
            kinds(await ask(client, Get("gone", KEY, force=True), Bury("gone", KEY, b"", 9))) == ["Unreachable"] * 2
        )
        assert client.incarnations.keys() == {"stays", "joins"}
        assert stage.events == []
        await client.aclose()
        for node in (gone, stays, joins):
            await until_connections(node, 0)

    stage.run(main())


def test_what_is_known_of_nodes_that_stay_is_kept(stage, memcached):
    """A node that is out stays out, and comes back as it would have; what befalls the one that left is no news."""
    gone, hung, other = memcached(), memcached(), memcached()
    before = Pool(f"gone={gone.address}", f"hung={hung.address}", f"other={other.address}", **TIMES)
    after = Pool(f"hung={hung.address}", f"other={other.address}", **TIMES)

    async def main():
        client = stage.client(before)
        await client.run(bury(["gone", "hung", "other"], KEY, b"v"))
        hung.stop()
        assert kinds(await ask(client, Get("hung", KEY), Get("other", KEY))) == ["Unreachable", "Hit"]
        client.adopt(after)
        gone.kill()
        assert not client.is_up("hung")
        assert client.is_up("other")
        assert kinds(await ask(client, Get("hung", KEY), Get("other", KEY))) == ["Skipped", "Hit"]
        assert kinds(await ask(client, Get("gone", KEY, force=True))) == ["Unreachable"]
        hung.cont()
        await ask_until(client, are("Hit"), Get("hung", KEY))
        assert (stage.told(NodeOut), stage.told(NodeBack)) == (["hung"], ["hung"])
        await client.aclose()

    stage.run(main())


def test_a_node_with_another_address_is_connected_to_anew(stage, memcached):
    """The name is the identity: the old address is let go, the new one asked, and old tokens do not count there."""
    old, new, other = memcached(), memcached(), memcached()
    before = Pool(f"a={old.address}", f"b={other.address}", **TIMES)
    after = Pool(f"a={new.address}", f"b={other.address}", **TIMES)

    async def main():
        client = stage.client(before)
        await client.run(bury(["a", "b"], KEY, b"old"))
        [hit] = await ask(client, Get("a", KEY))
        client.adopt(after)
        assert kinds(await ask(client, Cas("a", KEY, b"w", 60, hit.token))) == ["Conflict"]
        assert kinds(await ask(client, Get("a", KEY), Get("b", KEY))) == ["Miss", "Hit"]
        await until_connections(old, 0, lambda: ask(client, Get("a", KEY)))
        assert int(old.stats()["cmd_set"]) == 1 + 1, "its incarnation, and the first value"
        await client.aclose()

    stage.run(main())


def test_a_new_address_begins_with_a_clean_record(stage, memcached):
    """The old address is out; at the new one nothing is known against the node, and it is asked at once."""
    old, new = memcached(), memcached()

    async def main():
        client = stage.client(Pool(f"a={old.address}", **TIMES))
        await ask(client, Get("a", KEY))
        old.stop()
        assert kinds(await ask(client, Get("a", KEY))) == ["Unreachable"]
        client.adopt(Pool(f"a={new.address}", **TIMES))
        assert kinds(await ask(client, Get("a", KEY))) == ["Miss"]
        assert client.is_up("a")
        await client.aclose()

    stage.run(main())


def test_back_and_forth_is_as_before(stage, memcached):
    """A node that leaves and is named again before it is let go keeps its connection."""
    one, two = memcached(), memcached()
    both, single = Pool(f"a={one.address}", f"b={two.address}", **TIMES), Pool(f"a={one.address}", **TIMES)

    async def main():
        client = stage.client(both)
        await client.run(bury(["a", "b"], KEY, b"v"))
        [hit] = await ask(client, Get("b", KEY))
        for pool in (single, both, single, both):
            client.adopt(pool)
        for _ in range(30):
            await asyncio.sleep(0.02)
            await ask(client, Get("a", KEY))
        assert kinds(await ask(client, Cas("b", KEY, b"w", 60, hit.token))) == ["Stored"]
        await client.aclose()

    stage.run(main())


def test_a_plan_begun_before_goes_on(stage, memcached):
    """It holds tokens of a node that leaves between its rounds: its write is done there."""
    gone, stays = memcached(), memcached()
    before = Pool(f"gone={gone.address}", f"stays={stays.address}", timeout=TIMES["timeout"])

    async def main():
        client = stage.client(before)
        await client.run(bury(["gone", "stays"], KEY, b"v"))
        after = Pool(f"stays={stays.address}", timeout=TIMES["timeout"])
        plan = stepping(visit(["gone", "stays"], KEY, b"w"), lambda: client.adopt(after))
        found, replies = await client.run(plan)
        assert (found, kinds(replies)) == (b"v", ["Stored", "Stored"])
        await client.aclose()

    stage.run(main())


def test_commands_in_flight_are_answered_by_the_old_address(stage, memcached):
    """What was sent before is read where it was sent, and the connection is not closed under it."""
    hung, new, other = memcached(), memcached(), memcached()
    times = {"timeout": timedelta(seconds=5), "budget": timedelta(seconds=5)}

    async def main():
        client = stage.client(Pool(f"a={hung.address}", f"b={other.address}", **times))
        await client.run(bury(["a", "b"], KEY, b"v"))
        asked = int(other.stats()["cmd_get"])
        hung.stop()
        waiting = asyncio.ensure_future(ask(client, Get("a", KEY), Get("b", KEY)))
        await until(lambda: int(other.stats()["cmd_get"]) > asked)
        client.adopt(Pool(f"a={new.address}", f"b={other.address}", **times))
        assert kinds(await ask(client, Get("a", KEY), Get("b", KEY))) == ["Miss", "Hit"]
        hung.cont()
        assert kinds(await waiting) == ["Hit", "Hit"]
        assert stage.told(NodeOut) == []
        await client.aclose()

    stage.run(main())


def test_a_renamed_node_is_no_twin_of_itself(stage, memcached):
    """The old name is not in the pool any more, so one process has one name; and greeting goes well."""
    node = memcached()

    async def main():
        client = stage.client(Pool(f"old={node.address}", **TIMES))
        await client.greet()
        client.adopt(Pool(f"new={node.address}", **TIMES))
        await client.greet()
        assert [event for event in stage.events if isinstance(event, SameProcess)] == []
        assert client.incarnations.keys() == {"new"}
        await client.aclose()

    stage.run(main())


@pytest.mark.parametrize("kind", LOOPS)
def test_every_loop_adopts_it(kind, memcached):
    """The pool is changed in one thread; loops of two others ask the new node with their next requests."""
    old, new = memcached(), memcached()
    client = AsyncClient(Pool(f"a={old.address}", **TIMES), observe=lambda event: None)
    meeting = threading.Barrier(3, timeout=PATIENCE_S)
    found = []

    async def requests():
        await ask(client, Get("a", KEY))
        await asyncio.to_thread(meeting.wait)
        await asyncio.to_thread(meeting.wait)
        found.append(kinds(await ask(client, Get("b", KEY))))
        await until_connections(old, 0)
        await client.aclose()

    def in_a_loop():
        with asyncio.Runner(loop_factory=LOOPS[kind]) as runner:
            runner.run(requests())

    threads = [threading.Thread(target=in_a_loop) for _ in range(2)]
    for thread in threads:
        thread.start()
    meeting.wait()
    client.adopt(Pool(f"b={new.address}", **TIMES))
    meeting.wait()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert found == [["Miss"], ["Miss"]]


def test_every_thread_adopts_it(memcached):
    """Eight threads ask without pause, of nodes that come and go; nobody ever gets an error or another's value."""
    nodes = {name: memcached() for name in "abc"}
    pools = [
        Pool(*(f"{name}={nodes[name].address}" for name in names), timeout=timedelta(seconds=1))
        for names in ("ab", "bc", "ca")
    ]
    client = BlockingClient(pools[0], observe=lambda event: None)
    ended, wrong = threading.Event(), []

    def requests(number):
        key = b"memsession:thread-%d" % number
        while not ended.is_set():
            replies = client.run(rounds([Bury(name, key, key, 60) for name in "abc"], [Get(n, key) for n in "abc"]))
            wrong.extend(reply for reply in replies[3:] if kinds([reply]) == ["Hit"] and reply.value != key)
            if not any(kind == "Hit" for kind in kinds(replies[3:])):
                wrong.append(replies)

    threads = [threading.Thread(target=requests, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for turn in range(60):
        client.adopt(pools[turn % 3])
        threading.Event().wait(0.005)
    ended.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert wrong == []
    client.close()


@pytest.mark.parametrize("blocking", [True, False])
def test_a_forked_process_adopts_for_itself(blocking, memcached):
    """A child that goes by another pool changes nothing for its parent."""
    one, two = memcached(), memcached()
    first, second = Pool(f"a={one.address}", **TIMES), Pool(f"b={two.address}", **TIMES)
    client = (BlockingClient if blocking else AsyncClient)(first, observe=lambda event: None)

    def run(*commands):
        plan = rounds(commands)
        return kinds(client.run(plan) if blocking else asyncio.run(client.run(plan)))

    assert run(Get("a", KEY)) == ["Miss"]
    process = os.fork()
    if process == 0:
        code = 1
        try:
            client.adopt(second)
            code = 0 if (run(Get("b", KEY)), run(Get("a", KEY))) == (["Miss"], ["Skipped"]) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    assert (run(Get("a", KEY)), run(Get("b", KEY))) == (["Miss"], ["Skipped"])


def test_closing_lets_go_of_old_connections_as_well(stage):
    """Nobody has to wait for their time."""

    async def main():
        async with ScriptedNode() as old, ScriptedNode() as new:
            client = stage.client(Pool(f"a=127.0.0.1:{old.port}"))
            await client.greet()
            client.adopt(Pool(f"a=127.0.0.1:{new.port}"))
            await client.greet()
            await client.aclose()
            await old.closed.wait()
            await new.closed.wait()

    stage.run(main())


def test_nodes_that_change_places_are_no_twins(stage, memcached):
    """Each is where the other was. For a moment only one of them has been met there, and that is no alarm."""
    left, right = memcached(), memcached()

    async def main():
        client = stage.client(Pool(f"a={left.address}", f"b={right.address}", **TIMES))
        await ask(client, Get("a", KEY), Get("b", KEY))
        client.adopt(Pool(f"a={right.address}", f"b={left.address}", **TIMES))
        for name in "ab":
            assert kinds(await ask(client, Get(name, KEY, force=True))) == ["Miss"]
        assert not [event for event in stage.events if isinstance(event, SameProcess)]
        await client.aclose()

    stage.run(main())


def test_a_node_that_answered_while_it_was_gone_is_up_when_it_is_back(stage, memcached):
    """It hung and was taken out of the pool; whoever still asked it has met it again; then it comes back."""
    hung, other = memcached(), memcached()
    both = Pool(f"a={hung.address}", f"b={other.address}", **TIMES)

    async def main():
        client = stage.client(both)
        hung.stop()
        await ask(client, Get("a", KEY), Get("b", KEY))
        assert not client.is_up("a")
        client.adopt(Pool(f"b={other.address}", timeout=TIMES["timeout"], budget=timedelta(seconds=30)))
        hung.cont()
        await ask_until(client, are("Miss"), Get("a", KEY, force=True))
        client.adopt(both)
        await ask_until(client, are("Miss", "Miss"), Get("a", KEY), Get("b", KEY))
        assert client.is_up("a")
        await client.aclose()

    stage.run(main())
