"""Changes after the response has begun: saved by `save()`, or told, never lost in silence; and no false alarms."""

from dataclasses import dataclass
from datetime import timedelta

import pytest

from memsession.errors import PoolUnavailable
from memsession.exclusive import Exclusive
from tests.visits import Browser, Mode, Nodes, WebServer, begun, put, seen_by

CONTENT = {"cart": {"items": ["x"]}, "n": 1, "when": timedelta(seconds=1)}


@dataclass
class View:
    n: int = 0


@pytest.fixture
def nodes():
    return Nodes()


@pytest.fixture
def server(nodes):
    return WebServer(nodes, rotate_on=["user_id"])


@pytest.fixture
def browser():
    return Browser()


def told(request):
    """Whether it was found out, by the answer and by the event alike."""
    request.server.events.clear()
    forgot = request.lifecycle.forgot(request.visit)
    assert [name == "ChangesForgotten" for name in request.server.told()] == ([True] if forgot else [])
    return forgot


LATE = {
    "a key assigned": lambda s: s.update(n=2),
    "a key added": lambda s: s.update(new=1),
    "a key deleted": lambda s: s.pop("n"),
    "setdefault": lambda s: s.setdefault("new", []),
    "a nested change": lambda s: s["cart"]["items"].append("y"),
    "a nested change through a view of the dict": lambda s: next(iter(s.values()))["items"].append("y"),
    "increment": lambda s: s.increment("n"),
    "increment of a new key": lambda s: s.increment("new", 0),
    "clear": lambda s: s.clear(),
    "invalidate": lambda s: s.invalidate(),
    "regenerate": lambda s: s.regenerate(),
    "set_lifetime": lambda s: s.set_lifetime(),
    "flash": lambda s: s.flash("late"),
    "csrf_token": lambda s: s.csrf_token(),
    "a typed view": lambda s: setattr(s.as_(View), "n", 5),
    "what cannot be stored": lambda s: s.update(n=object()),
    "what cannot be stored, nested": lambda s: s["cart"]["items"].append(object()),
}

BEFORE = {
    "untouched before": lambda s: None,
    "read before": dict,
    "changed before": put(other=1),
    "moved before": lambda s: s.regenerate(),
    "counted before": lambda s: s.increment("n"),
    "logged in before": put(user_id=1),
}


@pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE)
@pytest.mark.parametrize("late", LATE.values(), ids=LATE)
def test_what_is_changed_after_the_head_is_told(server, browser, before, late):
    """Whatever was done before; and it is not in the store."""
    begun(server, browser, **CONTENT)
    request = server.visit(browser, before)
    stored = seen_by(server, browser)
    late(request.session)

    assert told(request)
    assert seen_by(server, browser) == stored


SAVED = (
    "a key assigned",
    "a key deleted",
    "a nested change",
    "increment",
    "clear",
    "flash",
    "csrf_token",
    "a typed view",
)


@pytest.mark.parametrize("late", [*SAVED, "invalidate"])
def test_what_is_saved_is_not_told(server, browser, late):
    """An explicit `save()` after it, and it is in the store."""
    begun(server, browser, **CONTENT)
    request = server.visit(browser)
    stored = seen_by(server, browser)
    LATE[late](request.session)
    request.save()

    assert not told(request)
    assert seen_by(server, browser) != stored


@pytest.mark.parametrize("taken", ["before the head", "before a save", "before a save after the head"])
def test_a_value_taken_out_of_the_session(server, browser, taken):
    """It is changed later without any use of the session; the session looks, and tells or saves."""
    begun(server, browser, **CONTENT)
    request = server.arrive(browser)
    items = request.session["cart"]["items"]
    if taken == "before a save":
        items.append("saved")
        request.save()
    request.leave()
    if taken == "before a save after the head":
        items.append("saved")
        request.save()
    assert not told(request)
    items.append("lost")

    assert told(request)
    assert seen_by(server, browser)["cart"]["items"] == (["x"] if taken == "before the head" else ["x", "saved"])


def test_changes_after_a_save_after_the_head(server, browser):
    """The first is saved, the second is told."""
    begun(server, browser, **CONTENT)
    request = server.visit(browser)
    request.session["n"] = 2
    request.save()
    request.session["n"] = 3

    assert told(request)
    assert seen_by(server, browser)["n"] == 2


QUIET_BEFORE = {
    **BEFORE,
    "nested": lambda s: s.setdefault("cart", {"items": []})["items"].append("y"),
    "deleted": lambda s: s.pop("n", None),
    "logged out": lambda s: s.invalidate(),
    "cleared": lambda s: s.clear(),
    "cleared and filled": lambda s: (s.clear(), s.update(a=[1])),
    "farewell": lambda s: (s.invalidate(), s.flash("bye")),
    "farewell counted": lambda s: (s.invalidate(), s.increment("n"), s.update(a=[])),
    "regenerated and counted": lambda s: (s.regenerate(), s.increment("n")),
    "flashes taken": lambda s: (s.flash("a"), s.get_flashed()),
    "token": lambda s: s.csrf_token(),
    "view": lambda s: setattr(s.as_(View), "n", 5),
    "lifetime": lambda s: s.set_lifetime(),
    "lifetime and farewell": lambda s: (s.invalidate(), s.set_lifetime()),
}
READ_LATER = {
    "nothing": lambda s: None,
    "reading": lambda s: (dict(s), s.get("cart"), s.id, s.ended, repr(s)),
    "no messages": lambda s: s.get_flashed("none"),
    "a wrong token": lambda s: s.csrf_valid("x"),
    "a change taken back": lambda s: (s.update(tmp=1), s.pop("tmp")),
    "counted there and back": lambda s: (s.increment("m"), s.pop("m")),
}


