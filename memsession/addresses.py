"""What people write for the nodes of a pool, and the nodes it stands for.

    10.0.0.94   cache-a:11211   [::1]:11211   /run/memcached.sock   unix:///run/memcached.sock
    a=10.0.0.5:11211                                  a name of its own, which stays when the address changes
    a=10.0.0.5?weight=2&zone=east                     twice the sessions; copies lie in different zones
    memcached://a:11211,b:11211?copies=2              the whole pool as one URL
    ip1:11211,ip2:11211:3                             php.ini, php-memcached (host:port:weight)
    tcp://ip1:11211?weight=2, tcp://ip2:11211         php.ini, pecl-memcache
    memory://?nodes=3&copies=2                        nodes inside this process, for development

A node's name is its identity: placement hashes the name, so a renamed node is a new, empty one.

Texts that are refused may hold a password, in the form that URLs of other stores have. Nothing of a text with an @
that cannot be read is shown, nor what follows a question mark.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from memsession.errors import ConfigurationError

DEFAULT_PORT: Final = 11211
WEIGHT_MAX: Final = 1_000
NODES_MAX: Final = 1_024
_MEMORY_NODES: Final = 2
# The shortest sun_path of the supported systems (macOS) holds 104 bytes with the closing zero.
_SOCKET_PATH_MAX: Final = 103

_NAMED: Final = re.compile(r"([^=?/]*)=(.*)")
_NAME: Final = re.compile(r"[A-Za-z0-9._:\[\]%-]{1,100}")
_HOST: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,252})")
_SOCKET: Final = re.compile(r"(/[!-~]+?)(?::0(?::([^:]*))?)?")
_IGNORED: Final = frozenset({"persistent", "timeout", "retry_interval"})


@dataclass(frozen=True, slots=True)
class Node:
    """One memcached server. `port` 0 means a unix socket, whose path is `host`; so with `memory://` nodes.

    `zone` is empty where a pool has no zones, and what was written otherwise; `memsession.zones` checks it.
    """

    name: str
    host: str
    port: int
    weight: int = 1
    zone: str = ""


@dataclass(frozen=True, slots=True)
class Addresses:
    """What an address text says: the nodes, the number of copies if it gives one, whether they are in-process."""

    nodes: tuple[Node, ...]
    copies: int | None = None
    in_process: bool = False


def parse_nodes(texts: str | Sequence[str]) -> tuple[Node, ...]:
    """Return the nodes that `texts` name, in any of the forms above.

    Raises:
        ConfigurationError: a text cannot be read, two nodes are the same, or there is none.
    """
    return parse_addresses(texts).nodes


def parse_addresses(texts: str | Sequence[str]) -> Addresses:
    """Return everything that `texts` say: the nodes, and what a URL adds to them.

    Raises:
        ConfigurationError: a text cannot be read, two nodes are the same, or there is none. It shows no password.
    """
    given = [texts] if isinstance(texts, str) else list(texts)
    for text in given:
        if not isinstance(text, str):
            raise ConfigurationError(
                f'a node is given as a str, not as a {type(text).__name__}: Pool("10.0.0.94", "10.0.0.95")'
            )
    try:
        return _read([text.strip() for text in given])
    except ConfigurationError:
        at = [text for text in given if "@" in text]
        if not at:
            raise
        scheme = re.match(r"\s*[A-Za-z]{1,20}://", at[0])
        # From None: the other exception carries what may be a password.
        raise ConfigurationError(
            f'the nodes cannot be read: "{scheme[0].strip() if scheme else ""}...@..." is not shown in full, for '
            f"what precedes an @ may be a password; there is no user and no password here, write host:port"
        ) from None


def _read(given: list[str]) -> Addresses:
    for text in given:
        scheme = text.partition("://")[0].lower()
        if scheme in ("memcached", "memory"):
            if len(given) > 1:
                raise ConfigurationError(
                    f'"{_shown(text)}" names a whole pool: give it alone, or list the nodes in it'
                )
            return _memory(text) if scheme == "memory" else _url(text)
    return Addresses(_distinct(tuple(_node(entry) for text in given for entry in text.split(","))))


def _url(text: str) -> Addresses:
    entries, _, query = text[len("memcached://") :].partition("?")
    if entries.endswith("/") and entries[:-1].count("/") == 0:
        entries = entries[:-1]  # memcached://a,b/?copies=2
    options = _options(query, text, known={"copies"})
    nodes = _distinct(tuple(_node(entry) for entry in entries.split(",")))
    return Addresses(nodes, _number(options, "copies", text, NODES_MAX))


def _memory(text: str) -> Addresses:
    rest, _, query = text[len("memory://") :].partition("?")
    if rest not in ("", "/"):
        raise ConfigurationError(
            f'"{_shown(text)}": in-process nodes have no addresses; write memory:// or memory://?nodes=3'
        )
    options = _options(query, text, known={"nodes", "copies"})
    count = _number(options, "nodes", text, NODES_MAX) or _MEMORY_NODES
    nodes = tuple(Node(f"memory-{at}", f"memory-{at}", 0) for at in range(1, count + 1))
    return Addresses(nodes, _number(options, "copies", text, NODES_MAX), in_process=True)


def _distinct(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    if not nodes:
        raise ConfigurationError('no nodes: name at least one memcached server, for instance Pool("10.0.0.94")')
    if len(nodes) > NODES_MAX:
        raise ConfigurationError(f"{len(nodes)} nodes: a pool has at most {NODES_MAX}")
    names: set[str] = set()
    places: dict[tuple[str, int], str] = {}
    for node in nodes:
        if node.name in names:
            raise ConfigurationError(f'node "{node.name}" is listed twice: name each node once')
        if (other := places.setdefault((node.host, node.port), node.name)) != node.name:
            raise ConfigurationError(
                f'nodes "{other}" and "{node.name}" have the same address: two copies on one server are one copy'
            )
        names.add(node.name)
    return nodes


def _node(entry: str) -> Node:
    entry = entry.strip()
    if not entry:
        raise ConfigurationError(
            'no nodes, or an empty entry between commas: write "10.0.0.94:11211,10.0.0.95:11211"'
        )
    name, address, entry = None, entry, _shown(entry)
    if named := _NAMED.fullmatch(address):
        name, address = named[1].strip(), named[2].strip()
        if not _NAME.fullmatch(name):
            raise ConfigurationError(f'"{entry}": a node\'s name has 1 to 100 letters, digits or . _ : - characters')
    address, _, query = address.partition("?")
    options = _options(query, entry, known={"weight", "zone"}, ignored=_IGNORED)
    scheme, separator, rest = address.partition("://")
    if address.startswith("/"):
        scheme, rest = "unix", address
    elif not separator:
        scheme, rest = "tcp", address
    match scheme.lower():
        case "unix":
            node, weight = _socket(rest, entry)
        case "tcp":
            node, weight = _server(rest.removesuffix("/"), entry)
        case _:
            raise ConfigurationError(
                f'"{entry}": {scheme}:// is unknown; use memcached://, tcp://, unix:// or memory://'
            )
    if weight is not None:
        if "weight" in options:
            raise ConfigurationError(f'"{entry}": the weight is given twice: leave one out')
        options["weight"] = weight
    if options.get("zone") == "":
        raise ConfigurationError(f'"{entry}": the zone is empty: name one, or leave it out')
    weighs = _number(options, "weight", entry, WEIGHT_MAX) or 1
    return Node(name or node.name, node.host, node.port, weighs, options.get("zone", ""))


def _socket(rest: str, entry: str) -> tuple[Node, str | None]:
    found = _SOCKET.fullmatch(rest)
    if found is None:
        raise ConfigurationError(f'"{entry}": a unix socket needs an absolute path, for instance unix:///run/mc.sock')
    if len(found[1]) > _SOCKET_PATH_MAX:
        raise ConfigurationError(
            f'"{entry}": the path has {len(found[1])} characters, a unix socket {_SOCKET_PATH_MAX} at most'
        )
    return Node(found[1], found[1], 0), found[2]


def _server(rest: str, entry: str) -> tuple[Node, str | None]:
    weight: str | None = None
    if rest.startswith("["):
        inside, bracket, after = rest[1:].partition("]")
        if not bracket or (after and not after.startswith(":")):
            raise ConfigurationError(f'"{entry}": write an IPv6 address as [::1]:11211')
        host, after = _ipv6(inside, entry), after[1:] if after else str(DEFAULT_PORT)
        port, colon, tail = after.partition(":")
        shown = f"[{host}]"
    else:
        if "::" in rest or rest.count(":") > 2:
            raise ConfigurationError(f'"{entry}": put an IPv6 address in brackets, for instance [::1]:11211')
        host, port_colon, after = rest.partition(":")
        port, colon, tail = after.partition(":") if port_colon else (str(DEFAULT_PORT), "", "")
        shown = host = _host(host, entry)
    if colon:
        weight = tail
    number = _port(port, entry)
    return Node(f"{shown}:{number}", host, number), weight


def _ipv6(inside: str, entry: str) -> str:
    try:
        return str(IPv6Address(inside))
    except AddressValueError:
        raise ConfigurationError(f'"{entry}": "{inside}" is no IPv6 address') from None


def _host(host: str, entry: str) -> str:
    if not _HOST.fullmatch(host):
        raise ConfigurationError(f'"{entry}": "{host}" is no host; write host:port, for instance 10.0.0.94:11211')
    if re.fullmatch(r"[0-9.]+", host):
        try:
            return str(IPv4Address(host))
        except AddressValueError:
            raise ConfigurationError(f'"{entry}": "{host}" is no IPv4 address, for instance 10.0.0.94') from None
    return host.lower()


def _port(port: str, entry: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", port) or not 1 <= int(port) <= 65_535:
        raise ConfigurationError(
            f'"{entry}": port "{port}" must be a number from 1 to 65535; memcached\'s own is {DEFAULT_PORT}'
        )
    return int(port)


def _options(query: str, text: str, *, known: set[str], ignored: frozenset[str] = frozenset()) -> dict[str, str]:
    options: dict[str, str] = {}
    for part in query.split("&") if query else ():
        name, _, value = part.partition("=")
        if name in ignored:
            continue
        if name not in known:
            close = get_close_matches(name, sorted(known), n=1)
            hint = f'did you mean "{close[0]}"?' if close else f"there is: {', '.join(sorted(known))}"
            raise ConfigurationError(f'"{_shown(text)}": unknown option "{name}"; {hint}')
        if name in options:
            raise ConfigurationError(f'"{_shown(text)}": option "{name}" is given twice: leave one out')
        options[name] = value
    return options


def _number(options: dict[str, str], name: str, text: str, highest: int) -> int | None:
    if name not in options:
        return None
    value = options[name]
    if not re.fullmatch(r"[0-9]{1,6}", value) or not 1 <= int(value) <= highest:
        raise ConfigurationError(f'"{_shown(text)}": {name} "{value}" must be a number from 1 to {highest:,}')
    return int(value)


def _shown(text: str) -> str:
    """`text` without its options: one that is unknown here may be a password."""
    address, mark, _ = text.partition("?")
    return address + ("?..." if mark else "")
