"""Every outcome of a visit is told, as one event each, and to nobody's cost."""

import logging

import pytest

from memsession import events
from memsession.errors import PoolUnavailable, SessionBusy
from memsession.events import (
    ChangesDropped,
    CookieRefused,
    Created,
    Ended,
    InDoubt,
    Loaded,
    LockBusy,
    Moved,
    NotThere,
    Saved,
    TombstoneMissed,
    Unreadable,
)
from memsession.exclusive import Exclusive
from memsession.identity import short
from tests.visits import Browser, Mode, WebServer, begun, put


def told(server):
    """The events since the last time."""
    heard, server.events = server.events, []
    return heard


def test_created(server, browser):
    """By the name under which it is stored."""
    request = server.visit(browser, put(a=1))

    assert told(server) == [Created(request.session.id[:12])]


def test_loaded_and_saved(server, browser):
    """A reader is told as loaded, a writer as saved, too."""
    name = short(begun(server, browser))
    server.visit(browser)
    server.visit(browser, put(b=1))

    assert told(server) == [Loaded(name), Loaded(name), Saved(name)]


def test_a_renewal_of_the_last_use_is_no_save(server, browser):
    """Nothing was changed by the application."""
    name = short(begun(server, browser))
    server.nodes.now_s = 600
    server.visit(browser)

    assert told(server) == [Loaded(name)]


def test_saved_midway(server, browser):
    """By `save()` and by `modify()`, once each."""
    name = short(begun(server, browser))
    request = server.arrive(browser)
    told(server)
    request.session["b"] = 1
    request.save()
    request.modify("n", lambda n: 1)
    request.leave()

    assert told(server) == [Saved(name), Saved(name)]


def test_conflicts_are_counted(nodes, browser):
    """How often somebody else came first; here two, each between our read and our write."""
    server, others = WebServer(nodes), WebServer(nodes)
    name = short(begun(server, browser))
    request = server.arrive(browser)
    request.session["mine"] = 1
    told(server)
    server.lifecycle.deadline(request.visit)
    plan = server.lifecycle.commit(request.visit)
    commands = next(plan)
    for i in range(2):
        others.visit(browser.copy(), put(theirs=i))
        commands = plan.send(nodes.answer(commands))  # refused: read again
        commands = plan.send(nodes.answer(commands))
    nodes.finish(plan, commands)

    assert told(server) == [Saved(name, 2)]


def test_conflicts_of_modify_are_counted(nodes, browser):
    """At the node that orders, and at those that follow."""
    server, others = WebServer(nodes), WebServer(nodes)
    name = short(begun(server, browser, n=0))
    request = server.arrive(browser)
    others.visit(browser.copy(), lambda session: session.increment("n"))
    told(server)

    assert request.modify("n", lambda n: n + 10) == 11
    assert told(server) == [Saved(name, 2)]


def test_repaired_nodes_are_named(nodes, server, browser):
    """Those that had lost it or had an older copy, and have it again; once."""
    key = begun(server, browser)
    one, other = server.world.homes(key)
    nodes.nodes[one].restart()
    server.visit(browser)
    nodes.set(Mode.OUT, other)
    server.visit(browser, put(b=1))
    nodes.set(Mode.UP)
    server.visit(browser)
    server.visit(browser)

    assert [event.repaired for event in told(server) if isinstance(event, Loaded)] == [(one,), (), (other,), ()]


def test_a_repair_that_failed_is_not_told(nodes, server, browser):
    """The node was asked, and did not take it."""
    key = begun(server, browser)
    one, _ = server.world.homes(key)
    nodes.nodes[one].restart()
    visit = server.lifecycle.arrive(browser.header(), https=True)
    server.lifecycle.deadline(visit)
    plan = server.lifecycle.load(visit)
    commands = plan.send(nodes.answer(next(plan)))
    nodes.set(Mode.SILENT, one)
    nodes.finish(plan, commands)

    assert told(server) == [Loaded(short(key), ())]


def test_moved(server, browser):
    """From where to where."""
    name = short(begun(server, browser))
    request = server.visit(browser, put(user_id=1))

    assert told(server) == [Loaded(name), Moved(name, request.session.id[:12])]


def test_ended(server, browser):
    """A logout; then a new session, if there is a farewell."""
    name = short(begun(server, browser))
    request = server.visit(browser, lambda session: (session.invalidate(), session.flash("bye")))

    assert told(server) == [Loaded(name), Ended(name), Created(request.session.id[:12])]