@pytest.mark.parametrize("new", [True, False], ids=["new", "stored"])
@pytest.mark.parametrize("before", QUIET_BEFORE.values(), ids=QUIET_BEFORE)
@pytest.mark.parametrize("later", READ_LATER.values(), ids=READ_LATER)
def test_no_false_alarm(server, browser, new, before, later):
    """What was committed, and what only looks, is nothing to tell."""
    if not new:
        begun(server, browser, **CONTENT)
    request = server.visit(browser, before)
    later(request.session)

    assert not told(request)


@pytest.mark.parametrize(
    "late",
    [lambda s: s.regenerate(), lambda s: s.invalidate(), lambda s: s.clear(), lambda s: s.set_lifetime()],
    ids=["regenerate", "invalidate", "clear", "set_lifetime"],
)
def test_where_nothing_is_stored_there_is_nothing_to_forget(server, browser, late):
    """A visitor without a session who logs out after the head loses nothing."""
    request = server.visit(browser)
    late(request.session)

    assert not told(request)


class TestWithoutASession:
    """Requests whose session cannot be had, or is over."""

    def test_begun_after_the_head(self, server, browser):
        """A new session after the head would have no cookie."""
        request = server.visit(browser)
        request.session["a"] = 1

        assert told(request)

    def test_dropped(self, server, browser):
        """Changes of a session that ended meanwhile were told as dropped; later ones are told as well."""
        begun(server, browser, **CONTENT)
        request = server.arrive(browser.copy())
        server.visit(browser, lambda session: session.regenerate())
        request.session["n"] = [2]
        request.session.increment("m")
        request.leave()
        assert not told(request)
        request.session["n"].append(3)

        assert told(request)

    @pytest.mark.parametrize("late", [lambda s: s.regenerate(), lambda s: s.set_lifetime()])
    def test_dropped_with_nothing_to_lose(self, server, browser, late):
        """A session that is over cannot be renewed, by `save()` neither."""
        begun(server, browser, **CONTENT)
        old = browser.copy()
        server.visit(browser, lambda session: session.regenerate())
        request = server.visit(old)
        late(request.session)

        assert not told(request)

    def test_dropped_by_a_save_after_the_head(self, server, browser):
        """`save()` tells that they were dropped; then there is nothing left to forget."""
        begun(server, browser, **CONTENT)
        request = server.visit(browser.copy())
        server.visit(browser, lambda session: session.invalidate())
        request.session["n"] = [2]
        request.save()

        assert request.session.ended
        assert not told(request)

    @pytest.mark.parametrize("late", [put(a=1), lambda s: s.invalidate(), lambda s: s.clear()])
    def test_in_an_outage(self, nodes, browser, late):
        """With an empty session shown; what is changed in time is told by its own event."""
        server = WebServer(nodes, empty_on_outage=True)
        begun(server, browser, **CONTENT)
        nodes.set(Mode.SILENT)
        request = server.visit(browser, put(b=[1]))
        assert server.told() == ["Unanswered", "ChangesUnsaved"]
        assert not told(request)
        late(request.session)

        assert told(request)

    def test_in_an_outage_while_being_stored(self, nodes, browser):
        """A new session that could not be stored was told of; that is all."""
        server = WebServer(nodes, empty_on_outage=True)
        nodes.set(Mode.SILENT)
        request = server.visit(browser, put(b=[1]))

        assert server.told() == ["ChangesUnsaved"]
        assert not told(request)

    def test_a_logout_in_doubt(self, nodes, server, browser):
        """Nothing was found and not all nodes answered: `clear()` after the head is a logout that was forgotten."""
        key = begun(server, browser, **CONTENT)
        one, other = server.world.homes(key)
        nodes.nodes[one].restart()
        nodes.set(Mode.SILENT, other)
        request = server.visit(browser)
        request.session.clear()

        assert told(request)

    def test_a_503_is_not_told_again(self, nodes, server, browser):
        """The response never began as the application meant it, and that was told."""
        begun(server, browser, **CONTENT)
        request = server.arrive(browser)
        request.session["n"] = 2
        nodes.set(Mode.SILENT)
        with pytest.raises(PoolUnavailable):
            request.leave()
        request.visit.answered = True

        assert not told(request)

    def test_a_turn_that_may_only_read(self, nodes, browser):
        """What it dropped was told; later changes are, too."""
        begun(WebServer(nodes), browser, **CONTENT)
        server = WebServer(nodes, exclusive=Exclusive(wait=timedelta(), on_timeout="read_only"))
        server.arrive(browser)
        request = server.visit(browser, put(n=[2]))
        assert not told(request)
        request.session["n"].append(3)

        assert told(request)


def test_before_the_head_nothing_is_forgotten(server, browser):
    """Only what comes after the response."""
    begun(server, browser, **CONTENT)
    request = server.arrive(browser)
    request.session["n"] = 2

    assert not told(request)


def test_a_farewell_is_stored_once(nodes, server, browser):
    """Counters of a session begun after a logout are plain values; they are not written a second time."""
    begun(server, browser, **CONTENT)
    request = server.arrive(browser)
    request.session.invalidate()
    request.session.increment("n", 2)
    request.save()
    server.visit(browser.copy())
    nodes.sent()
    request.session.increment("n")
    request.leave()

    assert nodes.sent() == ["Get+Get", "Cas+Cas"]
    assert seen_by(server, browser) == {"n": 3}
