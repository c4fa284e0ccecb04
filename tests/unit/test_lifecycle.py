"""The decision table of the lifecycle: what a request did, and what becomes of session and cookie."""

from datetime import timedelta

import pytest

from memsession.errors import PoolUnavailable, SessionTooLarge, UnstorableValue
from memsession.identity import SessionId
from memsession.record import Dead, Reason, visible
from tests.visits import Browser, Mode, Nodes, WebServer, begun, live_sessions, put, records, seen_by


class TestNothing:
    """Requests that ask nothing of the store."""

    @pytest.mark.parametrize(
        "act",
        [
            lambda session: None,
            lambda session: session.get("a"),
            lambda session: session.clear(),
            lambda session: session.regenerate(),
            lambda session: session.invalidate(),
            lambda session: (session.update(a=1), session.clear()),
            lambda session: (session.increment("n"), session.pop("n")),
        ],
        ids=["untouched", "read", "clear", "regenerate", "invalidate", "filled and cleared", "counted and popped"],
    )
    def test_a_visitor_without_session_leaves_without_one(self, nodes, server, browser, act):
        """A new session left empty is not stored, and no cookie is set."""
        request = server.visit(browser, act)

        assert request.cookie == "kept"
        assert (nodes.sent(), nodes.items(), server.told()) == ([], 0, [])

    def test_a_bad_cookie_costs_nothing_and_is_told(self, nodes, server, browser):
        """A cookie that nobody signed is no reason to ask a node."""
        browser.cookies[b"__Host-session"] = SessionId.new().text.encode() + b"." + b"A" * 43
        request = server.visit(browser)

        assert (request.cookie, dict(request.session), nodes.sent()) == ("kept", {}, [])
        assert server.told() == ["CookieRefused"]

    def test_two_good_cookies_of_different_sessions_are_both_refused(self, nodes, server, browser):
        """One of them was planted; nobody knows which."""
        other = Browser()
        begun(server, browser)
        begun(server, other)
        request = server.lifecycle.arrive(browser.header() + other.header(), https=True)

        assert (request.ticket, nodes.sent()) == (None, [])
        assert [(type(event).__name__, event.conflict) for event in server.events] == [("CookieRefused", True)]

    def test_an_empty_session_is_not_ended_by_looking(self, nodes, server, browser):
        """Two requests took one key each: what is left is empty, and goes on."""
        begun(server, browser, a=1, b=2)
        first, second = server.arrive(browser), server.arrive(browser)
        del first.session["a"]
        del second.session["b"]
        first.leave()
        second.leave()
        nodes.sent()
        request = server.visit(browser)

        assert (dict(request.session), request.cookie, nodes.sent()) == ({}, "kept", ["Get+Get"])
        assert request.session.is_new is False

    def test_an_unchanged_session_is_only_read(self, nodes, server, browser):
        """One round of reads, nothing else, and the cookie stays."""
        begun(server, browser)
        request = server.visit(browser, lambda session: session["cart"])

        assert (request.result, request.cookie, nodes.sent()) == ([1], "kept", ["Get+Get"])


class TestChanges:
    """Requests that write."""

    def test_a_new_session_is_stored_at_all_homes_and_gets_a_cookie(self, nodes, server, browser):
        """One round of writes."""
        request = server.visit(browser, put(a=1))

        assert (request.cookie, nodes.sent()) == ("issued", ["Add+Add"])
        assert [visible(record) for record in records(server, request.key)] == [{"a": 1}] * 2
        assert seen_by(server, browser) == {"a": 1}

    def test_a_changed_session_is_written_in_one_round(self, nodes, server, browser):
        """Increments included; the cookie stays."""
        begun(server, browser, a=1, b=[1], c=1)

        def act(session):
            session["a"] = 2
            session["b"].append(2)
            del session["c"]
            session.increment("n")

        request = server.visit(browser, act)

        assert (request.cookie, nodes.sent()) == ("kept", ["Get+Get", "Cas+Cas"])
        assert seen_by(server, browser) == {"a": 2, "b": [1, 2], "n": 1}

    def test_counters_of_a_new_session_begin_as_values(self, server, browser):
        """Nobody else can have counted yet, so there is no sub-count in the record."""
        request = server.visit(browser, lambda session: (session.increment("n", 3), session.increment("m", 0)))

        assert [record.counts for record in records(server, request.key)] == [{}, {}]
        assert seen_by(server, browser) == {"n": 3, "m": 0}

    def test_parallel_requests_keep_each_others_changes(self, nodes, server, browser):
        """Different keys are all kept, and increments add up."""
        begun(server, browser, a=1)
        other = WebServer(nodes)
        requests = [server.arrive(browser), other.arrive(browser), server.arrive(browser)]
        for number, request in enumerate(requests):
            request.session[f"k{number}"] = number
            request.session.increment("n")
        for request in requests:
            request.leave()

        assert seen_by(server, browser) == {"a": 1, "k0": 0, "k1": 1, "k2": 2, "n": 3}

    def test_the_record_counts_modifications(self, server, browser):
        """Each write is one more than the one it replaces."""
        key = begun(server, browser, n=1)
        for _ in range(3):
            server.visit(browser, lambda session: session.increment("n"))

        assert [record.modified for record in records(server, key)] == [4, 4]


