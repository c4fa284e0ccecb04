"""Where the copies of a session are, and whether they agree; by one reading, which changes and repairs nothing."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from memsession.blocking import BlockingClient
from memsession.commands import Get, Hit, Miss, Reply, Unreachable
from memsession.identity import fingerprint
from memsession.lifetime import Lifetime
from memsession.plans.world import Codec, Plan
from memsession.pool import Pool
from memsession.record import Dead, Live, Reason, Record
from memsession.seal import Seal
from memsession.vault import Vault

BUDGET_S: Final = 2.0

READINGS_MAX: Final = 3
"""Copies that differ are read again: a request may be writing to them in this moment."""


class CopyState(Enum):
    """What a node has of a session."""

    LIVE = "live"
    EXPIRED = "expired"
    MOVED = "goes on under another ID"
    ENDED = "ended"
    MISSING = "missing"
    UNREADABLE = "unreadable"
    SILENT = "no answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyReport:
    """A node that should have the session, and what it has.

    `version`: the number of modifications; `idle_left_s` and `absolute_left_s`: seconds until the session is over,
    unless it is used, or in any case; `bytes`: size of the stored value. `variant`: copies with the same number, from
    1, hold the same; two may differ under one version. None where there is no such thing. `problem`: why a node is
    silent.
    """

    node: str
    state: CopyState
    version: int | None = None
    idle_left_s: float | None = None
    absolute_left_s: float | None = None
    bytes: int | None = None
    variant: int | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionReport:
    """A session by its public ID, and its copies, best home first."""

    session: str
    copies: tuple[CopyReport, ...]

    @property
    def agree(self) -> bool:
        """Whether all nodes answered and hold the same, as far as that can be read."""
        if any(copy.state in (CopyState.SILENT, CopyState.UNREADABLE) for copy in self.copies):
            return False
        return len({(copy.state, copy.variant) for copy in self.copies}) == 1

    @property
    def silent(self) -> tuple[str, ...]:
        """Nodes that did not answer."""
        return tuple(copy.node for copy in self.copies if copy.state is CopyState.SILENT)


def locate(
    pool: Pool, key: bytes, *, keys: Sequence[bytes], lifetime: Lifetime, client: BlockingClient | None = None
) -> SessionReport:
    """Ask the homes of the session stored under `key`. `keys` are the secrets that `secret_keys()` returned.

    Takes two seconds at most. Without `client` it connects by itself, and closes its connections.
    """
    asked = client or BlockingClient(pool, observe=_nobody)
    try:
        deadline = time.monotonic() + BUDGET_S
        return asked.run(_survey(pool, key, Vault(Seal(keys)), lifetime, asked), deadline=deadline)
    finally:
        if client is None:
            asked.close()


def _survey(pool: Pool, key: bytes, codec: Codec, lifetime: Lifetime, client: BlockingClient) -> Plan[SessionReport]:
    homes, readings = pool.homes(key), 0
    while True:
        readings += 1
        replies = yield [Get(node, key, force=True) for node in homes]
        now_ms = client.now_ms()
        known: list[Record] = []
        copies = [
            _copy(node, key, reply, codec, lifetime, now_ms, known)
            for node, reply in zip(homes, replies, strict=True)
        ]
        report = SessionReport(session=fingerprint(key), copies=tuple(copies))
        if report.agree or report.silent or readings == READINGS_MAX:
            return report


def _copy(
    node: str, key: bytes, reply: Reply, codec: Codec, lifetime: Lifetime, now_ms: int, known: list[Record]
) -> CopyReport:
    """`known` are the records of this reading so far: what is new among them is added."""
    match reply:
        case Miss():
            return CopyReport(node=node, state=CopyState.MISSING)
        case Hit(value):
            record = codec.open(key, value)
        case _:
            problem = reply.reason if isinstance(reply, Unreachable) else ""
            return CopyReport(node=node, state=CopyState.SILENT, problem=problem)
    variant = _variant(record, known)
    match record:
        case None:
            return CopyReport(node=node, state=CopyState.UNREADABLE, bytes=len(value))
        case Dead(reason):
            moved = reason is Reason.REGENERATED
            state = CopyState.MOVED if moved else CopyState.ENDED
            return CopyReport(node=node, state=state, bytes=len(value), variant=variant)
        case Live():  # pragma: no branch
            idle_ms = min(record.idle_ms or lifetime.idle_ms, lifetime.longest_ms)
            idle_left_s = (record.seen_ms + idle_ms - now_ms) / 1_000.0
            absolute_left_s = (record.deadline_ms - now_ms) / 1_000.0
            over = min(idle_left_s, absolute_left_s) <= 0.0
            return CopyReport(
                node=node,
                state=CopyState.EXPIRED if over else CopyState.LIVE,
                version=record.modified,
                idle_left_s=max(0.0, idle_left_s),
                absolute_left_s=max(0.0, absolute_left_s),
                bytes=len(value),
                variant=variant,
            )


def _variant(record: Record | None, known: list[Record]) -> int | None:
    """Records are compared, not bytes: of equal ones one may be sealed with an older secret."""
    if record is None:
        return None
    if record not in known:
        known.append(record)
    return known.index(record) + 1


def _nobody(_: object) -> None:
    """Nobody is told of nodes that go out: the report says so."""
