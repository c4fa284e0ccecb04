"""Tell: a tombstone that a node has missed is put there, by compare-and-swap as everything that merges."""

from memsession.commands import Add, Cas, Command, Skipped, Stored, Unreachable
from memsession.plans.load import read
from memsession.plans.world import Plan, World
from memsession.record import Dead, merge

TRIES_MAX = 4


def tell(world: World, key: bytes, dead: Dead, node: str) -> Plan[bool]:
    """Put `dead` on `node`, unless it knows of a greater one. True when it knows; False: try again later."""
    for _ in range(TRIES_MAX):
        copies = yield from read(world, key, [node])
        if node not in copies:
            return False
        copy = copies[node]
        record = None if copy is None else copy.record
        merged = dead if record is None else merge(record, dead)
        if record == merged:
            return True
        value, ttl = world.codec.seal(key, merged), world.ttl_s(merged)
        write: Command = Add(node, key, value, ttl) if copy is None else Cas(node, key, value, ttl, copy.token)
        (reply,) = yield [write]
        match reply:
            case Stored():
                return True
            case Unreachable() | Skipped():
                return False
    return False