class TestEnds:
    """Requests that end the session."""

    ENDS = (
        lambda session: session.invalidate(),
        lambda session: session.clear(),
        lambda session: (session.update(more=1), session.clear()),
        lambda session: (session.regenerate(), session.clear()),
        lambda session: (session.clear(), session.regenerate()),
        lambda session: (session.update(user_id=1), session.invalidate()),
    )

    @pytest.mark.parametrize("end", ENDS)
    def test_left_empty_it_ends(self, nodes, server, browser, end):
        """Invalidated, or cleared: a tombstone at every home, and the cookie is deleted."""
        key = begun(server, browser)
        thief = browser.copy()
        request = server.visit(browser, end)

        assert (request.cookie, nodes.sent()) == ("deleted", ["Get+Get", "Bury+Bury"])
        assert records(server, key) == [Dead(Reason.INVALIDATED)] * 2
        assert browser.cookies == {}
        assert seen_by(server, thief) == {}

    @pytest.mark.parametrize(
        "take",
        [
            lambda session: session.pop("flash"),
            lambda session: session.popitem(),
            lambda session: session.__delitem__("flash"),
        ],
    )
    def test_taking_the_last_key_away_ends_nothing(self, nodes, server, browser, take):
        """It is an ordinary change, for a parallel request may put something in; and that is kept."""
        begun(server, browser, flash="hello")
        slow = server.arrive(browser)
        server.visit(browser, put(cart=[1]))
        nodes.sent()
        take(slow.session)
        slow.leave()

        assert (slow.cookie, server.told()) == ("kept", [])
        assert seen_by(server, browser) == {"cart": [1]}

    def test_taking_the_last_key_away_does_not_undo_a_login(self, server, browser):
        """A slow page that only takes its message away sends no deletion: the cookie is the login's by now."""
        begun(server, browser, flash="hello")
        slow = server.arrive(browser.copy())
        server.visit(browser, put(user_id=7))
        slow.session.pop("flash")
        slow.leave()

        assert (slow.cookie, server.told()) == ("kept", ["ChangesDropped"])
        assert seen_by(server, browser) == {"flash": "hello", "user_id": 7}

    def test_writes_after_invalidate_begin_a_new_session(self, nodes, server, browser):
        """A farewell message: the new session holds it, and nothing of the old one."""
        key = begun(server, browser, n=5, cart=[1])

        def act(session):
            session.increment("n")
            session.invalidate()
            session["farewell"] = "bye"
            session.increment("n")

        request = server.visit(browser, act)

        assert (request.cookie, nodes.sent()) == ("issued", ["Get+Get", "Bury+Bury", "Add+Add"])
        assert request.key != key
        assert records(server, key) == [Dead(Reason.INVALIDATED)] * 2
        assert seen_by(server, browser) == {"farewell": "bye", "n": 1}

    def test_the_same_content_after_invalidate_is_stored_too(self, server, browser):
        """What is written again is compared with nothing, not with what was loaded."""
        begun(server, browser, a=1, n=5)
        server.visit(browser, lambda session: (session.invalidate(), session.update(a=1, n=5)))

        assert seen_by(server, browser) == {"a": 1, "n": 5}

    def test_a_slow_request_brings_nothing_back(self, server, browser):
        """What was loaded before the logout is saved after it: dropped, told, and no cookie."""
        key = begun(server, browser)
        slow = server.arrive(browser.copy())
        slow.session["late"] = True
        slow.session.increment("n")
        server.visit(browser, lambda session: session.invalidate())
        slow.leave()

        assert (slow.cookie, server.told()) == ("kept", ["ChangesDropped"])
        assert records(server, key) == [Dead(Reason.INVALIDATED)] * 2

    def test_a_slow_login_loses_against_a_logout(self, server, browser):
        """The session was ended meanwhile; the new ID is ended too."""
        begun(server, browser)
        slow = server.arrive(browser.copy())
        slow.session["user_id"] = 7
        server.visit(browser, lambda session: session.invalidate())
        slow.leave()

        assert (slow.cookie, server.told()) == ("kept", ["ChangesDropped"])
        assert live_sessions(server) == 0

    def test_a_tombstone_that_missed_a_node_is_told(self, nodes, server, browser):
        """One node confirms: it is over; the other is named."""
        key = begun(server, browser)
        nodes.set(Mode.SILENT, nodes.names[1])
        request = server.visit(browser, lambda session: session.invalidate())
        [missed] = [event for event in server.events if type(event).__name__ == "TombstoneMissed"]

        assert request.cookie == "deleted"
        assert missed.nodes == (nodes.names[1],)
        assert records(server, key)[0] == Dead(Reason.INVALIDATED)

    def test_a_logout_that_nobody_confirms_fails(self, nodes, server, browser):
        """503, and the cookie stays; the next try ends it."""
        begun(server, browser)
        request = server.arrive(browser)
        request.session.invalidate()
        nodes.set(Mode.SILENT)
        with pytest.raises(PoolUnavailable, match="are they running"):
            request.leave()

        assert (request.set_cookie, server.told()) == (None, ["SaveFailed"])
        nodes.set(Mode.UP)
        assert server.visit(browser, lambda session: session.invalidate()).cookie == "deleted"

    def test_emptying_that_nobody_confirms_is_tried_again(self, nodes, server, browser):
        """The application caught the error of save() and went on: the commit still ends the session."""
        key = begun(server, browser)
        request = server.arrive(browser)
        request.session.clear()
        nodes.set(Mode.SILENT)
        with pytest.raises(PoolUnavailable):
            request.save()
        nodes.set(Mode.UP)
        request.leave()

        assert request.cookie == "deleted"
        assert records(server, key) == [Dead(Reason.INVALIDATED)] * 2


