"""Exclusive mode: requests of one session take turns, and what becomes of who waits in vain or holds on too long."""

from datetime import timedelta

import pytest

from memsession.commands import Add, Unreachable
from memsession.errors import LockLost, PoolUnavailable, SessionBusy, UnstorableValue
from memsession.exclusive import Exclusive
from tests.visits import Browser, Mode, Nodes, WebServer, begun, put, seen_by

WAIT, EXPIRE = timedelta(seconds=10), timedelta(seconds=30)


@pytest.fixture
def nodes():
    return Nodes()


@pytest.fixture
def browser():
    return Browser()


def server_with(nodes, *, on_timeout="error", **settings):
    exclusive = Exclusive(wait=WAIT, expire=EXPIRE, on_timeout=on_timeout)
    return WebServer(nodes, exclusive=exclusive, **settings)


def count(session):
    session["n"] = session.get("n", 0) + 1


class TestTurns:
    """One at a time."""

    def test_reading_adding_and_writing_is_exact(self, nodes, browser):
        """Three web servers, each request begun while another is in its turn: nothing is lost."""
        servers = [server_with(nodes) for _ in range(3)]
        begun(servers[0], browser, n=0)
        first = servers[0].arrive(browser)
        for i in range(1, 10):
            server = servers[i % 3]
            count(first.session)
            pauses = []

            def hand_over(pause_s, first=first, pauses=pauses):
                pauses.append(pause_s)
                if len(pauses) == 3:
                    first.leave()

            server.waiting = hand_over
            first = server.arrive(browser)
            assert pauses == [0.01, 0.02, 0.04]
        count(first.session)
        first.leave()

        assert seen_by(servers[0], browser) == {"n": 10}

    def test_without_turns_it_is_not(self, nodes, browser):
        """The same with two requests at once and no lock: one of two is lost, as everywhere."""
        server = WebServer(nodes)
        begun(server, browser, n=0)
        one, other = server.arrive(browser), server.arrive(browser)
        for request in (one, other):
            count(request.session)
            request.leave()

        assert seen_by(server, browser) == {"n": 1}

    def test_new_visitors_wait_for_nobody(self, nodes, browser):
        """Without a cookie there is nothing to lock, and no command is spent on it."""
        server = server_with(nodes)
        request = server.visit(browser, put(a=1))

        assert (request.visit.owner, nodes.sent()) == (None, ["Add+Add"])

    def test_other_sessions_wait_for_nobody(self, nodes, browser):
        """A lock is one session's."""
        server, other = server_with(nodes), Browser()
        begun(server, browser)
        begun(server, other)
        server.arrive(browser)
        server.waiting = lambda pause_s: pytest.fail("it waits for another session")

        assert server.visit(other, put(b=1)).session == {"cart": [1], "b": 1}

    def test_some_paths_and_methods_only(self, nodes, browser):
        """Where it is not asked for, nobody waits, and no command is spent."""
        server = WebServer(nodes, exclusive=Exclusive(paths=["/cart"], methods=["post"]))
        begun(server, browser)
        held = server.arrive(browser, method="POST", path="/cart/add")
        nodes.sent()
        for method, path in [("GET", "/cart"), ("POST", "/carts"), ("POST", "/")]:
            assert server.arrive(browser, method=method, path=path).visit.owner is None
        assert held.visit.locked
        assert nodes.sent() == ["Get+Get"] * 3

    def test_the_lock_is_given_back(self, nodes, browser):
        """After the response the next one needs not wait, on whatever server."""
        one, other = server_with(nodes), server_with(nodes)
        begun(one, browser)
        one.visit(browser, put(a=1))
        other.waiting = lambda pause_s: pytest.fail("the lock was not given back")

        assert other.visit(browser).session == {"cart": [1], "a": 1}

    def test_an_unhandled_exception_gives_it_back(self, nodes, browser):
        """Nothing is saved, and nobody waits for the one that failed."""
        server = server_with(nodes)
        begun(server, browser)
        request = server.arrive(browser)
        request.session["a"] = 1
        request.over()
        server.waiting = lambda pause_s: pytest.fail("the lock was not given back")

        assert server.visit(browser).session == {"cart": [1]}

    def test_a_commit_that_raises_gives_it_back(self, nodes, browser):
        """What cannot be stored is the application's 500."""
        server = server_with(nodes)
        begun(server, browser)
        with pytest.raises(UnstorableValue):
            server.visit(browser, put(a=object()))
        server.waiting = lambda pause_s: pytest.fail("the lock was not given back")

        assert server.visit(browser).session == {"cart": [1]}

    def test_giving_it_back_has_a_budget_of_its_own(self, nodes, browser):
        """A request that used up its time for the store still gives the lock back."""
        server = server_with(nodes)
        begun(server, browser)
        request = server.arrive(browser)
        request.visit.left_s = -1.0
        plan = server.lifecycle.end_turn(request.visit)
        plan.close()

        assert server.lifecycle.deadline(request.visit) == nodes.now_s + 1.0

    def test_waiting_takes_nothing_of_the_budget(self, nodes, browser):
        """A request that waited for nine seconds has a second for the store, as any other."""
        server = server_with(nodes)
        begun(server, browser)
        first = server.arrive(browser)
        began_s = nodes.now_s
        server.waiting = lambda pause_s: first.leave() if nodes.now_s - began_s > 9 and first.visit.owner else None
        second = server.arrive(browser)

        assert nodes.now_s - began_s > 9
        assert second.visit.left_s == 1.0
        assert second.visit.locked

    def test_save_and_modify_work_under_the_lock(self, nodes, browser):
        """In the middle of the request, as often as one likes."""
        server = server_with(nodes)
        begun(server, browser, n=1)
        request = server.arrive(browser)
        count(request.session)
        request.save()
        assert request.modify("n", lambda n: n * 10) == 20
        count(request.session)
        request.leave()

        assert seen_by(server, browser) == {"n": 21}

    def test_a_new_id_under_the_lock(self, nodes, browser):
        """A login moves the session; the old ID's lock is given back, the new one is free."""
        server = server_with(nodes)
        begun(server, browser, n=0)
        old = browser.copy()
        request = server.arrive(browser)
        request.session["user_id"] = 7
        request.save()
        count(request.session)
        request.leave()
        server.waiting = lambda pause_s: pytest.fail("a lock was left behind")

        assert request.visit.owner is None
        assert server.visit(browser).session == {"n": 1, "user_id": 7}
        assert server.visit(old).session == {}


