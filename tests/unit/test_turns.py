"""Turns: the plans of one request run one after the other, whatever becomes of those who wait for them."""

import asyncio

import pytest

from memsession.aio.turns import Turns
from memsession.commands import Get

ROUND = [Get("a", b"k")]


class Bench:
    """Runs plans as a client would, each round when the test says so; `log` tells what happened."""

    def __init__(self):
        self.turns = Turns()
        self.log = []
        self.gates = []
        self.background = set()

    def plan(self, name, rounds=1, error=None):
        self.log.append(f"{name} begins")
        for _ in range(rounds):
            yield ROUND
        self.log.append(f"{name} ends")
        if error:
            raise error
        return name

    async def run(self, plan):
        """A plan whose caller is cancelled is finished in the background."""
        gate = None
        try:
            next(plan)
            while True:
                gate = asyncio.Event()
                self.gates.append(gate)
                await gate.wait()
                plan.send([])
        except StopIteration as finished:
            return finished.value
        except asyncio.CancelledError:
            task = asyncio.ensure_future(self.finish(plan, gate))
            self.background.add(task)
            raise

    async def finish(self, plan, gate):
        await gate.wait()
        with pytest.raises(StopIteration):
            plan.send([])

    def take(self, name, **how):
        return asyncio.ensure_future(self.turns.take(self.run, self.plan(name, **how)))


async def settled():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_one_plan_runs_at_once():
    """No detour: its result comes back."""
    bench = Bench()
    task = bench.take("a")
    await settled()
    bench.gates[0].set()

    assert await task == "a"


async def test_plans_wait_for_each_other():
    """In the order in which they came."""
    bench = Bench()
    tasks = [bench.take(name) for name in "abc"]
    for number in range(3):
        await settled()
        assert len(bench.gates) == number + 1
        bench.gates[number].set()

    assert await asyncio.gather(*tasks) == ["a", "b", "c"]
    assert bench.log == ["a begins", "a ends", "b begins", "b ends", "c begins", "c ends"]


async def test_a_plan_that_raises_ends_its_turn():
    """Its caller gets the error, the next one begins."""
    bench = Bench()
    first, second = bench.take("a", error=ValueError("no")), bench.take("b")
    await settled()
    bench.gates[0].set()
    await settled()
    bench.gates[1].set()

    with pytest.raises(ValueError, match="no"):
        await first
    assert await second == "b"


async def test_a_turn_ends_with_its_plan_and_not_with_its_caller():
    """Cancelled, the plan goes on in the background; the next one begins when it is over."""
    bench = Bench()
    first, second = bench.take("a"), bench.take("b")
    await settled()
    first.cancel()
    await settled()
    assert first.cancelled()
    assert bench.log == ["a begins"]
    bench.gates[0].set()
    await settled()
    assert bench.log == ["a begins", "a ends", "b begins"]
    bench.gates[1].set()

    assert await second == "b"


async def test_one_who_gives_up_waiting_for_a_turn_blocks_nobody():
    """It never began."""
    bench = Bench()
    first, second, third = bench.take("a"), bench.take("b"), bench.take("c")
    await settled()
    second.cancel()
    bench.gates[0].set()
    await settled()
    bench.gates[1].set()

    assert (await first, await third) == ("a", "c")
    assert "b begins" not in bench.log


async def test_a_plan_that_was_never_begun_blocks_nobody():
    """Cancelled, or failed, before the client asked for its first round."""
    bench = Bench()

    async def fails(plan):
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await bench.turns.take(fails, bench.plan("a"))
    task = bench.take("b")
    await settled()
    bench.gates[0].set()

    assert await task == "b"
