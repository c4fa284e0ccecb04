"""Memory that sessions and tombstones take in a real memcached, as the middleware stores them.

    python benchmarks/memory.py [--sessions 20000]

One visitor after the other comes to a WSGI application behind the middleware, and gets a session that holds so many
bytes of JSON. Others log out. Told by memcached itself (`stats items`, `stats slabs`) and, for the whole process, by
the kernel (Linux).
"""

import argparse
import json
import re
import secrets
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from werkzeug.test import Client

sys.path.insert(0, str(Path(__file__).parents[1]))

from memsession import Pool
from memsession.wsgi import SessionMiddleware, session_of
from tests.servers import Memcached

SIZES = {"200 B": 200, "1 KB": 1_000, "4 KB": 4_000}


@cache
def contents(size: int) -> dict[str, object]:
    """A session of a shop: who, a token, and a cart of so many articles that its JSON has `size` bytes."""
    session: dict[str, object] = {"user_id": 4_711, "name": "Anna Example", "csrf": "x" * 32, "cart": [], "note": ""}
    cart = session["cart"]
    assert isinstance(cart, list)
    while len(json.dumps(session, separators=(",", ":"))) < size - 40:
        cart.append({"sku": f"{len(cart):08}", "n": 1})
    session["note"] = "n" * (size - len(json.dumps(session, separators=(",", ":"))))
    return session


def application(environ, start_response):
    """`/set?SIZE` fills the session, `/out` ends it."""
    session = session_of(environ)
    if environ["PATH_INFO"] == "/out":
        session.invalidate()
    else:
        session.update(contents(int(environ["QUERY_STRING"])))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]


@dataclass(frozen=True)
class Item:
    """What one thing takes, in bytes: the item with its header and key, and the chunk of memory that it lies in."""

    item: int
    chunk: int


def middleware(node: Memcached) -> SessionMiddleware:
    """The application on one server, one copy of each session."""
    pool, key = Pool(node.address), secrets.token_urlsafe(32)
    return SessionMiddleware(application, secret_key=key, pool=pool, rotate_on=(), upkeep=None)


def visitors(app: SessionMiddleware, size: int, count: int) -> list[Client]:
    """So many visitors, each with a session of `size` bytes."""
    clients = [Client(app) for _ in range(count)]
    for client in clients:
        assert client.get(f"/set?{size}").status_code == 200
    return clients


def measured(node: Memcached) -> Item:
    """What most items there take. They are all alike, but for the mark of the server itself."""
    text = node.ask(b"stats items", until=b"END\r\n").decode()
    numbers = {int(slab): int(number) for slab, number in re.findall(r"STAT items:(\d+):number (\d+)", text)}
    most = max(numbers, key=lambda slab: numbers[slab])
    requested = int(re.findall(rf"STAT items:{most}:mem_requested (\d+)", text)[0])
    chunks = re.findall(rf"STAT {most}:chunk_size (\d+)", node.ask(b"stats slabs", until=b"END\r\n").decode())
    return Item(round(requested / numbers[most]), int(chunks[0]))


def resident(node: Memcached) -> int:
    """Bytes of memory that the process has (Linux; elsewhere 0)."""
    status = Path(f"/proc/{node.pid}/status")
    found = re.search(r"VmRSS:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) * 1024 if found else 0


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Memory that sessions take in memcached.")
    parser.add_argument("--sessions", type=int, default=20_000, help="of each size (default 20,000)")
    count = parser.parse_args().sessions
    print(f"{'':12} {'item':>6} {'chunk':>6} {'of the process':>15}   ({count:,} of each, bytes)")
    for name, size in SIZES.items():
        with Memcached(options=("-m", "1024")) as node:
            app = middleware(node)
            # What the process takes for the first ones is not theirs: tables, and a first page for each class.
            visitors(app, size, count // 4)
            before = resident(node)
            visitors(app, size, count)
            _print(name, measured(node), (resident(node) - before) / count)
        if size == min(SIZES.values()):
            _tombstones(count, size)


def _tombstones(count: int, size: int) -> None:
    with Memcached(options=("-m", "1024")) as node:
        for client in visitors(middleware(node), size, count):
            assert client.get("/out").status_code == 200
        _print("tombstone", measured(node), 0)


def _print(name: str, item: Item, process: float) -> None:
    print(f"{name:12} {item.item:>6,} {item.chunk:>6,} " + (f"{process:>15,.0f}" if process else ""))


if __name__ == "__main__":
    main()
