"""`save` and `modify`: what a handler asks of the store before its response leaves."""

import pytest

from memsession.errors import PoolUnavailable, SessionTooLarge, UnstorableValue, UpdateUnconfirmed
from memsession.record import Dead, Reason
from tests.visits import Browser, Mode, Nodes, WebServer, begun, live_sessions, put, records, seen_by


def one_more(n):
    return n + 1


class TestSave:
    """Commit now, and go on."""

    def test_it_shows_what_others_stored(self, server, browser):
        """Merged: another request's keys, and the merged number of a counter."""
        begun(server, browser, a=1)
        request = server.arrive(browser)
        request.session.increment("n")
        server.visit(browser, lambda session: (session.update(b=2), session.increment("n", 10)))
        request.save()

        assert request.session == {"a": 1, "b": 2, "n": 11}
        assert request.session.increment("n") == 12

    def test_more_changes_are_saved_by_the_commit(self, nodes, server, browser):
        """And what was saved is not written or counted again."""
        begun(server, browser, a=1)
        request = server.arrive(browser)
        request.session["b"] = 2
        request.session.increment("n")
        request.save()
        request.session["c"] = 3
        request.session.increment("n")
        request.leave()

        assert nodes.sent() == ["Get+Get", "Cas+Cas", "Get+Get", "Cas+Cas"]
        assert seen_by(server, browser) == {"a": 1, "b": 2, "c": 3, "n": 2}

    def test_nothing_more_costs_nothing_more(self, nodes, server, browser):
        """A second save() asks the nodes what others did and writes nothing, the commit sends nothing."""
        begun(server, browser)
        request = server.arrive(browser)
        request.session.increment("n")
        request.save()
        nodes.sent()
        request.save()
        asked = nodes.sent()
        request.leave()

        assert (asked, nodes.sent()) == (["Get+Get"], [])

    def test_a_new_session_has_a_name_then(self, nodes, server, browser):
        """It is stored, and the response brings the cookie; a second save goes to the same session."""
        request = server.arrive(browser)
        request.session["a"] = 1
        request.save()
        name, new = request.session.id, request.session.is_new
        request.session["b"] = 2
        request.save()
        request.leave()

        assert (new, request.session.id, request.cookie) == (False, name, "issued")
        assert seen_by(server, browser) == {"a": 1, "b": 2}
        assert nodes.sent() == ["Add+Add", "Get+Get", "Cas+Cas", "Get+Get"]

    @pytest.mark.parametrize(
        "act",
        [
            lambda session: (session.regenerate(), session.update(a=1)),
            lambda session: (session.clear(), session.update(a=1)),
            lambda session: session.update(user_id=1),
            lambda session: (session.invalidate(), session.update(a=1)),
        ],
        ids=["regenerate", "clear", "rotate_on", "invalidate"],
    )
    @pytest.mark.parametrize("new", [True, False])
    def test_an_id_is_renewed_once(self, nodes, server, browser, act, new):
        """What save() performed is not performed again by the commit, also when more changes follow."""
        if not new:
            begun(server, browser)
        request = server.arrive(browser)
        act(request.session)
        request.save()
        name = request.session.id
        request.session["more"] = 1
        request.leave()

        assert (request.session.id, request.cookie) == (name, "issued")
        assert seen_by(server, browser)["more"] == 1

    def test_a_logout_is_performed_at_once(self, server, browser):
        """The session is over when save() returns; later writes begin another."""
        key = begun(server, browser)
        request = server.arrive(browser)
        request.session.invalidate()
        request.save()
        over = records(server, key)
        request.session["a"] = 1
        request.leave()

        assert over == [Dead(Reason.INVALIDATED)] * 2
        assert request.cookie == "issued"
        assert seen_by(server, browser) == {"a": 1}

    def test_two_logouts_delete_the_cookie_once(self, server, browser):
        """invalidate, save, invalidate again."""
        begun(server, browser)
        request = server.arrive(browser)
        request.session.invalidate()
        request.save()
        request.session.invalidate()
        request.leave()

        assert request.cookie == "deleted"

    def test_a_failed_save_can_be_tried_again(self, nodes, server, browser):
        """The application caught the error; the commit finds everything still to do, and counts it once."""
        begun(server, browser)
        request = server.arrive(browser)
        request.session["a"] = 1
        request.session.increment("n")
        nodes.set(Mode.SILENT)
        with pytest.raises(PoolUnavailable):
            request.save()
        nodes.set(Mode.UP)
        request.session.increment("n")
        request.leave()

        assert seen_by(server, browser) == {"cart": [1], "a": 1, "n": 2}

    @pytest.mark.parametrize("then", [None, lambda session: session.regenerate()], ids=["saved", "moved"])
    @pytest.mark.parametrize("mode", [Mode.MUTE, Mode.SILENT])
    def test_an_unconfirmed_increment_counts_once(self, nodes, server, browser, mode, then):
        """Whether the nodes had done it and their replies were lost, or not: it is sent again, also by itself."""
        begun(server, browser)
        request = server.arrive(browser)
        request.session.increment("n")
        nodes.set(mode)
        with pytest.raises(PoolUnavailable):
            request.save()
        nodes.set(Mode.UP)
        if then:
            then(request.session)
        request.leave()

        assert seen_by(server, browser) == {"cart": [1], "n": 1}
        server.visit(browser, lambda session: session.increment("n"))
        assert seen_by(server, browser) == {"cart": [1], "n": 2}

    def test_an_unconfirmed_increment_is_sent_until_it_is_confirmed(self, nodes, server, browser):
        """And not once more: the commit after a save that went through has nothing to do."""
        begun(server, browser)
        request = server.arrive(browser)
        request.session.increment("n")
        nodes.set(Mode.SILENT)
        with pytest.raises(PoolUnavailable):
            request.save()
        nodes.set(Mode.UP)
        request.save()
        nodes.sent()
        request.leave()

        assert nodes.sent() == []
        assert seen_by(server, browser) == {"cart": [1], "n": 1}

    def test_an_unconfirmed_increment_ends_with_its_session(self, nodes, server, browser):
        """Logged out, and something new written: nothing of the old counter is in the new session."""
        begun(server, browser)
        request = server.arrive(browser)
        request.session.increment("n")
        nodes.set(Mode.SILENT)
        with pytest.raises(PoolUnavailable):
            request.save()
        nodes.set(Mode.UP)
        request.session.invalidate()
        request.session["a"] = 1
        request.save()
        request.session["b"] = 1
        request.leave()

        assert seen_by(server, browser) == {"a": 1, "b": 1}

    def test_an_unconfirmed_increment_of_a_failed_move_counts_once(self, nodes, server, browser):
        """The new ID could not be stored; the second try moves everything, counted once."""
        begun(server, browser)
        request = server.arrive(browser)
        request.session.increment("n")
        request.session.regenerate()
        nodes.set(Mode.SILENT)
        with pytest.raises(PoolUnavailable):
            request.save()
        nodes.set(Mode.UP)
        request.leave()

        assert request.cookie == "issued"
        assert seen_by(server, browser) == {"cart": [1], "n": 1}

    @pytest.mark.parametrize("mode", [Mode.SILENT, Mode.MUTE])
    def test_assigning_after_an_unconfirmed_increment_discards_it(self, nodes, server, browser, mode):
        """Whether a node had done it or not."""
        begun(server, browser, n=5)
        request = server.arrive(browser)
        request.session.increment("n")
        nodes.set(mode)
        with pytest.raises(PoolUnavailable):
            request.save()
        nodes.set(Mode.UP)
        request.session["n"] = 100
        request.leave()
        server.visit(browser, lambda session: session.increment("n"))

        assert seen_by(server, browser) == {"n": 101}

    def test_a_renewed_id_that_cannot_reach_the_browser_is_refused(self, nodes, server, browser):
        """After the head of the response there is no cookie any more: nothing is stored under an ID nobody knows."""
        new = server.arrive(Browser()).leave()
        new.session["a"] = 1
        with pytest.raises(RuntimeError, match="before accept"):
            new.save()
        begun(server, browser)
        known = server.arrive(browser).leave()
        known.session["user_id"] = 1
        with pytest.raises(RuntimeError, match="before accept"):
            known.save()

        with pytest.raises(RuntimeError, match="before accept"):
            server.arrive(Browser()).leave().modify("n", one_more, 0)

        assert nodes.sent() == ["Get+Get"]
        assert seen_by(server, browser) == {"cart": [1]}

    def test_saving_after_the_head_counts_everything_once(self, server, browser):
        """A WebSocket: what accept committed is not committed again by save()."""
        begun(server, browser)
        request = server.arrive(browser)
        request.session.increment("n")
        request.session["a"] = 1
        request.leave()
        request.session.increment("n")
        request.save()
        request.session.increment("n")
        request.save()

        assert seen_by(server, browser) == {"cart": [1], "a": 1, "n": 3}

    def test_a_logout_after_the_head_ends_the_session(self, server, browser):
        """It needs no cookie."""
        key = begun(server, browser)
        request = server.arrive(browser).leave()
        request.session.invalidate()
        request.save()

        assert records(server, key) == [Dead(Reason.INVALIDATED)] * 2

    def test_what_changes_meanwhile_is_kept(self, server, browser):
        """Another task of the request writes while the round trips of save() are under way."""
        begun(server, browser, a=1, n=5)
        request = server.arrive(browser)
        request.session["a"] = 2
        request.session.increment("n")
        server.lifecycle.deadline(request.visit)
        plan = server.lifecycle.save(request.visit)
        commands = next(plan)
        request.session["meanwhile"] = True
        request.session["a"] = 3
        request.session.increment("n", 10)
        server.nodes.finish(plan, commands)

        assert request.session == {"a": 3, "n": 16, "meanwhile": True}
        request.leave()
        assert seen_by(server, browser) == {"a": 3, "n": 16, "meanwhile": True}


