"""Lock: one request at a time for a session, for code that reads, computes and writes back.

A lock is a small record beside the session, at the session's homes: its owner, a random name used for one turn only,
and the time when it runs out by the pool's clock. There is no deleting: who releases it leaves word of that, which
memcached collects.

1. All homes that are not out are asked. A living lock of another owner at any of them: busy. What cannot be read
   counts as one. A lock lives no more when it has run out, or when its owner's release is known from any home; while
   a home does not answer, the word of what it misses is handed on. So a home that hung keeps nobody waiting.
2. It is written at the first home (`add`, or compare-and-swap over what does not live), then at the others in one
   round. Who is refused anywhere takes back what it wrote: busy. So of two that ask at once, one is refused at every
   home that they share.
3. Release puts the word over the owner's own lock by compare-and-swap, and touches nothing else.

What is promised: two requests never hold it at once while their web servers share a home that both reach and that
forgets nothing, as they do while they agree which nodes are out; and nobody holds it longer than `expire_ms`, so a
holder that dies keeps others waiting no longer. Times are as good as the pool's clock, about a second.

A holder that was paused for too long cannot unlock others, and cannot overwrite what they saved: it asks `holds`
right before it saves. If it is paused between that question and its save, the save still merges as every save does,
so that only what it assigns itself can replace what others assigned to the same keys.

Plans never wait: who finds it busy asks again later, under the same name. Who gives up waiting releases it as well,
for a write may have arrived that nobody acknowledged. After a release the name is used up.
"""

from typing import NamedTuple

from memsession.commands import Add, Cas, Conflict, NotFound, Stored
from memsession.lifetime import MEMCACHED_TTL_MAX
from memsession.plans.load import Copies, Copy, read
from memsession.plans.outcomes import Busy, Locked, LockOutcome, Unlockable
from memsession.plans.world import Plan, World
from memsession.record import Entry, Live

SUFFIX = b".lock"
"""After the session's storage key."""

_SPARE_S = 10
"""memcached keeps a lock and the word of its release so much longer: its clock is coarse, commands come late."""

_TOLD_MAX = 8
"""Releases that are handed on to a home that does not answer. It had one lock when it fell silent."""


class _Lock(NamedTuple):
    """`owner` is empty where it is free. `released`: owners that are done, and until when their locks would live."""

    owner: str
    deadline_ms: int
    released: dict[str, int]


def acquire(world: World, key: bytes, owner: str, expire_ms: int) -> Plan[LockOutcome]:
    """Lock the session stored under `key` for `expire_ms` milliseconds, if nobody else has it."""
    homes, lock = world.homes(key), key + SUFFIX
    copies = yield from read(world, lock, homes)
    if not copies:
        copies = yield from read(world, lock, homes, force=True)
    now_ms = world.now_ms()
    if _is_taken(copies, owner, now_ms):
        return Busy()
    released = _still_told(copies, now_ms) if len(copies) < len(homes) else {}
    mine = _Lock(owner, now_ms + expire_ms, released)
    todo = list(copies)
    while todo:
        (reply,) = yield [_write(world, lock, mine, todo.pop(0), copies)]
        match reply:
            case Stored():
                return (yield from _follow(world, key, mine, todo, copies))
            case Conflict() | NotFound():
                yield from _unlock(world, key, owner, done=False)
                return Busy()
    return Unlockable()


def _follow(world: World, key: bytes, mine: _Lock, others: list[str], copies: Copies) -> Plan[Locked | Busy]:
    """A home that does not answer now is left out; one that refuses holds somebody else's lock."""
    if others:
        replies = yield [_write(world, key + SUFFIX, mine, node, copies) for node in others]
        if any(isinstance(reply, Conflict | NotFound) for reply in replies):
            yield from _unlock(world, key, mine.owner, done=False)
            return Busy()
    return Locked(mine.deadline_ms)


def release(world: World, key: bytes, owner: str) -> Plan[None]:
    """Unlock, wherever the lock is still the owner's; never anybody else's."""
    return _unlock(world, key, owner, done=True)


def _unlock(world: World, key: bytes, owner: str, *, done: bool) -> Plan[None]:
    """With `done` no lock of this owner counts any more, wherever one may still be."""
    lock = key + SUFFIX
    copies = yield from read(world, lock, world.homes(key))
    writes = []
    for node, copy in copies.items():
        held = _lock_in(copy)
        if copy is not None and held is not None and held.owner == owner:
            word = {owner: held.deadline_ms} if done else {}
            free = _Lock("", 0, {**held.released, **word})
            ttl = _kept_s(held.deadline_ms - world.now_ms())
            writes.append(Cas(node, lock, _sealed(world, lock, free), ttl, copy.token))
    if writes:
        yield writes


def holds(world: World, key: bytes, owner: str, for_ms: int = 0) -> Plan[bool]:
    """Whether the lock is the owner's, and will be for another `for_ms` milliseconds; to be asked before saving."""
    copies = yield from read(world, key + SUFFIX, world.homes(key))
    now_ms = world.now_ms()
    if _is_taken(copies, owner, now_ms):
        return False
    mine = [held for copy in copies.values() if (held := _lock_in(copy)) and held.owner == owner]
    return any(held.deadline_ms > now_ms + for_ms for held in mine)


def _is_taken(copies: Copies, owner: str, now_ms: int) -> bool:
    """Whether somebody else has a living lock, or may have one."""
    locks = [_lock_in(copy) for copy in copies.values() if copy is not None]
    done = {name for held in locks if held for name in held.released}
    return any(
        held is None or (held.owner not in {owner, ""} and held.owner not in done and held.deadline_ms > now_ms)
        for held in locks
    )


def _still_told(copies: Copies, now_ms: int) -> dict[str, int]:
    """Releases that a home which does not answer now may have missed; the oldest ones, for they are from before."""
    told: dict[str, int] = {}
    for copy in copies.values():
        held = _lock_in(copy)
        told.update(held.released if held else {})
    living = [name for name, until_ms in told.items() if until_ms > now_ms]
    return {name: told[name] for name in sorted(living, key=told.__getitem__)[:_TOLD_MAX]}


def _lock_in(copy: Copy | None) -> _Lock | None:
    """None where there is none, or none that can be read."""
    match copy and copy.record:
        case Live({"owner": Entry(value=str(owner)), "released": Entry(value=dict(released))}, deadline_ms=until_ms):
            return _Lock(owner, until_ms, released) if all(type(at) is int for at in released.values()) else None
        case _:
            return None


def _write(world: World, lock: bytes, mine: _Lock, node: str, copies: Copies) -> Add | Cas:
    value, ttl = _sealed(world, lock, mine), _kept_s(mine.deadline_ms - world.now_ms())
    copy = copies[node]
    return Add(node, lock, value, ttl) if copy is None else Cas(node, lock, value, ttl, copy.token)


def _sealed(world: World, lock: bytes, held: _Lock) -> object:
    entries = {"owner": Entry(1, "", held.owner), "released": Entry(1, "", held.released)}
    return world.codec.seal(lock, Live(entries, {}, 0, held.deadline_ms, 0))


def _kept_s(ms: int) -> int:
    return min(-(-max(ms, 0) // 1000) + _SPARE_S, MEMCACHED_TTL_MAX)
