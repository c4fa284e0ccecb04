"""`memsession locate`: where a session's copies are, whether they agree, and how a session may be named."""

import json
import re

import pytest

from memsession.command import session_key
from memsession.cookies import Cookie, CookieSigner
from memsession.identity import SessionId
from memsession.record import Dead, Reason
from tests.command_line import SECRET, memsession, process
from tests.listeners import listener, says, speaks_tls
from tests.pools import RealPool
from tests.servers import free_port

NOWHERE = "A" * 43


@pytest.fixture
def stage(memcached):
    stage = RealPool([memcached(), memcached()])
    yield stage
    stage.close()


def located(stage, key, *more):
    """What is told to programs, and the exit code."""
    answer = memsession("locate", "--json", *more, "--", stage.names(key), **stage.settings())
    return json.loads(answer.out), answer.code


def test_copies_that_agree(stage):
    """Every node with its state, version, life and size; exit code 0."""
    key = stage.born()
    data, code = located(stage, key)

    assert code == 0
    assert data["agree"] is True
    assert data["session"] == stage.names(key)
    assert {copy["node"] for copy in data["copies"]} == {"a", "b"}
    for copy in data["copies"]:
        assert (copy["state"], copy["version"], copy["pool"]) == ("live", 1, "current")
        assert 1_000 < copy["idle_left_s"] <= 1_801
        assert 40_000 < copy["absolute_left_s"] <= 43_201
        assert copy["bytes"] > 50


def test_the_table(stage):
    """For people: the same, and nothing of what is in the session."""
    key = stage.born(user="nobody-shall-read-this")
    answer = memsession("locate", "--", stage.names(key), **stage.settings())

    assert answer.code == 0
    assert answer.out.startswith(f"session {stage.names(key)}\n")
    assert re.search(r"^a +live +1 +(29m|30m) +(11h|12h) +\d+", answer.out, re.MULTILINE)
    assert "The copies agree." in answer.out
    assert "previous" not in answer.out
    assert "nobody-shall-read-this" not in answer.out


def test_the_idle_limit_is_the_applications(stage):
    """`--idle` is what is counted from."""
    data, _ = located(stage, stage.born(seen_s=100), "--idle", "1h")

    assert all(3_400 < copy["idle_left_s"] <= 3_501 for copy in data["copies"])


def test_it_changes_nothing(stage):
    """A copy that is missing is still missing afterwards."""
    key = stage.new_key()
    stage.put("a", key, stage.live())
    for _ in range(2):
        data, code = located(stage, key)
        assert code == 1
        assert {copy["node"]: copy["state"] for copy in data["copies"]} == {"a": "live", "b": "missing"}
    assert "memsession refill" in data["verdict"]


def test_different_content_under_one_version_is_told_apart(stage):
    """By letters, and the copies do not agree."""
    key = stage.new_key()
    stage.put("a", key, stage.live(user="ann"))
    stage.put("b", key, stage.live(user="bob"))
    data, code = located(stage, key)
    answer = memsession("locate", "--", stage.names(key), **stage.settings())

    assert code == answer.code == 1
    assert sorted(copy["variant"] for copy in data["copies"]) == [1, 2]
    assert re.search(r"^\w +live +1a ", answer.out, re.MULTILINE)
    assert re.search(r"^\w +live +1b ", answer.out, re.MULTILINE)


@pytest.mark.parametrize(
    ("dead", "state", "told"),
    [(Dead(Reason.INVALIDATED), "ended", "was ended"), (Dead(Reason.REGENERATED, "m"), "moved", "another one")],
)
def test_a_session_that_is_over(stage, dead, state, told):
    """The copies agree on that, so all is well."""
    key = stage.new_key()
    for node in "ab":
        stage.put(node, key, dead)
    data, code = located(stage, key)

    assert code == 0
    assert {copy["state"] for copy in data["copies"]} == {state}
    assert told in data["verdict"]


