"""An HTTP response on its way out: the session is committed before its head leaves.

In exclusive mode it also waits for the session's lock, and gives it back as soon as the head has left: what an
application does while it streams a body keeps no other request of the visitor waiting.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeVar

from memsession.aio import AsyncClient
from memsession.aio.turns import Turns
from memsession.asgi.protocol import Message, Scope, Send
from memsession.errors import LockLost, PoolUnavailable, SessionBusy, UpdateUnconfirmed
from memsession.lifecycle import Lifecycle, Visit
from memsession.lifecycle.headers import UNAVAILABLE_BODY, UNAVAILABLE_HEADERS
from memsession.memory import MemoryClient
from memsession.plans import Plan

T = TypeVar("T")

UNAVAILABLE: Final = (PoolUnavailable, UpdateUnconfirmed, SessionBusy, LockLost)
"""What is answered by 503 as long as the response has not begun."""

_returning: set[asyncio.Task[None]] = set()
"""Locks on their way back, while nobody waits for them: an event loop alone does not keep its tasks alive."""


class Response:
    """The response to one request. Performs `save` and `modify` for its session.

    `refused`: a 503 was sent instead of what the application said; what it still says is dropped.
    """

    __slots__ = ("_client", "_lifecycle", "_scope", "_scope_key", "_send", "_turns", "refused", "visit")

    def __init__(
        self,
        client: AsyncClient | MemoryClient,
        lifecycle: Lifecycle,
        visit: Visit,
        scope: Scope,
        scope_key: str,
        send: Send,
    ) -> None:
        self._client = client
        self._lifecycle = lifecycle
        self._scope = scope
        self._scope_key = scope_key
        self._send = send
        self._turns = Turns()
        self.visit = visit
        self.refused = False

    async def run(self, plan: Plan[T]) -> T:
        """Run a plan of the lifecycle within what is left of the request's time budget."""
        return await self._client.run(plan, deadline=self._lifecycle.deadline(self.visit))

    async def open(self) -> None:
        """Wait for the session's turn if there are turns, and load it."""
        visit, scope = self.visit, self._scope
        if visit.ticket is not None:
            if scope["type"] == "http" and self._lifecycle.needs_turn(visit, scope["method"], scope["path"]):
                await self._wait_for_turn()
            await self.run(self._lifecycle.load(visit))
        visit.ledger.store = self

    async def save(self) -> None:
        """Commit now."""
        await self._turns.take(self.run, self._lifecycle.save(self.visit))

    async def modify(self, key: str, fn: Callable[[Any], Any], default: Any) -> Any:
        """Read, compute and write one key as one step."""
        return await self._turns.take(self.run, self._lifecycle.modify(self.visit, key, fn, default))

    async def commit(self, status: int = 200) -> None:
        """Perform what the request did so far, and is answered with `status`."""
        there = self._scope.get(self._scope_key)
        if there is not self.visit.session and type(there) is dict:
            # As Starlette's own middleware, which saves whatever lies there.
            self._scope[self._scope_key] = self._lifecycle.replace(self.visit, there)
        await self._turns.take(self.run, self._lifecycle.commit(self.visit, status))

    async def send(self, message: Message) -> None:
        """Pass a message on. Before the head of the response, commit; if nobody acknowledged, answer 503."""
        if message["type"] == "http.response.start" and not self.visit.answered:
            try:
                await self.commit(message["status"])
            except UNAVAILABLE:
                await self.unavailable()
                return
            self.add_headers(message)
            await self._send(message)
            if self.visit.owner is not None:
                await self.give_back()
        elif not self.refused:
            await self._send(message)

    def add_headers(self, message: Message) -> None:
        """The head leaves: add the cookie, and what caches have to know."""
        headers = message.get("headers", ())
        added = self._lifecycle.answer(self.visit, headers, self._scope["headers"])
        if added:
            message["headers"] = [*headers, *added]

    async def unavailable(self) -> None:
        """Answer 503 instead of what the application meant to say; the visitor's cookie is kept."""
        self.visit.answered = self.refused = True
        await self._send({"type": "http.response.start", "status": 503, "headers": list(UNAVAILABLE_HEADERS)})
        await self._send({"type": "http.response.body", "body": UNAVAILABLE_BODY})

    def forgot(self) -> bool:
        """Whether the application changed the session after the head had left, and did not save it; told to all.

        A save that goes on in the background, for it was cancelled with its request, is not forgotten.
        """
        return not self._turns.busy and self._lifecycle.forgot(self.visit)

    async def _wait_for_turn(self) -> None:
        while True:
            pause_s = await self._turns.take(self.run, self._lifecycle.claim(self.visit))
            if pause_s is None:
                return
            await asyncio.sleep(pause_s)

    async def give_back(self) -> None:
        """Give the lock back, or leave the queue for it, even if the visitor hangs up meanwhile.

        It waits for the plan that is under way: a claim may still succeed, a commit still needs the lock.
        """
        task = asyncio.ensure_future(self._turns.take(self._client.run, self._lifecycle.end_turn(self.visit)))
        _returning.add(task)
        task.add_done_callback(_returning.discard)
        await asyncio.shield(task)
