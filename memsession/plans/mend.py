"""Mend: bring one session's copies up to date without a visitor; what refill and return scan do for each key.

1. All homes are asked. Where every one that answers has the same bytes there is nothing to do, and nothing is opened.
2. Otherwise it is a load: all writes are conditional, last use and deadline stay, a tombstone is handed on.
3. Until the copies are alike, or for a few times: another request may be busy with the session. Then its own loads
   have brought every home up to date meanwhile.

Homes that did not answer are named: what that means is for the caller to judge. A session may be ended in
the same moment: the load merges what it reads back, so the tombstone wins.
"""

from collections.abc import Container
from typing import NamedTuple

from memsession.commands import Get, Hit, Miss, Reply
from memsession.plans.load import repair
from memsession.plans.outcomes import Absent, Doubt, Ended, Found
from memsession.plans.world import Plan, World

TRIES_MAX = 4


class Mended(NamedTuple):
    """`written`: copies that were brought up to date. `silent`: homes that may lack what the others hold."""

    written: int
    silent: tuple[str, ...] = ()


def mend(world: World, key: bytes) -> Plan[Mended]:
    """Make the copies under `key` alike, as far as homes answer."""
    homes = world.homes(key)
    written = 0
    silent = homes
    for _ in range(TRIES_MAX):
        replies = yield [Get(node, key) for node in homes]
        answers = {node: reply for node, reply in zip(homes, replies, strict=True) if isinstance(reply, Hit | Miss)}
        silent = _others(homes, answers)
        if _alike([*answers.values()]):
            return Mended(written, silent)
        match (yield from repair(world, key)):
            case Found(tokens=tokens, repaired=repaired):
                written += len(repaired)
                silent = _others(homes, tokens)
                if repaired:
                    return Mended(written, silent)
            case Ended():
                written += 1
            case Absent():
                return Mended(written)
            case Doubt(unreadable=True) | Doubt(outvoted=True):
                return Mended(written, silent)
            case _:  # Too few homes answered to tell.
                return Mended(written, silent or homes)
    return Mended(written, silent)


def _others(homes: tuple[str, ...], nodes: Container[str]) -> tuple[str, ...]:
    return tuple(home for home in homes if home not in nodes)


def _alike(answers: list[Reply]) -> bool:
    """Whether there is nothing that one home could learn from another."""
    hits = [reply.value for reply in answers if isinstance(reply, Hit)]
    return not hits or (len(hits) == len(answers) and all(value == hits[0] for value in hits))