def test_a_session_whose_time_is_over(stage):
    """Is not live, though the nodes still hold it."""
    data, code = located(stage, stage.born(seen_s=2_000))

    assert code == 0
    assert {copy["state"] for copy in data["copies"]} == {"expired"}
    assert "time is over" in data["verdict"]


def test_nobody_has_it(stage):
    """Exit code 1, and what may be the reason."""
    answer = memsession("locate", NOWHERE, **stage.settings())

    assert answer.code == 1
    assert "No node has it" in answer.words


@pytest.mark.parametrize("command", ["locate", "end"])
def test_an_id_may_begin_with_a_hyphen(stage, command):
    """Such an ID is no option, though it looks like one."""
    answer = memsession(command, f"-{NOWHERE[1:]}", **stage.settings())

    assert answer.code == 1
    assert "No such option" not in answer.words


def test_another_secret(stage):
    """What cannot be read is not called missing."""
    key = stage.born()
    environment = {**stage.settings(), "MEMSESSION_SECRET": "another-secret-0123456789-0123456789"}
    answer = memsession("locate", "--", stage.names(key), **environment)

    assert answer.code == 1
    assert "unreadable" in answer.out
    assert "is the secret the application's" in answer.words


def test_one_node_down(stage):
    """It is named, with what to do about it."""
    key = stage.born()
    stage.nodes["b"].kill()
    data, code = located(stage, key)
    answer = memsession("locate", "--", stage.names(key), **stage.settings())

    assert code == answer.code == 1
    assert {copy["node"]: copy["state"] for copy in data["copies"]} == {"a": "live", "b": "silent"}
    assert "No answer from b: " in answer.words
    assert "Does memcached run" in answer.words
    assert "differ" not in answer.words


def test_a_silent_node_may_have_what_the_others_have_not(stage):
    """So nothing is claimed."""
    stage.nodes["b"].kill()
    answer = memsession("locate", NOWHERE, **stage.settings())

    assert answer.code == 1
    assert "whether there is such a session is not known" in answer.words


def test_all_nodes_down(stage):
    """Exit code 3, in one line."""
    key = stage.born()
    for node in stage.nodes.values():
        node.kill()
    answer = memsession("locate", "--", stage.names(key), **stage.settings())

    assert answer.code == 3
    assert answer.out == ""
    assert "no node of this session answers: " in answer.err


@pytest.mark.parametrize(
    ("serve", "told"), [(says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "web server"), (speaks_tls, "TLS")]
)
def test_something_else_listens_there(stage, serve, told):
    """It is said what it is."""
    with listener(serve) as port:
        pool = f"a={stage.nodes['a'].address},b=127.0.0.1:{port}"
        answer = memsession("locate", NOWHERE, "--pool", pool, MEMSESSION_SECRET=SECRET)
        alone = memsession("locate", NOWHERE, "--pool", f"127.0.0.1:{port}", MEMSESSION_SECRET=SECRET)

    assert (answer.code, alone.code) == (1, 3)
    assert told in answer.words
    assert told in alone.words


def test_a_wrong_address():
    """Nothing listens there."""
    answer = memsession("locate", NOWHERE, "--pool", f"127.0.0.1:{free_port()}", MEMSESSION_SECRET=SECRET)

    assert answer.code == 3
    assert "nothing listens here" in answer.err


def test_no_pool_and_no_secret():
    """Are told with what to set; exit code 2."""
    for environment, told in [({}, "MEMSESSION_POOL"), ({"MEMSESSION_POOL": "127.0.0.1"}, "MEMSESSION_SECRET")]:
        answer = memsession("locate", NOWHERE, **environment)
        assert (answer.code, answer.out) == (2, "")
        assert told in answer.err


