"""Mend: bring one session's copies up to date without a visitor; what refill and return scan do for each key.

1. All homes are asked. Where every one that answers has the same bytes there is nothing to do, and nothing is opened.
2. Otherwise it is a load: all writes are conditional, last use and deadline stay, a tombstone is handed on.
3. Until the copies are alike, or for a few times: another request may be busy with the session.

A session may be ended in the same moment: the load merges what it reads back, so the tombstone wins.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from memsession.commands import Get, Hit, Miss, Reply
from memsession.plans.load import repair
from memsession.plans.outcomes import Absent, Doubt, Ended, Found
from memsession.plans.world import Plan, World

TRIES_MAX = 4


class Mended(NamedTuple):
    """`written`: copies that were brought up to date. `whole`: the nodes asked for hold what there is to hold."""

    written: int
    whole: bool


def mend(world: World, key: bytes, nodes: Collection[str] = ()) -> Plan[Mended]:
    """Make the copies under `key` alike. It is `whole` only if `nodes` (or else all homes) answered."""
    homes = world.homes(key)
    wanted = [home for home in homes if not nodes or home in nodes]
    written = 0
    for _ in range(TRIES_MAX):
        replies = yield [Get(node, key) for node in homes]
        whole = _alike(dict(zip(homes, replies, strict=True)), wanted)
        if whole is not None:
            return Mended(written, whole)
        match (yield from repair(world, key)):
            case Found(tokens=tokens, repaired=repaired):
                written += len(repaired)
                if repaired and all(home in tokens for home in wanted):
                    return Mended(written, True)
            case Ended():
                written += 1
            case Absent() | Doubt(unreadable=True):
                return Mended(written, True)
            case _:
                return Mended(written, False)
    return Mended(written, False)


def _alike(replies: dict[str, Reply], wanted: Sequence[str]) -> bool | None:
    """Whether the copies are as they should be; None if they differ; False if that cannot be told."""
    answers = {node: reply for node, reply in replies.items() if isinstance(reply, Hit | Miss)}
    if any(node not in answers for node in wanted):
        return False
    hits = [reply.value for reply in answers.values() if isinstance(reply, Hit)]
    if not hits:
        return len(answers) == len(replies)
    return True if len(hits) == len(answers) and all(value == hits[0] for value in hits) else None
