"""What goes wrong: errors of the application, bad cookies, changes that come too late, nodes that do not answer."""

import pytest

from tests.behaviour.adapters import Visitor


def test_what_cannot_be_stored_is_an_error_that_names_it(visitor, caplog):
    """A 500; nothing of the request is saved, not even what could be."""
    visitor.get("/set?a=1")
    answer = visitor.get("/unstorable")

    assert answer.status == 500
    assert "cart.items[1]" in f"{answer.error} {caplog.text}"
    assert visitor.get("/get").json == {"a": "1"}


def test_what_is_too_large_is_an_error_that_names_it(visitor, caplog):
    """The old content stands."""
    visitor.get("/set?a=1")
    answer = visitor.get("/large")

    assert answer.status == 500
    assert "the largest keys: 'large'" in f"{answer.error} {caplog.text}"
    assert visitor.get("/get").json == {"a": "1"}


@pytest.mark.parametrize("known", [True, False], ids=["known", "stranger"])
def test_an_unhandled_error_saves_nothing(visitor, known):
    """And sets no cookie."""
    if known:
        visitor.get("/set?a=1")
    answer = visitor.get("/boom")

    assert (answer.status, answer.cookie) == (500, "kept")
    assert visitor.get("/get").json == ({"a": "1"} if known else {})


@pytest.mark.parametrize("status", [400, 404, 500])
def test_an_error_that_the_application_answers_is_saved(visitor, status):
    """Of any status."""
    answer = visitor.get(f"/fail?status={status}")

    assert (answer.status, answer.cookie) == (status, "issued")
    assert visitor.get("/get").json == {"failed": str(status)}


@pytest.mark.parametrize(("status", "saved"), [(404, True), (500, False), (503, False)])
def test_server_errors_may_save_nothing(start, status, saved):
    """If the application says so: what such a request changed is not kept. A visitor's mistake is saved."""
    visitor = Visitor(start(on_server_error="discard"))
    visitor.get("/set?a=1")
    answer = visitor.get(f"/fail?status={status}")

    assert (answer.status, answer.cookie) == (status, "kept")
    assert visitor.get("/get").json == ({"a": "1", "failed": str(status)} if saved else {"a": "1"})


@pytest.mark.parametrize(
    "bad",
    [
        "__Host-session=",
        "__Host-session=x",
        "__Host-session=" + "A" * 43 + "." + "A" * 43,
        "__Host-session=" + "A" * 10_000,
        "__Host-session=\xff\xfe\x00",
        '__Host-session="\r\nSet-Cookie: a=b"',
        "; ".join(f"__Host-session={number:087}" for number in range(50)),
        "session=x",
        ";;;===",
    ],
)
def test_bad_cookies_cost_nothing(server, spent, bad):
    """No store command, no header of theirs, an empty session."""
    answer = Visitor(server).get("/get", cookie=bad)

    assert (answer.status, answer.json, answer.cookie) == (200, {}, "kept")
    assert answer.header("set-cookie") == []
    assert spent() == 0


def test_a_forged_cookie_beside_the_good_one_does_no_harm(visitor, spent):
    """Each is tried, in whatever order."""
    visitor.get("/set?a=1")
    spent()

    for cookies in (f"{visitor.header}; __Host-session=x", f"__Host-session=x; {visitor.header}"):
        assert visitor.get("/get", cookie=cookies).json == {"a": "1"}
        assert spent() == 2


def test_two_good_cookies_are_both_refused(server, spent, kinds):
    """One was planted, and nobody knows which."""
    anna, bert = Visitor(server), Visitor(server)
    anna.get("/set?name=anna")
    bert.get("/set?name=bert")
    spent(), kinds()

    assert anna.get("/get", cookie=f"{anna.header}; {bert.header}").json == {}
    assert spent() == 0
    assert kinds() == ["CookieRefused"]


def test_a_late_change_is_never_silent(start, kinds):
    """Under debug an error, otherwise an event; lost in both."""
    for debug in (True, False):
        visitor = Visitor(start(debug=debug))
        visitor.get("/set?a=1")
        kinds()
        answer = visitor.get("/late")

        assert (answer.status, answer.body) == (200, b'"first second"')
        assert isinstance(answer.error, RuntimeError) == debug
        assert kinds() == ["Loaded", "ChangesForgotten"]
        assert visitor.get("/get").json == {"a": "1"}


