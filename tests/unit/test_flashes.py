"""Flash messages: kept beside each other, taken once, and bounded."""

import pytest

from memsession.session.flashes import PREFIX, SLOTS
from tests.visits import WebServer, begun, put, records, seen_by


def flashed(server, browser, *categories):
    return server.visit(browser, lambda session: session.get_flashed(*categories)).result


def test_a_message_waits_for_the_next_page(server, browser):
    """It begins a session, is shown once, and is gone."""
    server.visit(browser, lambda session: session.flash("saved"))

    assert flashed(server, browser) == [("message", "saved")]
    assert flashed(server, browser) == []


def test_in_the_same_request(server, browser):
    """A page may show what it flashed itself; then nothing is stored."""
    request = server.visit(browser, lambda session: (session.flash("now"), session.get_flashed())[1])

    assert (request.result, request.cookie) == ([("message", "now")], "kept")


def test_oldest_first_with_categories(server, browser):
    """In the order of `flash`, over several requests; a message is anything that can be stored."""
    server.visit(browser, lambda session: [session.flash(n, "info") for n in range(12)])
    server.visit(browser, lambda session: session.flash({"text": ("a", 1)}, category="error"))

    assert flashed(server, browser) == [*(("info", n) for n in range(12)), ("error", {"text": ("a", 1)})]


def test_only_some_categories(server, browser):
    """The others wait on."""
    server.visit(browser, lambda session: [session.flash(c, c) for c in ("a", "b", "c", "a")])

    assert flashed(server, browser, "a", "c") == [("a", "a"), ("c", "c"), ("a", "a")]
    assert flashed(server, browser) == [("b", "b")]


def test_parallel_messages_are_all_kept(nodes, browser):
    """Of requests that run at once on several web servers, beside messages that wait and were taken."""
    servers = [WebServer(nodes) for _ in range(4)]
    begun(servers[0], browser)
    servers[0].visit(browser, lambda session: session.flash("gone"))
    flashed(servers[0], browser)
    servers[0].visit(browser, lambda session: session.flash("first"))
    requests = [server.arrive(browser) for server in servers for _ in range(5)]
    for number, request in enumerate(requests):
        request.session.flash(number)
    for request in requests:
        request.leave()
    messages = [message for _, message in flashed(servers[1], browser)]

    assert messages[0] == "first"
    assert sorted(messages[1:]) == list(range(20))


def test_a_message_that_comes_while_others_are_taken_is_kept(nodes, browser):
    """Taking removes what was seen, and nothing else."""
    one, other = WebServer(nodes), WebServer(nodes)
    begun(one, browser)
    one.visit(browser, lambda session: session.flash("seen"))
    taker, giver = one.arrive(browser), other.arrive(browser)
    giver.session.flash("new")
    giver.leave()
    taken = taker.session.get_flashed()
    taker.leave()

    assert (taken, flashed(other, browser)) == ([("message", "seen")], [("message", "new")])


def test_they_are_bounded(server, browser):
    """A page that nobody looks at may flash forever: the oldest give way."""
    server.visit(browser, lambda session: [session.flash(n) for n in range(SLOTS + 10)])

    assert [message for _, message in flashed(server, browser)] == list(range(10, SLOTS + 10))


def test_keys_are_used_again(server, browser):
    """However many messages there are in a session's life, the record does not grow with them."""
    key = begun(server, browser)
    for number in range(3 * SLOTS):
        server.visit(browser, lambda session, number=number: session.flash(number))
        assert flashed(server, browser) == [("message", number)]
    [record, _] = records(server, key)

    assert len([name for name in record.entries if name.startswith(PREFIX)]) == SLOTS


def test_they_survive_a_login(server, browser):
    """The message of the page that logs in is shown by the page after."""
    begun(server, browser)
    server.visit(browser, lambda session: (session.flash("hello"), session.update(user_id=1)))

    assert flashed(server, browser) == [("message", "hello")]


def test_a_farewell(server, browser):
    """After `invalidate()` a message begins a new session."""
    begun(server, browser, user_id=1)
    server.visit(browser, lambda session: (session.invalidate(), session.flash("bye")))

    assert seen_by(server, browser).keys().isdisjoint({"user_id"})
    assert flashed(server, browser) == [("message", "bye")]


@pytest.mark.parametrize("foreign", ["text", [], [1, "message"], ["1", "message", "x"], [1, 2, "x"], None, {"a": 1}])
def test_what_is_no_message_is_left_alone(server, browser, foreign):
    """An application may have a key that begins alike; it is neither shown nor lost."""
    begun(server, browser, **{f"{PREFIX}0": foreign})
    server.visit(browser, lambda session: session.flash("saved"))

    assert flashed(server, browser) == [("message", "saved")]
    assert seen_by(server, browser) == {f"{PREFIX}0": foreign}


def test_looking_is_no_change(nodes, server, browser):
    """A page that shows messages, and there are none, writes nothing."""
    begun(server, browser)
    flashed(server, browser)

    assert nodes.sent() == ["Get+Get"]


def test_taken_after_the_head_is_noticed(server, browser):
    """They would be shown again, so that is told."""
    begun(server, browser)
    server.visit(browser, put(a=1))
    server.visit(browser, lambda session: session.flash("saved"))
    request = server.visit(browser)
    request.session.get_flashed()

    assert server.lifecycle.forgot(request.visit)
