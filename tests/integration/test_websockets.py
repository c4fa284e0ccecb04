"""WebSockets: the session is read at connect, saved at close and by `save()`, and never beyond a login or logout."""

import asyncio
import logging

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocketDisconnect

from memsession.asgi import SessionMiddleware, session_of
from memsession.errors import PoolUnavailable
from memsession.events import ChangesDropped, ChangesForgotten, Created, SaveFailed
from memsession.exclusive import Exclusive
from tests.web import SECRET, STORES, Conversation, InProcess, Visitor, probe


async def page(request: Request) -> JSONResponse:
    return JSONResponse(await probe(request.url.path, dict(request.query_params), request.scope))


class Site:
    """A web server with pages and one WebSocket; `events` is what it told."""

    def __init__(self, store, endpoint, **options):
        self.store, self.events = store, []

        def layer(app, **given):
            middleware = SessionMiddleware(app, **given)
            store.attach(middleware)
            return middleware

        layers = [Middleware(layer, secret_key=SECRET, pool=store.pool, observe=self.events.append, **options)]
        routes = [WebSocketRoute("/ws", endpoint), Route("/{path:path}", page)]
        self.app = Starlette(routes=routes, middleware=layers)

    async def member(self):
        """A visitor who has a session."""
        visitor = Visitor(self.app)
        await visitor.get("/set?k=v")
        return visitor

    async def content(self, visitor):
        return (await visitor.get("/get")).json

    def told(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture(params=STORES)
def store(request, memcached):
    return STORES[request.param](memcached)


async def converse(visitor, *, disconnects=True):
    """Connect, hear `accept`, and hang up or wait; what the application raised comes out."""
    conversation = Conversation(visitor, "/ws")
    conversation.incoming.put_nowait({"type": "websocket.connect"})
    if disconnects:
        conversation.incoming.put_nowait({"type": "websocket.disconnect", "code": 1001})
    heard = []

    async def send(message):
        heard.append(message["type"])

    await visitor.app(conversation.scope, conversation.incoming.get, send)
    return heard


class TestClosing:
    """Changes after `accept` are saved when it closes."""

    @pytest.mark.parametrize("how", ["closes", "returns", "disconnected", "disconnected in a group", "reads on"])
    async def test_a_change_is_saved(self, store, how):
        """However it ends: by the application or by the visitor."""

        async def endpoint(websocket):
            await websocket.accept()
            session = session_of(websocket)
            session["cart"] = ["shoes"]
            session["cart"].append("hat")
            session.increment("n")
            match how:
                case "closes":
                    await websocket.close()
                case "disconnected":
                    await websocket.receive_text()
                case "disconnected in a group":
                    async with asyncio.TaskGroup() as group:
                        group.create_task(websocket.receive_text())
                case "reads on":
                    async for _ in websocket.iter_text():
                        pass

        site = Site(store, endpoint)
        visitor = await site.member()
        if how.startswith("disconnected"):
            with pytest.raises((WebSocketDisconnect, ExceptionGroup)):
                await converse(visitor)
        else:
            await converse(visitor)

        assert await site.content(visitor) == {"k": "v", "cart": ["shoes", "hat"], "n": 1}
        assert site.told(ChangesForgotten) == []

    async def test_it_is_saved_before_the_visitor_hears_of_the_close(self, store):
        """So that the next page shows it."""
        seen = []

        async def endpoint(websocket):
            await websocket.accept()
            session_of(websocket)["k"] = "new"
            await websocket.close()

        site = Site(store, endpoint)
        visitor = await site.member()
        conversation = Conversation(visitor, "/ws")
        conversation.incoming.put_nowait({"type": "websocket.connect"})

        async def send(message):
            seen.append((message["type"], await site.content(visitor)))

        await visitor.app(conversation.scope, conversation.incoming.get, send)

        assert seen == [("websocket.accept", {"k": "v"}), ("websocket.close", {"k": "new"})]

    async def test_what_is_changed_after_the_close_is_saved_too(self, store):
        """When the application returns; and nothing is counted twice."""

        async def endpoint(websocket):
            await websocket.accept()
            session_of(websocket).increment("n")
            await websocket.close()
            session_of(websocket).increment("n")

        site = Site(store, endpoint)
        visitor = await site.member()
        await converse(visitor)

        assert await site.content(visitor) == {"k": "v", "n": 2}

    async def test_an_application_that_fails_saves_nothing(self, store):
        """As everywhere; what it had changed is told to be lost."""

        async def endpoint(websocket):
            session_of(websocket)["before"] = True
            await websocket.accept()
            session_of(websocket)["after"] = True
            raise ZeroDivisionError

        site = Site(store, endpoint)
        visitor = await site.member()
        with pytest.raises(ZeroDivisionError):
            await converse(visitor)

        assert await site.content(visitor) == {"k": "v", "before": True}
        assert len(site.told(ChangesForgotten)) == 1

    async def test_an_untouched_session_is_not_written(self):
        """Nor asked for again."""

        async def endpoint(websocket):
            await websocket.accept()
            await websocket.close()

        store = InProcess(None)
        site = Site(store, endpoint)
        visitor = await site.member()
        store.client.commands.clear()
        await converse(visitor)

        assert store.client.commands == {"get": 2}

    async def test_without_a_session_it_costs_nothing(self):
        """Strangers' sockets are free."""

        async def endpoint(websocket):
            await websocket.accept()
            session_of(websocket).get("user_id")
            await websocket.close()

        store = InProcess(None)
        site = Site(store, endpoint)
        await converse(Visitor(site.app))

        assert store.client.commands == {}

    async def test_a_save_that_fails_is_told_and_logged(self, caplog):
        """Nobody is left to be answered: the socket closes as it was to."""

        async def endpoint(websocket):
            await websocket.accept()
            session_of(websocket)["k"] = "new"
            store.stop()
            await websocket.close(4000)

        store = InProcess(None)
        site = Site(store, endpoint)
        visitor = await site.member()
        heard = await converse(visitor)

        assert heard == ["websocket.accept", "websocket.close"]
        assert site.told(SaveFailed)
        assert site.told(ChangesForgotten) == []
        assert "was not saved when it closed" in caplog.text

    @pytest.mark.parametrize("value", [object(), "x" * 70_000], ids=["unstorable", "too large"])
    async def test_what_cannot_be_stored_is_told_and_logged(self, store, caplog, value):
        """With the key that is to blame, and not its value."""

        async def endpoint(websocket):
            await websocket.accept()
            session_of(websocket)["culprit"] = value

        site = Site(store, endpoint)
        visitor = await site.member()
        await converse(visitor)
        [error] = [record for record in caplog.records if record.levelno == logging.ERROR]

        assert len(site.told(SaveFailed)) == 1
        assert "culprit" in error.getMessage()
        assert "xxxx" not in error.getMessage()
        assert await site.content(visitor) == {"k": "v"}


class TestSaving:
    """`save()` in a conversation that may last for hours."""

    @pytest.mark.parametrize("end", ["save", "close"])
    async def test_it_merges_with_what_pages_do_meanwhile(self, store, end):
        """Different keys are kept, counters add up; after save() the socket sees them."""
        shown = []

        async def endpoint(websocket):
            await websocket.accept()
            session = session_of(websocket)
            async for _ in websocket.iter_text():
                session["mine"] = 1
                session.increment("n")
                if end == "save":
                    await session.save()
                    shown.append(dict(session))
                break
            await websocket.close()

        site = Site(store, endpoint)
        visitor = await site.member()
        async with Conversation(visitor, "/ws") as conversation:
            await conversation.heard()
            await visitor.get("/set?theirs=2")
            await visitor.get("/increment")
            conversation.say("go")
            assert (await conversation.heard())["type"] == "websocket.close"
        merged = {"k": "v", "mine": 1, "n": 2, "theirs": "2"}

        assert await site.content(visitor) == merged
        assert shown == ([merged] if end == "save" else [])

    @pytest.mark.parametrize("end", ["save", "close"])
    @pytest.mark.parametrize("path", ["/logout", "/login?user=anna", "/regenerate"])
    async def test_it_cannot_undo_a_login_or_logout(self, store, path, end):
        """The socket's change is dropped and told; it learns of it by `ended`; its next save is harmless."""
        learned = []

        async def endpoint(websocket):
            await websocket.accept()
            session = session_of(websocket)
            async for _ in websocket.iter_text():
                session["mine"] = 1
                if end == "save":
                    await session.save()
                    learned.append(session.ended)
                    session["again"] = 1
                    await session.save()
                break
            await websocket.close()

        site = Site(store, endpoint)
        visitor = await site.member()
        before = visitor.copy()
        async with Conversation(visitor.copy(), "/ws") as conversation:
            await conversation.heard()
            await visitor.get(path)
            site.events.clear()
            conversation.say("go")
            while (await conversation.heard())["type"] != "returned":
                pass

        assert await site.content(before) == {}
        expected = {"/logout": {}, "/login?user=anna": {"k": "v", "user_id": "anna"}, "/regenerate": {"k": "v"}}
        assert await site.content(visitor) == expected[path]
        assert site.told(Created) == []
        assert site.told(ChangesDropped)
        assert learned == ([True] if end == "save" else [])

    async def test_a_save_without_changes_asks_the_nodes(self, store):
        """So a socket that only sends can learn what pages did, and that it should end."""
        seen = []

        async def endpoint(websocket):
            await websocket.accept()
            session = session_of(websocket)
            async for _ in websocket.iter_text():
                await session.save()
                seen.append((dict(session), session.ended))
                await websocket.send_text("ok")

        site = Site(store, endpoint)
        visitor = await site.member()
        async with Conversation(visitor.copy(), "/ws") as conversation:
            await conversation.heard()
            for path in ("/set?k=w", "/noaccess", "/logout"):
                await visitor.get(path)
                conversation.say("look")
                await conversation.heard()

        assert seen == [({"k": "w"}, False), ({"k": "w"}, False), ({}, True)]

    async def test_a_failing_save_is_the_applications_to_handle(self):
        """It may go on, and save later: nothing is lost by then."""
        outcomes = []

        async def endpoint(websocket):
            await websocket.accept()
            session = session_of(websocket)
            session.increment("n")
            store.stop()
            try:
                await session.save()
            except PoolUnavailable:
                outcomes.append("unavailable")
            for name in store.names:
                store.client.nodes[name].running = True
            await websocket.close()

        store = InProcess(None)
        site = Site(store, endpoint)
        visitor = await site.member()
        await converse(visitor)

        assert outcomes == ["unavailable"]
        assert await site.content(visitor) == {"k": "v", "n": 1}

    async def test_an_unhandled_one_ends_the_socket(self):
        """After accept the failure goes to the server."""

        async def endpoint(websocket):
            await websocket.accept()
            session_of(websocket)["k"] = "new"
            store.stop()
            await session_of(websocket).save()

        store = InProcess(None)
        site = Site(store, endpoint)
        visitor = await site.member()
        with pytest.raises(PoolUnavailable):
            await converse(visitor)

        assert site.told(SaveFailed)


class TestTooLate:
    """After accept no cookie can be set: what needs one is a loud error, not a lost session."""

    @pytest.mark.parametrize("how", ["save", "close", "return", "disconnect"])
    @pytest.mark.parametrize("known", [True, False], ids=["login", "first write"])
    async def test_beginning_or_renewing_a_session(self, store, how, known):
        """It says what to do instead; the socket is closed all the same."""
        raised = []

        async def endpoint(websocket):
            await websocket.accept()
            session_of(websocket)["user_id"] = 7
            match how:
                case "save":
                    await session_of(websocket).save()
                case "close":
                    try:
                        await websocket.close()
                    except RuntimeError as error:
                        raised.append(error)
                        raise
                case "disconnect":
                    await websocket.receive_text()

        site = Site(store, endpoint)
        visitor = await site.member() if known else Visitor(site.app)
        conversation = Conversation(visitor, "/ws")
        conversation.incoming.put_nowait({"type": "websocket.connect"})
        conversation.incoming.put_nowait({"type": "websocket.disconnect", "code": 1001})
        heard = []

        async def send(message):
            heard.append(message["type"])

        with pytest.raises(RuntimeError, match="before accept"):
            await visitor.app(conversation.scope, conversation.incoming.get, send)

        assert heard == ["websocket.accept"] + (["websocket.close"] if how == "close" else [])
        assert len(raised) == (how == "close")
        assert await site.content(visitor) == ({"k": "v"} if known else {})

    async def test_before_accept_is_early_enough(self, store):
        """The cookie goes with accept."""

        async def endpoint(websocket):
            session_of(websocket)["user_id"] = 7
            await websocket.accept()
            await websocket.close()

        visitor = Visitor(Site(store, endpoint).app)
        async with Conversation(visitor, "/ws") as conversation:
            await conversation.heard()

        assert (await visitor.get("/get")).json == {"user_id": 7}


async def test_a_socket_takes_no_turn(store):
    """In exclusive mode pages go on while it is open; and two of them may be."""

    async def endpoint(websocket):
        await websocket.accept()
        async for _ in websocket.iter_text():
            session_of(websocket).increment("n")
            await session_of(websocket).save()
            await websocket.send_text("ok")

    site = Site(store, endpoint, exclusive=Exclusive())
    visitor = await site.member()
    async with Conversation(visitor, "/ws") as one, Conversation(visitor, "/ws") as other:
        for conversation in (one, other):
            await conversation.heard()
            conversation.say("more")
            await conversation.heard()
        assert (await visitor.get("/increment")).json == 3


async def test_a_cancelled_socket_saves_nothing_more(store):
    """As when the server shuts down hard: an exception like any other."""
    accepted = asyncio.Event()

    async def endpoint(websocket):
        await websocket.accept()
        session_of(websocket)["k"] = "new"
        accepted.set()
        await asyncio.Event().wait()

    site = Site(store, endpoint)
    visitor = await site.member()
    task = asyncio.ensure_future(converse(visitor, disconnects=False))
    await accepted.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await site.content(visitor) == {"k": "v"}
    assert len(site.told(ChangesForgotten)) == 1


class TestRefused:
    """A socket that is closed before it was accepted, as one refuses a visitor."""

    async def test_what_was_changed_is_saved(self, store):
        """No cookie is needed for that."""

        async def refuse(websocket):
            websocket.session["refusals"] = 1
            await websocket.close(1008)

        site = Site(store, refuse)
        visitor = await site.member()
        await converse(visitor)

        assert await site.content(visitor) == {"k": "v", "refusals": 1}

    async def test_a_logout_is_one(self, store):
        """It is confirmed before the socket is closed."""

        async def refuse(websocket):
            session_of(websocket).invalidate()
            await websocket.close(1008)

        site = Site(store, refuse)
        visitor = await site.member()
        await converse(visitor)

        assert await site.content(visitor) == {}

    @pytest.mark.parametrize("act", [lambda session: session.update(a=1), lambda session: session.regenerate()])
    async def test_what_needs_a_cookie_is_told_to_be_lost(self, store, act):
        """A new session, or a new ID: a refusal carries no cookie."""

        async def refuse(websocket):
            act(session_of(websocket))
            await websocket.close(1008)

        site = Site(store, refuse)
        visitor = Visitor(site.app) if not act.__code__.co_names[0].startswith("regen") else await site.member()
        before = await site.content(visitor)
        await converse(visitor)

        assert len(site.told(SaveFailed)) == 1
        assert await site.content(visitor) == before
