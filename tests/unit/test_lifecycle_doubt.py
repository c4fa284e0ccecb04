"""Login races, doubt and outage: what a request may do under an ID that is ended, unknown, or out of reach."""

from datetime import timedelta

import pytest

from memsession.errors import PoolUnavailable
from memsession.lifecycle import Standing
from memsession.lifetime import Lifetime
from memsession.record import Dead, Reason
from tests.visits import Browser, Mode, Nodes, WebServer, begun, live_sessions, put, records, seen_by


@pytest.fixture
def nodes():
    return Nodes(4)


@pytest.fixture
def server(nodes):
    return WebServer(nodes)


@pytest.fixture
def browser():
    return Browser()


def homes(server, key):
    return server.world.homes(key)


def out_of_sight(server, key):
    """The first home has forgotten the session, the other one does not answer: doubt. Returns that other one."""
    first, other = homes(server, key)
    server.nodes.nodes[first].restart()
    server.nodes.set(Mode.OUT, other)
    return other


class TestEndedByLogin:
    """Another tab has logged in: this one still has the old ID, and must not harm the new cookie."""

    @pytest.fixture
    def old(self, server, browser):
        """A browser with the cookie of before the login."""
        begun(server, browser)
        old = browser.copy()
        server.visit(browser, put(user_id=1))
        server.nodes.sent()
        return old

    def test_it_reads_empty(self, server, old):
        """And sets no cookie."""
        request = server.visit(old, lambda session: session.get("cart"))

        assert (request.result, request.cookie, dict(request.session)) == (None, "kept", {})
        assert server.told() == []

    @pytest.mark.parametrize(
        "act",
        [
            put(a=1),
            lambda session: session.increment("n"),
            lambda session: session.invalidate(),
            lambda session: (session.invalidate(), session.update(a=1)),
        ],
        ids=["put", "increment", "logout", "farewell"],
    )
    def test_whatever_it_does_is_dropped_and_told(self, nodes, server, browser, old, act):
        """No cookie, nothing is written, and the session of the login stays as it is."""
        request = server.visit(old, act)

        assert (request.cookie, nodes.sent(), server.told()) == ("kept", ["Get+Get"], ["ChangesDropped"])
        assert seen_by(server, browser) == {"cart": [1], "user_id": 1}

    @pytest.mark.parametrize(
        "act",
        [
            put(user_id=2),
            lambda session: (session.regenerate(), session.update(user_id=2)),
            lambda session: (session.clear(), session.update(user_id=2)),
        ],
        ids=["login", "regenerate", "refill"],
    )
    def test_a_login_begins_a_new_session(self, server, browser, old, act):
        """The answer to the first login may never have reached the visitor, who must be able to log in again."""
        request = server.visit(old, act)

        assert (request.cookie, server.told()) == ("issued", [])
        assert seen_by(server, old) == {"user_id": 2}
        assert seen_by(server, browser) == {"cart": [1], "user_id": 1}

    @pytest.mark.parametrize("act", [lambda session: session.clear(), lambda session: session.regenerate()])
    def test_what_asks_for_nothing_is_not_told(self, nodes, server, old, act):
        """Clearing or renewing what is empty."""
        request = server.visit(old, act)

        assert (request.cookie, nodes.sent(), server.told()) == ("kept", ["Get+Get"], [])

    def test_dropped_changes_are_told_once(self, server, old):
        """Not at save() and then again at the commit; the session is empty after save()."""
        request = server.arrive(old)
        request.session["a"] = 1
        request.save()
        after_save = dict(request.session)
        request.leave()

        assert (after_save, server.told()) == ({}, ["ChangesDropped"])

    def test_modify_is_this_requests_alone(self, nodes, server, old):
        """It computes, and what it computed is dropped and told."""
        request = server.arrive(old)
        result = request.modify("n", lambda n: n + 1, 10)
        request.leave()

        assert (result, request.cookie, nodes.sent(), server.told()) == (11, "kept", ["Get+Get"], ["ChangesDropped"])

    def test_a_request_overtaken_by_the_login(self, nodes, server, browser):
        """It had loaded the session before: dropped as well, and no cookie."""
        begun(server, browser)
        slow = server.arrive(browser.copy())
        server.visit(browser, put(user_id=1))
        slow.session["late"] = 1
        slow.leave()

        assert (slow.cookie, server.told()) == ("kept", ["ChangesDropped"])
        assert seen_by(server, browser) == {"cart": [1], "user_id": 1}


