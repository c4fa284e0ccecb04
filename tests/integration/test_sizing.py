"""The sizing guide: what sessions take in a real memcached, and how many connections there are."""

import re
import threading
from pathlib import Path

import pytest

from benchmarks.memory import SIZES, measured, middleware, visitors

GUIDE = (Path(__file__).parents[2] / "docs" / "sizing.md").read_text(encoding="utf-8")
ROWS = {
    name: int(item.replace(",", ""))
    for name, item in re.findall(r"^\| (\d+ K?B|tombstone) \| ([\d,]+) \|", GUIDE, re.MULTILINE)
}
COUNT = 5


@pytest.mark.parametrize("name", SIZES)
def test_sessions_take_what_the_guide_says(memcached, name):
    """To some bytes: other releases of memcached have other headers."""
    node = memcached()
    visitors(middleware(node), SIZES[name], COUNT)
    item = measured(node)

    assert item.item == pytest.approx(ROWS[name], rel=0.03)
    assert item.item <= item.chunk <= item.item * 1.3


def test_tombstones_take_what_the_guide_says(memcached):
    """One for each logout, in place of the session."""
    node = memcached()
    for client in visitors(middleware(node), 200, COUNT):
        client.get("/out")
    item = measured(node)

    assert item.item == pytest.approx(ROWS["tombstone"], rel=0.05)
    assert item.chunk < ROWS["200 B"] / 2
    assert int(node.stats()["curr_items"]) == COUNT + 1, "the tombstones, and the server's own mark"


def test_a_web_process_has_a_connection_for_each_thread_at_most(memcached):
    """One thread has one; eight at the same moment have no more than eight."""
    node = memcached()
    app = middleware(node)
    node.await_connections(0, 0)
    (client,) = visitors(app, 200, 1)
    node.await_connections(1, 1)

    def visit():
        for _ in range(20):
            client.get("/set?200")

    threads = [threading.Thread(target=visit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    node.await_connections(1, 8)
