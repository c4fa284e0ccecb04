"""The status of the pool: a small record on several nodes, in which the workers of all web servers read and write.

It is stored and merged as a session is, so what one worker notes is known to the next, whoever dies meanwhile. If it
is lost, that costs a refill that was not needed.

    sound      node -> [mark of its process, missed, sources]: which of its processes has all its copies, as far as
               `missed` goes; `sources` are nodes that could not be asked for theirs
    missed:N   a random name, anew whenever node N was out of reach of a web server and may have missed something
    pool:F     the pool whose fingerprint is F, and when a web server last said that it uses it
    moved      F -> when the scan began by which all sessions had moved to the pool F
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from memsession.plans import Absent, Ended, Found, Plan, Saved, World, create, load, save
from memsession.plans.outcomes import Loaded
from memsession.record import Changes, Live, Plain, apply, visible

DEADLINE_MS: Final = 2**52
"""It never ends."""

_TRIES_MAX: Final = 5
_MOVED_MAX: Final = 16


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


Change = Callable[[Status], dict[str, Plain]]
"""From what is known to what is to be written: keys and values of the record. Nothing: nothing is written."""


def read_status(world: World, key: bytes) -> Plan[Status | None]:
    """What is known of the pool; None if none of the nodes that would know answers."""
    loaded = yield from load(world, key)
    content = _content(loaded)
    return None if content is None else _understood(content)


def note(world: World, key: bytes, change: Change, deadline: float) -> Plan[bool]:
    """Write what `change` makes of the status. Whether it is stored."""
    for _ in range(_TRIES_MAX):
        loaded = yield from load(world, key)
        content = _content(loaded)
        if content is None:
            return False
        puts = change(_understood(content))
        if not puts:
            return True
        now_ms = world.now_ms()
        before = loaded.record if isinstance(loaded, Found) else Live({}, {}, now_ms, DEADLINE_MS, now_ms)
        wanted = apply(before, Changes(puts), {}, writer=world.nonce(), now_ms=now_ms)
        if isinstance(loaded, Found):
            outcome: object = yield from save(world, key, wanted, loaded.tokens, deadline)
        else:
            outcome = yield from create(world, key, wanted)
        if isinstance(outcome, Saved):
            return True
    return False


def sound_put(status: Status, node: str, sound: Sound) -> dict[str, Plain]:
    """What to write when a node has all its copies."""
    known = {**status.sound, node: sound}
    return {"sound": {name: [one.mark, one.missed, list(one.sources)] for name, one in known.items()}}


def pool_put(fingerprint: str, pool: InUse) -> dict[str, Plain]:
    """What to write when a pool is in use."""
    return {f"pool:{fingerprint}": [list(pool.nodes), pool.copies, list(pool.before), pool.at_ms]}


def moved_put(status: Status, fingerprint: str, at_ms: int) -> dict[str, Plain]:
    """What to write when all sessions have moved to a pool, found by a scan that began at `at_ms`."""
    kept = [(one, at) for one, at in status.moved.items() if one != fingerprint][1 - _MOVED_MAX :]
    return {"moved": dict([*kept, (fingerprint, at_ms)])}


def _content(loaded: Loaded) -> dict[str, Any] | None:
    match loaded:
        case Found(record):
            return visible(record)
        case Absent() | Ended():
            return {}
        case _:
            return None


def _understood(content: dict[str, Any]) -> Status:
    """What a record says. What another version has written otherwise is passed over."""
    missed = {key[7:]: value for key, value in content.items() if key.startswith("missed:") and type(value) is str}
    pools = {key[5:]: pool for key, value in content.items() if key.startswith("pool:") and (pool := _pool(value))}
    sound = content.get("sound")
    moved = content.get("moved")
    return Status(
        {node: one for node, value in sound.items() if (one := _sound(value))} if type(sound) is dict else {},
        missed,
        pools,
        {name: at for name, at in moved.items() if type(at) is int} if type(moved) is dict else {},
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
