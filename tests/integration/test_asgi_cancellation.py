"""Visitors who hang up: their request is cancelled at every moment it has, and never leaves half a save.

The nodes lie behind slow proxies, so how far a request has got is counted in turns of the event loop. Each sweep goes
on until a request is done before it can be cancelled.
"""

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import count

import pytest
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import StreamingResponse
from starlette.routing import Route

from memsession.asgi import SessionMiddleware
from memsession.asgi.response import _returning
from memsession.events import ChangesForgotten, NodeOut
from memsession.exclusive import Exclusive
from memsession.identity import SessionId, storage_key
from memsession.pool import Pool
from memsession.record import Dead, visible
from tests.proxy import SlowProxy
from tests.rounds import PATIENCE_S, until
from tests.web import FLAVOURS, SECRET, Visitor, http_scope

PIECE = 32
PATIENT = timedelta(seconds=20)


class Site:
    """A web server with slow roads to its nodes."""

    def __init__(self, nodes, proxies, flavour, around=(), within=(), **options):
        self.nodes, self.events = nodes, []
        addresses = [f"127.0.0.1:{proxy.port}" for proxy in proxies]
        self.pool = Pool(*addresses, timeout=PATIENT, budget=PATIENT)
        self.middleware = None

        def layer(app, **options):
            self.middleware = SessionMiddleware(app, **options)
            return self.middleware

        ours = Middleware(layer, secret_key=SECRET, pool=self.pool, observe=self.events.append, **options)
        self.app = FLAVOURS[flavour]([*around, ours, *within])

    async def cancelled_after(self, visitor, path, moment):
        """A visit that is cancelled after some turns, if it is not done before. Whether it was answered."""
        visiting = asyncio.ensure_future(visitor.get(path))
        for _ in range(moment):
            await asyncio.sleep(0)
            if visiting.done():
                break
        visiting.cancel()
        [outcome] = await asyncio.gather(visiting, return_exceptions=True)
        await self.quiet()
        if isinstance(outcome, asyncio.CancelledError):
            return False
        assert (outcome.status, outcome.error) == (200, None)
        return True

    async def quiet(self):
        """Until no plan goes on in the background, and no lock is on its way back."""
        await until(lambda: not self.middleware._client._finishing and not _returning)

    def copies(self, visitor):
        """What both nodes hold of the visitor's session: the same, or the test fails."""
        [value] = visitor.cookies.values()
        key = storage_key(SessionId(value[:43]), self.pool.prefix)
        raw = [node.ask(b"mg %b v" % key, until=b"\r\n") for node in self.nodes]
        if any(answer == b"EN\r\n" for answer in raw):
            assert raw == [b"EN\r\n"] * 2, "half a save"
            return None
        values = [self._value(node, key) for node in self.nodes]
        assert values[0] == values[1], "half a save"
        return self.middleware._lifecycle.world.codec.open(key, values[0])

    @staticmethod
    def _value(node, key):
        with node.connect() as door:
            door.sendall(b"mg %b v\r\nmn\r\n" % key)
            answer = b""
            while not answer.endswith(b"MN\r\n"):
                answer += door.recv(65_536)
        return answer.removesuffix(b"MN\r\n").partition(b"\r\n")[2].removesuffix(b"\r\n")

    def items(self):
        """Items on each node, its own mark excepted."""
        return [int(node.stats()["curr_items"]) - 1 for node in self.nodes]


@asynccontextmanager
async def site(memcached, flavour="bare", **options):
    nodes = [memcached(), memcached()]
    async with SlowProxy(nodes[0].port, piece=PIECE) as one, SlowProxy(nodes[1].port, piece=PIECE) as two:
        site = Site(nodes, [one, two], flavour, **options)
        await Visitor(site.app).get("/set?warm=up")
        yield site
        assert [event for event in site.events if isinstance(event, NodeOut)] == []
        await site.middleware._client.aclose()


async def sweep(site, path, prepared):
    """Cancel after 0, 1, 2, ... turns until a visit is answered; yields each visitor and whether it was."""
    async with asyncio.timeout(PATIENCE_S):
        for moment in count():
            visitor = await prepared()
            answered = await site.cancelled_after(visitor, path, moment)
            yield visitor, answered
            if answered:
                break


class Layer(BaseHTTPMiddleware):
    """One of those that run what lies within them in a task group of its own."""

    async def dispatch(self, request, call_next):
        return await call_next(request)


THREE = [Middleware(Layer)] * 3


@pytest.mark.parametrize(
    ("flavour", "layers"),
    [
        ("bare", {}),
        ("starlette", {}),
        ("starlette", {"around": THREE}),
        ("starlette", {"within": THREE}),
        ("starlette", {"around": THREE, "within": THREE, "exclusive": Exclusive()}),
        ("bare", {"exclusive": Exclusive()}),
    ],
    ids=["bare", "starlette", "three around", "three within", "three around and within, exclusive", "exclusive"],
)
async def test_hanging_up_on_a_counter(memcached, flavour, layers):
    """Both nodes hold the same; the counter has risen by one or not at all, and goes on exactly from there.

    No connection is lost by it; and a lock is given back, or the next request would wait for it in vain.
    """
    async with site(memcached, flavour, **layers) as here:
        visitor, expected, outcomes = Visitor(here.app), 1, set()
        await visitor.get("/increment")

        async def same():
            return visitor

        async for _, answered in sweep(here, "/increment", same):
            counted = visible(here.copies(visitor))["n"] - expected
            assert counted in ((1,) if answered else (0, 1))
            outcomes.add((answered, counted))
            expected += counted

        assert outcomes == {(False, 0), (False, 1), (True, 1)}
        assert (await visitor.get("/increment")).json == expected + 1


