"""When sessions end: what a session tells of its time, limits of its own, and clocks that are off."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from memsession.cookies import Cookie
from memsession.errors import ConfigurationError, PoolUnavailable
from memsession.lifetime import Lifetime
from tests.visits import START_MS, Browser, Mode, Nodes, WebServer, begun, live_sessions, put, records, seen_by

HOUR, DAY = 3_600, 86_400
LONG = Lifetime(longest=timedelta(days=30))
MONTH = {"idle": timedelta(days=14), "absolute": timedelta(days=30)}


@pytest.fixture
def nodes():
    return Nodes()


@pytest.fixture
def server(nodes):
    return WebServer(nodes, lifetime=LONG)


@pytest.fixture
def browser():
    return Browser()


def at(seconds):
    """So many seconds after the tests begin."""
    return datetime.fromtimestamp(START_MS / 1000 + seconds, UTC)


def times(session):
    return session.created_at, session.last_seen, session.expires_at


def login(**limits):
    """What a login does that remembers the visitor."""
    return lambda session: (session.update(user_id=1), session.set_lifetime(**limits))


def is_alive(server, browser):
    return bool(seen_by(server, browser))


def keep_using(server, browser, until_s, every_s):
    """A visitor who comes again and again."""
    while server.nodes.now_s < until_s:
        server.visit(browser)
        server.nodes.now_s += every_s


class TestTold:
    """What a session says of itself."""

    def test_a_new_session_has_no_times(self, server, browser):
        """Until it is stored; then it has all three, in UTC, by the pool's clock."""
        request = server.arrive(browser)
        before = times(request.session), request.session.is_new, request.session.id
        request.session["a"] = 1
        request.save()

        assert before == ((None, None, None), True, None)
        assert times(request.session) == (at(0), at(0), at(12 * HOUR))
        assert not request.session.is_new

    def test_last_seen_moves_and_the_rest_stays(self, server, browser):
        """It is what was stored before this visit, also when this visit renews it."""
        begun(server, browser)
        server.nodes.now_s = 1000
        first = server.visit(browser)
        server.nodes.now_s = 1500

        assert times(server.arrive(browser).session) == (at(0), at(1000), at(12 * HOUR))
        assert first.session.id == server.arrive(browser).session.id

    def test_save_shows_the_others_visit(self, server, browser):
        """A long request learns by `save()` when the visitor was seen last."""
        begun(server, browser)
        request = server.arrive(browser)
        server.nodes.now_s = 600
        server.visit(browser, put(a=1))
        request.save()

        assert request.session.last_seen == at(600)

    def test_a_logout_leaves_none(self, server, browser):
        """As a new session."""
        begun(server, browser)
        request = server.visit(browser, lambda session: session.invalidate())

        assert (times(request.session), request.session.is_new) == ((None, None, None), True)
        assert not request.session.ended

    @pytest.mark.parametrize("end", [lambda s: s.invalidate(), lambda s: s.regenerate()], ids=["logout", "login"])
    def test_a_session_learns_that_it_is_over(self, server, browser, end):
        """When its request came too late, or by `save()`."""
        begun(server, browser)
        old = browser.copy()
        request = server.arrive(old)
        alive = request.session.ended
        server.visit(browser, end)
        request.save()

        assert (alive, request.session.ended) == (False, True)
        assert server.arrive(old).session.ended

    def test_expired_and_unknown_sessions_are_not_ended_by_anybody(self, server, browser):
        """`ended` tells of a logout or login."""
        begun(server, browser)
        server.nodes.now_s = DAY

        assert not server.arrive(browser).session.ended


