"""What is worth telling of the life of sessions, and who is told.

Everything goes to one `observe` function, by default to the logger "memsession": what happens to sessions and what
happens to nodes. Sessions appear by the first characters of their public fingerprint; an ID or a value never does.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

_logger = logging.getLogger("memsession")


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened to the session whose fingerprint begins with `session`."""

    session: str

    level: ClassVar[int] = logging.INFO
    text: ClassVar[str] = ""


@dataclass(frozen=True, slots=True)
class CookieRefused(Event):
    """A request came with a cookie that nobody here signed, or with two good ones (`conflict`)."""

    conflict: bool = False
    text: ClassVar[str] = "a session cookie was refused: bad signature, or two different sessions in one request"


@dataclass(frozen=True, slots=True)
class ChangesDropped(Event):
    """A request changed a session that another request had ended meanwhile; its changes were not kept."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "session %s ended while a request was changing it: the changes were dropped"


@dataclass(frozen=True, slots=True)
class InDoubt(Event):
    """A session could not be found, but one of its nodes did not answer. Its cookie is kept."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "session %s was not found, but not all of its nodes answered: shown empty, cookie kept"


@dataclass(frozen=True, slots=True)
class Unreadable(Event):
    """All that was found of a session fails its seal or does not parse. An alarm: wrong secret, or tampering."""

    level: ClassVar[int] = logging.ERROR
    text: ClassVar[str] = "session %s cannot be read: is secret_key the same on all web servers? cookie kept"


@dataclass(frozen=True, slots=True)
class Unanswered(Event):
    """None of a session's nodes answered. The visitor gets a 503, or an empty session (see `on_outage`)."""

    level: ClassVar[int] = logging.ERROR
    text: ClassVar[str] = "no node of session %s answered: are they running? cookie kept"


@dataclass(frozen=True, slots=True)
class ChangesUnsaved(Event):
    """Under `on_outage="empty"`, a request changed a session none of whose nodes answered. Nothing was kept."""

    level: ClassVar[int] = logging.ERROR
    text: ClassVar[str] = "no node of session %s answered: what a request changed was not saved"


@dataclass(frozen=True, slots=True)
class SaveFailed(Event):
    """No node of a session acknowledged what a request did to it. The visitor gets a 503."""

    level: ClassVar[int] = logging.ERROR
    text: ClassVar[str] = "no node of session %s acknowledged a change: answered 503"


@dataclass(frozen=True, slots=True)
class TombstoneMissed(Event):
    """A session was ended, but these of its nodes did not take the tombstone."""

    nodes: tuple[str, ...] = ()
    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "session %s was ended, but some of its nodes did not answer"


@dataclass(frozen=True, slots=True)
class NodeOut:
    """The node is not asked any more, for this reason."""

    node: str
    reason: str


@dataclass(frozen=True, slots=True)
class NodeBack:
    """The node, which was out, answers again."""

    node: str


@dataclass(frozen=True, slots=True)
class NodeForgot:
    """The node does not know its incarnation any more: it restarted or was flushed, and has lost what it held.

    It may be a false alarm: memcached may also have evicted that one item.
    """

    node: str


@dataclass(frozen=True, slots=True)
class SameProcess:
    """These names stand for one memcached process, so several copies of a session lie in one place."""

    nodes: tuple[str, ...]


NodeEvent: TypeAlias = NodeOut | NodeBack | NodeForgot | SameProcess
Observer: TypeAlias = Callable[[NodeEvent], object]


def log_event(event: NodeEvent) -> None:
    """Tell the logger `memsession`; the text is put together only if somebody listens."""
    match event:
        case NodeOut(node, reason):
            _logger.warning("memcached node %s is out: %s", node, reason)
        case NodeBack(node):
            _logger.info("memcached node %s is back", node)
        case NodeForgot(node):
            _logger.warning("memcached node %s has restarted or was flushed: it is empty", node)
        case SameProcess(nodes):  # pragma: no branch
            _logger.error(
                "nodes %s are one memcached process: copies there are lost together, give each an address of its own",
                " and ".join(nodes),
            )


AnyEvent: TypeAlias = Event | NodeEvent
Observe: TypeAlias = Callable[[AnyEvent], object]


def log(event: AnyEvent) -> None:
    """Tell the logger "memsession"; the text is formatted only if somebody listens."""
    if not isinstance(event, Event):
        log_event(event)
    elif _logger.isEnabledFor(event.level):
        _logger.log(event.level, event.text, *([event.session] if "%s" in event.text else []))


def guarded(observe: Observe) -> Observe:
    """The same, but an observer that raises is logged and takes no request with it."""

    def told(event: AnyEvent) -> None:
        try:
            observe(event)
        except Exception:
            _logger.exception("the observe function of memsession failed on %r", event)

    return told