async def test_hanging_up_on_a_first_visit(memcached):
    """A new session is on both nodes or on none."""
    async with site(memcached) as here:

        async def stranger():
            return Visitor(here.app)

        seen = set()
        before = here.items()
        async for visitor, answered in sweep(here, "/set?k=v", stranger):
            after = here.items()
            grown = [now - then for now, then in zip(after, before, strict=True)]
            assert grown in ([0, 0], [1, 1])
            before = after
            seen.add((answered, grown[0]))
            assert bool(visitor.cookies) == answered

        assert seen == {(False, 0), (False, 1), (True, 1)}


@pytest.mark.parametrize("path", ["/logout", "/regenerate", "/login?user=anna"])
async def test_hanging_up_on_a_logout_or_login(memcached, path):
    """The old session is alive on both nodes or ended on both; never shown when it is ended on one."""
    async with site(memcached) as here:

        async def member():
            visitor = Visitor(here.app)
            await visitor.get("/set?k=v")
            return visitor

        seen = set()
        async for visitor, answered in sweep(here, path, lambda: remembered(member)):
            record = here.copies(visitor.old)
            over = isinstance(record, Dead)
            seen.add((answered, over))
            assert over or not answered
            assert (await visitor.old.get("/get")).json == ({} if over else {"k": "v"})

        assert seen == {(False, False), (False, True), (True, True)}


async def remembered(prepare):
    """A visitor who also keeps the old cookie."""
    visitor = await prepare()
    visitor.old = visitor.copy()
    return visitor


@pytest.mark.parametrize("path", ["/save?k=w", "/modify"])
async def test_hanging_up_on_save_and_modify(memcached, path):
    """As on a commit: all or nothing, on both nodes; a modification happens once or not at all."""
    async with site(memcached) as here:
        visitor, expected = Visitor(here.app), 0
        await visitor.get("/set?k=v")

        async def same():
            return visitor

        async for _, answered in sweep(here, path, same):
            content = visible(here.copies(visitor))
            done = content.get("m", 0) - expected
            assert done in (0, 1)
            assert content["k"] in ("v", "w")
            if answered:
                assert (done, content["k"]) in ((1, "v"), (0, "w"))
            expected += done

        assert (await visitor.get("/get")).json["k"] == ("w" if path.startswith("/save") else "v")


async def test_an_answer_after_a_cancelled_commit(memcached):
    """A layer within times the application out, at any moment, and answers something itself.

    That answer waits for the commit that is under way, and what it commits itself is only what is left: the cookie of
    a new session comes with it, and every increment counts once.
    """
    async with site(memcached) as here:
        inner, waited = here.middleware.app, 0

        async def impatient(scope, receive, send):
            if scope["path"] != "/increment":
                return await inner(scope, receive, send)
            working = asyncio.ensure_future(inner(scope, receive, send))
            for _ in range(waited):
                await asyncio.sleep(0)
                if working.done():
                    return working.result()
            working.cancel()
            await asyncio.wait({working})
            await send({"type": "http.response.start", "status": 504, "headers": []})
            await send({"type": "http.response.body", "body": b"too slow"})
            return None

        here.middleware.app = impatient
        for begun in (True, False):
            visitor, expected, waited, statuses = Visitor(here.app), 0, 0, set()
            if begun:
                await visitor.get("/set?k=v")
            while 200 not in statuses:
                answer = await visitor.get("/increment")
                statuses.add(answer.status)
                counted = visible(here.copies(visitor)).get("n", 0) - expected if visitor.cookies else 0
                assert counted in ((1,) if answer.status == 200 else (0, 1))
                expected += counted
                waited += 1
                if not begun:
                    visitor, expected = Visitor(here.app), 0

            assert statuses == {200, 504}
            if begun:
                assert expected > 5
                assert (await visitor.get("/get")).json == {"k": "v", "n": expected}


@pytest.mark.parametrize("layers", [{}, {"around": THREE}, {"within": THREE}], ids=["none", "around", "within"])
async def test_hanging_up_on_a_stream_that_saves(memcached, layers):
    """The visitor is gone within a stream, at every moment: Starlette cancels it; each save is whole, or none."""
    async with site(memcached, "starlette", **layers) as here:
        gone, moment, counts = asyncio.Event(), 0, set()

        async def stream(request):
            session = request.session
            session.increment("n")

            async def chunks():
                yield "begun"
                for _ in range(2):
                    session.increment("n")
                    await session.save()
                yield "saved"

            return StreamingResponse(chunks())

        app = here.app
        app.router.routes.insert(0, Route("/stream", stream))
        visitor, expected = Visitor(app), 1
        await visitor.get("/increment")
        [(name, value)] = visitor.cookies.items()

        async def hang_up():
            for _ in range(moment):
                await asyncio.sleep(0)
            gone.set()

        async def receive():
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            if message["type"] == "http.response.start":
                hanging_up.append(asyncio.ensure_future(hang_up()))

        while 3 not in counts:
            scope = http_scope("/stream", [(b"cookie", f"{name}={value}".encode())], "https", "shop.example")
            hanging_up = []
            gone.clear()
            await app(scope, receive, send)
            await asyncio.gather(*hanging_up)
            await here.quiet()
            counted = visible(here.copies(visitor))["n"] - expected
            assert counted in (1, 2, 3)
            counts.add(counted)
            expected += counted
            moment += 1

        assert len(counts) > 1 or "within" in layers  # these let a stream go on to its end
        assert not [event for event in here.events if isinstance(event, ChangesForgotten)]
        assert (await visitor.get("/increment")).json == expected + 1
