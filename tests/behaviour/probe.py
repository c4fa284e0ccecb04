"""What the probed application does, told once for all frameworks: one thing a path.

It is written as a coroutine that waits for nothing where `save` and `modify` are plain calls, so both worlds run it.
"""

import inspect
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from tests.unit.test_session import ACCESSES


class Abort(Exception):
    """Answer with this status, by the framework's own means."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass
class Stream:
    """A body in two pieces; `between` runs when the first one has left."""

    between: Callable[[], Coroutine[Any, Any, None]]


async def result(value: Any) -> Any:
    """What a method of the session returned, in either world."""
    return await value if inspect.isawaitable(value) else value


def at_once(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as finished:
        return finished.value
    raise AssertionError("it waits")


async def probe(path: str, query: dict[str, str], take: Callable[[], Any]) -> Any:
    """Handle one request. `take` gives the session, as the framework's users get at it."""
    if path == "/untouched":
        return "hello"
    session = take()
    if path.startswith("/use/"):
        ACCESSES[path.removeprefix("/use/")](session)
        return "used"
    return await result(PATHS[path](session, query))


def _login(session: Any, query: dict[str, str]) -> None:
    session["user_id"] = query["user"]


def _tutorial_login(session: Any, query: dict[str, str]) -> None:
    session.clear()
    session["user_id"] = query["user"]


def _farewell(session: Any, _: dict[str, str]) -> None:
    session.invalidate()
    session["message"] = "good-bye"


def _nest(session: Any, _: dict[str, str]) -> None:
    session["cart"] = {"items": []}


def _deepen(session: Any, _: dict[str, str]) -> None:
    session["cart"]["items"].append("x")


def _boom(session: Any, _: dict[str, str]) -> None:
    session["boom"] = True
    raise ZeroDivisionError("boom")


def _fail(session: Any, query: dict[str, str]) -> None:
    session["failed"] = query["status"]
    raise Abort(int(query["status"]))


async def _save(session: Any, query: dict[str, str]) -> Any:
    session.update(query)
    await result(session.save())
    return session.is_new


def _late(session: Any, _: dict[str, str]) -> Stream:
    async def between() -> None:
        session["late"] = True

    return Stream(between)


def _late_boom(session: Any, _: dict[str, str]) -> Stream:
    async def between() -> None:
        session["late"] = True
        raise ZeroDivisionError("boom")

    return Stream(between)


def _late_saved(session: Any, _: dict[str, str]) -> Stream:
    async def between() -> None:
        session["late"] = True
        await result(session.save())

    return Stream(between)


PATHS: dict[str, Callable[[Any, dict[str, str]], Awaitable[Any] | Any]] = {
    "/get": lambda session, query: dict(session),
    "/set": lambda session, query: session.update(query),
    "/del": lambda session, query: [session.pop(key) for key in query],
    "/increment": lambda session, query: session.increment("n"),
    "/modify": lambda session, query: session.modify("m", lambda m: m + 1, 0),
    "/save": _save,
    "/fill": lambda session, query: session.update(a=1, cart={"items": ["x"]}),
    "/nest": _nest,
    "/deepen": _deepen,
    "/login": _login,
    "/tutorial-login": _tutorial_login,
    "/regenerate": lambda session, query: session.regenerate(),
    "/logout": lambda session, query: session.invalidate(),
    "/clear": lambda session, query: session.clear(),
    "/farewell": _farewell,
    "/flash": lambda session, query: session.flash(query["text"], "info"),
    "/flashed": lambda session, query: session.get_flashed(),
    "/unstorable": lambda session, query: session.update(fine=1, cart={"items": [1, object()]}),
    "/large": lambda session, query: session.update(fine=1, large="x" * 100_000),
    "/boom": _boom,
    "/fail": _fail,
    "/late": _late,
    "/late-boom": _late_boom,
    "/late-saved": _late_saved,
    "/remember": lambda session, query: session.update(_permanent=True),
    "/id": lambda session, query: [session.id, session.is_new, session.ended],
}
