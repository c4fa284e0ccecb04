"""What a web server tells of nodes and of the pool, read bit by bit while it runs."""

import asyncio
import json
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.faults.webs import WebServer

LOOK_S = 0.02
ATTEND_S = 0.05


class NeverTold(AssertionError):
    """What was waited for did not happen in time."""


class Told(NamedTuple):
    """One event. `at_s`: the loop's time at which it was read."""

    kind: str
    fields: dict[str, Any]
    at_s: float

    @property
    def node(self) -> str:
        """The node that it is about; "" if it is about the pool."""
        return str(self.fields.get("node", ""))


class Ear:
    """Listens to one web server. `told` is all that was heard so far."""

    def __init__(self, web: WebServer) -> None:
        self.web = web
        self.told: list[Told] = []
        self._lines = 0

    def listen(self) -> list[Told]:
        """All events so far."""
        lines = self.web.said.split("\n")[:-1]
        now = asyncio.get_running_loop().time()
        for line in lines[self._lines :]:
            if line.startswith("EVENT "):
                _, kind, fields = line.split(" ", 2)
                self.told.append(Told(kind, json.loads(fields), now))
        self._lines = len(lines)
        return self.told

    async def attend(self) -> None:
        """Listen until cancelled, so that the times are about right."""
        while True:
            self.listen()
            await asyncio.sleep(ATTEND_S)

    def holds_out(self, node: str) -> bool:
        """Whether the web server does not ask the node now, as far as it told."""
        for one in reversed(self.listen()):
            if one.node == node and one.kind in ("NodeOut", "NodeBack"):
                return one.kind == "NodeOut"
        return False

    def count(self, kind: str, node: str) -> int:
        """How many events of that kind there were about the node."""
        return sum(one.kind == kind and one.node == node for one in self.listen())

    async def heard(self, kind: str, *, since: int = 0, node: str = "", patience_s: float) -> Told:
        """Wait for such an event, beyond the first `since` ones.

        Raises:
            NeverTold: in all that time there was none.
        """

        def look() -> list[Told]:
            return [one for one in self.listen()[since:] if one.kind == kind and node in ("", one.node)]

        try:
            return (await awaited(look, patience_s=patience_s))[0]
        except TimeoutError:
            about = f"{kind} {node}".strip()
            raise NeverTold(f"no {about} within {patience_s:g} s; told: {self.latest(since)}") from None

    def latest(self, since: int = 0) -> str:
        """The last events, without those that come all the time."""
        kept = [one for one in self.listen()[since:] if one.kind not in ("NodeSlow", "RefillProgress")]
        return f"{self.web.kind}: " + "; ".join(f"{one.at_s:.2f} {one.kind} {one.fields}" for one in kept[-20:])


async def awaited(look: Callable[[], Any], *, patience_s: float) -> Any:
    """Wait until a look brings something.

    Raises:
        TimeoutError: it never did.
    """
    async with asyncio.timeout(patience_s):
        while not (found := look()):  # noqa: ASYNC110 - nobody would set an event
            await asyncio.sleep(LOOK_S)
    return found