class TestMoves:
    """Requests that renew the ID."""

    MOVES = (
        lambda session: session.regenerate(),
        lambda session: (session.regenerate(), session.update(more=1)),
        lambda session: session.update(user_id=1),
        lambda session: session.update(_user_id="1"),
        lambda session: session.update(_auth_user_id=1),
        lambda session: session.update(user={"name": "anna"}),
    )

    @pytest.mark.parametrize("move", MOVES)
    def test_the_session_moves_with_its_content(self, nodes, server, browser, move):
        """Stored under the new ID first, then the old one is ended; the cookie is new."""
        key = begun(server, browser)
        thief = browser.copy()
        request = server.visit(browser, move)

        assert (request.cookie, nodes.sent()) == ("issued", ["Get+Get", "Add+Add", "Cas+Cas"])
        assert [record.reason for record in records(server, key)] == [Reason.REGENERATED] * 2
        assert seen_by(server, browser)["cart"] == [1]
        assert seen_by(server, thief) == {}

    def test_removing_a_key_of_rotate_on_moves(self, server, browser):
        """A logout that only takes the user out."""
        key = begun(server, browser, user_id=1, cart=[1])
        request = server.visit(browser, lambda session: session.pop("user_id"))

        assert (request.cookie, request.key == key) == ("issued", False)
        assert seen_by(server, browser) == {"cart": [1]}

    @pytest.mark.parametrize(
        "act", [lambda session: session.update(user_id=1), lambda session: session.setdefault("user_id", 2)]
    )
    def test_an_unchanged_key_of_rotate_on_does_not_move(self, nodes, server, browser, act):
        """Only a change renews the ID."""
        begun(server, browser, user_id=1)
        request = server.visit(browser, act)

        assert (request.cookie, nodes.sent()) == ("kept", ["Get+Get"])

    def test_rotate_on_is_a_setting(self, nodes, browser):
        """Other keys, or none."""
        server = WebServer(nodes, rotate_on=["member"])
        begun(server, browser, member=1, user_id=1)

        assert server.visit(browser, put(user_id=2)).cookie == "kept"
        assert server.visit(browser, put(member=2)).cookie == "issued"
        assert WebServer(nodes, rotate_on=[]).visit(browser, put(member=3)).cookie == "kept"

    @pytest.mark.parametrize("refill", [{"user": "anna"}, {"cart": [1]}, {"cart": [1], "n": 5}])
    def test_cleared_and_filled_again_moves_with_the_new_content_only(self, nodes, server, browser, refill):
        """Flask's tutorial login, also when the same visitor logs in again: equal content, new ID."""
        key = begun(server, browser, cart=[1], n=5)
        request = server.visit(browser, lambda session: (session.clear(), session.update(refill)))

        assert (request.cookie, request.key == key) == ("issued", False)
        assert seen_by(server, browser) == refill
        assert [record.reason for record in records(server, key)] == [Reason.REGENERATED] * 2

    def test_emptied_key_by_key_and_filled_again_stays(self, server, browser):
        """Only clear() means the whole session."""
        key = begun(server, browser, a=1)
        request = server.visit(browser, lambda session: (session.pop("a"), session.update(b=1)))

        assert (request.cookie, request.key) == ("kept", key)
        assert seen_by(server, browser) == {"b": 1}

    def test_counters_move_as_values(self, nodes, server, browser):
        """Counted by two web servers and by this request; the sum is there, once."""
        other = WebServer(nodes)
        begun(server, browser, n=1)
        for site in (server, other, server):
            site.visit(browser, lambda session: session.increment("n"))
        request = server.visit(browser, lambda session: (session.increment("n"), session.regenerate()))

        assert [record.counts for record in records(server, request.key)] == [{}, {}]
        assert seen_by(other, browser) == {"n": 5}
        other.visit(browser, lambda session: session.increment("n"))
        assert seen_by(server, browser) == {"n": 6}

    def test_a_regenerated_session_keeps_its_absolute_end(self, nodes, server, browser):
        """A new ID is no new life."""
        key = begun(server, browser)
        deadline = records(server, key)[0].deadline_ms
        nodes.now_s = 600.0
        request = server.visit(browser, lambda session: session.regenerate())

        assert records(server, request.key)[0].deadline_ms == deadline

    def test_a_regenerate_that_nobody_confirms_fails(self, nodes, server, browser):
        """Nothing is ended, the visitor keeps the session and tries again."""
        begun(server, browser)
        request = server.arrive(browser)
        request.session.regenerate()
        nodes.set(Mode.SILENT)
        with pytest.raises(PoolUnavailable):
            request.leave()
        nodes.set(Mode.UP)

        assert server.told() == ["SaveFailed"]
        assert seen_by(server, browser) == {"cart": [1]}

    def test_an_old_home_that_misses_its_tombstone_is_told(self, nodes, server, browser):
        """The other one confirms; the new session lies on nodes that are up."""
        begun(server, browser)
        nodes.set(Mode.OUT, nodes.names[0])
        server.visit(browser, lambda session: session.regenerate())

        assert "TombstoneMissed" in server.told()

    @pytest.mark.parametrize("move", [lambda session: session.regenerate(), lambda session: session.clear()])
    def test_two_moves_at_once(self, nodes, server, browser, move):
        """One wins; the other sets no cookie, its changes are dropped and told, and it leaves nothing behind."""
        begun(server, browser)
        other = WebServer(nodes)
        first, second = server.arrive(browser.copy()), other.arrive(browser.copy())
        move(first.session)
        move(second.session)
        first.session["a"], second.session["b"] = 1, 2
        first.leave()
        second.leave()

        assert (first.cookie, second.cookie) == ("issued", "kept")
        assert (server.told(), other.told()) == ([], ["ChangesDropped"])
        assert seen_by(server, first.browser)["a"] == 1
        assert live_sessions(server) == 2

    def test_two_logins_at_once(self, nodes, server, browser):
        """Somebody clicked twice, and sees the second answer only: both are logged in, with all that was there."""
        begun(server, browser)
        other = WebServer(nodes)
        first, second = server.arrive(browser.copy()), other.arrive(browser.copy())
        first.session["user_id"] = 1
        second.session["user_id"] = 1
        first.leave()
        second.leave()

        assert (first.cookie, second.cookie) == ("issued", "issued")
        assert (server.told(), other.told()) == ([], [])
        assert first.key != second.key
        assert seen_by(server, first.browser) == seen_by(other, second.browser) == {"cart": [1], "user_id": 1}
        assert seen_by(server, browser) == {}

    def test_a_login_that_a_logout_overtook_is_none(self, nodes, server, browser):
        """The logout is final."""
        begun(server, browser)
        login, logout = server.arrive(browser.copy()), WebServer(nodes).arrive(browser.copy())
        login.session["user_id"] = 1
        logout.session.invalidate()
        logout.leave()
        login.leave()

        assert login.cookie == "kept"
        assert server.told() == ["ChangesDropped"]
        assert seen_by(server, login.browser) == {}

    @pytest.mark.parametrize(
        "act",
        [
            lambda session: session.regenerate(),
            lambda session: session.set_lifetime(idle=timedelta(minutes=5)),
            lambda session: session.update(user=None),
            lambda session: session.update(seen=1),
        ],
    )
    def test_under_an_id_that_was_renewed_only_a_login_gets_a_cookie(self, server, browser, act):
        """Whatever else a late request does: it would take the place of the good cookie."""
        begun(server, browser)
        late = browser.copy()
        server.visit(browser, lambda session: session.regenerate())
        request = server.visit(late, act)

        assert request.cookie == "kept"
        assert seen_by(server, browser) == {"cart": [1]}

    def test_modify_and_increment_of_a_key_that_names_the_user_renew_the_id(self, server, browser):
        """As an assignment does, and before anything is stored under the old one."""
        begun(server, browser)
        planted = browser.copy()
        request = server.arrive(browser)
        request.modify("user", lambda user: {"id": 7})
        request.leave()

        assert request.cookie == "issued"
        assert seen_by(server, planted) == {}
        assert seen_by(server, browser) == {"cart": [1], "user": {"id": 7}}
        planted = browser.copy()
        assert server.visit(browser, lambda session: session.increment("user_id")).cookie == "issued"
        assert seen_by(server, planted) == {}

    @pytest.mark.parametrize(("minutes", "why"), [(31, "idle"), (12 * 60 + 1, "absolute")])
    def test_a_session_that_ended_during_a_request_stays_ended(self, nodes, server, browser, minutes, why):
        """A save does not bring it back, and the change is told to be lost."""
        key = begun(server, browser)
        request = server.arrive(browser)
        request.session["late"] = 1
        nodes.now_s += minutes * 60
        request.leave()

        assert server.told() == ["ChangesDropped"]
        assert seen_by(server, browser) == {}
        assert all("late" not in record.entries for record in records(server, key) if record)

    def test_a_slow_request_saves_if_others_used_the_session_meanwhile(self, nodes, server, browser):
        """Then it is not idle."""
        begun(server, browser)
        request = server.arrive(browser)
        request.session["late"] = 1
        nodes.now_s += 20 * 60
        server.visit(browser.copy(), put(b=2))
        nodes.now_s += 20 * 60
        request.leave()

        assert server.told() == []
        assert seen_by(server, browser) == {"cart": [1], "late": 1, "b": 2}