class TestNotThereAnyMore:
    """An ID that was invalidated, has expired, or that nobody knows."""

    @pytest.fixture(params=["invalidated", "expired", "unknown"])
    def old(self, request, nodes, server, browser):
        """A browser with such a cookie."""
        key = begun(server, browser)
        old = browser.copy()
        if request.param == "invalidated":
            server.visit(browser, lambda session: session.invalidate())
        elif request.param == "expired":
            nodes.now_s += 1_800.0
        else:
            for node in homes(server, key):
                nodes.nodes[node].restart()
        nodes.sent()
        return old

    @pytest.mark.parametrize(
        "act",
        [
            lambda session: session.get("cart"),
            lambda session: session.clear(),
            lambda session: session.regenerate(),
            lambda session: (session.update(a=1), session.clear()),
        ],
        ids=["read", "clear", "regenerate", "filled and cleared"],
    )
    def test_by_itself_it_deletes_no_cookie(self, server, old, act):
        """It would be the fresh cookie of a parallel login."""
        request = server.visit(old, act)

        assert (request.cookie, dict(request.session), server.told()) == ("kept", {}, [])

    def test_writes_begin_a_new_session(self, server, old):
        """With an ID of its own."""
        before = old.header()
        request = server.visit(old, put(a=1))

        assert (request.cookie, server.told()) == ("issued", [])
        assert old.header() != before
        assert seen_by(server, old) == {"a": 1}

    def test_what_this_request_stored_and_emptied_deletes_no_cookie(self, server, old):
        """save() began a session, then it was emptied: it ends, and the browser never hears of it."""
        request = server.arrive(old)
        request.session["a"] = 1
        request.save()
        request.session.clear()
        request.leave()

        assert request.cookie == "kept"
        assert request.session == {}

    def test_only_invalidate_deletes_the_cookie(self, server, old):
        """The application said so."""
        assert server.visit(old, lambda session: session.invalidate()).cookie == "deleted"

    def test_invalidate_of_what_was_saved_deletes_the_cookie(self, server, old):
        """Also after save() began another session."""
        request = server.arrive(old)
        request.session["a"] = 1
        request.save()
        key = request.key
        request.session.invalidate()
        request.leave()

        assert request.cookie == "deleted"
        assert records(server, key)[0] in (None, Dead(Reason.INVALIDATED))


def test_without_a_cookie_none_is_deleted(server, browser):
    """A session that this request began and invalidated: there is nothing in the browser to delete."""
    request = server.arrive(browser)
    request.session["a"] = 1
    request.save()
    request.session.invalidate()
    request.leave()

    assert request.cookie == "kept"
    assert live_sessions(server) == 0


