"""Events: who is told of what, and that no ID, secret or value is ever among it."""

import dataclasses
import logging

import pytest

from memsession import events
from memsession.errors import PoolUnavailable
from memsession.events import (
    ChangesDropped,
    ChangesForgotten,
    ChangesUnsaved,
    CookieRefused,
    Created,
    Ended,
    Event,
    InDoubt,
    Loaded,
    LockBusy,
    LockExpired,
    Moved,
    NodeBack,
    NodeForgot,
    NodeOut,
    NotThere,
    SameProcess,
    Saved,
    SaveFailed,
    TombstoneMissed,
    TooFewCopies,
    Unanswered,
    Unreadable,
    guarded,
    is_heard,
    log,
)
from tests.visits import SECRET, Browser, Mode, Nodes, WebServer, begun, put

TOLD = [
    (Created("abcdefghijkl"), logging.INFO),
    (Loaded("abcdefghijkl", ("10.0.0.94:11211",)), logging.DEBUG),
    (Saved("abcdefghijkl", 3), logging.DEBUG),
    (Moved("abcdefghijkl", "mnopqrstuvwx"), logging.INFO),
    (Ended("abcdefghijkl"), logging.INFO),
    (NotThere("abcdefghijkl", "expired"), logging.INFO),
    (ChangesForgotten("abcdefghijkl"), logging.ERROR),
    (LockBusy("abcdefghijkl", "read_only"), logging.WARNING),
    (LockExpired("abcdefghijkl"), logging.ERROR),
    (CookieRefused("", conflict=True), logging.INFO),
    (ChangesDropped("abcdefghijkl"), logging.WARNING),
    (InDoubt("abcdefghijkl"), logging.WARNING),
    (Unreadable("abcdefghijkl"), logging.ERROR),
    (Unanswered("abcdefghijkl"), logging.ERROR),
    (ChangesUnsaved("abcdefghijkl"), logging.ERROR),
    (SaveFailed("abcdefghijkl"), logging.ERROR),
    (TombstoneMissed("abcdefghijkl", ("b",)), logging.WARNING),
    (TooFewCopies("abcdefghijkl", "shown empty"), logging.ERROR),
    (NodeOut("b", "refused"), logging.WARNING),
    (NodeBack("b"), logging.INFO),
    (NodeForgot("b"), logging.WARNING),
    (SameProcess(("a", "b")), logging.ERROR),
]


@pytest.mark.parametrize(("event", "level"), TOLD, ids=lambda value: type(value).__name__)
def test_each_event_is_one_line_of_the_log(caplog, event, level):
    """What happens to sessions and what happens to nodes, at a level that fits, with the session or node named."""
    caplog.set_level(logging.DEBUG, logger="memsession")
    log(event)
    [record] = caplog.records
    told = [getattr(event, field.name) for field in dataclasses.fields(event)]
    named = [name for value in told for name in (value if isinstance(value, tuple) else (value,))]

    assert (record.name, record.levelno) == ("memsession", level)
    assert [name for name in named if type(name) is not bool and str(name) not in record.getMessage()] == []
    assert not {"%", "\n"} & set(record.getMessage())


def test_every_event_of_sessions_is_in_the_list():
    """A new kind of event is tested too."""
    kinds = {kind.__name__ for kind in Event.__subclasses__()}

    assert kinds == {type(event).__name__ for event, _ in TOLD if isinstance(event, Event)}


def test_nothing_is_formatted_for_nobody(caplog):
    """With the logger set to errors, a warning makes no record."""
    caplog.set_level(logging.ERROR, logger="memsession")
    log(InDoubt("abcdefghijkl"))

    assert caplog.records == []


def test_an_observer_that_raises_takes_no_request_with_it(caplog):
    """It is logged, with the event; the request goes on."""
    told = guarded(lambda event: 1 / 0)
    told(InDoubt("abcdefghijkl"))
    [record] = caplog.records

    assert "observe function" in record.getMessage()
    assert record.exc_info[0] is ZeroDivisionError


def test_an_observer_hears_every_event():
    """In the order in which they happen."""
    heard = []
    told = guarded(heard.append)
    for event, _ in TOLD:
        told(event)

    assert heard == [event for event, _ in TOLD]


def test_no_id_secret_or_value_is_told(caplog):
    """All that a life of trouble tells, as text: none of the IDs, cookies, secrets and values occurs in it."""
    nodes = Nodes(3)
    server = WebServer(nodes, empty_on_outage=True)
    browser, hidden, shown = Browser(), [SECRET, "anna-s3cr3t"], []

    def step(act, mode=Mode.UP, *names):
        nodes.set(mode, *names)
        request = server.arrive(browser)
        try:
            act(request.session)
            request.leave()
        except PoolUnavailable as problem:
            shown.extend([str(problem), repr(problem)])
        shown.extend([repr(request.visit.ticket), repr(request.visit.cookie), repr(server.lifecycle)])
        hidden.extend(value.decode() for value in browser.cookies.values())
        nodes.set(Mode.UP)

    step(put(a="anna-s3cr3t"))
    key = begun(server, browser, name="anna-s3cr3t")
    old = browser.copy()
    step(put(user_id="anna-s3cr3t"), Mode.OUT, server.world.homes(key)[0])
    server.visit(old, put(f="anna-s3cr3t"))
    step(put(b="anna-s3cr3t"), Mode.SILENT)
    step(lambda session: session.invalidate(), Mode.SILENT)
    key = server.arrive(browser).key
    for home in server.world.homes(key):
        nodes.nodes[home].bury(key, b"anna-s3cr3t", 60)
    step(put(c=1))
    nodes.nodes[server.world.homes(server.arrive(browser).key)[0]].restart()
    step(put(d=1), Mode.OUT, server.world.homes(server.arrive(browser).key)[1])
    browser.cookies[b"__Host-session"] = b"x" * 43 + b"." + b"A" * 43
    step(put(e=1))
    shown.extend(repr(event) for event in server.events)
    caplog.set_level(logging.DEBUG, logger="memsession")
    for event in server.events:
        log(event)
    shown.extend([caplog.text, *(repr(vars(record)) for record in caplog.records)])
    kinds = {type(event).__name__ for event in server.events}
    text = "\n".join(shown)
    pieces = [piece for secret in hidden for piece in secret.split(".") if piece]

    assert {"SaveFailed", "Unreadable", "Unanswered", "ChangesUnsaved", "CookieRefused", "ChangesDropped"} <= kinds
    assert len(pieces) > 10
    assert [piece for piece in pieces if piece in text] == []


def test_the_module_names_what_observers_get():
    """`AnyEvent` and `Observe` are there to annotate an observer with."""
    assert {"AnyEvent", "Observe"} <= set(vars(events))


def test_daily_events_are_not_even_made_when_nobody_listens(caplog):
    """The default log wants nothing of DEBUG events, unless it is told to; other observers want all."""
    with caplog.at_level(logging.INFO, "memsession"):
        quiet = is_heard(guarded(log), Loaded), is_heard(guarded(log), Created)
    with caplog.at_level(logging.DEBUG, "memsession"):
        loud = is_heard(guarded(log), Loaded)

    assert quiet == (False, True)
    assert loud
    assert is_heard(guarded(print), Loaded)
    assert is_heard(print, Loaded)
