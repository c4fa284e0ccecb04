"""The matrix in small: every fault, with all workloads at once, on real processes. `scripts/faults` runs it in full.

What must hold on any machine, however busy, is asked here: nothing confirmed is lost, nothing ended is revived,
nobody sees what is somebody else's, nothing counts twice. Errors and waiting depend on how fast the machine is; those
are judged by `scripts/faults` only. For the same reason nodes get more time to answer here.
"""

import asyncio
from contextlib import AsyncExitStack

import pytest
import uvloop

from tests.faults.faults import FAULTS
from tests.faults.matrix import EXCUSED, cluster_for, run_cell

SEED = 4
SCALE = 0.01
HASTE = 4.0
POOL = {"timeout": 1.0, "budget": 4.0}


@pytest.fixture(scope="module")
def clusters():
    """Starts clusters, each kind once, in an event loop of their own, and ends them after the last test."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        stack, running = AsyncExitStack(), {}

        async def cluster(fault):
            copies = fault.copies[0]
            kind = fault.name if fault.fresh else (fault.node_count(copies), copies, repr(fault.cluster))
            if kind not in running:
                env = {"UPKEEP": "0"} if fault.at_once else {}
                start = cluster_for(fault, copies, seed=SEED, pool=POOL, **env)
                running[kind] = await stack.enter_async_context(start)
            return running[kind]

        yield runner, cluster
        runner.run(stack.aclose())


@pytest.mark.parametrize("name", FAULTS)
def test_whatever_fails_nothing_confirmed_is_lost(clusters, name):
    """And nothing that has ended is there again, and nobody sees somebody else's data."""
    fault = FAULTS[name]
    runner, cluster = clusters

    async def run():
        return await run_cell(fault, fault.works, await cluster(fault), seed=SEED, scale=SCALE, haste=HASTE)

    result = runner.run(run())

    assert result.operations > 300
    assert [problem for problem in result.problems if problem.split()[0] not in EXCUSED] == [], result.history
