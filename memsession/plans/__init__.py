"""Replication, told once: sans-IO plans that every client runs and the simulator runs as well."""

from memsession.plans.birth import Keyed, bear, draw
from memsession.plans.end import INVALIDATED, end
from memsession.plans.load import load, repair
from memsession.plans.lock import acquire, holds, release
from memsession.plans.modify import modify
from memsession.plans.outcomes import (
    Absent,
    Buried,
    Busy,
    Doubt,
    Ended,
    Found,
    Gone,
    Loaded,
    Locked,
    LockOutcome,
    LostRace,
    Modified,
    NoMajority,
    Outage,
    Regenerated,
    RegenerateOutcome,
    Saved,
    SaveOutcome,
    Unconfirmed,
    Unlockable,
)
from memsession.plans.regenerate import Limits, regenerate
from memsession.plans.save import create, save
from memsession.plans.world import Codec, Plan, World

__all__ = [
    "INVALIDATED",
    "Absent",
    "Buried",
    "Busy",
    "Codec",
    "Doubt",
    "Ended",
    "Found",
    "Gone",
    "Keyed",
    "Limits",
    "Loaded",
    "LockOutcome",
    "Locked",
    "LostRace",
    "Modified",
    "NoMajority",
    "Outage",
    "Plan",
    "RegenerateOutcome",
    "Regenerated",
    "SaveOutcome",
    "Saved",
    "Unconfirmed",
    "Unlockable",
    "World",
    "acquire",
    "bear",
    "create",
    "draw",
    "end",
    "holds",
    "load",
    "modify",
    "regenerate",
    "release",
    "repair",
    "save",
]
