"""Modify: read, compute and write one key as one step.

One home orders all modifications: the first that is not out. The function's result is put there by compare-and-swap;
refused, the home is read and the function runs again. Then the other homes follow by an ordinary save. If the
orderer does not answer, the outcome is unknown and said so: going on with another home would count twice or lose.
In strict mode a majority has to follow, or else the outcome is unknown, too.
Exact while no home of the session forgets and the web servers agree which nodes are out.
"""

from collections.abc import Callable

from memsession.commands import Cas, Conflict, NotFound, Stored
from memsession.plans.load import Copy, load, read
from memsession.plans.outcomes import Ended, Found, Gone, Modified, Saved, SaveOutcome, Unconfirmed
from memsession.plans.save import catch_up, save
from memsession.plans.world import Plan, World
from memsession.record import Changes, Dead, Live, Plain, apply, merge_live, shown


def modify(
    world: World, key: bytes, name: str, fn: Callable[[Plain], Plain], found: Found, deadline: float
) -> Plan[Modified | Gone | Unconfirmed]:
    """Replace the value of `name` by `fn` of it. `fn` gets `ABSENT` where there is none; it may run several times."""
    homes, conflicts = world.homes(key), 0
    if found.tokens and homes[0] not in found.tokens:
        # It may only have been slow, and then it is the orderer for everybody else.
        caught_up = yield from catch_up(world, key, found.record, found.tokens)
        if isinstance(caught_up, Dead):
            return Gone(caught_up)
        found = Found(*caught_up)
    orderer = next((node for node in homes if node in found.tokens), None)
    while orderer is not None and world.monotonic() < deadline:
        wanted = _with(world, found.record, name, fn)
        value = world.codec.seal(key, wanted)
        (reply,) = yield [Cas(orderer, key, value, world.ttl_s(wanted), found.tokens[orderer])]
        match reply:
            case Stored():
                done = yield from _follow(world, key, wanted, found, orderer, deadline)
                return Modified(done.record, done.conflicts + conflicts) if isinstance(done, Saved) else done
            case Conflict() | NotFound():
                again = yield from _read_again(world, key, found, orderer)
                if not isinstance(again, Found):
                    return again
                found, conflicts = again, conflicts + 1
            case _:
                break
    return Unconfirmed()


def _read_again(world: World, key: bytes, found: Found, orderer: str) -> Plan[Found | Gone | Unconfirmed]:
    """The session as the orderer has it now."""
    copies = yield from read(world, key, [orderer])
    match copies.get(orderer, Unconfirmed()):
        case Copy(token, Live() as theirs):
            merged = merge_live(found.record, theirs)
            return Found(merged, {**found.tokens, orderer: token})
        case Copy(_, Dead() as dead):
            return Gone(dead)
        case None:
            # It has forgotten: it is repaired from the others first, never started from nothing.
            loaded = yield from load(world, key)
            if isinstance(loaded, Found) and orderer in loaded.tokens:
                return loaded
            return Gone(loaded.record) if isinstance(loaded, Ended) else Unconfirmed()
        case _:
            return Unconfirmed()


def _with(world: World, record: Live, name: str, fn: Callable[[Plain], Plain]) -> Live:
    changes = Changes(puts={name: fn(shown(record, name))})
    return apply(record, changes, {}, writer=world.nonce(), now_ms=world.now_ms())


def _follow(world: World, key: bytes, wanted: Live, found: Found, orderer: str, deadline: float) -> Plan[SaveOutcome]:
    others = {node: token for node, token in found.tokens.items() if node != orderer}
    return (yield from save(world, key, wanted, others, deadline, done=[orderer]))
