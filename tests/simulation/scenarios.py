"""All scenarios; importing this module registers them."""

from . import (
    scenarios_counters,
    scenarios_forgetting,
    scenarios_lifetimes,
    scenarios_locks,
    scenarios_moves,
    scenarios_pool,
    scenarios_refill,
    scenarios_saves,
    scenarios_time,
)

__all__ = [
    "scenarios_counters",
    "scenarios_forgetting",
    "scenarios_lifetimes",
    "scenarios_locks",
    "scenarios_moves",
    "scenarios_pool",
    "scenarios_refill",
    "scenarios_saves",
    "scenarios_time",
]