def test_a_late_error_is_the_only_one(start, kinds):
    """What the application raises while its body streams is not hidden by what it had changed; that is told."""
    visitor = Visitor(start(debug=True))
    visitor.get("/set?a=1")
    kinds()
    answer = visitor.get("/late-boom")

    assert (answer.status, answer.body) == (200, b'"first')
    assert isinstance(answer.error, ZeroDivisionError)
    assert kinds() == ["Loaded", "ChangesForgotten"]


def test_a_late_change_can_be_saved(start, kinds):
    """By `save()`, while the body streams."""
    visitor = Visitor(start(debug=True))
    visitor.get("/set?a=1")
    kinds()
    answer = visitor.get("/late-saved")

    assert (answer.status, answer.error, kinds()) == (200, None, ["Loaded", "Saved"])
    assert visitor.get("/get").json == {"a": "1", "late": True}


def stop(nodes):
    for node in nodes:
        node.stop()


def resume(nodes):
    for node in nodes:
        node.running = True


PAGES = ["/get", "/set?a=2", "/save?a=2", "/modify", "/login?user=x", "/logout", "/late", "/untouched", "/boom"]


@pytest.mark.parametrize("path", PAGES)
def test_an_outage_is_a_503_before_the_application_runs(nodes, visitor, path):
    """The cookie is kept, and when the nodes are back all is as it was."""
    visitor.get("/set?a=1")
    stop(nodes)
    answer = visitor.get(path)
    resume(nodes)

    assert (answer.status, answer.header("set-cookie"), answer.error) == (503, [], None)
    assert answer.header("cache-control") == ["no-store"]
    assert answer.header("retry-after") == ["1"]
    assert answer.body.startswith(b"The session store is unavailable.")
    assert visitor.get("/get").json == {"a": "1"}


@pytest.mark.parametrize(
    ("path", "status"),
    [("/get", 200), ("/untouched", 200), ("/set?a=1", 503), ("/save?a=1", 503), ("/modify", 503), ("/late", 200)],
)
def test_strangers_notice_an_outage_when_they_write(nodes, visitor, path, status):
    """They have nothing to be loaded. (`modify` in a new session stores nothing yet; its commit does.)"""
    visitor.get("/untouched")
    stop(nodes)
    answer = visitor.get(path)

    assert (answer.status, answer.header("set-cookie")) == (status, [])


@pytest.mark.parametrize(
    ("path", "status"),
    [("/get", 200), ("/set?a=2", 200), ("/save?a=2", 503), ("/login?user=x", 503), ("/logout", 503)],
)
def test_an_outage_may_be_an_empty_session(start, path, status):
    """What is written is not kept; logins and logouts must not seem to succeed."""
    server = start(on_outage="empty")
    visitor = Visitor(server)
    visitor.get("/set?a=1")
    stop(server.client.nodes.values())
    answer = visitor.get(path)
    resume(server.client.nodes.values())

    assert (answer.status, answer.header("set-cookie")) == (status, [])
    assert visitor.get("/get").json == {"a": "1"}


def test_paths_without_a_session(start, kinds):
    """Nothing is asked of the nodes, whatever cookie comes; an outage is not noticed there."""
    server = start(skip=["/untouched"])
    visitor = Visitor(server)
    visitor.get("/set?a=1")
    stop(server.client.nodes.values())
    kinds()

    assert [visitor.get(path).status for path in ("/untouched", "/get")] == [200, 503]
    assert visitor.get("/untouched", cookie="__Host-session=bad").header("vary") == []
    assert "CookieRefused" not in kinds()


def test_one_node_is_enough(nodes, visitor):
    """One falls silent, is back empty, is visited, and the other one does."""
    visitor.get("/set?a=1")
    one, two = nodes
    for node in (one, two):
        node.stop()
        assert visitor.get("/increment").status == 200
        node.restart()
        assert visitor.get("/get").status == 200

    assert visitor.get("/get").json == {"a": "1", "n": 2}