class TestDoubt:
    """The session may be on a node that does not answer."""

    @pytest.fixture
    def key(self, server, browser):
        return begun(server, browser, cart=[1])

    @pytest.fixture
    def other(self, server, key):
        """The home that still holds the session, and is out."""
        return out_of_sight(server, key)

    @pytest.mark.parametrize(
        "act", [lambda session: session.get("cart"), lambda session: session.regenerate()], ids=["read", "regenerate"]
    )
    def test_it_is_shown_empty_and_the_cookie_is_kept(self, nodes, server, browser, other, act):
        """When the node is back, so is the session."""
        request = server.visit(browser, act)

        assert (request.cookie, dict(request.session)) == ("kept", {})
        assert server.told() == ["InDoubt"]
        nodes.set(Mode.UP)
        assert seen_by(server, browser) == {"cart": [1]}

    def test_writes_begin_a_new_session_and_leave_the_old_one_alone(self, nodes, server, browser, other):
        """Both are there when the node is back: the visitor has the new one."""
        old = browser.copy()
        request = server.visit(browser, put(a=1))
        nodes.set(Mode.UP)

        assert request.cookie == "issued"
        assert seen_by(server, browser) == {"a": 1}
        assert seen_by(server, old) == {"cart": [1]}

    @pytest.mark.parametrize(
        "login",
        [
            put(user_id=1),
            lambda session: (session.regenerate(), session.update(a=1)),
            lambda session: (session.clear(), session.update(a=1)),
        ],
        ids=["rotate_on", "regenerate", "refill"],
    )
    def test_a_login_ends_the_doubted_session(self, nodes, server, browser, key, other, login):
        """Its tombstone says that a login did it: a slow request under the old ID cannot replace the new cookie."""
        old = browser.copy()
        request = server.visit(browser, login)
        nodes.set(Mode.UP)
        [tombstone] = {record.reason for record in records(server, key) if isinstance(record, Dead)}

        assert (request.cookie, tombstone) == ("issued", Reason.REGENERATED)
        assert server.told() == ["InDoubt", "TombstoneMissed"]
        late = server.visit(old, put(b=1))
        assert (late.cookie, dict(late.session)) == ("kept", {"b": 1})
        assert seen_by(server, old) == {}
        nodes.sent()
        server.visit(browser, lambda session: session.invalidate())
        assert nodes.sent() == ["Get+Get", "Bury+Bury"]

    @pytest.mark.parametrize(
        "act",
        [put(user_id=1), lambda session: session.regenerate(), lambda session: session.invalidate()],
        ids=["rotate_on", "regenerate", "invalidate"],
    )
    def test_a_later_login_or_logout_ends_both(self, nodes, server, browser, key, other, act):
        """The session begun in doubt remembers the doubted one."""
        old, middle = browser.copy(), browser.copy()
        server.visit(middle, put(a=1))
        last = middle.copy()
        server.visit(last, act)
        nodes.set(Mode.UP)

        assert seen_by(server, old) == {}
        assert seen_by(server, middle) == {}

    def test_a_later_logout_reaches_the_returned_node(self, nodes, server, browser, key, other):
        """All nodes of the doubted session are back: it is ended everywhere, and there is nothing to tell."""
        server.visit(browser, put(a=1))
        nodes.set(Mode.UP)
        server.told()
        server.visit(browser, lambda session: session.invalidate())

        assert records(server, key).count(Dead(Reason.INVALIDATED)) == 2
        assert server.told() == []

    @pytest.mark.parametrize("end", [lambda session: session.invalidate(), lambda session: session.clear()])
    def test_a_logout_in_doubt_ends_the_doubted_session(self, nodes, server, browser, key, other, end):
        """Also by clear(): the cookie is deleted, and the returning node brings nothing back."""
        old = browser.copy()
        request = server.visit(browser, end)
        nodes.set(Mode.UP)

        assert request.cookie == "deleted"
        assert seen_by(server, old) == {}
        assert records(server, key).count(Dead(Reason.INVALIDATED)) == 2

    def test_saved_and_cleared_in_doubt_ends_both(self, nodes, server, browser, other):
        """A request that began a session in doubt and emptied it has logged out."""
        old = browser.copy()
        request = server.arrive(browser)
        request.session["a"] = 1
        request.save()
        request.session.clear()
        request.leave()
        nodes.set(Mode.UP)

        assert request.cookie == "deleted"
        assert seen_by(server, old) == {}

    def test_modify_in_doubt_begins_a_new_session(self, server, browser, other):
        """The value is stored with the commit."""
        request = server.arrive(browser)
        assert request.modify("n", lambda n: n + 1, 1) == 2
        request.leave()

        assert request.cookie == "issued"
        assert seen_by(server, browser) == {"n": 2}

    def test_a_birth_that_fails_ends_nothing(self, nodes, server, browser, key, other):
        """The login could not be stored: the visitor keeps what there was."""
        request = server.arrive(browser)
        request.session["user_id"] = 1
        nodes.set(Mode.SILENT)
        with pytest.raises(PoolUnavailable):
            request.leave()
        nodes.set(Mode.UP)

        assert seen_by(server, browser) == {"cart": [1]}

    def test_nodes_that_die_between_two_saves(self, nodes, server, browser, key):
        """The second save has to load again, and nobody answers."""
        request = server.arrive(browser)
        request.session["a"] = 1
        request.save()
        request.session["b"] = 2
        nodes.set(Mode.SILENT)
        with pytest.raises(PoolUnavailable):
            request.leave()

        assert server.told() == ["SaveFailed"]


