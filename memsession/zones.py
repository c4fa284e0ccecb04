"""Zones: which nodes fail together (a data centre, a rack, a host), so that the copies of a session lie in several.

A node's zone is written with its address (`a=10.0.0.5?zone=east`) or given to the pool by its name. Either every node
has one or none has: a node left out by mistake would be a zone of its own, and would get more sessions than it bears.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Final

from memsession.addresses import Node
from memsession.errors import ConfigurationError

_ZONE: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")


def zoned(nodes: tuple[Node, ...], zones: object, copies: int) -> tuple[Node, ...]:
    """Return the nodes with the zones that `zones`, a mapping by their names, gives them; None gives none.

    Raises:
        ConfigurationError: it is no such mapping, only some nodes have a zone, or all copies would lie in one.
    """
    if zones is not None:
        nodes = _given(nodes, zones)
    without = [node.name for node in nodes if not node.zone]
    if len(without) == len(nodes):
        return nodes
    if without:
        raise ConfigurationError(f"Pool: no zone for {', '.join(without)}: give every node one, or none of them")
    for node in nodes:
        _check(node.name, node.zone)
    if copies > 1 and len({node.zone for node in nodes}) == 1:
        raise ConfigurationError(
            f'Pool: all nodes are in zone "{nodes[0].zone}", so the {copies} copies of a session cannot lie in '
            f"different zones; put some nodes into a second one, or leave zones out"
        )
    return nodes


def _given(nodes: tuple[Node, ...], zones: object) -> tuple[Node, ...]:
    if not isinstance(zones, Mapping):
        raise ConfigurationError(
            f"Pool(zones=...) is a {type(zones).__name__}: give the zone of each node by its name, for instance "
            f'zones={{"a": "east", "b": "west"}}'
        )
    known = [node.name for node in nodes]
    for name, zone in zones.items():
        if name not in known:
            close = get_close_matches(str(name), known, n=1)
            hint = f'did you mean "{close[0]}"?' if close else f"there are {', '.join(known)}"
            raise ConfigurationError(f"Pool(zones=...): no node is called {name!r}; {hint}")
        _check(name, zone)
    for node in nodes:
        if node.zone and zones.get(node.name, node.zone) != node.zone:
            raise ConfigurationError(
                f'Pool(zones=...): node "{node.name}" has another zone beside its address: leave one of them out'
            )
    return tuple(replace(node, zone=zones.get(node.name, node.zone)) for node in nodes)


def _check(name: str, zone: object) -> None:
    # The zone itself is not shown: behind an address it might be part of a password.
    if not isinstance(zone, str) or not _ZONE.fullmatch(zone):
        raise ConfigurationError(
            f'Pool: the zone of node "{name}" must be a text of 1 to 100 letters, digits or . _ - characters'
        )
