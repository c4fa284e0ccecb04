"""What is too large or cannot be stored: told by name, never by value, before anything is written."""

import math

import pytest

from memsession.errors import SessionTooLarge, UnstorableValue
from tests.visits import Nodes, WebServer, begun, live_sessions, put, records, seen_by

SECRET_TEXT = "s3cr3t-" * 1_000
BIG = SECRET_TEXT * 10
CONTENT = {"cart": [1], "user_id": 1}


WAYS = {
    "commit": lambda request: (request.session.update(big=BIG), request.leave()),
    "save": lambda request: (request.session.update(big=BIG), request.save()),
    "modify": lambda request: request.modify("big", lambda value: BIG),
    "modify after other changes": lambda request: (
        request.session.update(small=1),
        request.modify("big", lambda value: BIG),
    ),
    "login": lambda request: (request.session.update(user_id=2, big=BIG), request.leave()),
    "regenerate": lambda request: (request.session.regenerate(), request.session.update(big=BIG), request.leave()),
    "clear and refill": lambda request: (request.session.clear(), request.session.update(big=BIG), request.leave()),
    "farewell": lambda request: (request.session.invalidate(), request.session.update(big=BIG), request.leave()),
    "flash": lambda request: (request.session.flash(BIG), request.leave()),
    "lifetime": lambda request: (request.session.set_lifetime(), request.session.update(big=BIG), request.leave()),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_too_large_writes_nothing(nodes, server, browser, way):
    """Whatever asked for it; the session is as it was, on all nodes, under the ID that it had."""
    key = begun(server, browser, **CONTENT)
    held = nodes.held(key)
    request = server.arrive(browser)
    nodes.sent()
    with pytest.raises(SessionTooLarge) as caught:
        way(request)

    assert nodes.sent() == []
    assert nodes.held(key) == held
    assert seen_by(server, browser) == CONTENT
    assert "s3cr3t" not in f"{caught.value!r} {caught.value}"
    assert server.told() == []


@pytest.mark.parametrize("way", ["commit", "save", "flash", "login"])
def test_a_new_session_that_is_too_large_is_not_begun(nodes, server, browser, way):
    """No cookie, and nothing on any node."""
    request = server.arrive(browser)
    with pytest.raises(SessionTooLarge):
        WAYS[way](request)

    assert (nodes.sent(), nodes.items(), browser.cookies) == ([], 0, {})


def test_the_largest_keys_are_named(server, browser):
    """Three of them, largest first, with about how much they take; the limit and the cure."""
    begun(server, browser)
    with pytest.raises(SessionTooLarge) as caught:
        server.visit(browser, put(small="x", middle=BIG[:20_000], largest=BIG[:60_000], large=BIG[:30_000], tiny=1))
    text = str(caught.value)

    assert text.index("'largest'") < text.index("'large' ") < text.index("'middle'")
    assert "'small'" not in text
    assert "about 60," in text
    assert "the limit is 65,536" in text
    assert "Pool(max_bytes=" in text
    assert caught.value.size > caught.value.limit == 65_536


def test_a_long_key_is_cut(server, browser):
    """An application that takes keys from users does not get them into its logs whole."""
    with pytest.raises(SessionTooLarge) as caught:
        server.visit(browser, put(**{"k" * 70_000: 1}))

    assert len(str(caught.value)) < 400


def test_an_application_may_make_room_and_go_on(server, browser):
    """After the error of `save()` it takes the large thing out, and the rest is saved."""
    begun(server, browser)
    request = server.arrive(browser)
    request.session.update(big=BIG, small=1)
    with pytest.raises(SessionTooLarge):
        request.save()
    del request.session["big"]
    request.leave()

    assert seen_by(server, browser) == {"cart": [1], "small": 1}


def test_counting_is_not_counted_twice(server, browser):
    """Increments of a commit that was too large are performed once, when it fits."""
    begun(server, browser, n=1)
    request = server.arrive(browser)
    request.session.increment("n", 5)
    request.session["big"] = BIG
    with pytest.raises(SessionTooLarge):
        request.save()
    del request.session["big"]
    request.save()
    request.session.increment("n")
    request.leave()

    assert seen_by(server, browser) == {"n": 7}


def test_another_limit(browser):
    """`Pool(max_bytes=...)`."""
    server = WebServer(Nodes(max_bytes=1_000_000))
    server.visit(browser, put(big=BIG))

    assert seen_by(server, browser) == {"big": BIG}


class Text(str):
    """A subclass of what can be stored."""


class Number(int):
    """As `IntEnum` makes them."""


class Mapping(dict):
    """As `defaultdict` and `Counter` are."""


def cyclic():
    made = []
    made.append(made)
    return made


def deep(levels):
    made = "hidden"
    for _ in range(levels):
        made = [made]
    return made


UNSTORABLE = {
    "an object": (object(), "k"),
    "a class": (int, "k"),
    "a function": (len, "k"),
    "a generator": ((c for c in "hidden"), "k"),
    "a str of its own class": (Text("hidden"), "k"),
    "an int of its own class": (Number(1), "k"),
    "a dict of its own class": (Mapping(hidden=1), "k"),
    "a complex": (1j, "k"),
    "a bytearray": (bytearray(b"hidden"), "k"),
    "a cycle": (cyclic(), r"k\[0\]\[0\]"),
    "33 levels": (deep(33), r"k\[0\]\[0\]"),
    "a huge int": (10**5_000, "k"),
    "a key that is an int": ({"a": {1: "hidden"}}, r"k\.a\[1\]"),
    "a key that is a tuple": ({("a", 1): "hidden"}, r"k\[\('a', 1\)\]"),
    "a key of its own class": ({Text("a"): 1}, r"k\['a'\]"),
    "deep inside": ({"a": [1, ({"b": object()},)]}, r"k\.a\[1\]\[0\]\.b"),
    "in a set": ({frozenset({1j})}, r"k\[0\]\[0\]"),
}


@pytest.mark.parametrize("how", ["commit", "save", "modify"])
@pytest.mark.parametrize(("value", "path"), UNSTORABLE.values(), ids=UNSTORABLE)
def test_what_cannot_be_stored(nodes, server, browser, value, path, how):
    """It is refused with the path to it, nothing is written, and the old content stands."""
    begun(server, browser, **CONTENT)
    request = server.arrive(browser)
    nodes.sent()
    if how != "modify":
        request.session["k"] = value
    with pytest.raises(UnstorableValue, match=rf"^session value {path}") as caught:
        request.modify("k", lambda old: value) if how == "modify" else getattr(request, how)()

    assert "hidden" not in str(caught.value)
    assert nodes.sent() == []
    assert seen_by(server, browser) == CONTENT


@pytest.mark.parametrize("key", [1, None, ("a", 1), b"k", True])
def test_keys_are_text(server, browser, key):
    """At the top, too."""
    request = server.arrive(browser)
    request.session[key] = 1
    with pytest.raises(UnstorableValue, match="a key must be a str"):
        request.leave()


def test_a_key_of_a_class_of_text(server, browser):
    """At the top an enum of texts may name keys; it is the same key as the plain text."""
    server.visit(browser, lambda session: session.update({Text("k"): 1}))
    assert seen_by(server, browser) == {"k": 1}
    server.visit(browser, lambda session: session.update(k=2))
    assert seen_by(server, browser) == {"k": 2}


@pytest.mark.parametrize(
    "value",
    [
        math.inf,
        -math.inf,
        -0.0,
        5e-324,
        2**600,
        -(2**600),
        "\ud800",
        "\x00\r\n",
        "\U0001f36a\u202e",
        {"\ud800": 1},
        {"!": ["tuple", [1]]},
        {"": {"": []}},
        deep(31),
        b"\xff\x00",
        (),
        frozenset(),
        [(), {}, set()],
    ],
    ids=ascii,
)
def test_what_looks_dangerous_comes_back_exactly(server, browser, value):
    """On a new session, and merged with another request's change."""
    begun(server, browser)
    request = server.arrive(browser)
    request.session["k"] = value
    server.visit(browser, put(other=1))
    request.leave()
    back = seen_by(server, browser)["k"]

    assert (back, type(back), repr(back)) == (value, type(value), repr(value))


def test_not_a_number_comes_back(server, browser):
    """It equals nothing, and is no change every time it is looked at."""
    key = begun(server, browser, k=math.nan)
    before = records(server, key)
    server.visit(browser, lambda session: session["k"])

    assert math.isnan(seen_by(server, browser)["k"])
    assert records(server, key) == before
    assert live_sessions(server) == 2
