"""One cell after the other: run it, judge it, and keep its history if it is not as it must be."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.cell import Cell
from tests.faults.checkers import Figures, check_all
from tests.faults.cluster import WEBS, Cluster
from tests.faults.faults import FAULTS, Fault
from tests.faults.history import History
from tests.faults.timing import Timing, timing, too_slow
from tests.faults.webs import WebServer
from tests.faults.workloads import WORKLOADS

HISTORIES = Path(__file__).parents[2] / ".run" / "faults"
SOCKETS_S = 5.0
WRITES = ("login", "enter", "incr", "add", "logout", "rotate", "birth")
LATE_MS = 100
ATTEMPTS = 3
EXCUSED = ("error", "unseen", "untold", "back", "worst", "p99")
TIMED = ("F4",)
CLOSED_WITHIN_S = 0.7
"""So long after the last memcached was lost a request that began before may still be confirmed."""


@dataclass
class Result:
    """What was seen in a cell. `problems`: figures that are not within their limits, in words."""

    fault: str
    works: tuple[str, ...]
    copies: int
    seed: int
    figures: Figures
    notes: dict[str, Any]
    timing: Timing
    operations: int
    counts: dict[str, int]
    errors: dict[str, int]
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0
    history: Path | None = None
    attempts: int = 1

    @property
    def is_valid(self) -> bool:
        """Whether it is evidence. While this machine was too busy, healthy nodes looked hung, several at a time.

        Nothing excuses what is revived, wrong, or somebody else's; what is lost only a node that was not meant to be
        silent and was, for it may have been the last one that remembered.
        """
        excused = EXCUSED if self.notes["late_ms"] >= LATE_MS else ()
        if self.notes["unplanned"]:
            excused = (*EXCUSED, "lost")
        return self.ok or any(problem.split()[0] not in excused for problem in self.problems)

    @property
    def ok(self) -> bool:
        """Whether all is as it must be."""
        return not self.problems


def unfinished(fault: Fault, works: Sequence[str], copies: int, seed: int, problem: BaseException) -> Result:
    """A cell that could not be run to its end."""
    nothing = dict.fromkeys(WEBS, 0)
    notes = {"back_s": 0.0, "late_ms": 0, "unplanned": 0}
    result = Result(
        fault=fault.name,
        works=tuple(works),
        copies=copies,
        seed=seed,
        figures={},
        notes=notes,
        timing=Timing(worst=dict.fromkeys(WEBS, 0.0)),
        operations=0,
        counts=nothing,
        errors=nothing,
    )
    result.problems.append(f"unfinished: {type(problem).__name__}")
    return result


def cells(only: Sequence[str], works: Sequence[str], copies: Sequence[int]) -> list[tuple[Fault, int, list[str]]]:
    """The chosen cells: for each fault and number of copies the workloads. Empty means all."""
    chosen = []
    for fault in FAULTS.values():
        if only and fault.name not in only:
            continue
        for count in fault.copies:
            if not copies or count in copies:
                chosen.append((fault, count, [work for work in fault.works if not works or work in works]))
    return chosen


@asynccontextmanager
async def cluster_for(
    fault: Fault, copies: int, *, seed: int, pool: dict[str, Any] | None = None, **env: str
) -> AsyncIterator[Cluster]:
    """A cluster on which this fault can be tried. `pool`: further settings of the pool."""
    arguments = {**fault.cluster, "pool": {**fault.cluster.get("pool", {}), **(pool or {})}, **env}
    async with Cluster(nodes=fault.node_count(copies), copies=copies, seed=seed, **arguments) as cluster:
        yield cluster


async def run_cell(
    fault: Fault,
    works: Sequence[str],
    cluster: Cluster,
    *,
    seed: int,
    scale: float,
    haste: float,
    is_timed: bool = False,
) -> Result:
    """Run some workloads at once while this goes wrong; again, if this machine was too busy to tell.

    With `is_timed` waiting is judged, too.
    """
    for attempt in range(1, ATTEMPTS + 1):
        result = await _run_once(fault, works, cluster, seed=seed, scale=scale, haste=haste, is_timed=is_timed)
        result.attempts = attempt
        if result.is_valid:
            break
    return result


async def _run_once(
    fault: Fault,
    works: Sequence[str],
    cluster: Cluster,
    *,
    seed: int,
    scale: float,
    haste: float,
    is_timed: bool,
) -> Result:
    workloads = [WORKLOADS[work] for work in works]
    span_s = max(fault.span_s, scale * sum(workload.span_s for workload in workloads))
    cell = Cell(cluster, seed=seed, scale=scale, haste=haste, span_s=span_s, sides=fault.sides)
    began = time.monotonic()
    baseline = {web: cluster.webs[web].sockets for web in WEBS}
    told = {server: len(server.events()) for server in cluster.webs.values()}
    await cell.enter()
    visitors = [await workload.set_up(cell) for workload in workloads]
    cell.begun = cell.now
    crowds = list(zip(workloads, visitors, strict=True))
    watching = asyncio.ensure_future(cell.watch())
    try:
        await _drive(cell, fault, [workload.run(cell, those) for workload, those in crowds])
        await cell.settle()
        for workload, those in crowds:
            if not (fault.forgets and workload.name == "W5"):
                await workload.look(cell, those)
    finally:
        watching.cancel()
    for door in cell.doors.values():
        door.close()
    if fault.name == "F14":
        cell.history.notes["leaked"] = await _leaked(cluster, baseline)
    cell.history.notes["unplanned"] = _unplanned(fault, cluster, told)
    result = _judged(fault, tuple(works), cell, seed)
    if is_timed and fault.name in TIMED:
        result.problems += too_slow(result.timing)
    result.seconds = time.monotonic() - began
    if result.problems:
        name = f"{fault.name}-{'-'.join(works)}-R{cluster.copies}-{seed}.jsonl".replace(" ", "-")
        result.history = HISTORIES / name
        about = {"fault": fault.name, "works": works, "copies": cluster.copies, "seed": seed}
        events = {web: cluster.webs[web].events() for web in WEBS}
        cell.history.write(result.history, **about, problems=result.problems, events=events)
    return result


def _unplanned(fault: Fault, cluster: Cluster, told: dict[WebServer, int]) -> int:
    """How often a web server has found a node silent that was to answer."""
    return sum(
        kind == "NodeOut" and "within" in event["reason"] and event["node"] not in fault.silent
        for server in cluster.webs.values()
        for kind, event in server.events()[told.get(server, 0) :]
    )


async def _drive(cell: Cell, fault: Fault, running: list[Any]) -> None:
    """The workloads and the driver, side by side; the first that fails ends the others."""

    async def drive() -> None:
        try:
            await fault.run(cell)
        finally:
            cell.over.set()

    cell.working = len(running)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(drive())
        for work in running:
            tasks.create_task(work)


async def _leaked(cluster: Cluster, baseline: dict[str, int]) -> int:
    """Sockets that the web servers still have open, beyond those to the nodes that they may keep."""
    threads = 17
    allowed = {"asgi": len(cluster.names), "wsgi": threads * len(cluster.names)}
    give_up = time.monotonic() + SOCKETS_S
    while True:
        excess = {web: cluster.webs[web].sockets - baseline[web] - allowed[web] for web in WEBS}
        if max(excess.values()) <= 0 or time.monotonic() > give_up:
            return sum(max(0, count) for count in excess.values())
        await asyncio.sleep(0.1)


def _judged(fault: Fault, works: tuple[str, ...], cell: Cell, seed: int) -> Result:
    history = cell.history
    figures = check_all(history, sides=fault.sides)
    figures.update({name: history.notes[name] for name in ("disagree", "leaked") if name in history.notes})
    if fault.name == "F17":
        figures["confirmed in vain"] = _confirmed_in_vain(history)
    errors = {web: sum(op.is_error for op in history.ops if op.web == web) for web in WEBS}
    counts = {web: sum(op.web == web for op in history.ops) for web in WEBS}
    count = len(history.ops)
    result = Result(
        fault=fault.name,
        works=works,
        copies=cell.cluster.copies,
        seed=seed,
        figures=figures,
        notes=history.notes,
        timing=timing(history),
        operations=count,
        counts=counts,
        errors=errors,
    )
    shares = [fault.error_share(work) for work in works]
    limit = None if None in shares else max(share for share in shares if share is not None)
    for name, figure in figures.items():
        allowed = (limit if limit is None else limit * count) if name == "error" else 0
        if name in ("unseen", "untold", "back") and fault.unseen:
            allowed = None
        if allowed is not None and figure > allowed:
            result.problems.append(f"{name} {figure}")
    return result


def _confirmed_in_vain(history: History) -> int:
    """Changes that were confirmed while no memcached could be reached."""
    struck, eased = (history.notes[name] for name in ("struck", "eased"))
    within = [op for op in history.of(*WRITES) if op.begun > struck + CLOSED_WITHIN_S and op.ended < eased]
    return sum(op.ok for op in within)
