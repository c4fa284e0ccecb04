"""The probed application, told once for ASGI and WSGI: one thing a page, with `?hold=ms` between load and save.

    /set?k=v  /get  /has?k (only `in`)  /del?k
    /incr (increment n)  /modify (modify m)  /plain_incr (read, add, write p)
    /login?user=u&owner=o  /logout  /rotate  /noaccess (does not look at its session)  /stream (a body in pieces)
    /clock?shift=s (this process's wall clock goes wrong by so much)  /reload?pool=json (another pool from now on)

Every session carries the mark of its `owner`, and every page shows it: so a page with foreign data is noticed.
The environment says which pool (POOL, JSON, see `pool_from`), whether there is upkeep (UPKEEP=0: no), and by how many
seconds the clock is wrong from the start (CLOCK_SHIFT_S). Events of nodes and of the pool are printed, a line each.
"""

import inspect
import json
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from memsession import Pool
from memsession.events import NodeEvent

Hold = Callable[[float], Awaitable[None]]

SECRET = "a secret of the fault harness, and of nothing else in this world"
PRINTED_MAX = 2_000

MIDDLEWARE: list[Any] = []
"""The session middleware of this process."""

_real_time = time.time
_shift_s = [float(os.environ.get("CLOCK_SHIFT_S", "0"))]
_printed = [0]


def pool_from(told: dict[str, Any]) -> Pool:
    """A pool as JSON tells it: `nodes`, and any setting of `Pool`; `timeout` and `budget` in seconds."""
    settings = dict(told)
    nodes = settings.pop("nodes")
    for name in ("timeout", "budget"):
        if name in settings:
            settings[name] = timedelta(seconds=settings[name])
    if settings.get("previous"):
        settings["previous"] = pool_from(settings["previous"])
    return Pool(*nodes, **settings)


def options() -> dict[str, Any]:
    """What the middleware is given."""
    time.time = lambda: _real_time() + _shift_s[0]
    chosen: dict[str, Any] = {"pool": pool_from(json.loads(os.environ["POOL"])), "observe": show}
    if os.environ.get("UPKEEP") == "0":
        chosen["upkeep"] = None
    return chosen


def show(event: Any) -> None:
    """Print what happened to nodes and to the pool."""
    if isinstance(event, NodeEvent) and _printed[0] < PRINTED_MAX:
        _printed[0] += 1
        # In one piece, for several threads have something to tell.
        os.write(1, f"EVENT {type(event).__name__} {json.dumps(asdict(event), default=str)}\n".encode())


async def probe(path: str, query: dict[str, str], take: Callable[[], Any], hold: Hold) -> dict[str, Any]:
    """Handle one request; what the page shows."""
    pause_s = float(query.pop("hold", "0")) / 1000.0
    if path == "/noaccess":
        await hold(pause_s)
        return {}
    if path == "/reload":
        MIDDLEWARE[0].reload(pool_from(json.loads(query["pool"])))
        return {}
    if path == "/clock":
        _shift_s[0] = float(query["shift"])
        return {}
    session = take()
    shown = PAGES[path](session, query)
    if inspect.isawaitable(shown):
        shown = await shown
    await hold(pause_s)
    owner = session.get("owner") if path != "/has" else None
    return {"owner": owner, **(shown if isinstance(shown, dict) else {})}


async def stream(session: Any, query: dict[str, str], hold: Hold) -> None:
    """What happens between two pieces of a streamed body: a change, and a save."""
    await hold(float(query.pop("hold", "0")) / 1000.0)
    session.update(query)
    saved = session.save()
    if inspect.isawaitable(saved):
        await saved


def _set(session: Any, query: dict[str, str]) -> None:
    session.update(query)


def _get(session: Any, _: dict[str, str]) -> dict[str, Any]:
    expires = session.expires_at
    return {
        "data": dict(session),
        "id": session.id,
        "expires": expires and expires.timestamp(),
        "ended": session.ended,
    }


def _delete(session: Any, query: dict[str, str]) -> None:
    for key in query:
        session.pop(key, None)


def _plain_increment(session: Any, _: dict[str, str]) -> dict[str, Any]:
    session["p"] = session.get("p", 0) + 1
    return {"n": session["p"]}


async def _modify(session: Any, _: dict[str, str]) -> dict[str, Any]:
    value = session.modify("m", lambda m: m + 1, 0)
    return {"n": await value if inspect.isawaitable(value) else value}


def _login(session: Any, query: dict[str, str]) -> dict[str, Any]:
    session["user_id"] = query["user"]
    session["owner"] = query["owner"]
    return {"user": query["user"]}


PAGES: dict[str, Callable[[Any, dict[str, str]], Any]] = {
    "/set": _set,
    "/get": _get,
    "/has": lambda session, query: {"has": [key for key in query if key in session]},
    "/del": _delete,
    "/incr": lambda session, _: {"n": session.increment("n")},
    "/modify": _modify,
    "/plain_incr": _plain_increment,
    "/login": _login,
    "/logout": lambda session, _: session.invalidate(),
    "/rotate": lambda session, _: session.regenerate(),
}
