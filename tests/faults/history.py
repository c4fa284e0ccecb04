"""What visitors did and what they were told: the evidence that the checkers judge.

An operation ended `ok` (answered), `fail` (it never left), or `info`: nobody knows whether it took effect, for it was
answered 5xx, or not at all. An `info` is never taken for a `fail`; most wrong verdicts on databases came from that.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.pages import LEFT, REFUSED, Page

FINAL = "final"
"""The phase after everything has healed."""


@dataclass(slots=True)
class Op:
    """One operation.

    `session`: whose session; `owner`: the mark that the page showed; `kind`: what was done (`add`, `read`, ...);
    `value`: with what; `seen`: what the page showed of it; `cookie`: what was done to it (`set`, `deleted`, "").
    """

    session: str
    kind: str
    value: Any
    web: str
    begun: float
    ended: float
    status: int
    seen: Any = None
    owner: str | None = None
    cookie: str = ""
    phase: str = ""

    @property
    def outcome(self) -> str:
        """`ok`, `fail` or `info`."""
        if self.status == REFUSED:
            return "fail"
        return "ok" if 200 <= self.status < 300 else "info"

    @property
    def ok(self) -> bool:
        """Whether it was confirmed."""
        return self.outcome == "ok"

    @property
    def is_error(self) -> bool:
        """Whether the visitor saw an error. Hanging up is none."""
        return self.status not in (LEFT, REFUSED) and not self.ok


@dataclass
class History:
    """All operations of one cell, in the order in which they ended."""

    ops: list[Op] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)
    """What a driver found out beside them: figures by name."""

    def add(self, session: str, kind: str, value: Any, web: str, page: Page, **more: Any) -> Op:
        """Note an operation."""
        cookie = {None: "", "": "deleted"}.get(page.cookie, "set")
        owner = page.shown.get("owner")
        op = Op(session, kind, value, web, page.begun, page.ended, page.status, owner=owner, cookie=cookie, **more)
        self.ops.append(op)
        return op

    def of(self, *kinds: str) -> Iterator[Op]:
        """Operations of these kinds."""
        return (op for op in self.ops if op.kind in kinds)

    def by_session(self, *kinds: str) -> dict[str, list[Op]]:
        """Operations of these kinds, for each session in the order in which they began."""
        sessions: dict[str, list[Op]] = {}
        for op in self.of(*kinds):
            sessions.setdefault(op.session, []).append(op)
        for ops in sessions.values():
            ops.sort(key=lambda op: op.begun)
        return sessions

    def write(self, path: Path, **about: Any) -> None:
        """Keep it: first what it is about (the seed), then a line for each operation."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as file:
            file.write(json.dumps({**about, "notes": self.notes}, default=str) + "\n")
            file.writelines(json.dumps({**asdict(op), "outcome": op.outcome}, default=str) + "\n" for op in self.ops)
