"""What a request changed, found by comparing; and what the session shows when its stored state has changed."""

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from memsession.errors import UnstorableValue
from memsession.record import Changes, Plain, diff, freeze, same, thaw
from memsession.session.contents import Contents
from memsession.session.ledger import Ledger

NO_CHANGES: Final = Changes()

_UNCHANGEABLE: Final = frozenset(
    {str, int, float, bool, type(None), bytes, datetime, date, time, timedelta, Decimal, UUID}
)


def changes_of(session: Contents, ledger: Ledger) -> Changes:
    """What the request changed and was not performed yet. Raises `UnstorableValue` for what cannot be stored."""
    if not (ledger.accessed or ledger.used or ledger.exposed):
        return NO_CHANGES
    for view in ledger.views:
        view.write(session)
    if ledger.performed is not None:
        _fold(ledger)
    return _beyond(session, ledger, ledger.before)


def content_of(session: Contents, ledger: Ledger) -> Changes:
    """All that the session holds, as changes to an empty one. Raises `UnstorableValue` for what cannot be stored."""
    for view in ledger.views:
        view.write(session)
    changes = _beyond(session, ledger, {})
    # Nobody else counts under an ID that nobody has: there the counters begin as plain values.
    return Changes({**changes.puts, **changes.increments})


def _beyond(session: Contents, ledger: Ledger, before: Mapping[str, Plain]) -> Changes:
    content = dict([*dict.items(session)])  # taken in one step: another thread may be changing it
    return diff(before, content, ledger.increments)


def settle(ledger: Ledger, changes: Changes) -> None:
    """`changes`, as `changes_of` gave them, were performed: only what the request does beyond them is one now."""
    if changes:
        ledger.performed = changes


def _fold(ledger: Ledger) -> None:
    """What was performed counts as loaded. Done late, for most requests end with their only commit."""
    changes, ledger.performed = ledger.performed or NO_CHANGES, None
    before = {**ledger.before, **changes.puts}
    for key in changes.deletes:
        before.pop(key, None)
    for key, by in changes.increments.items():
        before[key] = before.get(key, 0) + by
        # Another task of the request may have counted on while the round trips were under way.
        ledger.increments[key] = ledger.increments.get(key, 0) - by
    ledger.before = before


def adopt(session: Contents, ledger: Ledger, before: Mapping[str, Plain], changes: Changes) -> None:
    """Show what is stored now (`before`), with `changes` that are still to be performed on top."""
    wanted = {**before, **changes.puts}
    content = {key: _kept(session, key, plain) for key, plain in wanted.items()}
    for key in changes.deletes:
        content.pop(key, None)
    increments: dict[str, int] = {}
    for key, by in changes.increments.items():
        there = content.get(key, 0)
        # Where another request has put something else than a number, nothing is left to count on.
        if type(there) in (int, float):
            content[key], increments[key] = there + by, by
    ledger.before, ledger.increments = before, increments
    dict.clear(session)
    dict.update(session, content)
    for view in ledger.views:
        view.refresh(session)


def _kept(session: Contents, key: str, plain: Plain) -> Any:
    """The value of `plain`: if the session shows it already, the very object, for the application may hold it."""
    there = dict.get(session, key)
    if there is None or type(there) in _UNCHANGEABLE:
        return thaw(plain)
    try:
        return there if same(freeze(there, key), plain) else thaw(plain)
    except UnstorableValue:
        return thaw(plain)


def take_back(session: Contents, ledger: Ledger) -> None:
    """Undo whatever the request did and no commit has performed."""
    if ledger.performed is not None:
        _fold(ledger)
    ledger.views = ()
    ledger.done()
    adopt(session, ledger, ledger.before, NO_CHANGES)


def response_begins(session: Contents, ledger: Ledger) -> None:
    """From now on changes are noticed by use; by comparing where values can be changed without using the session."""
    if ledger.accessed or ledger.used or ledger.exposed:
        changeable = bool(ledger.views) or not _UNCHANGEABLE.issuperset(map(type, tuple(dict.values(session))))
        ledger.exposed = ledger.accessed or changeable
        ledger.accessed = ledger.used = False
    ledger.answered = True
