"""What is wrong, or worth knowing, and what to do about it."""

from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """How bad it is, worst first.

    `ERROR`: sessions are lost, or will be. `WARNING`: it works, and is not safe or will not last. `NOTE`: worth
    knowing.
    """

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


LEVELS = tuple(Level)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`check` names what was looked at; `node` is empty if it is about the pool. `cure`: a sentence, or empty."""

    level: Level
    check: str
    what: str
    cure: str = ""
    node: str = ""
