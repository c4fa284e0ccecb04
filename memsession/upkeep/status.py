"""The status of the pool: a small record on several nodes, in which the workers of all web servers read and write.

It is stored and merged as a session is, so what one worker notes is known to the next, whoever dies meanwhile. If it
is lost, or sealed with a secret that nobody here has, it begins anew: that costs a refill that was not needed. Its
stamps begin at the time when it began, so that what a node remembers of an older one loses against it.

    begun      when the record began
    sound      node -> [mark of its process, missed, sources]: which of its processes has all its copies, as far as
               `missed` goes; `sources` are nodes that could not be asked for theirs
    missed:N   a random name, anew whenever node N was out of reach of a web server and may have missed something
    pool:F     the pool whose fingerprint is F, and when a web server last said that it uses it
    moved      F -> when the scan began by which all sessions had moved to the pool F

Nothing is deleted in it, for that leaves marks. What counts no more is left out by compare-and-swap; if a node that
was away brings it back, that is done again.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final

from memsession.commands import Cas
from memsession.plans import Absent, Doubt, Found, Plan, Saved, World, create, load, save
from memsession.plans.load import read
from memsession.plans.outcomes import Loaded
from memsession.record import Changes, Entry, Live, Plain, apply, visible

DEADLINE_MS: Final = 2**52
"""It never ends."""

POOLS_MAX: Final = 16
"""Pools that are remembered: those that were used last."""

_TRIES_MAX: Final = 5


class Unread(Enum):
    """Why nothing is known."""

    SILENT = 1
    """None of the nodes that would know answers."""

    SEALED = 2
    """It was written under another secret."""


@dataclass(frozen=True, slots=True)
class Sound:
    """A node that has all its copies: the mark of its process, and what of `Status.missed` that covers."""

    mark: str
    missed: str
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InUse:
    """A pool that a web server uses, or has used. `before`: the fingerprints of its `previous` pools."""

    nodes: tuple[str, ...]
    copies: int
    before: tuple[str, ...]
    at_ms: int


@dataclass(frozen=True, slots=True)
class Status:
    """See the top of this file."""

    sound: dict[str, Sound]
    missed: dict[str, str]
    pools: dict[str, InUse]
    moved: dict[str, int]
    begun_ms: int = 0


Change = Callable[[Status], dict[str, Plain]]
"""From what is known to what is to be written: keys and values of the record. Nothing: nothing is written."""


def read_status(world: World, key: bytes) -> Plan[Status | Unread]:
    """What is known of the pool."""
    loaded = yield from load(world, key)
    content = _content(loaded)
    return content if isinstance(content, Unread) else _understood(content)


def note(world: World, key: bytes, change: Change, deadline: float) -> Plan[bool]:
    """Write what `change` makes of the status. Whether it is stored."""
    for _ in range(_TRIES_MAX):
        loaded = yield from load(world, key)
        content = _content(loaded)
        if isinstance(content, Unread):
            return False
        puts = change(_understood(content))
        if not puts:
            return True
        now_ms = world.now_ms()
        before = loaded.record if isinstance(loaded, Found) else _begun(now_ms)
        wanted = apply(before, Changes(puts), {}, writer=world.nonce(), now_ms=now_ms)
        if isinstance(loaded, Found):
            outcome: object = yield from save(world, key, wanted, loaded.tokens, deadline)
        else:
            outcome = yield from create(world, key, wanted)
        if isinstance(outcome, Saved):
            return True
    return False


def begin_anew(world: World, key: bytes) -> Plan[None]:
    """Replace the copies that cannot be read. For who has the lease, which those that wrote them then cannot have."""
    copies = yield from read(world, key, world.homes(key))
    record = _begun(world.now_ms())
    value, ttl = world.codec.seal(key, record), world.ttl_s(record)
    sealed = {node: copy for node, copy in copies.items() if copy is not None and copy.record is None}
    if sealed:
        yield [Cas(node, key, value, ttl, copy.token) for node, copy in sealed.items()]


def tidy(world: World, key: bytes, names: Collection[str], deadline: float) -> Plan[None]:
    """Leave out what counts no more. `names` are the nodes in use here."""
    loaded = yield from load(world, key)
    if isinstance(loaded, Found):
        stale = _stale(_understood(visible(loaded.record)), names)
        if stale:
            entries = {name: entry for name, entry in loaded.record.entries.items() if name not in stale}
            wanted = replace(loaded.record, entries=entries, modified=loaded.record.modified + 1)
            yield from save(world, key, wanted, loaded.tokens, deadline)


def sound_put(status: Status, node: str, sound: Sound, names: Collection[str]) -> dict[str, Plain]:
    """What to write when a node has all its copies. Nodes that no pool names any more are left out."""
    nodes = _nodes(status.pools, names)
    known = {**{name: one for name, one in status.sound.items() if name in nodes}, node: sound}
    return {"sound": {name: [one.mark, one.missed, list(one.sources)] for name, one in known.items()}}


def pool_put(fingerprint: str, pool: InUse) -> dict[str, Plain]:
    """What to write when a pool is in use."""
    return {f"pool:{fingerprint}": [list(pool.nodes), pool.copies, list(pool.before), pool.at_ms]}


def moved_put(status: Status, fingerprint: str, at_ms: int) -> dict[str, Plain]:
    """What to write when all sessions have moved to a pool, found by a scan that began at `at_ms`."""
    kept = [(one, at) for one, at in status.moved.items() if one != fingerprint][1 - POOLS_MAX :]
    return {"moved": dict([*kept, (fingerprint, at_ms)])}


def _begun(now_ms: int) -> Live:
    return Live({"begun": Entry(now_ms, "", now_ms)}, {}, now_ms, DEADLINE_MS, now_ms)


def _stale(status: Status, names: Collection[str]) -> set[str]:
    latest = sorted(status.pools, key=lambda name: status.pools[name].at_ms)[-POOLS_MAX:]
    nodes = _nodes({name: status.pools[name] for name in latest}, names)
    pools = {f"pool:{name}" for name in status.pools if name not in latest}
    return pools | {f"missed:{node}" for node in status.missed if node not in nodes}


def _nodes(pools: dict[str, InUse], names: Collection[str]) -> set[str]:
    return {*names}.union(*(pool.nodes for pool in pools.values()))


def _content(loaded: Loaded) -> dict[str, Any] | Unread:
    """Nodes that are silent may know more; then what they know is merged when they are back."""
    match loaded:
        case Found(record):
            return visible(record)
        case Absent() | Doubt(unreadable=False):
            return {}
        case Doubt():
            return Unread.SEALED
        case _:
            return Unread.SILENT


def _understood(content: dict[str, Any]) -> Status:
    """What a record says. What another version has written otherwise is passed over."""
    missed = {key[7:]: value for key, value in content.items() if key.startswith("missed:") and type(value) is str}
    pools = {key[5:]: pool for key, value in content.items() if key.startswith("pool:") and (pool := _pool(value))}
    sound = content.get("sound")
    moved = content.get("moved")
    begun = content.get("begun")
    return Status(
        {node: one for node, value in sound.items() if (one := _sound(value))} if type(sound) is dict else {},
        missed,
        pools,
        {name: at for name, at in moved.items() if type(at) is int} if type(moved) is dict else {},
        begun if type(begun) is int else 0,
    )


def _sound(value: Any) -> Sound | None:
    match value:
        case [str(mark), str(missed), list(sources)]:
            return Sound(mark, missed, _texts(sources))
        case _:
            return None


def _pool(value: Any) -> InUse | None:
    match value:
        case [list(nodes), int(copies), list(before), int(at_ms)]:
            return InUse(_texts(nodes), copies, _texts(before), at_ms)
        case _:
            return None


def _texts(values: list[Any]) -> tuple[str, ...]:
    return tuple(value for value in values if type(value) is str)
