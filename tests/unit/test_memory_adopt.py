"""Another pool for nodes in this process."""

import asyncio

import pytest

from memsession.commands import Add, Bury, Get
from memsession.events import NodeOut
from memsession.memory import BlockingMemoryClient, MemoryClient
from memsession.pool import Pool
from tests.rounds import kinds, rounds

KEY = b"memsession:adopt"


@pytest.mark.parametrize("kind", [MemoryClient, BlockingMemoryClient])
def test_nodes_that_stay_keep_what_they_hold(kind):
    """New ones are empty, and what is gone is skipped, also when it is asked by force: without an answer."""
    told = []
    client = kind(Pool("memory://?nodes=2"), observe=told.append)

    def ask(*commands):
        outcome = client.run(rounds(commands))
        return kinds(outcome if kind is BlockingMemoryClient else asyncio.run(outcome))

    ask(Bury("memory-1", KEY, b"v", 60), Bury("memory-2", KEY, b"v", 60))
    client.nodes["memory-2"].stop()
    assert ask(Get("memory-2", KEY)) == ["Skipped"]
    client.adopt(Pool("memory://?nodes=3"))
    assert ask(*(Get(f"memory-{number}", KEY) for number in (1, 2, 3))) == ["Hit", "Skipped", "Miss"]
    client.adopt(Pool("memory://?nodes=1"))
    assert [client.is_up(f"memory-{number}") for number in (1, 2, 3)] == [True, False, False]
    assert ask(Get("memory-1", KEY), Get("memory-3", KEY), Add("memory-3", KEY, b"", 9)) == [
        "Hit",
        "Skipped",
        "Skipped",
    ]
    assert ask(Get("memory-3", KEY, force=True), Bury("memory-3", KEY, b"", 9)) == ["Unreachable", "Unreachable"]
    client.adopt(Pool("memory://?nodes=2"))
    assert ask(Get("memory-2", KEY)) == ["Miss"]
    assert told == [NodeOut("memory-2", "stopped")]