class TestLimits:
    """What does not fit, or cannot be stored."""

    @pytest.fixture
    def nodes(self):
        return Nodes(max_bytes=1_000)

    @pytest.mark.parametrize("move", [lambda session: None, lambda session: session.regenerate()])
    def test_too_large_is_found_before_anything_is_written(self, nodes, server, browser, move):
        """The old value stands, and the increments of the request count for nothing."""
        begun(server, browser, n=5)
        server.visit(browser, lambda session: session.increment("n"))
        nodes.sent()

        def act(session):
            session.increment("n", 100)
            session["big"] = "x" * 1_000
            move(session)

        with pytest.raises(SessionTooLarge, match="limit is 1,000"):
            server.visit(browser, act)
        assert nodes.sent() == ["Get+Get"]
        assert seen_by(server, browser) == {"n": 6}
        server.visit(browser, lambda session: session.increment("n"))
        assert seen_by(server, browser) == {"n": 7}

    def test_a_new_session_that_is_too_large_is_not_stored(self, nodes, server, browser):
        """Nothing is sent, and no cookie is set."""
        with pytest.raises(SessionTooLarge):
            server.visit(browser, put(big="x" * 1_000))
        assert (nodes.sent(), browser.cookies) == ([], {})

    def test_too_much_after_invalidate_ends_nothing(self, nodes, server, browser):
        """It is found before the old session is ended."""
        begun(server, browser)
        with pytest.raises(SessionTooLarge):
            server.visit(browser, lambda session: (session.invalidate(), session.update(big="x" * 1_000)))
        assert nodes.sent() == ["Get+Get"]
        assert seen_by(server, browser) == {"cart": [1]}

    @pytest.mark.parametrize(
        "act",
        [
            lambda session: session["cart"].append(object()),
            lambda session: (session.regenerate(), session["cart"].append(object())),
            lambda session: (session.invalidate(), session.update(cart=[1, object()])),
            lambda session: (session.clear(), session.update(cart=[1, object()])),
        ],
        ids=["change", "regenerate", "invalidate", "clear"],
    )
    def test_what_cannot_be_stored_is_found_before_anything_is_written(self, nodes, server, browser, act):
        """The error names the place, and the session is as it was."""
        begun(server, browser)
        with pytest.raises(UnstorableValue, match=r"cart\[1\]: builtins.object"):
            server.visit(browser, act)
        assert nodes.sent() == ["Get+Get"]
        assert seen_by(server, browser) == {"cart": [1]}

    def test_the_culprit_can_be_removed(self, server, browser):
        """An error page that takes it out is saved with the rest."""
        begun(server, browser)
        request = server.arrive(browser)
        request.session["big"] = "x" * 1_000
        request.session["a"] = 1
        request.session.increment("n")
        with pytest.raises(SessionTooLarge):
            request.leave()
        del request.session["big"]
        request.leave()

        assert seen_by(server, browser) == {"cart": [1], "a": 1, "n": 1}


