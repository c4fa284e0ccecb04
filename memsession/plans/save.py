"""Save: compare-and-swap of the merged record on every home, in one round.

A home that refuses is read again and its content merged, until all have answered or the deadline has passed (not a
number of tries: many writers on one session refuse each other often, and are all done in milliseconds). A tombstone
ends it: nothing is kept. A home that has nothing is left alone: an `add` here would bring sessions back to life that
were ended and then forgotten; the next load restores that copy. Confirmed when one home acknowledged, in
strict mode a majority; there a home that has just answered is asked again also if somebody thinks it out meanwhile.
"""

from collections.abc import Collection
from dataclasses import replace
from typing import Any, TypeAlias

from memsession.commands import Add, Cas, Conflict, Skipped, Stored, Token, Unreachable
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
    unknown = len(tokens) < len(world.homes(key))  # a home that did not answer the load may have the session
    ttl = world.ttl_s(wanted)
    while tokens:
        if value is None:
            value = world.codec.seal(key, wanted)
        replies = yield [Cas(node, key, value, ttl, token) for node, token in tokens.items()]
        refused: list[str] = []
        for node, reply in zip(tokens, replies, strict=True):
            match reply:
                case Stored():
                    confirmed.add(node)
                case Conflict():
                    refused.append(node)
                case Unreachable() | Skipped():
                    unknown = True
        if not refused:
            break
        if world.monotonic() >= deadline:
            unknown = True
            break
        copies, _ = yield from read(world, key, refused, force=world.home_sets is not None)
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
    replies = yield [Add(node, key, value, ttl, force) for node in homes]
    confirmed = frozenset(node for node, reply in zip(homes, replies, strict=True) if isinstance(reply, Stored))
    return Saved(wanted, confirmed) if enough(world, key, confirmed) else Unconfirmed()