class TestUnreadable:
    """What the nodes hold fails its seal, or does not parse."""

    @pytest.mark.parametrize("value", [b"", b"\x80", b"[]", b"x" * 5_000])
    def test_corrupt_everywhere_is_doubt_and_an_alarm(self, nodes, server, browser, value):
        """Not a miss: shown empty, cookie kept, never overwritten by what looks like a new session."""
        key = begun(server, browser)
        for home in homes(server, key):
            nodes.nodes[home].bury(key, value, 60)
        request = server.visit(browser)

        assert (request.cookie, request.visit.standing, server.told()) == ("kept", Standing.DOUBT, ["Unreadable"])
        assert [nodes.held(key)[home] for home in homes(server, key)] == [value, value]

    def test_corrupt_on_one_node_is_repaired(self, nodes, server, browser):
        """The other home has the session."""
        key = begun(server, browser)
        first, other = homes(server, key)
        nodes.nodes[first].bury(key, b"garbage", 60)
        request = server.visit(browser)

        assert (request.session, server.told()) == ({"cart": [1]}, [])
        assert nodes.held(key)[first] == nodes.held(key)[other]

    def test_another_secret_refuses_the_cookie(self, nodes, browser):
        """A web server with a secret of its own cannot even ask for the session."""
        begun(WebServer(nodes), browser)
        stranger = WebServer(nodes, secrets="an0ther-s3cr3t-5c9e28467d0f1b3a-8ac1f0e2")
        request = stranger.visit(browser)

        assert (request.visit.ticket, stranger.told()) == (None, ["CookieRefused"])

    def test_a_changed_secret_keeps_sessions(self, nodes, browser):
        """The new secret signs, the old one still verifies; both cookies and values."""
        begun(WebServer(nodes), browser)
        fresh = "an0ther-s3cr3t-5c9e28467d0f1b3a-8ac1f0e2"
        changed = WebServer(nodes, secrets=[fresh, "n0t-s0-s3cr3t-7d0f1b3a5c9e2846-8ac1f0e2"])
        changed.visit(browser, lambda session: session.regenerate())

        assert seen_by(WebServer(nodes, secrets=fresh), browser) == {"cart": [1]}


