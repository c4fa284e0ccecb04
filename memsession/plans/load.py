"""Load: ask all homes at once, merge, bring those that lag up to date in the same request.

1. `Get` at all homes in one round. Homes that are out are skipped.
2. A tombstone anywhere: the session is over, and the tombstone is planted where it is missing.
3. Otherwise the merge of all hits is the session, if its time is not over. Where a home is behind or empty the
   merge is written, and the home is read again. What comes back with the fresh token is merged as well: a token
   that is refreshed without it would let the next save overwrite another request's change.
4. Nothing found, or nothing used recently: the homes that were skipped are asked too, for a healthy node may only
   have been thought hung. All homes say so: absent. Otherwise it is doubt, which is not absence.
5. A value that fails its seal or does not parse is *no answer*, never a miss. It is replaced when another home
   has a valid one.
"""

from collections.abc import Collection
from typing import NamedTuple, TypeAlias

from memsession.commands import Add, Cas, Command, Get, Hit, Miss, Skipped, Stored, Token
from memsession.plans.outcomes import Absent, Doubt, Ended, Found, Loaded, Outage
from memsession.plans.world import Plan, World
from memsession.record import Dead, Live, Record, merge, merge_live

REPAIR_ROUNDS_MAX = 4
"""After that a busy session is left to the next request; what was read so far is merged and safe to save on."""


class Copy(NamedTuple):
    """What a home holds. `record` is None when it cannot be read."""

    token: Token
    record: Record | None


Copies: TypeAlias = dict[str, Copy | None]
"""Answers by node; None where the node has nothing. A node that did not answer is not in it."""


def load(world: World, key: bytes) -> Plan[Loaded]:
    """Find the session stored under `key`, and repair its copies."""
    homes = world.homes(key)
    copies, skipped = yield from read(world, key, homes)
    merged = _merge(copies)
    if skipped and (merged is None or _is_idle(world, merged)):
        late, _ = yield from read(world, key, skipped, force=True)
        copies.update(late)
        merged = _merge(copies)
    match merged:
        case None:
            return _nothing(copies, len(homes))
        case Dead():
            yield from _plant(world, key, merged, copies)
            return Ended(merged)
        case Live():
            if merged.deadline_ms <= world.now_ms():
                return Absent(expired=True)
            if _is_idle(world, merged):
                return _idle(copies, len(homes))
            return (yield from _repair(world, key, merged, copies))


def repair(world: World, key: bytes) -> Plan[Loaded]:
    """Bring all homes of `key` up to date without a visitor, tombstones included; the refill's one step.

    It is a load: all writes are conditional, and last use and deadline stay as they are.
    """
    return load(world, key)


def read(world: World, key: bytes, nodes: Collection[str], *, force: bool = False) -> Plan[tuple[Copies, list[str]]]:
    """Ask `nodes`; what they hold, and which were skipped. Identical copies are opened once."""
    replies = yield [Get(node, key, force) for node in nodes]
    copies: Copies = {}
    skipped: list[str] = []
    value = record = None
    for node, reply in zip(nodes, replies, strict=True):
        match reply:
            case Hit():
                if value is None or reply.value != value:
                    value = reply.value
                    record = world.codec.open(key, value)
                copies[node] = Copy(reply.token, record)
            case Miss():
                copies[node] = None
            case Skipped():
                skipped.append(node)
    return copies, skipped


def _merge(copies: Copies) -> Record | None:
    merged: Record | None = None
    for copy in copies.values():
        if copy is not None and copy.record is not None:
            merged = copy.record if merged is None else merge(merged, copy.record)
    return merged


def _is_idle(world: World, record: Record) -> bool:
    return isinstance(record, Live) and record.seen_ms + world.idle_ms(record) <= world.now_ms()


def _idle(copies: Copies, homes: int) -> Absent | Doubt:
    """The last use is too long ago, as far as those know who answered; a silent home may know of a later one."""
    unreadable = any(copy is not None and copy.record is None for copy in copies.values())
    return Doubt(unreadable) if unreadable or len(copies) < homes else Absent(expired=True)


def _nothing(copies: Copies, homes: int) -> Absent | Doubt | Outage:
    if not copies:
        return Outage()
    if any(copies.values()):
        return Doubt(unreadable=True)
    return Absent() if len(copies) == homes else Doubt()


def _repair(world: World, key: bytes, merged: Live, copies: Copies) -> Plan[Loaded]:
    repaired: dict[str, None] = {}
    for _ in range(REPAIR_ROUNDS_MAX):
        behind = _behind(copies, merged)
        if not behind:
            break
        replies = yield _writes(world, key, merged, copies, behind)
        repaired.update((node, None) for node, done in zip(behind, replies, strict=True) if isinstance(done, Stored))
        fresh, _ = yield from read(world, key, behind)
        for node in behind:
            del copies[node]
        copies.update(fresh)
        match _merge(fresh):
            case Dead() as dead:
                yield from _plant(world, key, dead, copies)
                return Ended(dead)
            case Live() as theirs:
                merged = merge_live(merged, theirs)
    tokens = {node: copy.token for node, copy in copies.items() if copy is not None}
    return Found(merged, tokens, tuple(repaired))


def _plant(world: World, key: bytes, dead: Dead, copies: Copies) -> Plan[None]:
    behind = _behind(copies, dead)
    if behind:
        yield _writes(world, key, dead, copies, behind)


def _behind(copies: Copies, merged: Record) -> list[str]:
    return [
        node for node, copy in copies.items() if copy is None or (copy.record is not merged and copy.record != merged)
    ]


def _writes(world: World, key: bytes, record: Record, copies: Copies, nodes: list[str]) -> list[Command]:
    value, ttl = world.codec.seal(key, record), world.ttl_s(record)
    commands: list[Command] = []
    for node in nodes:
        copy = copies[node]
        if copy is None:
            commands.append(Add(node, key, value, ttl))
        else:
            commands.append(Cas(node, key, value, ttl, copy.token))
    return commands
