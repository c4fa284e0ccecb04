"""Roll call: which memcached process answers under each name.

Each keeps a random *mark*, put there by whoever meets it first. Another mark: it is another process, and empty. No
mark: it was flushed, or has evicted that one item; it gets a new mark, and is taken for empty, which is harmless.
"""

from collections.abc import Sequence

from memsession.commands import Add, Get, Hit, Miss, Stored
from memsession.lifetime import MEMCACHED_TTL_MAX
from memsession.plans.world import Plan


def roll_call(nodes: Sequence[str], key: bytes, mark: bytes) -> Plan[dict[str, bytes]]:
    """The mark of each node that answers. `mark` is for those that have none; it must never have been used before."""
    replies = yield [Get(node, key) for node in nodes]
    marks = {node: reply.value for node, reply in zip(nodes, replies, strict=True) if isinstance(reply, Hit)}
    unmarked = [node for node, reply in zip(nodes, replies, strict=True) if isinstance(reply, Miss)]
    if unmarked:
        values = {node: b"%b%04x" % (mark[:28], at) for at, node in enumerate(unmarked)}
        replies = yield [Add(node, key, values[node], MEMCACHED_TTL_MAX) for node in unmarked]
        stored = [node for node, reply in zip(unmarked, replies, strict=True) if isinstance(reply, Stored)]
        marks.update((node, values[node]) for node in stored)
    return marks