class TestOutage:
    """None of the session's nodes answers."""

    @pytest.fixture(params=[Mode.OUT, Mode.SILENT])
    def mode(self, request):
        return request.param

    def test_by_default_it_is_an_error(self, nodes, server, browser, mode):
        """503; when the nodes are back, so is the session."""
        begun(server, browser)
        nodes.set(mode)
        with pytest.raises(PoolUnavailable, match="are they running"):
            server.arrive(browser)
        nodes.set(Mode.UP)

        assert server.told() == ["Unanswered"]
        assert seen_by(server, browser) == {"cart": [1]}

    @pytest.fixture
    def lenient(self, nodes):
        return WebServer(nodes, empty_on_outage=True)

    def test_it_may_be_an_empty_session(self, nodes, lenient, browser, mode):
        """Shown empty, the cookie is kept, and a visit that changes nothing goes through."""
        begun(lenient, browser)
        nodes.set(mode)
        request = lenient.visit(browser, lambda session: session.get("cart"))

        assert (dict(request.session), request.cookie, lenient.told()) == ({}, "kept", ["Unanswered"])

    def test_its_changes_are_not_saved_and_that_is_told(self, nodes, lenient, browser, mode):
        """No cookie, no half session."""
        begun(lenient, browser)
        nodes.set(mode)
        request = lenient.visit(browser, put(a=1))
        nodes.set(Mode.UP)

        assert (request.cookie, lenient.told()) == ("kept", ["Unanswered", "ChangesUnsaved"])
        assert seen_by(lenient, browser) == {"cart": [1]}

    @pytest.mark.parametrize(
        "act",
        [
            lambda session: session.invalidate(),
            lambda session: session.clear(),
            lambda session: session.regenerate(),
            put(user_id=1),
            lambda session: (session.clear(), session.update(a=1)),
        ],
        ids=["invalidate", "clear", "regenerate", "rotate_on", "refill"],
    )
    def test_a_logout_or_login_fails_all_the_same(self, nodes, lenient, browser, mode, act):
        """Neither must seem to have happened."""
        begun(lenient, browser)
        nodes.set(mode)
        with pytest.raises(PoolUnavailable):
            lenient.visit(browser, act)

        assert lenient.told() == ["Unanswered", "SaveFailed"]

    def test_save_and_modify_say_so(self, nodes, lenient, browser, mode):
        """Who asks for the store gets an answer; save() without changes has nothing to ask."""
        begun(lenient, browser)
        nodes.set(mode)
        request = lenient.arrive(browser)
        request.save()
        request.session["a"] = 1
        with pytest.raises(PoolUnavailable):
            request.save()
        with pytest.raises(PoolUnavailable):
            request.modify("n", lambda n: 1)

        assert lenient.told() == ["Unanswered", "SaveFailed", "SaveFailed"]

    def test_a_logout_while_the_nodes_return_is_confirmed(self, nodes, lenient, browser, mode):
        """They did not answer the load, but they take the tombstone."""
        key = begun(lenient, browser)
        nodes.set(mode)
        request = lenient.arrive(browser)
        nodes.set(Mode.UP)
        request.session.invalidate()
        request.leave()

        assert request.cookie == "deleted"
        assert records(lenient, key).count(Dead(Reason.INVALIDATED)) == 2

    @pytest.mark.parametrize("act", [put(user_id=1), lambda session: (session.regenerate(), session.update(a=1))])
    def test_a_login_needs_a_node(self, nodes, lenient, browser, mode, act):
        """A visitor without a session: a login must not seem to succeed, so it is an error in either mode."""
        nodes.set(mode)
        with pytest.raises(PoolUnavailable):
            lenient.visit(browser, act)

        assert lenient.told() == ["SaveFailed"]

    def test_what_a_new_visitor_writes_is_lost_if_that_was_chosen(self, nodes, lenient, browser, mode):
        """With on_outage="empty": no error, no cookie, and it is told. An explicit save() is an error."""
        nodes.set(mode)
        request = lenient.visit(browser, put(a=1))

        assert (request.cookie, lenient.told()) == ("kept", ["ChangesUnsaved"])
        request = lenient.arrive(browser)
        request.session["a"] = 1
        with pytest.raises(PoolUnavailable):
            request.save()

    def test_a_save_that_nobody_acknowledges_fails(self, nodes, server, browser, mode):
        """The nodes went between load and save."""
        begun(server, browser)
        request = server.arrive(browser)
        request.session["a"] = 1
        nodes.set(mode)
        with pytest.raises(PoolUnavailable):
            request.leave()

        assert server.told() == ["SaveFailed"]

    def test_a_renewal_that_nobody_acknowledges_is_no_error(self, nodes, server, browser, mode):
        """The visitor changed nothing."""
        begun(server, browser)
        nodes.now_s += 100.0
        request = server.arrive(browser)
        nodes.set(mode)
        request.leave()

        assert (request.cookie, server.told()) == ("kept", [])

    def test_one_node_is_enough(self, nodes, server, browser, mode):
        """Loaded, saved and ended with the other home away."""
        key = begun(server, browser)
        nodes.set(mode, homes(server, key)[1])
        server.visit(browser, put(a=1))

        assert seen_by(server, browser) == {"cart": [1], "a": 1}
        assert server.visit(browser, lambda session: session.invalidate()).cookie == "deleted"


class TestEverythingForgotten:
    """All homes restarted while a request was under way."""

    def test_its_changes_are_dropped(self, nodes, server, browser):
        """Nothing half is stored in place of what was lost."""
        key = begun(server, browser)
        request = server.arrive(browser)
        request.session["a"] = 1
        for home in homes(server, key):
            nodes.nodes[home].flush()
        request.leave()

        assert (request.cookie, server.told(), nodes.items()) == ("kept", ["ChangesDropped"], 0)

    def test_after_a_save_as_well(self, nodes, server, browser):
        """The second save has to load again, and finds nothing."""
        key = begun(server, browser)
        request = server.arrive(browser)
        request.session["a"] = 1
        request.save()
        request.session["b"] = 1
        for home in homes(server, key):
            nodes.nodes[home].restart()
        request.leave()

        assert (request.cookie, server.told(), nodes.items()) == ("kept", ["ChangesDropped"], 0)

    def test_a_move_as_well(self, nodes, server, browser):
        """There is nothing to move any more."""
        key = begun(server, browser)
        request = server.arrive(browser)
        request.session["a"] = 1
        request.save()
        request.session["user_id"] = 1
        for home in homes(server, key):
            nodes.nodes[home].restart()
        request.leave()

        assert (request.cookie, server.told(), nodes.items()) == ("kept", ["ChangesDropped"], 0)