def test_while_the_pool_changes(memcached):
    """The homes of before are shown as well."""
    stage = RealPool([memcached(), memcached(), memcached()])
    key = next(key for key in iter(stage.new_key, None) if "c" in stage.pool.homes(key))
    before = ",".join(f"{name}={stage.nodes[name].address}" for name in "ab")
    for node in "ab":
        stage.put(node, key, stage.live())
    arguments = ("locate", "--previous", before, "--", stage.names(key))
    answer = memsession(*arguments, **stage.settings())
    data = json.loads(memsession(*arguments[:1], "--json", *arguments[1:], **stage.settings()).out)
    stage.close()

    assert answer.code == 1
    assert {copy["node"]: copy["state"] for copy in data["copies"]} == {"a": "live", "b": "live", "c": "missing"}
    assert sorted(copy["pool"] for copy in data["copies"]) == ["current", "current", "previous"]
    assert "previous" in answer.out
    assert "The pool changes" in answer.words


class TestNames:
    """How a session may be named."""

    def test_the_first_characters(self, stage):
        """As a log shows them; twelve are enough."""
        key = stage.born()
        for length in (12, 42):
            answer = memsession("locate", "--", stage.names(key)[:length], **stage.settings())
            assert answer.code == 0
            assert stage.names(key) in answer.out

    def test_the_storage_key(self, stage):
        """As memcached lists it."""
        key = stage.born()
        assert memsession("locate", key.decode(), **stage.settings()).code == 0

    def test_first_characters_that_nobody_has(self, stage):
        """Nothing is found, and it is said why."""
        stage.born()
        answer = memsession("locate", "AAAAAAAAAAAA", **stage.settings())

        assert (answer.code, answer.out) == (1, "")
        assert "no session begins with AAAAAAAAAAAA" in answer.err
        assert "could be asked" not in answer.err

    def test_first_characters_of_several(self, stage):
        """More of them are asked for."""
        for last in "ABCDEF":
            key = f"memsession:{'x' * 42}{last}".encode()
            stage.put("a", key, stage.live())
        answer = memsession("locate", "x" * 12, **stage.settings())

        assert answer.code == 2
        assert "several sessions begin with xxxxxxxxxxxx" in answer.err

    def test_first_characters_with_a_node_down(self, stage):
        """The others know it; if they do not, nobody can say."""
        key = stage.born()
        stage.nodes["b"].kill()
        found = memsession("locate", "--", stage.names(key)[:12], **stage.settings())
        lost = memsession("locate", "AAAAAAAAAAAA", **stage.settings())

        assert found.code == 1
        assert stage.names(key) in found.out
        assert lost.code == 1
        assert "not all nodes could be asked: b: " in lost.err

    def test_first_characters_with_all_nodes_down(self, stage):
        """Exit code 3."""
        for node in stage.nodes.values():
            node.kill()
        answer = memsession("locate", "AAAAAAAAAAAA", **stage.settings())

        assert answer.code == 3
        assert "no node lists its sessions" in answer.err

    def test_a_node_that_lists_nothing(self, memcached):
        """Its own words are shown."""
        node = memcached(options=["-X"])
        answer = memsession("locate", "AAAAAAAAAAAA", "--pool", node.address, MEMSESSION_SECRET=SECRET)

        assert answer.code == 3
        assert "start memcached without -X" in answer.err

    def test_a_listing_takes_too_long(self, stage, monkeypatch):
        """It is given up."""
        stage.born()
        monkeypatch.setattr(session_key, "SEARCH_S", 0.0)
        answer = memsession("locate", "AAAAAAAAAAAA", **stage.settings())

        assert answer.code == 3
        assert "not listed all its keys within" in answer.err

    @pytest.mark.parametrize(
        ("name", "told"),
        [
            ("AAAAAAAAAAA", "give 12 at least"),
            ("A" * 44, "no session ID"),
            ("not an id!!!", "no session ID"),
            ("", "no session ID"),
            ("caf\xe9caf\xe9caf\xe9", "no session ID"),
        ],
    )
    def test_what_is_no_id(self, stage, name, told):
        """Is refused; exit code 2."""
        answer = memsession("locate", name, **stage.settings())

        assert (answer.code, answer.out) == (2, "")
        assert told in answer.err