class TestCookies:
    """What the browser is told."""

    def test_https_and_http_have_cookies_of_their_own(self, server, browser):
        """Secure and __Host- on https; on http a plain name. Neither finds the other's session."""
        secure = server.arrive(browser, https=True)
        secure.session["a"] = 1
        secure.leave()
        plain = server.arrive(browser, https=False)
        plain.session["b"] = 2
        plain.leave()

        assert secure.set_cookie.startswith(b"__Host-session=")
        assert secure.set_cookie.endswith(b"; Path=/; Secure; HttpOnly; SameSite=Lax")
        assert plain.set_cookie.startswith(b"session=")
        assert plain.set_cookie.endswith(b"; Path=/; HttpOnly; SameSite=Lax")
        assert dict(server.arrive(browser, https=False).session) == {"b": 2}

    def test_the_deletion_has_the_same_name_and_attributes(self, server, browser):
        """Otherwise a browser would keep the cookie."""
        begun(server, browser)
        deletion = server.visit(browser, lambda session: session.clear()).set_cookie

        assert deletion.startswith(b"__Host-session=; Max-Age=0; ")
        assert deletion.endswith(b"; Path=/; Secure; HttpOnly; SameSite=Lax")

    def test_an_id_that_was_not_issued_here_is_never_adopted(self, server, browser):
        """A well-signed ID that no node knows: writes begin a session of another ID."""
        begun(server, browser)
        unknown = WebServer(Nodes())
        request = unknown.visit(browser.copy(), put(a=1))

        assert request.cookie == "issued"
        assert request.set_cookie.split(b";")[0] != browser.header()[0]
