"""Strict mode: too few nodes are a 503, one node away is nothing, and what is ended stays so."""

import pickle
from types import SimpleNamespace

import pytest

from memsession.commands import Cas, Skipped, Unreachable
from memsession.errors import ConfigurationError, PoolUnavailable, UpdateUnconfirmed
from memsession.plans import Doubt, NoMajority, repair
from memsession.plans.quorum import enough, proven
from memsession.pool import Pool
from memsession.record import Dead
from tests.visits import Browser, Mode, Nodes, WebServer, begun, put, records, seen_by

KEYS = [b"memsession:%043d" % number for number in range(100)]


def strict(*nodes, **settings):
    return Pool(*nodes, **{"copies": 3, "consistency": "majority", **settings})


@pytest.fixture
def nodes():
    return Nodes(3, copies=3, consistency="majority")


@pytest.fixture
def server(nodes):
    return WebServer(nodes)


@pytest.fixture
def browser():
    return Browser()


@pytest.fixture
def key(server, browser):
    """A session that all three nodes hold."""
    return begun(server, browser, cart=[1])


def last_two(server, key):
    return server.world.homes(key)[1:]


class TestPool:
    """The setting."""

    @pytest.mark.parametrize("copies", [None, 1, 2])
    def test_a_majority_needs_three_copies(self, copies):
        """With two, either node that fails would stop everything."""
        with pytest.raises(
            ConfigurationError, match=r'consistency="majority"\) with copies=\d: use copies=3 or more'
        ):
            Pool("a", "b", "c", copies=copies, consistency="majority")

    @pytest.mark.parametrize("consistency", ["quorum", "", None, 2])
    def test_there_are_two_modes(self, consistency):
        """Anything else is refused, and both are named."""
        with pytest.raises(ConfigurationError, match='use "one", the default, or "majority"'):
            Pool("a", "b", "c", copies=3, consistency=consistency)

    def test_the_mode_is_changed_by_itself(self):
        """Web servers that are content with one node would break what the others promise: not while nodes change."""
        for new, old in (("majority", "one"), ("one", "majority")):
            former = Pool("a", "b", "c", copies=3, consistency=old)
            with pytest.raises(ConfigurationError, match=r"must have the same consistency\. Change the nodes"):
                Pool("a", "b", "d", copies=3, consistency=new, previous=former)

    def test_a_pool_shows_its_mode(self):
        """As an attribute, in its text, and in comparisons."""
        assert (Pool("a").consistency, strict("a", "b", "c").consistency) == ("one", "majority")
        assert "most of them have to agree" in repr(strict("a", "b", "c"))
        assert strict("a", "b", "c") != Pool("a", "b", "c", copies=3)

    def test_homes_by_pool(self):
        """The homes in each pool of the chain, the newest first; together they are all homes. Copies agree."""
        first = strict("a", "b", "c")
        second = strict("a", "b", "c", "d", "e", previous=first)
        third = strict("d", "e", "f", "g", previous=second)

        for key in KEYS:
            assert first.home_sets(key) == (first.homes(key),)
            assert third.home_sets(key)[1:] == second.home_sets(key)
            assert third.home_sets(key)[0] == strict("d", "e", "f", "g").homes(key)
            assert tuple(dict.fromkeys(sum(third.home_sets(key), ()))) == third.homes(key)
            assert pickle.loads(pickle.dumps(third)).home_sets(key) == third.home_sets(key)