class TestCookies:
    """A cookie opens the session, so it comes from standard input, and is never shown."""

    @pytest.fixture
    def born(self, stage):
        opener = SessionId.new()
        return stage.born(opener), opener

    def cookie(self, stage, opener, *, https=True, name="session"):
        header = CookieSigner(Cookie(name=name), stage.keys).issue(opener, https=https).decode()
        return header.partition(";")[0]

    @pytest.mark.parametrize("https", [True, False])
    @pytest.mark.parametrize("form", ["{value}", "{pair}", "{pair}; other=1", "Cookie: theme=dark; {pair}\r\n\nmore"])
    def test_its_forms(self, stage, born, https, form):
        """The value, the pair, or the whole header; of a site with https or without."""
        key, opener = born
        pair = self.cookie(stage, opener, https=https)
        given = form.format(pair=pair, value=pair.partition("=")[2])
        answer = memsession("locate", "-", given=given, **stage.settings())

        assert answer.code == 0
        assert stage.names(key) in answer.out
        assert opener.text not in answer.out + answer.err

    def test_under_another_name(self, stage, born):
        """The signature knows the cookie's name."""
        key, opener = born
        pair = self.cookie(stage, opener, name="shop")
        wrong = memsession("locate", "-", given=pair, **stage.settings())
        right = memsession("locate", "-", "--cookie-name", "shop", given=pair, **stage.settings())
        prefixed = memsession("locate", "-", "--cookie-name", "__Host-shop", given=pair, **stage.settings())

        assert (wrong.code, right.code, prefixed.code) == (2, 0, 0)
        assert "named session" in wrong.err
        assert stage.names(key) in right.out
        assert opener.text not in wrong.err

    @pytest.mark.parametrize("given", ["", "nonsense", "\xff" * 100, "A" * 43 + "." + "A" * 43])
    def test_what_is_no_cookie(self, stage, given):
        """Nobody signed it."""
        answer = memsession("locate", "-", given=given, **stage.settings())

        assert answer.code == 2
        assert "no cookie that was signed with this secret" in answer.err

    def test_too_much(self, stage):
        """Is not read to its end."""
        answer = memsession("locate", "-", given="A" * 100_000, **stage.settings())

        assert answer.code == 2
        assert "too long for a cookie" in answer.err

    def test_two_of_different_sessions(self, stage, born):
        """Cannot be chosen between."""
        pairs = [self.cookie(stage, born[1]), self.cookie(stage, SessionId.new())]
        answer = memsession("locate", "-", given="; ".join(pairs), **stage.settings())

        assert answer.code == 2
        assert "several sessions" in answer.err

    def test_a_name_that_no_cookie_can_have(self, stage):
        """Is refused, by the option's name."""
        answer = memsession("locate", "-", "--cookie-name", "a b", given="x", **stage.settings())

        assert answer.code == 2
        assert "--cookie-name: " in answer.err

    def test_as_an_argument(self, stage, born):
        """It is refused and not repeated, and the visitor is to be protected."""
        value = self.cookie(stage, born[1]).partition("=")[2]
        for given in (value, f"session={value}"):
            answer = memsession("locate", "--", given, **stage.settings())
            assert answer.code == 2
            assert "this is a cookie" in answer.err
            assert born[1].text not in answer.out + answer.err

    def test_on_a_terminal(self, stage, born, monkeypatch):
        """It is asked for without an echo."""
        asked = []
        monkeypatch.setattr(session_key.sys, "stdin", Terminal())
        monkeypatch.setattr(
            session_key.typer, "prompt", lambda text, **how: (asked.append(how), self.cookie(stage, born[1]))[1]
        )
        key = session_key.key_of("-", stage.pool, secrets=stage.keys)

        assert key == born[0]
        assert asked == [{"hide_input": True}]


class Terminal:
    """A standard input with somebody at it."""

    def isatty(self):
        return True


def test_as_a_process(stage):
    """As people call it."""
    key = stage.born()
    answer = process("locate", "--", stage.names(key), **stage.settings())

    assert answer.code == 0
    assert "The copies agree." in answer.out