class TestWaitingInVain:
    """The holder takes longer than one wants to wait."""

    @pytest.fixture
    def held(self, nodes, browser):
        server = server_with(nodes)
        begun(server, browser, n=0)
        return server.arrive(browser)

    def test_an_error(self, nodes, browser, held):
        """After ten seconds, with an event; nothing was loaded."""
        server = server_with(nodes)
        began_s = nodes.now_s
        with pytest.raises(SessionBusy):
            server.arrive(browser)

        assert nodes.now_s - began_s == pytest.approx(10)
        assert [(type(e).__name__, e.outcome) for e in server.events] == [("LockBusy", "error")]
        held.leave()
        assert server.visit(browser, count).session == {"n": 1}

    def test_no_wait_at_all(self, nodes, browser, held):
        """`wait=timedelta()`: one try."""
        server = WebServer(nodes, exclusive=Exclusive(wait=timedelta()))
        server.waiting = lambda pause_s: pytest.fail("it waits")
        with pytest.raises(SessionBusy):
            server.arrive(browser)

    def test_the_longest_wait(self, nodes, browser):
        """Five minutes are thousands of tries; the pauses do not grow out of bounds."""
        begun(server_with(nodes), browser)
        WebServer(nodes, exclusive=Exclusive(expire=timedelta(hours=1))).arrive(browser)
        server = WebServer(nodes, exclusive=Exclusive(wait=timedelta(minutes=5)))
        pauses = []
        server.waiting = pauses.append
        with pytest.raises(SessionBusy):
            server.arrive(browser)

        assert len(pauses) > 2_000
        assert max(pauses) == 0.1

    def test_read_only(self, nodes, browser, held):
        """It sees the session, and what it changes is dropped and told; the holder's work stands."""
        server = server_with(nodes, on_timeout="read_only")
        request = server.arrive(browser)
        request.session["n"] = 100
        request.session.increment("m")
        request.save()
        after_save = dict(request.session)
        request.session["k"] = 1
        request.leave()
        count(held.session)
        held.leave()

        assert after_save == {"n": 0}
        assert request.cookie == "kept"
        assert server.told() == ["LockBusy", "ChangesDropped", "ChangesDropped"]
        assert seen_by(server, browser) == {"n": 1}

    def test_read_only_modify_is_dropped_too(self, nodes, browser, held):
        """It computes and shows its result in this request, and writes nothing."""
        server = server_with(nodes, on_timeout="read_only")
        request = server.arrive(browser)
        nodes.sent()
        assert request.modify("n", lambda n: n + 5) == 5
        assert request.session["n"] == 5
        request.leave()

        assert [kinds for kinds in nodes.sent() if kinds not in ("Get+Get",)] == []
        assert server.told() == ["LockBusy", "ChangesDropped"]

    def test_read_only_modify_after_the_head_needs_no_cookie(self, nodes, browser, held):
        """It is not told that it is too late: nothing would be stored in any case."""
        server = server_with(nodes, on_timeout="read_only")
        request = server.arrive(browser)
        request.leave()

        assert request.modify("n", lambda n: n + 5) == 5
        assert server.lifecycle.forgot(request.visit)

    @pytest.mark.parametrize(
        ("act", "cookie", "seen"),
        [
            (lambda session: session.invalidate(), "deleted", {}),
            (lambda session: session.clear(), "deleted", {}),
            (put(user_id=7), "issued", {"n": 0, "user_id": 7}),
            (lambda session: session.regenerate(), "issued", {"n": 0}),
        ],
        ids=["logout", "clear", "login", "regenerate"],
    )
    def test_read_only_still_logs_in_and_out(self, nodes, browser, held, act, cookie, seen):
        """These must not be dropped for a page that takes long; the holder finds its session gone."""
        server = server_with(nodes, on_timeout="read_only")
        old = browser.copy()
        request = server.visit(browser, act)
        count(held.session)
        held.leave()

        assert request.cookie == cookie
        assert seen_by(WebServer(nodes), browser) == seen
        assert seen_by(WebServer(nodes), old) == {}
        assert held.server.told() == ["ChangesDropped"]

    def test_merge(self, nodes, browser, held):
        """It goes on as without a lock."""
        server = server_with(nodes, on_timeout="merge")
        server.visit(browser, put(k=1))
        count(held.session)
        held.leave()

        assert server.told() == ["LockBusy"]
        assert seen_by(WebServer(nodes), browser) == {"n": 1, "k": 1}

    def test_it_asks_under_one_name(self, nodes, browser, held):
        """So that whatever arrived of all its tries can be taken back."""
        server = server_with(nodes)
        visit, names = server.lifecycle.arrive(browser.header(), https=True), set()
        for _ in range(3):
            server.lifecycle.deadline(visit)
            nodes.conduct(server.lifecycle.claim(visit))
            names.add(visit.owner)

        assert len(names) == 1

    def test_whoever_gives_up_takes_its_name_back(self, nodes, browser):
        """Its lock was written everywhere, and all replies were lost: others need not wait until that runs out."""
        server = server_with(nodes)
        begun(server, browser)
        visit = server.lifecycle.arrive(browser.header(), https=True)
        plan = server.lifecycle.claim(visit)
        commands = next(plan)
        while not isinstance(commands[0], Add):
            commands = plan.send(nodes.answer(commands))
        while isinstance(commands[0], Add):
            nodes.answer(commands)
            try:
                commands = plan.send([Unreachable("lost")] * len(commands))
            except PoolUnavailable:
                break
        with pytest.raises(SessionBusy):
            server.arrive(browser)
        nodes.conduct(server.lifecycle.end_turn(visit))
        server.waiting = lambda pause_s: pytest.fail("what arrived of a claim was left behind")

        assert server.arrive(browser).visit.locked