class TestOwnLimits:
    """`set_lifetime`: "remember me"."""

    def test_a_remembered_visitor(self, server, browser):
        """The cookie lasts a month, and so does the session; the ID is a new one."""
        begun(server, browser)
        old = browser.copy()
        request = server.visit(browser, login(**MONTH))

        assert b"; Max-Age=2592000" in request.set_cookie
        assert request.session.expires_at == at(30 * DAY)
        assert not is_alive(server, old)
        keep_using(server, browser, 27 * DAY, 3 * DAY)
        server.nodes.now_s = 30 * DAY - 1
        assert is_alive(server, browser)
        server.nodes.now_s = 30 * DAY
        assert not is_alive(server, browser)

    @pytest.mark.parametrize(("after_s", "alive"), [(14 * DAY - 1, True), (14 * DAY, False)])
    def test_its_own_idle_limit(self, server, browser, after_s, alive):
        """Judged to the second, on the server."""
        server.visit(browser, login(**MONTH))
        server.nodes.now_s = after_s

        assert is_alive(server, browser) is alive

    def test_others_are_as_ever(self, server, browser):
        """A month for one visitor is not a month for the next."""
        other = Browser()
        server.visit(browser, login(**MONTH))
        request = server.visit(other, put(user_id=2))
        server.nodes.now_s = 1_800

        assert b"Max-Age" not in request.set_cookie
        assert (is_alive(server, browser), is_alive(server, other)) == (True, False)

    @pytest.mark.parametrize("which", ["idle", "absolute"])
    def test_shorter_limits(self, server, browser, which):
        """For an administrator: five minutes, whatever the application allows."""
        limits = {"idle": timedelta(minutes=2), "absolute": timedelta(minutes=5)}
        server.visit(browser, login(**{which: limits[which]}))
        keep_using(server, browser, 110, 10)
        assert is_alive(server, browser)
        server.nodes.now_s += limits[which].total_seconds()

        assert not is_alive(server, browser)

    def test_only_the_absolute_limit(self, server, browser):
        """The idle limit stays as it is; the cookie lasts as long as the session may."""
        request = server.visit(browser, login(absolute=timedelta(days=30)))
        assert b"; Max-Age=2592000" in request.set_cookie
        server.nodes.now_s = 1_799
        assert is_alive(server, browser)
        server.nodes.now_s = 1_800

        assert not is_alive(server, browser)

    @pytest.mark.parametrize(
        "again",
        [
            lambda s: s.regenerate(),
            lambda s: s.regenerate(reauthenticated=True),
            put(user_id=2),
            put(user_id=None),
            put(user=1),
        ],
    )
    def test_a_new_id_keeps_them(self, server, browser, again):
        """Also with a new login, which shortens nothing: the cookie of the new ID lasts for what is left."""
        server.visit(browser, login(**MONTH))
        server.nodes.now_s = 10 * DAY
        request = server.visit(browser, again)

        assert request.session.expires_at == at(30 * DAY)
        assert b"; Max-Age=1728000" in request.set_cookie
        server.nodes.now_s += 13 * DAY
        assert is_alive(server, browser)

    def test_a_login_by_clearing_and_filling_forgets_them(self, server, browser):
        """It is another visitor's, or the same one's who was not asked to be remembered."""
        server.visit(browser, login(**MONTH))
        request = server.visit(browser, lambda session: (session.clear(), session.update(user_id=1)))

        assert request.session.expires_at == at(12 * HOUR)
        assert b"Max-Age" not in request.set_cookie

    def test_not_persistent(self, server, browser):
        """The limits are its own, the cookie is the browser window's; also of a later ID."""
        request = server.visit(browser, login(**MONTH, persistent=False))
        later = server.visit(browser, lambda session: session.regenerate())
        server.nodes.now_s = 10 * DAY

        assert (b"Max-Age" in request.set_cookie, b"Max-Age" in later.set_cookie) == (False, False)
        assert is_alive(server, browser)
        assert b"Max-Age" in server.visit(browser, login(**MONTH)).set_cookie

    def test_its_age_instead_of_the_cookies(self, nodes, browser):
        """`Cookie(max_age=...)` is for those without a lifetime of their own."""
        server = WebServer(nodes, lifetime=LONG, cookie=Cookie(max_age=timedelta(days=1)))
        own, other = server.visit(browser, login(**MONTH)), server.visit(Browser(), put(a=1))

        assert b"Max-Age=2592000" in own.set_cookie
        assert b"Max-Age=86400" in other.set_cookie

    def test_a_logout_forgets_them(self, server, browser):
        """What begins afterwards is as any other; said afterwards, they are the new session's."""
        server.visit(browser, login(**MONTH))
        forgotten = server.visit(
            browser, lambda session: (session.set_lifetime(**MONTH), session.invalidate(), session.update(a=1))
        )
        again = server.visit(
            browser, lambda session: (session.invalidate(), session.set_lifetime(**MONTH), session.update(a=1))
        )

        assert (forgotten.session.expires_at, again.session.expires_at) == (at(12 * HOUR), at(30 * DAY))
        assert (b"Max-Age" in forgotten.set_cookie, b"Max-Age" in again.set_cookie) == (False, True)

    def test_a_logout_with_limits_and_nothing_else_is_a_logout(self, server, browser):
        """There is no session to give them to."""
        begun(server, browser)
        request = server.visit(browser, lambda session: (session.invalidate(), session.set_lifetime(**MONTH)))

        assert (request.cookie, request.session.is_new, live_sessions(server)) == ("deleted", True, 0)
        assert not server.lifecycle.forgot(request.visit)

    def test_a_session_with_limits_and_nothing_else_is_not_stored(self, nodes, server, browser):
        """There is nothing to remember."""
        request = server.visit(browser, lambda session: session.set_lifetime(**MONTH))

        assert (request.cookie, nodes.sent()) == ("kept", [])

    @pytest.mark.parametrize(
        "limits",
        [
            {"absolute": timedelta(days=30, seconds=1)},
            {"idle": timedelta(seconds=1)},
            {"idle": timedelta(days=2), "absolute": timedelta(days=1)},
            {"idle": 60},
            {"absolute": "30 days"},
        ],
    )
    def test_bad_limits_are_refused_at_once(self, nodes, server, browser, limits):
        """In the call, and nothing is changed by it."""
        begun(server, browser)
        request = server.arrive(browser)
        with pytest.raises(ConfigurationError, match=r"set_lifetime\("):
            request.session.set_lifetime(**limits)
        request.leave()

        assert request.cookie == "kept"

    def test_without_longest_the_application_s_limit_is_the_longest(self, nodes, browser):
        """Tombstones live no longer than that."""
        server = WebServer(nodes)
        with pytest.raises(ConfigurationError, match="longest"):
            server.visit(browser, login(absolute=timedelta(days=30)))

    def test_in_doubt(self, nodes, browser):
        """It is a login: a new session begins with these limits, and the doubted one is ended where it can be."""
        nodes = Nodes(3)
        server = WebServer(nodes, lifetime=LONG)
        key = begun(server, browser)
        one, other = server.world.homes(key)
        nodes.nodes[one].restart()
        nodes.set(Mode.SILENT, other)
        request = server.visit(browser, login(**MONTH))

        assert request.cookie == "issued"
        assert request.session.expires_at == at(30 * DAY)

    @pytest.mark.parametrize("empty_on_outage", [True, False])
    def test_in_an_outage(self, nodes, browser, empty_on_outage):
        """A login that cannot be stored must not seem to succeed."""
        server = WebServer(nodes, lifetime=LONG, empty_on_outage=empty_on_outage)
        begun(server, browser)
        nodes.set(Mode.SILENT)
        with pytest.raises(PoolUnavailable):
            server.visit(browser, login(**MONTH))
        nodes.set(Mode.UP)

        assert seen_by(server, browser) == {"cart": [1]}

    def test_an_outage_before_the_commit(self, nodes, server, browser):
        """Tried again later, it is one remembered session."""
        begun(server, browser)
        request = server.arrive(browser)
        login(**MONTH)(request.session)
        nodes.set(Mode.SILENT)
        with pytest.raises(PoolUnavailable):
            request.save()
        nodes.set(Mode.UP)
        nodes.now_s += 5
        request.visit.left_s = 1.0
        request.leave()

        assert b"Max-Age=2592000" in request.set_cookie
        assert live_sessions(server) == 2

    @pytest.mark.parametrize(
        "act", [login(**MONTH), lambda s: s.regenerate(), put(user_id=1)], ids=["set_lifetime", "regenerate", "login"]
    )
    def test_after_the_head_it_is_too_late(self, server, browser, act):
        """In a WebSocket after accept no cookie can be set: `save()` says so, and nothing is renewed."""
        begun(server, browser)
        request = server.visit(browser)
        act(request.session)
        with pytest.raises(RuntimeError, match="the response has begun"):
            request.save()

        assert is_alive(server, browser)
        assert server.lifecycle.forgot(request.visit)

    def test_a_shorter_longest_shortens_them(self, nodes, browser):
        """After a restart with another setting no session outlives the tombstones."""
        server = WebServer(nodes, lifetime=LONG)
        server.visit(browser, login(**MONTH))
        nodes.now_s = 13 * HOUR

        assert is_alive(server, browser)
        assert not is_alive(WebServer(nodes), browser)


