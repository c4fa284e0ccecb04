"""What caches are told, for every way to touch a session: what `dict` has, what a session has beyond it, nothing.

Each is done in bare ASGI, where nobody but the session itself can notice it. That no name of `dict` is missing here
is held by `tests/unit/test_session.py`, which the tables are taken from.
"""

import sys

import pytest

from memsession.asgi import SessionMiddleware
from tests.unit.test_session import ACCESSES, LOADED, OPERATIONS, SHOWS_NOTHING
from tests.web import SECRET, InProcess, Visitor

WAYS = {**ACCESSES, **OPERATIONS}
DELETES = {"clear", "invalidate"}
RENEWS = {"regenerate", "set_lifetime"}


class Site:
    """Each visit does `way` to the session; a visit with none begins one."""

    def __init__(self, **options):
        self.way = lambda session: session.update(LOADED)
        self.middleware = SessionMiddleware(self.app, SECRET, pool=InProcess(None).pool, **options)

    async def app(self, scope, receive, send):
        if self.way is not None:
            try:
                self.way(scope["session"])
            except (KeyError, ValueError):  # strangers have no content
                assert not dict(scope["session"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})


async def headers_of(way, *, known=True, **options):
    """Vary, Cache-Control, and what became of the cookie."""
    site = Site(**options)
    visitor = Visitor(site.middleware)
    if known:
        await visitor.get("/")
    site.way = way
    answer = await visitor.get("/")
    assert (answer.status, answer.error) == (200, None)
    return answer.header("vary"), answer.header("cache-control"), answer.cookie


@pytest.mark.parametrize("name", WAYS)
async def test_every_way_to_touch_it(name):
    """Vary always; no-store with a cookie, which only a new ID or the session's end sends."""
    cookie = "deleted" if name in DELETES else "issued" if name in RENEWS else "kept"

    assert await headers_of(WAYS[name]) == (["Cookie"], ["no-store"] if cookie != "kept" else [], cookie)


WRITES_FOR_STRANGERS = {"__setitem__", "setdefault", "increment", "flash", "csrf_token"}


BLIND = {
    "as_": "what does not fit a model is an error",
    "json.dumps": "its C code looks at the size of an empty dict without asking the dict; `request.session` and "
    "`session_of` notice it before",
    **({"json.dumps, indented": "the same C code, from Python 3.13 on"} if sys.version_info >= (3, 13) else {}),
}


@pytest.mark.parametrize("name", sorted(WAYS.keys() - BLIND.keys()))
async def test_every_way_for_a_stranger(name):
    """That there is no session is something a page can show, too; only a write begins one."""
    cookie = "issued" if name in WRITES_FOR_STRANGERS else "kept"

    assert await headers_of(WAYS[name], known=False) == (["Cookie"], ["no-store"] if cookie != "kept" else [], cookie)


UNTOUCHED = {
    "nothing": None,
    "its type": type,
    "its identity": lambda session: session is None,
    "a bound method": lambda session: session.get,
    **{name: (lambda session, name=name: getattr(session, name)) for name in SHOWS_NOTHING},
}


@pytest.mark.parametrize("known", [True, False], ids=["known", "stranger"])
@pytest.mark.parametrize("name", UNTOUCHED)
async def test_untouched(name, known):
    """A page that does not depend on the session may be cached for all."""
    assert await headers_of(UNTOUCHED[name], known=known) == ([], [], "kept")


@pytest.mark.parametrize(
    ("there", "vary", "caching"),
    [
        ([], [b"Cookie"], [b"no-store"]),
        ([(b"Vary", b"Origin")], [b"Origin", b"Cookie"], [b"no-store"]),
        ([(b"vary", b"accept, COOKIE")], [b"accept, COOKIE"], [b"no-store"]),
        ([(b"vary", b"*")], [b"*"], [b"no-store"]),
        ([(b"Cache-Control", b"public, max-age=60")], [b"Cookie"], [b"public, max-age=60", b"no-store"]),
        ([(b"cache-control", b"private, No-Store")], [b"Cookie"], [b"private, No-Store"]),
    ],
    ids=str,
)
async def test_headers_of_the_application_are_added_to(there, vary, caching):
    """Never taken away, never weakened, never repeated; and its own list is not changed."""
    own = list(there)

    async def app(scope, receive, send):
        scope["session"]["k"] = "v"
        await send({"type": "http.response.start", "status": 200, "headers": own})
        await send({"type": "http.response.body"})

    answer = await Visitor(SessionMiddleware(app, SECRET, pool="memory://")).get("/")
    found = {
        name: [value for key, value in answer.headers if key.lower() == name] for name in (b"vary", b"cache-control")
    }

    assert found == {b"vary": vary, b"cache-control": caching}
    assert own == there


async def test_a_head_without_headers():
    """ASGI allows to leave them out."""

    async def app(scope, receive, send):
        scope["session"]["k"] = "v"
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    answer = await Visitor(SessionMiddleware(app, SECRET, pool="memory://")).get("/")

    assert answer.cookie == "issued"


async def test_vary_always():
    """For those who cache more cleverly than they should; a page that did not look at the session has it too."""
    assert await headers_of(None, vary="always") == (["Cookie"], [], "kept")