class TestHoldingTooLong:
    """The holder was paused for longer than the lock lasts."""

    def overtaken(self, nodes, browser):
        """A holder whose time is over, and the other, who has the lock now."""
        holder = server_with(nodes).arrive(browser)
        nodes.now_s += 31
        return holder, server_with(nodes).arrive(browser)

    @pytest.mark.parametrize("how", ["commit", "save", "modify"])
    def test_nothing_is_written(self, nodes, browser, how):
        """Not by the commit, not by `save()`, not by `modify()`; the other's work stands."""
        begun(server_with(nodes), browser, n=0)
        holder, other = self.overtaken(nodes, browser)
        if how != "modify":
            holder.session["n"] = 100
        with pytest.raises(LockLost):
            holder.modify("k", lambda k: 1) if how == "modify" else getattr(holder, how)()
        count(other.session)
        other.leave()

        assert holder.server.told() == ["LockExpired"]
        assert seen_by(WebServer(nodes), browser) == {"n": 1}

    def test_it_cannot_try_again(self, nodes, browser):
        """An application that catches the error of `save()` does not get through at its commit."""
        begun(server_with(nodes), browser, n=0)
        holder, other = self.overtaken(nodes, browser)
        holder.session["n"] = 100
        for _ in range(3):
            with pytest.raises(LockLost):
                holder.save()
        with pytest.raises(LockLost):
            holder.leave()
        count(other.session)
        other.leave()

        assert seen_by(WebServer(nodes), browser) == {"n": 1}

    def test_it_cannot_unlock_the_other(self, nodes, browser):
        """What it gives back is its own."""
        begun(server_with(nodes), browser, n=0)
        holder, other = self.overtaken(nodes, browser)
        holder.over()
        third = server_with(nodes)
        with pytest.raises(SessionBusy):
            third.arrive(browser)
        count(other.session)
        other.leave()

        assert seen_by(WebServer(nodes), browser) == {"n": 1}

    def test_reading_needs_no_lock(self, nodes, browser):
        """A holder that changed nothing just answers."""
        begun(server_with(nodes), browser, n=0)
        holder, _ = self.overtaken(nodes, browser)

        assert holder.leave().cookie == "kept"
        assert holder.server.told() == []

    def test_a_holder_that_died_is_waited_for_no_longer(self, nodes, browser):
        """Its lock runs out, and the next request sees all that was saved."""
        begun(server_with(nodes), browser, n=0)
        server_with(nodes).arrive(browser)
        patient = WebServer(nodes, exclusive=Exclusive(wait=timedelta(minutes=1)))
        began_s = nodes.now_s

        assert patient.visit(browser, count).session == {"n": 1}
        assert 29 < nodes.now_s - began_s < 32

    def test_the_last_moments_are_not_used(self, nodes, browser):
        """A write that could end after the lock does not begin."""
        begun(server_with(nodes), browser, n=0)
        holder = server_with(nodes).arrive(browser)
        holder.session["n"] = 100
        nodes.now_s += 29.5
        with pytest.raises(LockLost):
            holder.commit()