class TestQuorum:
    """Who is enough, for letters that stand for homes."""

    @staticmethod
    def world(*sets):
        return SimpleNamespace(home_sets=(lambda key: tuple(tuple(homes) for homes in sets)) if sets else None)

    @pytest.mark.parametrize(
        ("sets", "nodes", "expected"),
        [
            ((), "", False),
            ((), "A", True),
            (("ABC",), "A", False),
            (("ABC",), "AB", True),
            (("ABCD",), "AB", False),
            (("ABCD",), "ABC", True),
            (("ABC", "DEF"), "ABC", False),
            (("ABC", "DEF"), "ABDE", True),
            (("ABC", "ABD"), "AB", True),
            (("ABC", "ABD"), "AC", False),
        ],
    )
    def test_enough(self, sets, nodes, expected):
        """More than a half, in every pool; normally any one."""
        assert enough(self.world(*sets), b"k", frozenset(nodes)) is expected

    @pytest.mark.parametrize(
        ("sets", "having", "empty", "expected"),
        [
            ((), "A", "BC", True),
            (("ABC",), "A", "BC", False),
            (("ABC",), "AB", "", True),
            (("ABC", "DEF"), "DE", "", False),  # nothing is known of the other pool
            (("ABC", "DEF"), "DE", "A", False),
            (("ABC", "DEF"), "DE", "AB", True),  # it has nothing, as far as most of it can tell
            (("ABC", "DEF"), "DEC", "A", False),  # it had something, and may know of an end
            (("ABC", "DEF"), "DEC", "AB", True),  # all of it has answered
            (("ABC", "DEF"), "DECB", "", True),
            (("ABC", "DEF"), "DA", "BCEF", False),  # nowhere a majority
            (("ABC", "ABD"), "AB", "", True),
        ],
    )
    def test_proven(self, sets, having, empty, expected):
        """Records from a majority in one pool, and no other pool that may object."""
        assert proven(self.world(*sets), b"k", having, empty) is expected


def empty_home(nodes, name):
    nodes.nodes[name].restart()


AWAY = {
    "out": lambda nodes, name: nodes.set(Mode.OUT, name),
    "silent": lambda nodes, name: nodes.set(Mode.SILENT, name),
    "mute": lambda nodes, name: nodes.set(Mode.MUTE, name),
    "restarted": empty_home,
}


class TestOneNodeAway:
    """Nothing is refused."""

    @pytest.fixture(params=[(how, which) for how in AWAY for which in range(3)], ids=lambda at: f"{at[0]}-{at[1]}")
    def away(self, request, nodes, server, key):
        """One of the three, in every way."""
        how, which = request.param
        AWAY[how](nodes, server.world.homes(key)[which])
        server.told()

    def test_everything_works(self, away, server, browser):
        """Changes, counts, a login, a logout and a new session."""
        server.visit(browser, put(a=1))
        server.visit(browser, lambda session: session.increment("n"))
        login = server.visit(browser, put(user_id=1))
        seen = seen_by(server, browser)
        old = browser.copy()
        logout = server.visit(browser, lambda session: session.invalidate())
        begins = server.visit(browser, put(b=1))

        assert seen == {"cart": [1], "a": 1, "n": 1, "user_id": 1}
        assert (login.cookie, logout.cookie, begins.cookie) == ("issued", "deleted", "issued")
        assert (seen_by(server, old), seen_by(server, browser)) == ({}, {"b": 1})

    def test_an_unknown_id_is_no_obstacle(self, away, nodes, server, browser, key):
        """The nodes have nothing: the visitor is shown an empty session, and can begin a new one."""
        for node in nodes.nodes.values():
            node.restart()
        request = server.visit(browser, put(user_id=1))

        assert request.cookie == "issued"
        assert seen_by(server, browser) == {"user_id": 1}


def test_a_healthy_visit_costs_what_it_always_costs(nodes, server, browser, key):
    """One round of reads, one round of writes."""
    server.visit(browser, put(a=1))

    assert nodes.sent() == ["Get+Get+Get", "Cas+Cas+Cas"]


