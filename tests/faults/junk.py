"""Fills a memcached until it has no memory left for sessions of any size, and keeps it full: `junk PORT`.

A process of its own, and one that gives way to others: it prints `full` whenever it is.
"""

import os
import socket
import sys
import time

SIZES = [int(60 * 1.12**power) for power in range(62)]
"""Of values, one in every class of sizes that memcached keeps apart, up to 64 KiB."""
ROUND = 200_000
"""Bytes of each size in one go."""
PAUSE_S = 0.5
TURNS_MAX = 100


def fill(door: socket.socket) -> int:
    """Store junk of all sizes until something is declined or evicted; in how many turns."""
    before = _evictions(door)
    for turn in range(TURNS_MAX):
        declined = 0
        for size in SIZES:
            count = max(2, ROUND // size)
            item = b"%d 0 0 %d\r\n" % (turn, size) + b"x" * size + b"\r\n"
            door.sendall(b"".join(b"set junk-%d-%d-" % (size, number) + item for number in range(count)))
            declined += sum(line.startswith(b"SERVER_ERROR") for line in _lines(door, count))
            time.sleep(0.001)
        if declined or _evictions(door) > before:
            return turn + 1
    raise AssertionError("it does not get full")


def _evictions(door: socket.socket) -> int:
    door.sendall(b"stats\r\n")
    data = b""
    while not data.endswith(b"END\r\n"):
        data += door.recv(65_536)
    return int(data.split(b"STAT evictions ")[1].split()[0])


def _lines(door: socket.socket, count: int) -> list[bytes]:
    data = b""
    while data.count(b"\n") < count:
        piece = door.recv(65_536)
        assert piece, "the node closed the connection"
        data += piece
    return data.splitlines()


if __name__ == "__main__":
    os.nice(10)
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as node:
        while True:
            fill(node)
            print("full", flush=True)
            time.sleep(PAUSE_S)
