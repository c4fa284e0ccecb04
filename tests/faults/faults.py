"""The rows of the matrix: what goes wrong, for how long, on which cluster, and what may be seen of it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.faults import drivers, web_drivers
from tests.faults.cell import Cell

NO_LIMIT: None = None
WORKS = ("W1", "W2", "W3", "W4", "W5")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A row.

    `span_s`: over how long the workload is spread; `copies`: with which it makes sense; `nodes`: how many there are,
    by copies (one more than copies unless given); `cluster`: further arguments of `Cluster`; `errors`: which share of
    operations may fail, none unless given, by workload, or by "" for all (None: any); `unseen`: whether a visitor may
    be shown less than was confirmed, or a session that has ended, while those who confirmed it do not answer;
    `sides`: whether the web servers are cut off from each other; `forgets`: whether sessions that nobody uses may be
    lost; `fresh`: whether the cluster is of no use afterwards; `at_once`: whether all workloads go on at once, since
    the story takes its time; `silent`: the nodes that are made not to answer. If others do not, this machine is too
    busy, and what should have been one fault was two.
    """

    name: str
    title: str
    run: Callable[[Cell], Awaitable[None]]
    span_s: float = 6.0
    works: Sequence[str] = WORKS
    copies: Sequence[int] = (2, 3)
    nodes: Mapping[int, int] = field(default_factory=dict)
    cluster: Mapping[str, Any] = field(default_factory=dict)
    errors: Mapping[str, float | None] = field(default_factory=dict)
    unseen: bool = False
    sides: bool = False
    forgets: bool = False
    fresh: bool = False
    at_once: bool = False
    silent: str = ""

    def node_count(self, copies: int) -> int:
        """How many memcached."""
        return self.nodes.get(copies, copies + 1)

    def error_share(self, work: str) -> float | None:
        """The share of operations that may fail."""
        return self.errors.get(work, self.errors.get("", 0.0))


_SMALL = ("-m", "8", "-o", "no_lru_maintainer")
_TORN = {2: 2, 3: 3}

FAULTS = {
    fault.name: fault
    for fault in (
        Fault(name="F0", title="nothing", run=drivers.nothing, span_s=4.0),
        Fault(name="F1", title="one memcached is killed and stays dead", run=drivers.killed),
        Fault(
            name="F2",
            title="memcached restart empty, one every 6 s, each session used once in between",
            run=drivers.restarted_in_turn,
            span_s=20.0,
            forgets=True,
        ),
        Fault(name="F3", title="two memcached restart empty at once", run=drivers.restarted_together, copies=(3,)),
        Fault(name="F4", title="one memcached hangs for 10 s", run=drivers.stopped, silent="a", span_s=14.0),
        Fault(
            name="F5",
            title="each memcached hangs until it is given up, then answers after all",
            run=drivers.paused,
            silent="abcdef",
        ),
        Fault(
            name="F6",
            title="one memcached is cut off for 5 s and comes back with old data and late commands",
            run=drivers.cut_off,
            silent="a",
            span_s=9.0,
        ),
        Fault(
            name="F7",
            title="a split for 5 s: each web server reaches only one memcached, another one each",
            run=drivers.split,
            silent="abcdef",
            span_s=9.0,
            nodes=_TORN,
            sides=True,
        ),
        Fault(
            name="F7 strict",
            title='the same split with `consistency="majority"`: one web server reaches one, the other the rest',
            run=drivers.split,
            silent="abcdef",
            span_s=9.0,
            copies=(3,),
            nodes=_TORN,
            cluster={"pool": {"consistency": "majority"}},
            errors={"": NO_LIMIT},
        ),
        Fault(
            name="F8",
            title="5 % of all replies are reset, truncated, sent byte by byte, or 200 ms late",
            run=drivers.bad_roads,
            silent="abcdef",
            unseen=True,
            errors={"": NO_LIMIT, "W5": 0.01},
        ),
        Fault(
            name="F9",
            title="1 % of all replies are garbage, somebody else's, or missing",
            run=drivers.wrong_replies,
            silent="abcdef",
            unseen=True,
            works=WORKS[:4],
            errors={"": NO_LIMIT},
        ),
        Fault(name="F10", title="`flush_all` on one memcached", run=drivers.flushed),
        Fault(
            name="F11",
            title="one memcached is full and declines (`-M`)",
            run=drivers.full,
            cluster={"node_options": {"a": (*_SMALL, "-M")}},
            fresh=True,
        ),
        Fault(
            name="F11 evicting",
            title="one memcached is full and evicts",
            run=drivers.full,
            cluster={"node_options": {"a": _SMALL}},
            fresh=True,
        ),
        Fault(
            name="F12",
            title="one memcached is added, another one removed, under traffic",
            run=web_drivers.pool_changed,
            span_s=12.0,
            fresh=True,
            at_once=True,
        ),
        Fault(
            name="F13",
            title="processes of the web servers are killed in the middle of saves",
            run=web_drivers.workers_killed,
            span_s=10.0,
            works=WORKS[:4],
            cluster={"workers": 2},
            errors={"": NO_LIMIT},
        ),
        Fault(
            name="F14",
            title="visitors hang up, sooner or later",
            run=web_drivers.hung_up,
            works=WORKS[:4],
        ),
        Fault(
            name="F15",
            title="the clock of one web server is wrong by an hour, or by a day",
            run=web_drivers.clocks_shifted,
            span_s=8.0,
        ),
        Fault(
            name="F17",
            title="no memcached can be reached",
            run=drivers.all_down,
            works=("W1", "W3", "W4", "W5"),
            errors={"": NO_LIMIT},
        ),
        Fault(
            name="swap",
            title="two memcached exchange their addresses, and back again",
            run=drivers.swapped,
            span_s=8.0,
            errors={"": 0.01},
            unseen=True,
        ),
        Fault(
            name="limit",
            title="one memcached takes no more connections (`-c`)",
            run=drivers.crowded,
            cluster={"node_options": {"a": ("-c", "40")}},
            fresh=True,
        ),
    )
}
"""F16, a copy in a database, is for a later version."""
