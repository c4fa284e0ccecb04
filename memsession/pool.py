"""The pool: which memcached servers there are, how many of them hold each session, and the limits of asking them."""

import re
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property, lru_cache
from typing import Any, Final, Literal

from memsession.addresses import Node, parse_addresses
from memsession.errors import ConfigurationError
from memsession.placement import Placement
from memsession.spelling import spelled
from memsession.zones import zoned

# memcached's keys have 250 bytes at most; 100, a colon and the 43 characters of a hash stay far below.
_PREFIX: Final = re.compile(r"[!-~]{1,100}")
_BYTES_MIN: Final = 1_000
_BYTES_MAX: Final = 1_000_000
# A socket's time-out in C overflows at some point; no request is waited for that long.
_WAIT_MAX: Final = timedelta(hours=1)
_COPIES_DEFAULT: Final = 2
_COPIES_STRICT: Final = 3
_REMEMBERED: Final = 4_096
_CACHES: Final = ("_own", "_placed", "_homes", "_home_sets")


@spelled
@dataclass(frozen=True, init=False, repr=False)
class Pool:
    """Some memcached servers, and how sessions lie on them.

        Pool("10.0.0.94", "10.0.0.95", copies=2)
        Pool("memcached://a:11211,b:11211?copies=2")

    `nodes`: in any form that `memsession.addresses` lists, those of php.ini included.
    `copies`: nodes that hold each session; 2, or 1 if there is one node, unless given.
    `prefix`: begins every key, 1 to 100 visible ASCII characters.
    `max_bytes`: the most that one session may take in memcached, 1,000 to 1,000,000.
    `timeout`: the longest wait for one node; `budget`: the longest that a request spends on the store in all. Both
    above zero, and an hour at most.
    `previous`: the pool as it was before nodes or copies changed. Sessions are then found and written in both,
    until it is taken away.
    `zones`: the zone of every node, by its name: a session's copies then lie in different zones, as far as there are
    so many. Giving them to a pool in use moves sessions, so it needs `previous`.
    `consistency`: "one", a session is served while one of its nodes answers; or "majority", the strict mode, for 3
    copies or more: only while most of its nodes do, so that a logout is known on both sides of a network split.

    A value: equal pools are interchangeable. Every web server must be given the same one.

    Raises:
        ConfigurationError: a setting is missing, out of range, or contradicts another one.
    """

    nodes: tuple[Node, ...]
    copies: int
    prefix: str
    max_bytes: int
    timeout: timedelta
    budget: timedelta
    previous: "Pool | None"
    in_process: bool
    consistency: Literal["one", "majority"]
    all_nodes: tuple[Node, ...] = field(compare=False)
    """Own nodes, then those of `previous` and its previous that are not among them."""

    def __init__(
        self,
        *nodes: str,
        copies: int | None = None,
        prefix: str = "memsession",
        max_bytes: int = 65_536,
        timeout: timedelta = timedelta(milliseconds=250),
        budget: timedelta = timedelta(seconds=1),
        previous: "Pool | None" = None,
        zones: Mapping[str, str] | None = None,
        consistency: Literal["one", "majority"] = "one",
    ) -> None:
        addresses = parse_addresses(nodes)
        if None not in (copies, addresses.copies) and copies != addresses.copies:
            raise ConfigurationError(
                f"Pool(copies={copies!r}) contradicts copies={addresses.copies} in the URL: leave one of them out"
            )
        if copies is None:
            copies = addresses.copies
        if copies is None:
            copies = min(_COPIES_DEFAULT, len(addresses.nodes))
        _check_copies(copies, len(addresses.nodes))
        _check_sizes(prefix, max_bytes)
        _check_times(timeout, budget)
        _check_consistency(consistency, copies)
        own = zoned(addresses.nodes, zones, copies)
        settings = {
            "nodes": own,
            "copies": copies,
            "prefix": prefix,
            "max_bytes": max_bytes,
            "timeout": timeout,
            "budget": budget,
            "previous": previous,
            "in_process": addresses.in_process,
            "consistency": consistency,
        }
        self.__dict__.update(settings)
        self.__dict__["all_nodes"] = own if previous is None else _joined(self, previous)

    def homes(self, key: bytes) -> tuple[str, ...]:
        """Return the names of the nodes that hold `key`, best first; then the homes in `previous`."""
        return self._homes(key)

    def home_sets(self, key: bytes) -> tuple[tuple[str, ...], ...]:
        """Return the homes of `key` in this pool, then those in `previous` and its previous, each for itself."""
        return self._home_sets(key)

    @property
    def zones(self) -> dict[str, str]:
        """The zone of each node, by its name; empty if there are none."""
        return {node.name: node.zone for node in self.nodes if node.zone}

    def placed(self, key: bytes) -> tuple[str, ...]:
        """The same, but not remembered: for whoever asks once about each of many keys."""
        return self._placed(key)

    def following(self, previous: "Pool | None") -> "Pool":
        """The same pool, with `previous` as what it was before; or with nothing before it.

        Raises:
            ConfigurationError: they contradict each other, as in `Pool(previous=...)`.
        """
        pool = copy(self)
        pool.__dict__["previous"] = previous
        pool.__dict__["all_nodes"] = self.nodes if previous is None else _joined(self, previous)
        return pool

    def relocated(self, nodes: Iterable[Node]) -> "Pool":
        """The same pool, and all before it, where nodes of these names are where `nodes` say.

        Raises:
            ConfigurationError: two nodes would be at one address.
        """
        places = {node.name: (node.host, node.port) for node in nodes}
        own = []
        for node in self.nodes:
            host, port = places.get(node.name, (node.host, node.port))
            own.append(replace(node, host=host, port=port))
        pool = copy(self)
        pool.__dict__["nodes"] = tuple(own)
        return pool.following(self.previous and self.previous.relocated(nodes))

    @cached_property
    def _own(self) -> Callable[[bytes], tuple[str, ...]]:
        return Placement([(node.name, node.weight) for node in self.nodes], self.copies, self.zones).homes

    @cached_property
    def _placed(self) -> Callable[[bytes], tuple[str, ...]]:
        own = self._own
        if self.previous is None:
            return own
        former = self.previous.placed
        return lambda key: tuple(dict.fromkeys(own(key) + former(key)))

    @cached_property
    def _homes(self) -> Callable[[bytes], tuple[str, ...]]:
        return lru_cache(_REMEMBERED)(self._placed)

    @cached_property
    def _home_sets(self) -> Callable[[bytes], tuple[tuple[str, ...], ...]]:
        own, previous = self._own, self.previous
        if previous is None:
            return lru_cache(_REMEMBERED)(lambda key: (own(key),))
        return lru_cache(_REMEMBERED)(lambda key: (own(key), *previous.home_sets(key)))

    def __repr__(self) -> str:
        names = ", ".join(node.name for node in self.nodes)
        kind = ("in-process " if self.in_process else "") + ("nodes" if len(self.nodes) > 1 else "node")
        hold = "hold" if self.copies > 1 else "holds"
        former = f", before that {self.previous!r}" if self.previous else ""
        strict = ", most of them have to agree" if self.consistency == "majority" else ""
        zones = sorted({*self.zones.values()})
        where = f" in {len(zones)} zone{'s' if len(zones) > 1 else ''} ({', '.join(zones)})" if zones else ""
        return (
            f"<Pool of {len(self.nodes)} {kind} ({names}){where}, {self.copies} {hold} each session{strict}{former}>"
        )

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in _CACHES}


