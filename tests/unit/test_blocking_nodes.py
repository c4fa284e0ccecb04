"""Nodes leave the pool in one thread while another one brings them back."""

import threading
import time

from memsession.blocking.nodes import Nodes
from memsession.clock import PoolClock
from memsession.pool import Pool
from memsession.resolver import Resolver

BEFORE = Pool("a=127.0.0.1:1", "b=127.0.0.1:2")
AFTER = Pool("b=127.0.0.1:2", "c=127.0.0.1:3")


class Meeting(dict):
    """A dict that lets somebody else do something, when it is gone through for the first time."""

    def __init__(self, content, meanwhile):
        super().__init__(content)
        self.meanwhile = [meanwhile]

    def items(self):
        found = super().items()
        if self.meanwhile:
            other = threading.Thread(target=self.meanwhile.pop(), daemon=True)
            other.start()
            other.join(0.2)  # Whoever waits for a lock is not waited for.
        return found


def test_a_node_that_comes_back_while_it_leaves_is_known():
    """Otherwise it would be skipped for as long as the process lives."""
    clock = PoolClock(monotonic=time.monotonic, wall=time.time)
    nodes = Nodes(BEFORE, clock=clock, resolver=Resolver(), incarnations={}, observe=lambda _: None)
    nodes.adopt(AFTER)
    nodes._part_at = 0.0
    nodes._nodes = Meeting(nodes._nodes, lambda: (nodes.adopt(BEFORE), done.set()))
    done = threading.Event()

    assert nodes.parts()
    assert done.wait(10)

    assert [name for name in BEFORE.homes(b"key") if nodes.node(name) is None] == []
