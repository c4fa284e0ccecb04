"""Ports of this machine: free ones, and what answers on the others."""

import asyncio
import random
import socket

HOST = "127.0.0.1"
FIRST, LAST = 20_000, 31_999
"""Below the ports that systems give to outgoing connections: there, one of those could take a stopped server's port
before it is started again."""

ANSWER_S_MAX = 2.0
_ANSWER_BYTES_MAX = 1 << 24


def free_ports(count: int) -> list[int]:
    """Return `count` different ports of 127.0.0.1 on which nobody listens now."""
    ports: list[int] = []
    for port in random.SystemRandom().sample(range(FIRST, LAST + 1), LAST - FIRST + 1):
        if len(ports) == count:
            break
        if is_free(port):
            ports.append(port)
    return ports


async def ask(port: int, question: bytes, until: int | bytes) -> bytes:
    """Send `question` to a port and return the answer: so many bytes of it, or all up to these bytes.

    Empty if nobody listens, or the answer ends early or does not come.
    """
    try:
        async with asyncio.timeout(ANSWER_S_MAX):
            reader, writer = await asyncio.open_connection(HOST, port, limit=_ANSWER_BYTES_MAX)
            try:
                writer.write(question)
                if isinstance(until, int):
                    return await reader.readexactly(until)
                return await reader.readuntil(until)
            finally:
                writer.close()
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return b""


def is_free(port: int) -> bool:
    """Whether nobody listens on this port of 127.0.0.1."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: what is left of a closed connection does not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
