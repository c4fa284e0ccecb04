"""A fake node as a process of its own, in memcached's place on machines that have none.

    python -m memsession.demo.fake_node 11211

It is the one of `memsession.testing`, which answers as memcached 1.6.18 does. As a process it can be killed, stopped
and continued like the real one.
"""

import asyncio
import sys
from collections.abc import Sequence
from typing import Final

from memsession.testing.fake_node import FakeNode

ITEMS_MAX: Final = 100_000


async def run(port: int) -> None:
    """Be a node on this port of 127.0.0.1 until cancelled.

    Raises:
        OSError: the port is taken.
    """
    node = FakeNode("fake", asyncio.get_running_loop(), ITEMS_MAX, port)
    try:
        node.start()
        await asyncio.Event().wait()
    finally:
        node.close()


def main(arguments: Sequence[str]) -> int:
    """`arguments`: the port. It serves until the process is ended."""
    (port,) = arguments
    try:
        asyncio.run(run(int(port)))
    except OSError as problem:
        print(f"port {port}: {problem}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
