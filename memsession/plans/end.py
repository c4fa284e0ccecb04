"""End: a tombstone at every home, written blindly, without reading first.

The tombstone is the top of the merge order, so whoever meets it can only spread it. It is kept for the
longest absolute life, so it outlives every live copy that a slow request or a returning node could bring.
"""

from memsession.commands import Bury, Stored
from memsession.plans.outcomes import Buried
from memsession.plans.quorum import enough
from memsession.plans.world import Plan, World
from memsession.record import Dead, Reason

INVALIDATED = Dead(Reason.INVALIDATED)


def end(world: World, key: bytes, dead: Dead = INVALIDATED, nodes: tuple[str, ...] = ()) -> Plan[Buried]:
    """End the session under `key` at all its homes (or only at `nodes`), whatever it holds."""
    homes = nodes or world.homes(key)
    value, ttl = world.codec.seal(key, dead), world.lifetime.tombstone_ttl_s
    replies = yield [Bury(node, key, value, ttl) for node in homes]
    stored = {node: isinstance(reply, Stored) for node, reply in zip(homes, replies, strict=True)}
    confirmed = frozenset(node for node, done in stored.items() if done)
    missed = tuple(node for node, done in stored.items() if not done)
    return Buried(confirmed, missed, enough(world, key, confirmed))