class TestLogins:
    """Who proves anew who he is has the whole absolute time again (NIST SP 800-63B-4, section 5.2)."""

    @pytest.mark.parametrize(
        ("act", "begins_anew"),
        [
            (put(user_id=1), True),
            (lambda s: s.regenerate(reauthenticated=True), True),
            (lambda s: (s.regenerate(reauthenticated=True), s.regenerate()), True),
            (lambda s: (s.clear(), s.update(user_id=1)), True),
            (lambda s: s.regenerate(), False),
            (put(user_id=None), False),
            (lambda s: (s.clear(), s.update(a=1)), False),
        ],
    )
    def test_a_login(self, server, browser, act, begins_anew):
        """When there is a visitor known where there was none, or the application says so."""
        begun(server, browser)
        keep_using(server, browser, HOUR, 60)
        request = server.visit(browser, act)

        assert request.cookie == "issued"
        assert request.session.created_at == at(0)
        assert request.session.expires_at == at((13 if begins_anew else 12) * HOUR)

    @pytest.mark.parametrize(
        ("act", "begins_anew"),
        [
            (put(user_id=2), False),
            (put(user_id={"name": "anna"}), False),
            (lambda s: s.pop("user_id"), False),
            (put(user=2), True),
            (lambda s: (s.clear(), s.update(user_id=1)), True),
            (lambda s: (s.clear(), s.update(user_id=3)), True),
            (lambda s: s.regenerate(reauthenticated=True), True),
        ],
    )
    def test_of_one_who_was_known(self, server, browser, act, begins_anew):
        """A key that is edited is no login; one that logs in again by clear-and-refill is, also as the same."""
        begun(server, browser, user_id=1)
        keep_using(server, browser, HOUR, 60)
        request = server.visit(browser, act)

        assert request.cookie == "issued"
        assert request.session.expires_at == at((13 if begins_anew else 12) * HOUR)

    def test_nobody_lives_forever_without_one(self, server, browser):
        """Used every minute and regenerated every hour, it ends after twelve."""
        begun(server, browser, user_id=1)
        for hour in range(1, 12):
            keep_using(server, browser, hour * HOUR, 60)
            server.visit(browser, lambda session: session.regenerate())
        assert is_alive(server, browser)
        keep_using(server, browser, 12 * HOUR, 60)

        assert not is_alive(server, browser)


