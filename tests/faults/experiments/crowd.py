"""A crowd: guests who come, put things in, count, look, log in and log out, through whichever web server.

What they did and saw goes into a history, for the checkers. Requests of one guest may overlap, but for a login, which
is alone: what is written under the old ID at that moment is dropped, and is said to be. A logout overlaps with what
was under way before. A guest who has left is followed by a new one.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from tests.faults.checkers import Figures, check_counters, check_ended, check_sets, check_visitors
from tests.faults.history import FINAL, History
from tests.faults.openloop import in_turn
from tests.faults.pages import LEFT, Door, Page

DAY: Mapping[str, int] = {"look": 35, "incr": 30, "add": 18, "old": 7, "rotate": 5, "logout": 5}
"""How often guests do what: look at all, count, put something in, look with an ended cookie, log in, log out."""

AT_ONCE = 8


@dataclass(eq=False, slots=True)
class Guest:
    """One visitor with one session. `ended`: cookies whose end was confirmed."""

    name: str
    cookie: str = ""
    ended: list[str] = field(default_factory=list)
    under_way: int = 0
    closed: bool = False
    """A login or logout is under way, or is over: nothing else is begun, unless the login was confirmed."""
    leaving: bool = False
    """A logout has begun."""

    @property
    def present(self) -> bool:
        """Whether its session may be used."""
        return bool(self.cookie) and not self.closed


class Crowd:
    """See the top of this file. `doors` are those of the web servers; `chance` chooses who does what, and where."""

    def __init__(self, doors: Mapping[str, Door], chance: random.Random) -> None:
        self.history = History()
        self.doors = dict(doors)
        self.guests: list[Guest] = []
        self._chance = chance
        self._here: list[Guest] = []
        self._things = 0
        self._requests = 0
        self._open: set[asyncio.Future[None]] = set()

    async def gather(self, count: int) -> None:
        """So many new guests."""
        await in_turn([self._come] * count, at_once=AT_ONCE)

    def errand(self, habits: Mapping[str, int] = DAY) -> Callable[[float], Awaitable[None]]:
        """Something that somebody does when it is due."""
        kind = self._chance.choices(list(habits), list(habits.values()))[0]
        return lambda _: self._do(kind)

    async def over(self) -> None:
        """Wait until every request that is under way now has been answered."""
        if self._open:
            await asyncio.wait(set(self._open))

    async def touch(self, web: str) -> bool:
        """Use every session and every ended one once, through this web server; whether all requests were answered."""
        visits = [
            lambda guest=guest, cookie=cookie: self._look(guest, cookie, web)  # type: ignore[misc]
            for guest in self.guests
            for cookie in _cookies(guest)
        ]
        return all(page.status == 200 for page in await in_turn(visits, at_once=AT_ONCE))

    async def look_last(self) -> None:
        """Everything has healed: what is there?"""
        visits = [
            lambda guest=guest, cookie=cookie: self._look(guest, cookie, phase=FINAL)  # type: ignore[misc]
            for guest in self.guests
            for cookie in _cookies(guest)
        ]
        await in_turn(visits, at_once=AT_ONCE)

    def judged(self) -> Figures:
        """`lost`, `stale`, `revived`, `foreign` and `errors`; and what was put to the test, by kind."""
        sets, counters = check_sets(self.history), check_counters(self.history)
        visitors = check_visitors(self.history)
        tried = {
            kind: sum(op.ok for op in self.history.of(kind)) for kind in ("add", "incr", "logout", "rotate", "old")
        }
        return {
            "lost": sets["lost"] + counters["lost"] + visitors["dropped"],
            "stale": sets["unseen"] + counters["unseen"],
            "revived": check_ended(self.history)["revived"],
            "foreign": sets["wrong"] + counters["wrong"] + visitors["foreign"],
            "errors": visitors["error"],
            "guests": len(self.guests),
            "requests": self._requests,
            **tried,
        }

    async def _do(self, kind: str) -> None:
        if kind == "old":
            known = [guest for guest in self.guests if guest.ended]
            if known:
                guest = self._chance.choice(known)
                await self._look(guest, self._chance.choice(guest.ended))
            return
        present = [guest for guest in self._here if guest.present and not (kind == "rotate" and guest.under_way)]
        if not present:
            await self._come()
            return
        guest = self._chance.choice(present)
        match kind:
            case "add":
                await self._put(guest)
            case "incr":
                await self._count(guest)
            case "rotate":
                await self._log_in(guest)
            case "logout":
                await self._log_out(guest)
            case _:
                await self._look(guest, guest.cookie)

    async def _come(self) -> None:
        guest = Guest(str(len(self.guests)))
        self.guests.append(guest)
        page = await self._put(guest, f"owner={guest.name}&")
        guest.cookie = page.cookie or ""
        if page.status == 200 and guest.cookie:
            self._here.append(guest)

    async def _put(self, guest: Guest, more: str = "") -> Page:
        self._things += 1
        thing = f"p{self._things}"
        web, page = await self._get(guest, f"/set?{more}{thing}={guest.name}", guest.cookie)
        self.history.add(guest.name, "add", thing, web, page)
        return page

    async def _count(self, guest: Guest) -> None:
        web, page = await self._get(guest, "/incr", guest.cookie)
        op = self.history.add(guest.name, "incr", None, web, page, seen=page.shown.get("n"))
        if op.ok and guest.leaving:
            op.status = LEFT  # It may have counted, or not, or have begun a session anew: nobody minds.

    async def _look(self, guest: Guest, cookie: str, web: str = "", phase: str = "") -> Page:
        web, page = await self._get(guest, "/get", cookie, web)
        data = page.shown.get("data") or {}
        if cookie in guest.ended:
            self.history.add(guest.name, "old", None, web, page, seen=data, phase=phase)
        elif guest.closed and not data:
            self.history.add(guest.name, "parting", None, web, page)
        else:
            things = [key for key in data if key.startswith("p")]
            self.history.add(guest.name, "elements", None, web, page, seen=things, phase=phase)
            self.history.add(guest.name, "count", None, web, page, seen=data.get("n"), phase=phase)
        return page

    async def _log_in(self, guest: Guest) -> None:
        guest.closed, before = True, guest.cookie
        web, page = await self._get(guest, "/rotate", before)
        self.history.add(guest.name, "rotate", None, web, page)
        if page.status == 200 and page.cookie:
            guest.ended.append(before)
            guest.cookie, guest.closed = page.cookie, False
        # Otherwise nobody knows which ID goes on, and nobody asks.

    async def _log_out(self, guest: Guest) -> None:
        guest.closed = guest.leaving = True
        self._here.remove(guest)
        web, page = await self._get(guest, "/logout", guest.cookie)
        self.history.add(guest.name, "logout", None, web, page)
        if page.status == 200:
            guest.ended.append(guest.cookie)
        await self._come()

    async def _get(self, guest: Guest, path: str, cookie: str, web: str = "") -> tuple[str, Page]:
        web = web or self._chance.choice(list(self.doors))
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._open.add(answered)
        self._requests += 1
        guest.under_way += 1
        page = await self.doors[web].get(path, cookie)
        guest.under_way -= 1
        self._open.discard(answered)
        answered.set_result(None)
        return web, page


def _cookies(guest: Guest) -> list[str]:
    """All cookies that the guest ever had, but for those of which nobody knows whether they ended."""
    return [*guest.ended, guest.cookie] if guest.present else list(guest.ended)
