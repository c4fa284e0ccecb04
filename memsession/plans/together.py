"""Several plans as one: their rounds go out together, so that many sessions cost as many round trips as one."""

from collections.abc import Sequence
from typing import Any, TypeVar

from memsession.commands import Command
from memsession.plans.world import Plan

T = TypeVar("T")


def together(plans: Sequence[Plan[T]]) -> Plan[list[T]]:
    """Run all of `plans`, and return what they return, in their order.

    Each round holds the rounds of those that are not done yet. What one of them raises ends all.
    """
    results: list[Any] = [None] * len(plans)
    waiting = [(at, plan, commands) for at, plan in enumerate(plans) if (commands := _step(plan, None, results, at))]
    while waiting:
        replies = yield [command for _, _, commands in waiting for command in commands]
        begun, still = 0, []
        for at, plan, commands in waiting:
            mine, begun = replies[begun : begun + len(commands)], begun + len(commands)
            further = _step(plan, mine, results, at)
            if further:
                still.append((at, plan, further))
        waiting = still
    return results


def _step(plan: Plan[Any], replies: Any, results: list[Any], at: int) -> Sequence[Command]:
    """The plan's next round; nothing when it is done."""
    try:
        return plan.send(replies)
    except StopIteration as finished:
        results[at] = finished.value
        return ()