class TestClocks:
    """The pool's clock decides; what a web server's own says does not matter."""

    @pytest.mark.parametrize("own", [False, True], ids=["application's limits", "own limits"])
    @pytest.mark.parametrize("off_s", [HOUR, -HOUR, DAY, -DAY])
    def test_a_web_server_whose_clock_is_off(self, nodes, monkeypatch, off_s, own):
        """It neither ends nor keeps anybody's session: times are judged by the pool's clock, never by its own."""
        wall = time.time() + off_s
        monkeypatch.setattr(time, "time", lambda: wall)
        monkeypatch.setattr(time, "time_ns", lambda: int(wall * 1e9))
        right, wrong, browser = WebServer(nodes, lifetime=LONG), WebServer(nodes, lifetime=LONG), Browser()
        idle_s = 14 * DAY if own else 1_800
        right.visit(browser, login(**MONTH) if own else put(a=1))
        nodes.now_s = idle_s - 1
        assert is_alive(wrong, browser)
        wrong.visit(browser)
        nodes.now_s += idle_s - 1
        assert is_alive(right, browser)
        nodes.now_s += 1

        assert (is_alive(right, browser), is_alive(wrong, browser)) == (False, False)

    @pytest.mark.parametrize("off_s", [1, -1, 0])
    def test_renewal_at_most_once_in_a_twentieth(self, nodes, server, browser, off_s):
        """Also of an idle limit of the session's own: 14 days are renewed every 16.8 hours."""
        server.visit(browser, login(**MONTH))
        twentieth_s = 14 * DAY // 20
        nodes.now_s = twentieth_s + off_s
        nodes.sent()
        server.visit(browser)

        assert nodes.sent() == (["Get+Get", "Cas+Cas"] if off_s > 0 else ["Get+Get"])

    def test_a_busy_visitor_is_written_twenty_times_in_an_idle_time(self, nodes, server, browser):
        """However often he comes."""
        server.visit(browser, login(idle=timedelta(minutes=20), absolute=timedelta(hours=1)))
        nodes.sent()
        for _ in range(1_200):
            nodes.now_s += 1
            server.visit(browser)

        assert nodes.sent().count("Cas+Cas") <= 20

    def test_nodes_keep_it_as_long_as_it_lives(self, nodes, server, browser):
        """All copies alike, and no longer than memcached can count."""
        request = server.visit(browser, login(**MONTH))
        nodes.now_s = 14 * DAY - 1

        assert [record is not None for record in records(server, request.key)] == [True, True]