class TestModify:
    """Read, compute and write one key as one step."""

    def test_it_is_stored_at_once(self, nodes, server, browser):
        """One write at the orderer, then one at the other home; the commit has nothing more to do."""
        begun(server, browser, n=1)
        request = server.arrive(browser)
        result = request.modify("n", one_more)
        stored = seen_by(server, browser)
        nodes.sent()
        request.leave()

        assert (result, request.session["n"], stored) == (2, 2, {"n": 2})
        assert nodes.sent() == []

    def test_its_rounds(self, nodes, server, browser):
        """The load, the orderer, the other home."""
        begun(server, browser, n=1)
        server.arrive(browser).modify("n", one_more)

        assert nodes.sent() == ["Get+Get", "Cas", "Cas"]

    def test_the_default_stands_for_a_missing_key(self, server, browser):
        """None unless given."""
        begun(server, browser, a=1)
        request = server.arrive(browser)

        assert request.modify("n", one_more, 10) == 11
        assert request.modify("m", lambda m: [m]) == [None]
        assert seen_by(server, browser) == {"a": 1, "n": 11, "m": [None]}

    def test_values_come_as_the_application_knows_them(self, server, browser):
        """Not in the form in which they are stored; and what `fn` gets is its own to change."""
        begun(server, browser, tags={"a"}, cart={"items": [1]})
        request = server.arrive(browser)

        def add(cart):
            cart["items"].append(2)
            return cart

        assert request.modify("tags", lambda tags: tags | {"b"}) == {"a", "b"}
        assert request.modify("cart", add) == {"items": [1, 2]}
        assert seen_by(server, browser) == {"tags": {"a", "b"}, "cart": {"items": [1, 2]}}

    def test_parallel_modifications_add_up(self, nodes, server, browser):
        """Each loaded before any wrote; each sees the others' results and runs again."""
        begun(server, browser, n=0)
        other = WebServer(nodes)
        requests = [site.arrive(browser) for site in (server, other, server, other)]
        results = [request.modify("n", one_more) for request in requests]
        for request in requests:
            request.leave()

        assert results == [1, 2, 3, 4]
        assert seen_by(server, browser) == {"n": 4}

    def test_it_returns_what_it_made(self, nodes, server, browser):
        """Another request modifies again while this one tells the second home: the numbers are drawn once each."""
        begun(server, browser, n=0)
        other = WebServer(nodes)
        request = server.arrive(browser)
        server.lifecycle.deadline(request.visit)
        plan = server.lifecycle.modify(request.visit, "n", one_more, 0)
        commands = plan.send(nodes.answer(next(plan)))
        theirs = other.arrive(browser).modify("n", one_more)
        ours = nodes.finish(plan, commands)

        assert (ours, theirs, request.session["n"]) == (1, 2, 2)
        assert seen_by(server, browser) == {"n": 2}

    def test_a_writer_in_between_is_seen(self, nodes, server, browser):
        """`fn` runs again on what the other request stored, and its other keys are merged."""
        begun(server, browser, n=1)
        request = server.arrive(browser)
        calls = []

        def fn(n):
            calls.append(n)
            if len(calls) == 1:
                server.visit(browser, put(n=50, b=2))
            return n + 1

        assert request.modify("n", fn) == 51
        assert calls == [1, 50]
        assert request.session == {"n": 51, "b": 2}

    def test_pending_changes_of_other_keys_wait_for_the_commit(self, nodes, server, browser):
        """They stay visible, and are saved when the response leaves."""
        begun(server, browser, n=1, a=1, gone=1, c=5)
        request = server.arrive(browser)
        request.session["a"] = 2
        request.session.increment("c")
        del request.session["gone"]
        request.modify("n", one_more)
        between = seen_by(server, browser)
        now = dict(request.session)
        request.leave()

        assert between == {"n": 2, "a": 1, "gone": 1, "c": 5}
        assert now == {"n": 2, "a": 2, "c": 6}
        assert seen_by(server, browser) == now

    @pytest.mark.parametrize(
        ("change", "result"),
        [
            (put(n=10), 11),
            (lambda session: session.increment("n", 10), 12),
            (lambda session: session.pop("n"), 101),
        ],
        ids=["assigned", "counted", "deleted"],
    )
    def test_pending_changes_of_the_same_key_are_saved_first(self, server, browser, change, result):
        """`fn` sees them."""
        begun(server, browser, n=1, a=1)
        request = server.arrive(browser)
        change(request.session)

        assert request.modify("n", one_more, 100) == result
        assert seen_by(server, browser) == {"n": result, "a": 1}

    def test_on_a_counter_it_makes_a_value(self, nodes, server, browser):
        """What was counted before is in the value; increments go on from there."""
        other = WebServer(nodes)
        begun(server, browser, a=1)
        for site in (server, other):
            site.visit(browser, lambda session: session.increment("n", 5))
        request = server.arrive(browser)
        request.modify("n", lambda n: n * 2)
        other.visit(browser, lambda session: session.increment("n"))
        request.leave()

        assert seen_by(server, browser) == {"a": 1, "n": 21}

    def test_with_a_pending_counter_that_became_text(self, server, browser):
        """Another request assigned text to what this one counted on: it is shown as it stands, nothing fails."""
        begun(server, browser, n=1, m=1)
        request = server.arrive(browser)
        request.session.increment("m")
        server.visit(browser, put(m="text"))
        request.modify("n", one_more)
        request.leave()

        assert seen_by(server, browser) == {"n": 2, "m": "text"}

    def test_in_a_new_session_it_waits_for_the_commit(self, nodes, server, browser):
        """Nobody else can know the session, so there is nothing to order."""
        request = server.arrive(browser)
        assert request.modify("n", one_more, 1) == 2
        assert nodes.sent() == []
        assert request.modify("n", one_more) == 3
        request.leave()

        assert request.cookie == "issued"
        assert seen_by(server, browser) == {"n": 3}

    @pytest.mark.parametrize("end", [lambda session: session.invalidate(), lambda session: session.clear()])
    def test_after_invalidate_or_clear_it_sees_nothing_old(self, server, browser, end):
        """Not even what another request stored meanwhile under the old ID."""
        key = begun(server, browser, a=1)
        request = server.arrive(browser)
        end(request.session)
        server.visit(browser.copy(), put(n=50))
        assert request.modify("n", one_more, 0) == 1
        request.leave()

        assert request.cookie == "issued"
        assert records(server, key) == [Dead(Reason.INVALIDATED)] * 2
        assert seen_by(server, browser) == {"n": 1}

    def test_with_a_pending_regenerate_everything_moves(self, server, browser):
        """Modified under the old ID, moved by the commit."""
        begun(server, browser, n=1)
        request = server.arrive(browser)
        request.session.regenerate()
        request.modify("n", one_more)
        request.leave()

        assert request.cookie == "issued"
        assert seen_by(server, browser) == {"n": 2}

    @pytest.mark.parametrize("saved_before", [True, False], ids=["after a save", "at once"])
    @pytest.mark.parametrize("pending", [True, False], ids=["with changes", "alone"])
    def test_a_session_that_ended_meanwhile(self, nodes, server, browser, saved_before, pending):
        """The result is this request's alone: dropped and told, no cookie."""
        key = begun(server, browser, n=1)
        request = server.arrive(browser.copy())
        if saved_before:
            request.session["a"] = 1
            request.save()
        server.visit(browser, lambda session: session.invalidate())
        if pending:
            request.session["b"] = 1
        assert request.modify("n", one_more) == 2
        request.leave()

        assert request.cookie == "kept"
        assert set(server.told()) == {"ChangesDropped"}
        assert records(server, key) == [Dead(Reason.INVALIDATED)] * 2

    @pytest.mark.parametrize("mode", [Mode.SILENT, Mode.MUTE])
    def test_an_orderer_that_does_not_answer(self, nodes, server, browser, mode):
        """It may have happened once or not at all: said so, and never tried elsewhere."""
        key = begun(server, browser, n=1)
        orderer = server.world.homes(key)[0]
        request = server.arrive(browser)
        nodes.set(mode, orderer)
        with pytest.raises(UpdateUnconfirmed, match="modify"):
            request.modify("n", one_more)
        nodes.set(Mode.UP)
        request.session["a"] = 1
        request.leave()

        assert seen_by(server, browser) == {"n": 1 if mode is Mode.SILENT else 2, "a": 1}

    def test_an_orderer_that_is_known_to_be_out(self, nodes, server, browser):
        """The other home orders."""
        key = begun(server, browser, n=1)
        nodes.set(Mode.OUT, server.world.homes(key)[0])

        assert server.arrive(browser).modify("n", one_more) == 2
        assert seen_by(server, browser) == {"n": 2}

    def test_no_node_at_all(self, nodes, server, browser):
        """After a save, the session has to be loaded again, and nobody answers."""
        begun(server, browser, n=1)
        request = server.arrive(browser)
        request.session["a"] = 1
        request.save()
        nodes.set(Mode.OUT)
        with pytest.raises(PoolUnavailable):
            request.modify("n", one_more)

        assert server.told() == ["SaveFailed"]

    @pytest.mark.parametrize("fresh", [True, False], ids=["new session", "stored session"])
    def test_a_result_that_cannot_be_stored(self, nodes, server, browser, fresh):
        """It raises at once and names the place; the old value stands, and nothing was written."""
        if not fresh:
            begun(server, browser, n=1)
        request = server.arrive(browser)
        nodes.sent()
        with pytest.raises(UnstorableValue, match=r"n\[0\]"):
            request.modify("n", lambda n: [object()])

        assert nodes.sent() == []
        assert request.session == ({} if fresh else {"n": 1})

    def test_a_key_that_is_no_text(self, server, browser):
        """As with any other write."""
        begun(server, browser, n=1)
        with pytest.raises(UnstorableValue, match="a key must be a str"):
            server.arrive(browser).modify(1, lambda n: 2)

    def test_a_result_that_is_too_large(self, browser):
        """The limit of the pool holds here too; nothing was written."""
        nodes = Nodes(max_bytes=1_000)
        server = WebServer(nodes)
        begun(server, browser, n=1)
        request = server.arrive(browser)
        nodes.sent()
        with pytest.raises(SessionTooLarge):
            request.modify("n", lambda n: "x" * 1_000)

        assert nodes.sent() == []
        assert seen_by(server, browser) == {"n": 1}

    def test_an_error_in_fn_is_the_applications(self, nodes, server, browser):
        """It comes out as it is, and nothing was written."""
        begun(server, browser, n=1)
        request = server.arrive(browser)
        nodes.sent()
        with pytest.raises(ZeroDivisionError):
            request.modify("n", lambda n: 1 / 0)
        request.leave()

        assert nodes.sent() == []
        assert live_sessions(server) == 2