class TestFewNodes:
    """A web server that reaches one node of three."""

    def test_a_read_is_refused(self, nodes, server, browser, key):
        """503, the cookie is kept, nothing is written; when the nodes are back, so is the session."""
        nodes.set(Mode.OUT, *last_two(server, key))
        before = nodes.held(key)
        with pytest.raises(PoolUnavailable, match=r'too few.*consistency="majority".*can they be reached'):
            server.visit(browser, put(a=1))

        assert (server.told(), nodes.held(key)) == (["TooFewCopies"], before)
        assert {kind for sent in nodes.sent() for kind in sent.split("+")} == {"Get"}
        nodes.set(Mode.UP)
        server.visit(browser, put(b=1))
        assert seen_by(server, browser) == {"cart": [1], "b": 1}

    def test_none_is_an_outage(self, nodes, server, browser, key):
        """As in the normal mode."""
        nodes.set(Mode.OUT)
        with pytest.raises(PoolUnavailable, match="no memcached node"):
            server.visit(browser)

        assert server.told() == ["Unanswered"]

    def test_an_outage_may_be_empty(self, nodes, browser, server, key):
        """With `on_outage="empty"`: shown empty, nothing is saved and the cookie is kept, but no logout is faked."""
        lenient = WebServer(nodes, empty_on_outage=True)
        nodes.set(Mode.OUT, *last_two(server, key))
        request = lenient.visit(browser, put(a=1))

        assert (dict(request.session), request.cookie) == ({"a": 1}, "kept")
        assert lenient.told() == ["TooFewCopies", "ChangesUnsaved"]
        with pytest.raises(PoolUnavailable):
            lenient.visit(browser, lambda session: session.invalidate())
        with pytest.raises(PoolUnavailable):
            lenient.visit(browser, put(user_id=1))

    @pytest.mark.parametrize("mode", [Mode.OUT, Mode.SILENT])
    def test_a_logout_at_one_node_is_refused(self, nodes, server, browser, key, mode):
        """503 and the cookie is kept. The tombstone stays, so that the session is over when the nodes are back."""
        request = server.arrive(browser)
        nodes.set(mode, *last_two(server, key))
        request.session.invalidate()
        with pytest.raises(PoolUnavailable, match="no majority of this session's memcached nodes acknowledged"):
            request.leave()

        assert (bool(browser.cookies), server.told()) == (True, ["SaveFailed"])
        assert [isinstance(record, Dead) for record in records(server, key)].count(True) == 1
        nodes.set(Mode.UP)
        assert (seen_by(server, browser), len(set(map(str, records(server, key))))) == ({}, 1)

    @pytest.mark.parametrize("act", [put(a=1), put(user_id=1), lambda session: session.regenerate()])
    def test_a_change_at_one_node_is_refused(self, nodes, server, browser, key, act):
        """The same for a change, a login and a new ID; the cookie does not change."""
        request = server.arrive(browser)
        before = dict(browser.cookies)
        nodes.set(Mode.SILENT, *last_two(server, key))
        act(request.session)
        with pytest.raises(PoolUnavailable, match="no majority"):
            request.leave()

        assert browser.cookies == before
        nodes.set(Mode.UP)
        assert seen_by(server, browser)["cart"] == [1]

    def test_a_new_session_at_one_node_is_refused(self, nodes, server, browser):
        """No cookie for a session that the next request would not be shown."""
        nodes.set(Mode.OUT, *nodes.names[1:])
        with pytest.raises(PoolUnavailable, match="no majority"):
            server.visit(browser, put(a=1))

        assert (browser.cookies, server.told()) == ({}, ["SaveFailed"])

    def test_an_increment_is_not_counted_twice(self, nodes, server, browser, key):
        """One node has it, the visitor got a 503, and the next request counts again: two in all."""
        request = server.arrive(browser)
        nodes.set(Mode.SILENT, *last_two(server, key))
        request.session.increment("n")
        with pytest.raises(PoolUnavailable):
            request.commit()
        nodes.set(Mode.UP)
        request.commit()
        server.visit(browser, lambda session: session.increment("n"))

        assert seen_by(server, browser)["n"] == 2

    def test_modify_at_one_node_is_unconfirmed(self, nodes, server, browser, key):
        """The orderer alone is not enough."""
        request = server.arrive(browser)
        nodes.set(Mode.SILENT, *last_two(server, key))
        with pytest.raises(UpdateUnconfirmed):
            request.modify("n", lambda n: n + 1, 0)

    def test_modify_at_two_nodes_is_done(self, nodes, server, browser, key):
        """The orderer and another one."""
        request = server.arrive(browser)
        nodes.set(Mode.SILENT, last_two(server, key)[0])

        assert request.modify("n", lambda n: n + 1, 0) == 1
        assert seen_by(server, browser) == {"cart": [1], "n": 1}


