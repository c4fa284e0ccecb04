"""Messages for the next page: each under a key of its own, so those of parallel requests are kept beside each other.

A deleted key leaves a mark in the stored record, so keys are used again: up to 64 are made, with random names, and
from then on a message takes one of those that are free. Two requests at once choose the same one only then, once in
up to 64 times; one of their messages is lost.
"""

import secrets
from collections.abc import Collection
from typing import Any, Final

from memsession.record import Live

PREFIX: Final = "_flash."
SLOTS: Final = 64
"""As many messages may wait; one more takes the place of the oldest."""


def put(session: dict[str, Any], record: Live | None, message: Any, category: str) -> None:
    """Add a message. `record` is what is stored, if anything is."""
    waiting = _waiting(session)
    made = [] if record is None else [key for key in record.entries if key.startswith(PREFIX)]
    number = waiting[-1][0] + 1 if waiting else 1
    session[_key(session, made, waiting)] = [number, category, message]


def _key(session: dict[str, Any], made: list[str], waiting: list[tuple[int, str]]) -> str:
    if len(waiting) >= SLOTS:
        return waiting[0][1]
    free = [key for key in made if key not in session]
    if len(made) >= SLOTS and free:
        return secrets.choice(free)
    return PREFIX + secrets.token_urlsafe(6)


def take(session: dict[str, Any], categories: Collection[str]) -> list[tuple[str, Any]]:
    """Take messages out, oldest first; of all categories when none is named."""
    taken = []
    for _, key in _waiting(session):
        _, category, message = session[key]
        if not categories or category in categories:
            del session[key]
            taken.append((category, message))
    return taken


def _waiting(session: dict[str, Any]) -> list[tuple[int, str]]:
    """Number and key of each message, oldest first."""
    found = []
    for key, value in session.items():
        if type(key) is str and key.startswith(PREFIX):
            match value:
                case [int() as number, str(), _]:
                    found.append((number, key))
    return sorted(found)
