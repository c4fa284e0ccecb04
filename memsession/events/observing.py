"""Observers: who is told, and that none takes a request with it."""

import logging
from collections.abc import Callable
from dataclasses import fields
from typing import TypeAlias

from memsession.events.node import NodeEvent
from memsession.events.session import Event

_logger = logging.getLogger("memsession")

AnyEvent: TypeAlias = Event | NodeEvent
Observe: TypeAlias = Callable[[AnyEvent], object]
Observer: TypeAlias = Callable[[NodeEvent], object]


def log(event: AnyEvent) -> None:
    """Tell the logger "memsession"; the text is formatted only if somebody listens."""
    if _logger.isEnabledFor(event.level):
        _logger.log(event.level, event.text, _shown(event))


def _shown(event: AnyEvent) -> dict[str, object]:
    values = {field.name: getattr(event, field.name) for field in fields(event)}
    return {
        name: (" ".join(value) or "none") if isinstance(value, tuple) else value for name, value in values.items()
    }


class Guarded:
    """An observer that takes no request with it when it raises: that is logged."""

    __slots__ = ("_is_log", "_observe")

    def __init__(self, observe: Observe) -> None:
        self._observe = observe
        self._is_log = observe is log

    def __call__(self, event: AnyEvent) -> None:
        try:
            self._observe(event)
        except Exception:
            _logger.exception("the observe function of memsession failed on %r", event)

    def hears(self, kind: type[Event]) -> bool:
        """Whether anybody would hear of such events: of the daily ones a log usually wants nothing."""
        return not self._is_log or _logger.isEnabledFor(kind.level)


def guarded(observe: Observe) -> Guarded:
    """The same, but an observer that raises is logged and takes no request with it."""
    return Guarded(observe)


def is_heard(observe: Observe, kind: type[Event]) -> bool:
    """Whether it is worth the time to make an event of that kind."""
    return not isinstance(observe, Guarded) or observe.hears(kind)
