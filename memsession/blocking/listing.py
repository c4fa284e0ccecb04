"""The sessions that a node holds, by their storage keys, over a connection of its own.

memcached's crawler writes a listing as fast as it is read and works for nobody else meanwhile, so it is read without
pause: whoever takes the keys should only gather them, and work when the listing is over.

A listing is complete, or it ends in an exception. It shows what the node held at about that time: a key that moves
or is written meanwhile can be missing.
"""

import re
import socket
from collections.abc import Iterator

from memsession.addresses import Node
from memsession.blocking.opening import places_of
from memsession.identity import ID_LENGTH
from memsession.wire.listing import ASKS, Ask, ListingParser, ListingRefused, ask

READ_BYTES_MAX = 262_144


def keys(node: Node, *, timeout_s: float, prefix: str) -> Iterator[list[bytes]]:
    """The storage keys under `prefix` that `node` lists, in batches as they come.

    Sessions only, the ended ones included: no locks, no incarnation, nothing of other programs. `timeout_s` is for
    the connection, and for every silence within the listing. Asking the resolver takes what it takes.

    Raises:
        OSError: the node cannot be reached, was silent, or closed the connection: what was listed is not all.
        ProtocolError: what came is no listing; the same goes for what was listed.
        ListingRefused: the node lists nothing; its `busy` tells whether it would later.
    """
    ours = re.compile(rb"%b:[A-Za-z0-9_-]{%d}" % (re.escape(prefix.encode()), ID_LENGTH)).fullmatch
    with _connected(node, timeout_s) as door:
        for what in ASKS:
            try:
                for batch in _listed(door, what, timeout_s):
                    if found := [key for key in batch if ours(key)]:
                        yield found
            except ListingRefused as refusal:
                if not refusal.unknown or what == ASKS[-1]:
                    raise
            else:
                return


def _connected(node: Node, timeout_s: float) -> socket.socket:
    problem: OSError = OSError(f"{node.name} has no address")
    for family, where in places_of(node):
        door = socket.socket(family, socket.SOCK_STREAM)
        try:
            door.settimeout(timeout_s)
            door.connect(where)
        except BaseException as refused:
            door.close()
            if not isinstance(refused, OSError):
                raise
            problem = refused
        else:
            return door
    raise problem


def _listed(door: socket.socket, what: Ask, timeout_s: float) -> Iterator[list[bytes]]:
    door.sendall(ask(what))
    parser = ListingParser(what)
    while not parser.over:
        data = _read(door, timeout_s)
        if not data:
            raise ConnectionError("the node closed the connection within a listing")
        yield parser.feed(data)


def _read(door: socket.socket, timeout_s: float) -> bytes:
    try:
        return door.recv(READ_BYTES_MAX)
    except TimeoutError:
        # Perhaps this process did not run, or its greenlets were busy: then what came is in the socket.
        door.settimeout(0.0)
        try:
            return door.recv(READ_BYTES_MAX)
        except BlockingIOError:
            raise TimeoutError(f"the node was silent for {timeout_s:g} s within a listing") from None
        finally:
            door.settimeout(timeout_s)