class TestFailingNodes:
    """Locks are as available as the session is."""

    def test_one_of_two_homes_down(self, nodes, browser):
        """Requests still take turns."""
        server = server_with(nodes)
        key = begun(server, browser, n=0)
        nodes.set(Mode.OUT, server.world.homes(key)[0])
        first = server.arrive(browser)
        server.waiting = lambda pause_s: first.leave() if first.visit.owner else None
        count(first.session)
        server.visit(browser, count)

        assert seen_by(WebServer(nodes), browser) == {"n": 2}

    @pytest.mark.parametrize("mode", [Mode.OUT, Mode.SILENT])
    @pytest.mark.parametrize("on_timeout", ["error", "read_only", "merge"])
    def test_all_homes_down(self, nodes, browser, mode, on_timeout):
        """Answered at once, not after ten seconds, and told."""
        server = server_with(nodes, on_timeout=on_timeout)
        begun(server, browser)
        nodes.set(mode)
        server.waiting = lambda pause_s: pytest.fail("it waits for nodes that are down")
        with pytest.raises(PoolUnavailable):
            server.arrive(browser)

        assert server.told() == ["Unanswered"]

    @pytest.mark.parametrize("on_timeout", ["error", "read_only", "merge"])
    def test_all_homes_down_and_an_outage_is_no_error(self, nodes, browser, on_timeout):
        """The page is shown, without a session and without a turn."""
        server = server_with(nodes, on_timeout=on_timeout, empty_on_outage=True)
        begun(server, browser)
        nodes.set(Mode.SILENT)
        request = server.visit(browser)

        assert (request.session, request.cookie) == ({}, "kept")

    @pytest.mark.parametrize("on_timeout", ["error", "read_only"])
    def test_nothing_is_written_without_the_lock(self, nodes, browser, on_timeout):
        """The nodes come back right after nobody could lock: the request sees the session, and drops its changes."""
        server = server_with(nodes, on_timeout=on_timeout, empty_on_outage=True)
        begun(server, browser, n=0)
        visit = server.lifecycle.arrive(browser.header(), https=True)
        nodes.set(Mode.SILENT)
        server.lifecycle.deadline(visit)
        assert nodes.conduct(server.lifecycle.claim(visit)) is None
        nodes.set(Mode.UP)
        nodes.conduct(server.lifecycle.load(visit))
        count(visit.session)
        nodes.conduct(server.lifecycle.commit(visit))

        assert server.told() == ["ChangesDropped"]
        assert seen_by(WebServer(nodes), browser) == {"n": 0}