class TestForgottenLogout:
    """One node missed the logout, another one has forgotten it, and the third is away."""

    @pytest.fixture
    def keeper(self, nodes, server, browser, key):
        """The only node that knows; it is away."""
        keeper, forgets, misses = server.world.homes(key)
        tab = browser.copy()
        nodes.set(Mode.OUT, misses)
        server.visit(browser, lambda session: session.invalidate())
        browser.cookies = tab.cookies
        nodes.set(Mode.UP)
        empty_home(nodes, forgets)
        nodes.set(Mode.OUT, keeper)
        server.told()
        nodes.sent()
        return keeper

    def test_it_is_not_shown(self, nodes, server, browser, key, keeper):
        """A miss is no vote: the single copy is refused, and not spread. Not by the refill either."""
        before = nodes.held(key)
        with pytest.raises(PoolUnavailable):
            server.visit(browser)

        assert nodes.conduct(repair(server.world, key)) == NoMajority()
        assert nodes.held(key) == before

    def test_it_is_over_when_the_third_is_back(self, nodes, server, browser, key, keeper):
        """One tombstone is enough, and is handed on."""
        nodes.set(Mode.UP)

        assert seen_by(server, browser) == {}
        assert [isinstance(record, Dead) for record in records(server, key)] == [True] * 3


class TestTwoForgot:
    """All nodes answer, and one alone has the session."""

    @pytest.fixture(autouse=True)
    def alone(self, nodes, server, key):
        for name in last_two(server, key):
            empty_home(nodes, name)

    def test_it_is_doubt(self, nodes, server, browser, key):
        """Asking again would change nothing, so it is no 503: shown empty, cookie kept, and nothing is spread."""
        before = nodes.held(key)
        request = server.visit(browser)

        assert (dict(request.session), request.cookie, server.told()) == ({}, "kept", ["TooFewCopies"])
        assert nodes.conduct(repair(server.world, key)) == Doubt(outvoted=True)
        assert nodes.held(key) == before

    def test_a_login_ends_it(self, server, browser, key):
        """The visitor goes on under a new ID."""
        old = browser.copy()
        request = server.visit(browser, put(user_id=1))

        assert (request.cookie, seen_by(server, browser), seen_by(server, old)) == ("issued", {"user_id": 1}, {})
        assert [isinstance(record, Dead) for record in records(server, key)] == [True] * 3


def test_most_nodes_thought_out_are_asked(nodes, server, browser, key):
    """They are well, and only thought to be out: one more round of reads finds that."""
    out = {*last_two(server, key)}
    answer, up = nodes._answer, nodes.is_up
    nodes.is_up = lambda name: name not in out and up(name)

    def knowing(command):
        if command.node in out and not getattr(command, "force", True):
            return Skipped()
        return answer(command)

    nodes._answer = knowing
    assert seen_by(server, browser) == {"cart": [1]}
    assert nodes.sent() == ["Get+Get+Get"] * 2


def test_one_lost_reply_does_not_undo_a_login(nodes, server, browser, key):
    """With one node down the other two must acknowledge the end of the old ID; a lost reply is asked for."""
    _, other, down = server.world.homes(key)
    nodes.set(Mode.OUT, down)
    answer, lost = nodes._answer, []

    def losing(command):
        reply = answer(command)
        if isinstance(command, Cas) and (command.node, command.key) == (other, key) and not lost:
            lost.append(command)
            return Unreachable("told to")
        return reply

    nodes._answer = losing
    old = browser.copy()
    request = server.visit(browser, put(user_id=1))

    assert (len(lost), request.cookie) == (1, "issued")
    assert (seen_by(server, browser), seen_by(server, old)) == ({"cart": [1], "user_id": 1}, {})
