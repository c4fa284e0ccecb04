"""Where nodes that are given by name are.

A request must not wait for the system's resolver, which may take half a minute to say that it knows nothing. So names
are asked for by a thread, one for each name and only for as long as it takes:

- What was last heard is used at once. With each new connection, but no more than once a second, the name is asked for
  again; what comes of it counts for the next connection. So a node that moves is found when its old address fails.
- The first time, nothing is known yet: then who asks may wait, all together no longer than their patience after the
  question was put. After that nobody waits; each is told right away that the name is not resolved, and why.
- When the resolver fails, the last good addresses go on being used: the node is likely where it was.
- Of several addresses one may lead nowhere, which takes long to see. The one where the node was met comes first.

Addresses and unix sockets are taken as they stand, without resolver or thread.

A forked process asks for itself, for threads do not survive a fork; what its parent had heard by then, it knows.
There is no lock, which a fork might leave closed: each step is one operation of a list or dict, which Python does as
a whole.
"""

import contextlib
import ipaddress
import math
import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, TypeAlias

from memsession.addresses import Node

Place: TypeAlias = tuple[int, Any]
"""Family and address of a socket."""

AGAIN_S = 1.0
"""A name is not asked for again so soon after it was."""

_NOT_YET = "the resolver has not answered yet"


class Unresolved(Exception):
    """Nobody knows where a name is. The text says why."""


class _Name:
    """What one process has asked of one name. Who takes the `turn` asks, and puts it back afterwards."""

    def __init__(self) -> None:
        self.first: Future[list[Place]] = Future()
        self.first_at = time.monotonic()
        self.asked_at = -math.inf
        self.turn: list[None] = [None]
        self.problem = _NOT_YET


class Lookup:
    """The first question about a name, while it is worth waiting for: until `due` (of `time.monotonic`)."""

    def __init__(self, name: _Name, due: float) -> None:
        self.due = due
        self._name = name

    def take(self, until: float) -> list[Place] | None:
        """The answer, if it is there `until` then; None if it may still come.

        Raises:
            Unresolved: there is none, or `due` is over.
        """
        first = self._name.first
        left_s = min(until, self.due) - time.monotonic()
        if left_s > 0.0:
            wait([first], left_s)
        if first.done():
            places = first.result()
            if places:
                return places
        elif time.monotonic() < self.due:
            return None
        raise Unresolved(self._name.problem)

    def when_done(self, call: Callable[[], object]) -> None:
        """Have `call` called when the answer is there, in whatever thread."""
        self._name.first.add_done_callback(lambda _: call())


class Resolver:
    """One for each client, shared by its threads, event loops and forked processes. See the top of this file."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], list[Place]] = {}
        self._names: dict[tuple[int, str, int], _Name] = {}
        self._met: dict[tuple[str, int], Place] = {}

    def met(self, node: Node, place: Place) -> None:
        """The node was met at this place."""
        self._met[node.host, node.port] = place

    def places(self, node: Node, patience_s: float) -> list[Place] | Lookup:
        """Where the node may be reached, best first; or, while it is worth waiting, the question that is under way.

        Raises:
            Unresolved: nobody knows, or not yet.
        """
        fixed = _fixed(node)
        if fixed is not None:
            return [fixed]
        key = (os.getpid(), node.host, node.port)
        name = self._names.get(key) or self._names.setdefault(key, _Name())
        self._ask(node, name)
        known = self._known.get((node.host, node.port))
        if known is not None:
            met = self._met.get((node.host, node.port))
            return known if met not in known else [met, *(place for place in known if place != met)]
        due = name.first_at + patience_s
        if time.monotonic() < due and not name.first.done():
            return Lookup(name, due)
        raise Unresolved(name.problem)

    def _ask(self, node: Node, name: _Name) -> None:
        """Put the question, unless it is being asked or has just been."""
        now = time.monotonic()
        if now < name.asked_at + AGAIN_S:
            return
        try:
            name.turn.pop()
        except IndexError:
            return
        try:
            name.asked_at = now
            threading.Thread(target=self._answer, args=(node, name), name="memsession-resolver", daemon=True).start()
        except BaseException as problem:
            name.turn.append(None)
            if not isinstance(problem, RuntimeError):
                raise
            name.problem = f"no thread can be started to resolve its name: {problem}"

    def _answer(self, node: Node, name: _Name) -> None:
        places: list[Place] = []
        try:
            places = places_of(node)
            self._known[node.host, node.port] = places
        except Exception as problem:  # noqa: BLE001 - whatever it is, it is why the name is not resolved
            name.problem = f"its name cannot be resolved: {problem}"
        finally:
            name.turn.append(None)
            # Of two threads, which only an interrupted start makes possible, one comes second.
            with contextlib.suppress(Exception):
                name.first.set_result(places)


def share_s(left_s: float, places: int) -> float:
    """How long to wait at the first of so many places, if there are `left_s` seconds for all; nobody may be there."""
    return left_s / places if places > 1 else math.inf


def places_of(node: Node) -> list[Place]:
    """Where a node may be reached, best first. It asks the resolver, which may take its time.

    Raises `OSError`, or `UnicodeError` for a name that none can have.
    """
    fixed = _fixed(node)
    if fixed is not None:
        return [fixed]
    found = socket.getaddrinfo(node.host, node.port, type=socket.SOCK_STREAM)
    if not found:
        raise OSError("the resolver knows no address")
    return [(family, where) for family, _, _, _, where in found]


def _fixed(node: Node) -> Place | None:
    """Where a node is that needs no resolver; None if it has a name."""
    if node.port == 0:
        return socket.AF_UNIX, node.host
    try:
        address = ipaddress.ip_address(node.host)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return socket.AF_INET, (node.host, node.port)
    if address.scope_id is None:
        return socket.AF_INET6, (node.host, node.port, 0, 0)
    return None  # The zone of a link-local address has a name.