@pytest.mark.parametrize("how", ["logout", "login", "idle", "absolute", "unknown"])
def test_not_there(nodes, server, browser, how):
    """A signed ID that is over, and why."""
    name = short(begun(server, browser))
    old = browser.copy()
    match how:
        case "logout":
            server.visit(browser, lambda session: session.invalidate())
        case "login":
            server.visit(browser, lambda session: session.regenerate())
        case "idle":
            nodes.now_s = 1_800
        case "absolute":
            for minute in range(12 * 60):
                nodes.now_s = 60 * minute
                server.visit(old)
            nodes.now_s = 12 * 3_600
        case "unknown":
            for node in nodes.nodes.values():
                node.restart()
    told(server)
    server.visit(old)
    why = {"logout": "ended", "login": "ended", "unknown": "unknown"}.get(how, "expired")

    assert told(server) == [NotThere(name, why)]


@pytest.mark.parametrize("own", [True, False])
def test_not_there_is_told_of_a_session_with_a_deadline_too(nodes, server, browser, own):
    """After both limits have passed memcached has forgotten it as well: unknown."""
    name = short(begun(server, browser))
    nodes.now_s = 86_400
    if own:
        server.arrive(browser)
    else:
        server.visit(browser)

    assert told(server) == [NotThere(name, "unknown")]


def test_doubt_and_what_cannot_be_read(nodes, server, browser):
    """The first is a node's fault, the second an alarm."""
    key = begun(server, browser)
    one, other = server.world.homes(key)
    nodes.nodes[one].restart()
    nodes.set(Mode.SILENT, other)
    server.visit(browser)
    nodes.set(Mode.UP)
    for node in (one, other):
        nodes.nodes[node].bury(key, b"garbage", 60)
    server.visit(browser)

    assert told(server) == [InDoubt(short(key)), Unreadable(short(key))]


def test_dropped(server, browser):
    """A change that came after the end, once for each commit that had one."""
    name = short(begun(server, browser))
    request = server.arrive(browser.copy())
    server.visit(browser, lambda session: session.invalidate())
    told(server)
    request.session["late"] = 1
    request.leave()

    assert told(server) == [ChangesDropped(name)]


def test_a_tombstone_that_missed_a_node(nodes, server, browser):
    """Which one; the end itself is told, too."""
    key = begun(server, browser)
    one, _ = server.world.homes(key)
    nodes.set(Mode.OUT, one)
    server.visit(browser, lambda session: session.invalidate())

    assert told(server)[-2:] == [Ended(short(key)), TombstoneMissed(short(key), (one,))]


@pytest.mark.parametrize(
    ("cookies", "expected"),
    [
        (lambda a, b: [b"__Host-session=bad"], [CookieRefused("", conflict=False)]),
        (lambda a, b: [b"__Host-session=" + a, b"__Host-session=" + b], [CookieRefused("", conflict=True)]),
        (lambda a, b: [b"theme=dark"], []),
        (lambda a, b: [], []),
    ],
)
def test_cookies(server, cookies, expected):
    """A bad one, and two good ones; other cookies are nobody's business."""
    anna, bert = Browser(), Browser()
    begun(server, anna)
    begun(server, bert)
    values = [browser.cookies[b"__Host-session"] for browser in (anna, bert)]
    server.lifecycle.arrive(cookies(*values), https=True)

    assert told(server) == expected


def test_a_lock_that_is_busy(nodes, browser):
    """With what became of the one that waited."""
    server = WebServer(nodes, exclusive=Exclusive())
    name = short(begun(server, browser))
    server.arrive(browser)
    told(server)
    with pytest.raises(SessionBusy):
        server.arrive(browser)

    assert told(server) == [LockBusy(name, "error")]


def test_an_outage_is_told_once(nodes, server, browser):
    """By the request that met it."""
    begun(server, browser)
    nodes.set(Mode.SILENT)
    with pytest.raises(PoolUnavailable):
        server.arrive(browser)

    assert [type(event).__name__ for event in told(server)] == ["Unanswered"]


def test_nothing_is_formatted_on_the_way(caplog, monkeypatch, nodes, browser):
    """With the logger set to warnings an ordinary life makes no text and no record."""
    caplog.set_level(logging.WARNING, logger="memsession")
    monkeypatch.setattr("memsession.events.observing._shown", lambda event: pytest.fail(repr(event)))
    monkeypatch.setattr(WebServer, "_tell", lambda self, event: events.log(event))
    server = WebServer(nodes)
    server.visit(browser, put(a=1))
    server.visit(browser, put(a=2))
    server.visit(browser, lambda session: session.regenerate())
    server.visit(browser, lambda session: session.invalidate())

    assert caplog.records == []
