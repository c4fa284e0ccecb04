"""What is stored: mergeable records of live sessions, tombstones of ended ones, and how they change."""

from memsession.record.changes import Changes, apply, diff, fold
from memsession.record.counters import CounterMemory
from memsession.record.merge import merge, merge_all, merge_live
from memsession.record.payload import decode, encode
from memsession.record.state import ABSENT, Dead, Entry, Live, Reason, Record, SubCount, shown, visible
from memsession.record.values import Plain, freeze, same, thaw

__all__ = [
    "ABSENT",
    "Changes",
    "CounterMemory",
    "Dead",
    "Entry",
    "Live",
    "Plain",
    "Reason",
    "Record",
    "SubCount",
    "apply",
    "decode",
    "diff",
    "encode",
    "fold",
    "freeze",
    "merge",
    "merge_all",
    "merge_live",
    "same",
    "shown",
    "thaw",
    "visible",
]
