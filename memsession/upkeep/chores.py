"""Chores: what is done behind the requests, as generators, so that the simulator runs them as they are shipped.

A chore yields one step after the other, and receives what came of it:

    a plan     what the plan returns
    Pause      nothing, when the time is over
    Listing    the keys of a node, in batches; `OSError` comes while they are read, when they cannot all be had
"""

from collections.abc import Generator
from typing import Any, NamedTuple, TypeAlias, TypeVar

from memsession.plans import Plan

T = TypeVar("T")


class Pause(NamedTuple):
    """Do nothing for so many seconds."""

    seconds: float


class Listing(NamedTuple):
    """The storage keys of all sessions, living and ended, that a node holds."""

    node: str


Step: TypeAlias = Plan[Any] | Pause | Listing
Chore: TypeAlias = Generator[Step, Any, T]
