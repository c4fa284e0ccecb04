"""Save: compare-and-swap of the merged record on every home, in one round.

A home that refuses is read again and its content merged, until all have answered or the deadline has passed (not a
number of tries: many writers on one session refuse each other often, and are all done in milliseconds). A tombstone
ends it: nothing is kept. A home that was slow when the session was loaded was not waited for, and is waited for now:
else what is saved would be on fewer homes than there are, and a load that finds another home slow would miss it.
A home that has nothing is left alone: an `add` here would bring sessions back to life that
were ended and then forgotten; the next load restores that copy. Confirmed when one home acknowledged, in
strict mode a majority; there a home that has just answered is asked again also if somebody thinks it out meanwhile.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from memsession.commands import Add, Cas, Command, Conflict, Reply, Skipped, Stored, Token, Unreachable
from memsession.plans.load import read
from memsession.plans.outcomes import Gone, Saved, SaveOutcome, Unconfirmed
from memsession.plans.quorum import enough
from memsession.plans.world import Plan, World
from memsession.record import Dead, Live, merge_live

Tokens: TypeAlias = dict[str, Token]
Names: TypeAlias = Collection[str]


def save(
    world: World, key: bytes, wanted: Live, tokens: Tokens, deadline: float, value: Any = None, done: Names = ()
) -> Plan[SaveOutcome]:
    """Store `wanted` wherever a token is held. `value` may be `wanted` already sealed; homes in `done` have it."""
    confirmed, conflicts = set(done), 0
    if tokens and len(tokens) + len(done) < len(world.homes(key)):
        known = yield from catch_up(world, key, wanted, tokens, done)
        if isinstance(known, Dead):
            return Gone(known)
        value = value if known[0] is wanted else None
        wanted, tokens = known
    unknown = len(tokens) < len(world.homes(key))  # a home that did not answer the load may have the session
    ttl = world.ttl_s(wanted)
    while tokens:
        if value is None:
            value = world.codec.seal(key, wanted)
        replies = yield from insist([Cas(node, key, value, ttl, token) for node, token in tokens.items()])
        by_node = dict(zip(tokens, replies, strict=True))
        confirmed.update(node for node, reply in by_node.items() if isinstance(reply, Stored))
        refused = [node for node, reply in by_node.items() if isinstance(reply, Conflict)]
        unknown = unknown or any(isinstance(reply, Unreachable | Skipped) for reply in replies)
        if not refused or world.monotonic() >= deadline:
            unknown = unknown or bool(refused)
            break
        copies = yield from read(world, key, refused, force=world.home_sets is not None)
        unknown = unknown or len(copies) < len(refused)
        tokens, value, conflicts = {}, None, conflicts + 1
        for node, copy in copies.items():
            if copy is None:
                continue
            match copy.record:
                case Dead() as dead:
                    return Gone(dead)
                case Live() as theirs:
                    wanted = _on_top(wanted, theirs)
            tokens[node] = copy.token
    if enough(world, key, confirmed):
        return Saved(wanted, frozenset(confirmed), conflicts)
    return Unconfirmed() if unknown or confirmed else Gone()


def catch_up(
    world: World, key: bytes, record: Live, tokens: Tokens, done: Names = ()
) -> Plan[tuple[Live, Tokens] | Dead]:
    """Ask the homes that did not answer the load, and take in what they have.

    Each in a round of its own: so a slow one is waited for, while one that is out answers `Skipped` at once.
    """
    tokens = dict(tokens)
    for home in world.homes(key):
        if home in tokens or home in done:
            continue
        copies = yield from read(world, key, [home])
        copy = copies.get(home)
        if copy is None:
            continue
        match copy.record:
            case Dead() as dead:
                return dead
            case Live() as theirs:
                record = _on_top(record, theirs)
        tokens[home] = copy.token
    return record, tokens


def insist(commands: Sequence[Command]) -> Plan[list[Reply]]:
    """Run a round of writes; those that were skipped once more, each by itself, so that a slow node is waited for."""
    replies = list((yield commands))
    if len(commands) > 1:
        for at, command in enumerate(commands):
            if isinstance(replies[at], Skipped):
                (replies[at],) = yield [command]
    return replies


def _on_top(wanted: Live, theirs: Live) -> Live:
    """The merge, counted as one modification more than the one it replaces."""
    merged = merge_live(wanted, theirs)
    return replace(merged, modified=max(wanted.modified, theirs.modified + 1))


def create(world: World, key: bytes, wanted: Live, value: Any = None) -> Plan[Saved | Unconfirmed]:
    """Store a session under an ID that nobody has seen yet, at every home that is not out (too few: at all)."""
    if value is None:
        value = world.codec.seal(key, wanted)
    homes = world.homes(key)
    force = not enough(world, key, [node for node in homes if world.is_up(node)])
    ttl = world.ttl_s(wanted)
    replies = yield from insist([Add(node, key, value, ttl, force) for node in homes])
    confirmed = frozenset(node for node, reply in zip(homes, replies, strict=True) if isinstance(reply, Stored))
    return Saved(wanted, confirmed) if enough(world, key, confirmed) else Unconfirmed()
