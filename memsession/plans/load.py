"""Load: ask all homes at once, merge, bring those that lag up to date in the same request.

1. `Get` at all homes in one round. Homes that are out are skipped.
2. A tombstone anywhere: the session is over, and the tombstone is planted where it is missing.
3. Otherwise the merge of all hits is the session, if its time is not over. Where a home is behind or empty the
   merge is written, and the home is read again. What comes back with the fresh token is merged as well: a token
   that is refreshed without it would let the next save overwrite another request's change.
4. Nothing found, or nothing used recently: the homes that have not answered are asked once more, those that were
   skipped included. A healthy node may only have been thought hung, and its reply may have been lost together with a
   connection that somebody else's reply broke. All homes say so: absent. Otherwise it is doubt, which is not absence.
5. A value that fails its seal or does not parse is *no answer*, never a miss. It is replaced when another home
   has a valid one.
6. In strict mode the session has to be proven alive (see `quorum`) before anything is shown or repaired. If it is
   not, all homes are asked once more, for a reply may have been lost, or a repair may be under way. An empty home is
   filled only if the session is proven once more after the miss: else the others may have been heard before its end,
   and that home after it had learnt of the end and forgotten it again.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple, TypeAlias

from memsession.commands import Add, Cas, Command, Get, Hit, Miss, Reply, Stored, Token
from memsession.plans.outcomes import Absent, Doubt, Ended, Found, Loaded, NoMajority, Outage
from memsession.plans.quorum import enough, proven
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
    copies = yield from read(world, key, homes)
    merged = _merge(copies)
    if world.home_sets is not None and _is_undecided(world, key, copies, merged):
        before = merged
        copies = yield from read(world, key, homes, force=True)
        merged = _merge(copies)
        if merged is None and before is not None:
            return NoMajority()  # It was there a moment ago: that it is not any more is for the next request to say.
    elif len(copies) < len(homes) and (merged is None or _is_idle(world, merged)):
        copies |= yield from read(world, key, [home for home in homes if home not in copies], force=True)
        merged = _merge(copies)
    match merged:
        case None:
            return _nothing(world, key, copies, len(homes))
        case Dead():
            yield from _plant(world, key, merged, copies)
            return Ended(merged)
        case Live():
            if merged.deadline_ms <= world.now_ms():
                return Absent(expired=True)
            if world.home_sets is not None and not _is_proven(world, key, copies):
                return _outvoted(copies, len(homes))
            if _is_idle(world, merged):
                return _idle(copies, len(homes))
            if world.home_sets is not None and None in copies.values():
                return (yield from _fill(world, key, merged, copies))
            return (yield from _repair(world, key, merged, copies))


def repair(world: World, key: bytes) -> Plan[Loaded]:
    """Bring all homes of `key` up to date without a visitor, tombstones included; the refill's one step.

    It is a load: all writes are conditional, and last use and deadline stay as they are.
    """
    return load(world, key)


def read(world: World, key: bytes, nodes: Collection[str], *, force: bool = False) -> Plan[Copies]:
    """Ask `nodes` what they hold.

    What cannot be read is asked for once more: it may have been spoilt on the way, and what is stored is not to be
    replaced for that.
    """
    copies = _answers(world, key, nodes, (yield [Get(node, key, force) for node in nodes]))
    spoilt = [node for node, copy in copies.items() if copy is not None and copy.record is None]
    if spoilt:
        for node in spoilt:
            del copies[node]
        copies |= _answers(world, key, spoilt, (yield [Get(node, key, force) for node in spoilt]))
    return copies


def _answers(world: World, key: bytes, nodes: Collection[str], replies: Sequence[Reply]) -> Copies:
    """What replies say. Identical copies are opened once."""
    copies: Copies = {}
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
    return copies


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


def _nothing(world: World, key: bytes, copies: Copies, homes: int) -> Absent | Doubt | NoMajority | Outage:
    if not copies:
        return Outage()
    if not enough(world, key, copies):
        return NoMajority()
    if any(copies.values()):
        return Doubt(unreadable=True)
    return Absent() if len(copies) == homes else Doubt()


def _is_undecided(world: World, key: bytes, copies: Copies, merged: Record | None) -> bool:
    """In strict mode: whether these answers say neither that the session is alive nor that it is not."""
    match merged:
        case None:
            return not enough(world, key, copies)
        case Dead():
            return False
        case Live():
            return not _is_proven(world, key, copies)


def _is_proven(world: World, key: bytes, copies: Copies) -> bool:
    having = [node for node, copy in copies.items() if copy is not None and copy.record is not None]
    return proven(world, key, having, [node for node, copy in copies.items() if copy is None])


def _outvoted(copies: Copies, homes: int) -> Doubt | NoMajority:
    """Too few homes have the session: a silent one may help, or may know of its end."""
    unreadable = any(copy is not None and copy.record is None for copy in copies.values())
    return NoMajority() if len(copies) < homes else Doubt(unreadable, outvoted=True)


def _fill(world: World, key: bytes, merged: Live, copies: Copies) -> Plan[Loaded]:
    """Repair in strict mode, where some homes have nothing."""
    empty = [node for node, copy in copies.items() if copy is None]
    fresh = yield from read(world, key, [node for node, copy in copies.items() if copy is not None])
    copies.update(fresh)
    match _merge(fresh):
        case Dead() as dead:
            yield from _plant(world, key, dead, copies)
            return Ended(dead)
        case Live() as theirs:
            merged = merge_live(merged, theirs)
    having = [node for node, copy in fresh.items() if copy is not None and copy.record is not None]
    fills = empty if proven(world, key, having, empty) else []
    kept = {node: copy for node, copy in copies.items() if copy is not None or node in fills}
    return (yield from _repair(world, key, merged, kept))


def _repair(world: World, key: bytes, merged: Live, copies: Copies) -> Plan[Loaded]:
    repaired: dict[str, None] = {}
    for rounds in range(REPAIR_ROUNDS_MAX):
        behind = _behind(copies, merged)
        if rounds and world.home_sets is not None:
            behind = [node for node in behind if copies[node] is not None]
        if not behind:
            break
        replies = yield _writes(world, key, merged, copies, behind)
        repaired.update((node, None) for node, done in zip(behind, replies, strict=True) if isinstance(done, Stored))
        fresh = yield from read(world, key, behind, force=world.home_sets is not None)
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
