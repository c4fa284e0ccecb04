"""All scenarios; importing this module registers them."""

from . import scenarios_counters, scenarios_moves, scenarios_saves

__all__ = ["scenarios_counters", "scenarios_moves", "scenarios_saves"]