def _check_copies(copies: object, nodes: int) -> None:
    if not isinstance(copies, int) or isinstance(copies, bool):
        raise ConfigurationError(f"Pool(copies={copies!r}): use a whole number, for instance copies=2")
    if copies < 1:
        raise ConfigurationError(f"Pool(copies={copies}): use at least 1; 2 survive the loss of a node")
    if copies > nodes:
        raise ConfigurationError(
            f"Pool(copies={copies}) with {nodes} node(s): name more nodes, or use copies={nodes} or less"
        )


def _check_sizes(prefix: object, max_bytes: object) -> None:
    if not isinstance(prefix, str) or not _PREFIX.fullmatch(prefix):
        raise ConfigurationError(
            f"Pool(prefix={prefix!r}): use 1 to 100 visible ASCII characters without spaces, for instance 'shop'"
        )
    if not isinstance(max_bytes, int) or isinstance(max_bytes, bool) or not _BYTES_MIN <= max_bytes <= _BYTES_MAX:
        raise ConfigurationError(
            f"Pool(max_bytes={max_bytes!r}): use {_BYTES_MIN:,} to {_BYTES_MAX:,}; one memcached item holds no more"
        )


def _check_times(timeout: object, budget: object) -> None:
    for name, limit in (("timeout", timeout), ("budget", budget)):
        if not isinstance(limit, timedelta) or not timedelta() < limit <= _WAIT_MAX:
            raise ConfigurationError(
                f"Pool({name}={limit!r}): use a timedelta above zero and of an hour at most, for instance "
                f"timedelta(milliseconds=250)"
            )
    if timeout > budget:  # type: ignore[operator]
        raise ConfigurationError(
            f"Pool(timeout={timeout}, budget={budget}): one node's time-out must not exceed the budget of a request"
        )


def _check_consistency(consistency: object, copies: int) -> None:
    if consistency not in ("one", "majority"):
        raise ConfigurationError(f'Pool(consistency={consistency!r}): use "one", the default, or "majority"')
    if consistency == "majority" and copies < _COPIES_STRICT:
        raise ConfigurationError(
            f'Pool(consistency="majority") with copies={copies}: use copies=3 or more, or any node that fails would '
            f"stop everything"
        )


def _joined(pool: Pool, previous: object) -> tuple[Node, ...]:
    if not isinstance(previous, Pool):
        raise ConfigurationError(
            f"Pool(previous=...) is a {type(previous).__name__}: give the former pool as previous=Pool(...)"
        )
    if (pool.prefix, pool.in_process) != (previous.prefix, previous.in_process):
        raise ConfigurationError(
            "Pool(previous=...): both pools must have the same prefix, and both or neither be memory://"
        )
    if pool.consistency != previous.consistency:
        raise ConfigurationError(
            "Pool(previous=...): both pools must have the same consistency. Change the nodes or copies first; when "
            "the move is done and previous is taken away, change consistency, for the same nodes and copies"
        )
    nodes = {node.name: node for node in pool.nodes}
    places = {(node.host, node.port): node.name for node in pool.nodes}
    for node in previous.all_nodes:
        same = nodes.setdefault(node.name, node)
        if (same.host, same.port) != (node.host, node.port):
            raise ConfigurationError(
                f'Pool(previous=...): node "{node.name}" has another address there; a node that only moved needs '
                f"no previous, a new server needs a new name"
            )
        if places.setdefault((node.host, node.port), node.name) != node.name:
            raise ConfigurationError(
                f'Pool(previous=...): "{node.name}" is called "{places[node.host, node.port]}" now; a renamed node '
                f'counts as a new one, so keep the old name by writing "{node.name}=host:port"'
            )
    return tuple(nodes.values())
