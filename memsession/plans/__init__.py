"""Replication, told once: sans-IO plans that every client runs and the simulator runs as well."""

from memsession.plans.birth import Keyed, bear, draw
from memsession.plans.end import INVALIDATED, end
from memsession.plans.load import load, repair
from memsession.plans.modify import modify
from memsession.plans.outcomes import (
    Absent,
    Buried,
    Doubt,
    Ended,
    Found,
    Gone,
    Loaded,
    LostRace,
    Modified,
    Outage,
    Regenerated,
    RegenerateOutcome,
    Saved,
    SaveOutcome,
    Unconfirmed,
)
from memsession.plans.regenerate import regenerate
from memsession.plans.save import create, save
from memsession.plans.world import Codec, Plan, World

__all__ = [
    "INVALIDATED",
    "Absent",
    "Buried",
    "Codec",
    "Doubt",
    "Ended",
    "Found",
    "Gone",
    "Keyed",
    "Loaded",
    "LostRace",
    "Modified",
    "Outage",
    "Plan",
    "RegenerateOutcome",
    "Regenerated",
    "SaveOutcome",
    "Saved",
    "Unconfirmed",
    "World",
    "bear",
    "create",
    "draw",
    "end",
    "load",
    "modify",
    "regenerate",
    "repair",
    "save",
]