class TestTime:
    """Idle, absolute, renewal: judged by the pool's clock, which the test moves."""

    @pytest.fixture
    def server(self, nodes):
        return WebServer(nodes, lifetime=Lifetime(idle=timedelta(minutes=20), absolute=timedelta(hours=1)))

    def test_idle_ends_it(self, nodes, server, browser):
        """A millisecond before, it is there; then it is not."""
        begun(server, browser)
        nodes.now_s = 1_199.999
        assert seen_by(server, browser) == {"cart": [1]}
        nodes.now_s = 1_200.0
        assert seen_by(server, browser) == {}

    def test_use_puts_the_idle_end_off_but_not_the_absolute_one(self, nodes, server, browser):
        """A visit every 10 minutes, and after an hour it is over."""
        begun(server, browser)
        for minute in range(10, 60, 10):
            nodes.now_s = minute * 60.0
            assert server.visit(browser).session == {"cart": [1]}
        nodes.now_s = 3_599.999
        assert server.visit(browser, put(late=1)).session == {"cart": [1], "late": 1}
        nodes.now_s = 3_600.0

        assert seen_by(server, browser) == {}

    def test_renewal_is_at_most_once_per_twentieth_of_idle(self, nodes, server, browser):
        """In ten idle times of a visit each second there are at most as many writes as minutes."""
        begun(server, browser)
        writes = []
        for second in range(1, 1_201):
            nodes.now_s = float(second)
            server.visit(browser)
            writes += [second for round_ in nodes.sent() if "Cas" in round_]

        assert writes == list(range(61, 1_200, 61))

    def test_a_change_renews_too(self, nodes, server, browser):
        """So no renewal is due soon after it."""
        begun(server, browser)
        nodes.now_s = 55.0
        server.visit(browser, put(a=1))
        nodes.now_s = 110.0
        nodes.sent()
        server.visit(browser)

        assert nodes.sent() == ["Get+Get"]

    def test_a_renewal_keeps_what_another_request_wrote(self, nodes, server, browser):
        """It is an ordinary save without changes."""
        begun(server, browser)
        nodes.now_s = 61.0
        slow = server.arrive(browser)
        server.visit(browser, put(a=1))
        slow.leave()

        assert seen_by(server, browser) == {"cart": [1], "a": 1}

    def test_a_renewal_of_what_ended_meanwhile_changes_nothing(self, nodes, server, browser):
        """And there is nothing to tell."""
        key = begun(server, browser)
        nodes.now_s = 61.0
        slow = server.arrive(browser.copy())
        server.visit(browser, lambda session: session.invalidate())
        slow.leave()

        assert (slow.cookie, server.told()) == ("kept", [])
        assert records(server, key).count(Dead(Reason.INVALIDATED)) == 2


class TestBudget:
    """No request spends more than its budget on the store."""

    def test_what_the_load_used_up_is_missing_later(self, nodes, server, browser):
        """The deadline of the commit is what is left, and what the handler took does not count."""
        begun(server, browser)
        nodes.took_s = 0.4
        request = server.arrive(browser)
        nodes.now_s += 5.0

        assert server.lifecycle.deadline(request.visit) - nodes.now_s == pytest.approx(0.6)

    @pytest.mark.parametrize(("ask", "left_s"), [("save", 0.7), ("modify", 0.4)])
    def test_save_and_modify_use_it_up_too(self, nodes, server, browser, ask, left_s):
        """Each of their rounds."""
        begun(server, browser)
        request = server.arrive(browser)
        request.session["a"] = 1
        nodes.took_s = 0.3
        if ask == "save":
            request.save()
        else:
            request.modify("n", lambda n: 1)

        assert request.visit.left_s == pytest.approx(left_s)

    def test_nothing_is_begun_when_it_is_spent(self, nodes, server, browser):
        """A save refused by another writer is not tried again after the deadline: it is not confirmed."""
        begun(server, browser)
        request = server.arrive(browser)
        request.session["a"] = 1
        server.visit(browser, put(a=2))
        nodes.took_s = 1.1
        with pytest.raises(PoolUnavailable):
            request.leave()

    def test_after_the_head_each_plan_has_the_whole_budget(self, nodes, server, browser):
        """A WebSocket may last for hours."""
        begun(server, browser)
        request = server.arrive(browser).leave()
        request.visit.left_s = -1.0

        assert server.lifecycle.deadline(request.visit) == nodes.now_s + 1.0
