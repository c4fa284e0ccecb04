"""All scenarios; importing this module registers them."""

from . import (
    scenarios_counters,
    scenarios_forgetting,
    scenarios_lifetimes,
    scenarios_locks,
    scenarios_moves,
    scenarios_pool,
    scenarios_refill,
    scenarios_replies,
    scenarios_saves,
    scenarios_strict,
    scenarios_strict_pool,
    scenarios_time,
    scenarios_upkeep,
)

__all__ = [
    "scenarios_counters",
    "scenarios_forgetting",
    "scenarios_lifetimes",
    "scenarios_locks",
    "scenarios_moves",
    "scenarios_pool",
    "scenarios_refill",
    "scenarios_replies",
    "scenarios_saves",
    "scenarios_strict",
    "scenarios_strict_pool",
    "scenarios_time",
    "scenarios_upkeep",
]
