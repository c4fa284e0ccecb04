"""Whatever is changed in a session, at whatever depth, is saved; and whatever is only looked at is not written."""

import copy

from hypothesis import given
from hypothesis import strategies as st

from tests.visits import Browser, Nodes, WebServer, begun, seen_by

scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from([1.0, 2.5, "", "a", b"x"])
keys = st.sampled_from("abc")
trees = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(keys, inner, max_size=3)
        | st.sets(st.integers(0, 3), max_size=3)
    ),
    max_leaves=8,
)
contents = st.dictionaries(keys, trees, min_size=1, max_size=3)

LISTS = {
    "append": lambda it, value: it.append(value),
    "insert": lambda it, value: it.insert(0, value),
    "pop": lambda it, value: it.pop(),
    "assign": lambda it, value: it.__setitem__(0, value),
    "reverse": lambda it, value: it.reverse(),
    "extend": lambda it, value: it.extend([value, value]),
    "slice": lambda it, value: it.__setitem__(slice(None), [value]),
    "clear": lambda it, value: it.clear(),
}
DICTS = {
    "assign": lambda it, value: it.__setitem__("a", value),
    "setdefault": lambda it, value: it.setdefault("b", value),
    "pop": lambda it, value: it.pop("a"),
    "popitem": lambda it, value: it.popitem(),
    "update": lambda it, value: it.update(c=value),
    "del": lambda it, value: it.__delitem__("c"),
}
SETS = {
    "add": lambda it, value: it.add(9),
    "discard": lambda it, value: it.discard(1),
    "clear": lambda it, value: it.clear(),
}


def shown(value):
    """Its text, in which 1, 1.0 and True differ, and the order of keys does not count."""
    match value:
        case dict():
            return f"{{{sorted((key, shown(item)) for key, item in value.items())}}}"
        case list():
            return f"{[shown(item) for item in value]}"
        case set():
            return f"set({sorted(value)})"
        case _:
            return repr(value)


def containers(value):
    """Everything in it that can be changed in place, itself included."""
    found = [value] if isinstance(value, (list, dict, set)) else []
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [*found, *(inner for item in items for inner in containers(item))]


def change(content, draw):
    """Change something somewhere; True if that was possible."""
    target = draw(st.sampled_from(containers(content)))
    ways = LISTS if isinstance(target, list) else SETS if isinstance(target, set) else DICTS
    way, value = ways[draw(st.sampled_from(sorted(ways)))], draw(trees)
    try:
        way(target, copy.deepcopy(value))
    except (KeyError, IndexError):
        return False
    return True


@given(contents, st.data())
def test_any_change_at_any_depth_is_saved(content, data):
    """The next request sees just that. A change taken back need not be written, all others are."""
    nodes, browser = Nodes(), Browser()
    server = WebServer(nodes)
    begun(server, browser, **copy.deepcopy(content))
    request = server.arrive(browser)
    for _ in range(data.draw(st.integers(0, 3))):
        change(request.session, data.draw)
    wanted = copy.deepcopy(dict(request.session))
    nodes.sent()
    request.leave()
    written = "Cas+Cas" in nodes.sent()

    assert shown(seen_by(server, browser)) == shown(wanted)
    if shown(wanted) != shown(content):
        assert written


@given(contents, st.data())
def test_any_change_after_the_head_is_told_or_saved(content, data):
    """Of values that the application took out before the response began, and never asked the session for again."""
    nodes, browser = Nodes(), Browser()
    server = WebServer(nodes)
    begun(server, browser, **copy.deepcopy(content))
    request = server.arrive(browser)
    held = dict(request.session)
    request.leave()
    inner = [value for value in held.values() if isinstance(value, (list, dict, set))]
    before = shown(held)
    for value in inner:
        change(value, data.draw)
    if shown(held) == before:
        return

    assert server.lifecycle.forgot(request.visit)
    request.save()
    assert not server.lifecycle.forgot(request.visit)
    assert shown(seen_by(server, browser)) == shown(held)


@given(contents)
def test_looking_is_no_change(content):
    """However much of it is read, printed or copied, nothing is written."""
    nodes, browser = Nodes(), Browser()
    server = WebServer(nodes)
    begun(server, browser, **copy.deepcopy(content))
    server.visit(
        browser, lambda session: (repr(session), copy.deepcopy(session), [containers(v) for v in session.values()])
    )

    assert nodes.sent() == ["Get+Get"]
