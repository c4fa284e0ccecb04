"""`session.as_(Model)`: the session as a typed object, and the way back."""

import secrets
import typing
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated, Any, ClassVar, Literal, NewType, NotRequired, Protocol, SupportsIndex, TypedDict
from uuid import UUID

import pytest

from memsession.errors import ConfigurationError, UnfitValue, UnstorableValue
from memsession.record import Changes
from memsession.session import AsyncSession, Ledger, changes_of
from tests.visits import Browser, Nodes, WebServer, begun, put, seen_by

pydantic = pytest.importorskip("pydantic")

UserId = NewType("UserId", int)


class Printer(Protocol):
    """Not to be checked at run time."""

    def print(self): ...


@dataclass
class Item:
    sku: str
    count: int = 1
    tags: set[str] = field(default_factory=set)


@dataclass
class Shop:
    user: str
    items: list[Item] = field(default_factory=list)
    by_name: dict[str, Item] = field(default_factory=dict)
    favourite: Item | None = None
    visits: int = 0


class ItemModel(pydantic.BaseModel):
    sku: str
    count: int = 1
    tags: set[str] = pydantic.Field(default_factory=set)


class ShopModel(pydantic.BaseModel):
    user: str
    items: list[ItemModel] = pydantic.Field(default_factory=list)
    by_name: dict[str, ItemModel] = pydantic.Field(default_factory=dict)
    favourite: ItemModel | None = None
    visits: int = 0


MODELS = pytest.mark.parametrize(
    ("model", "item"), [(Shop, Item), (ShopModel, ItemModel)], ids=["dataclass", "model"]
)
CONTENT = {
    "user": "anna",
    "items": [{"sku": "a", "count": 2, "tags": {"!": ["set", ["x"]]}}],
    "by_name": {"b": {"sku": "b"}},
    "other": 1,
}


def session_of(before):
    ledger = Ledger(before=before, key=b"memsession:" + b"f" * 43)
    return AsyncSession(ledger), ledger


class TestMade:
    """From the session to the object."""

    @MODELS
    def test_fields_are_top_level_keys(self, model, item):
        """Nested lists, dicts and options of such classes are made too; what is missing has its default."""
        session, _ = session_of(CONTENT)
        shop = session.as_(model)

        assert type(shop) is model
        assert shop.items == [item(sku="a", count=2, tags={"x"})]
        assert shop.by_name == {"b": item(sku="b")}
        assert (shop.user, shop.favourite, shop.visits) == ("anna", None, 0)

    @MODELS
    def test_looking_changes_nothing(self, model, item):
        """Neither defaults nor nested defaults are written."""
        session, ledger = session_of(CONTENT)
        session.as_(model)

        assert not changes_of(session, ledger)

    @MODELS
    def test_the_same_object_within_a_request(self, model, item):
        """Whoever asks for it again sees what the first one did, and what the session got meanwhile."""
        session, _ = session_of(CONTENT)
        shop = session.as_(model)
        shop.visits = 5
        session["user"] = "bert"

        assert session.as_(model) is shop
        assert (shop.visits, shop.user, session["visits"]) == (5, "bert", 5)

    @MODELS
    def test_a_missing_field_is_named(self, model, item):
        """The key, as the session has it."""
        session, _ = session_of({"visits": 1})
        with pytest.raises(UnfitValue, match="session value user: ") as caught:
            session.as_(model)

        assert caught.value.key == "user"

    @MODELS
    @pytest.mark.parametrize(
        ("wrong", "path"),
        [
            ({"user": ["hidden"]}, "user"),
            ({"visits": {"hidden": 1}}, "visits"),
            ({"items": [{"sku": "a"}, {"sku": ["hidden"]}]}, "items"),
            ({"items": "hidden"}, "items"),
            ({"by_name": {"x": {"count": 1}}}, "by_name.x.sku"),
            ({"favourite": {"sku": ["hidden"]}}, "favourite.sku"),
        ],
    )
    def test_what_does_not_fit_is_named_and_not_shown(self, model, item, wrong, path):
        """The error says where and of what type, never what."""
        session, _ = session_of({"user": "anna", **wrong})
        with pytest.raises(UnfitValue) as caught:
            session.as_(model)

        assert caught.value.key.startswith(path)
        assert "hidden" not in f"{caught.value!r} {caught.value.__cause__!r}"

    @pytest.mark.parametrize(
        ("hint", "good", "bad"),
        [
            (int, [1, -1], [True, 1.0, "1", None]),
            (float, [1.5, 2], [True, "1.5"]),
            (bool, [True], [1]),
            (bytes, [b"x"], ["x"]),
            (date, [date(2026, 11, 20)], ["2026-11-20"]),
            (UUID, [UUID(int=1)], ["1"]),
            (None, [None], [0]),
            (Any, [1, None, []], []),
            (object, [1, True, []], []),
            (int | None, [1, None], ["1", True]),
            (int | str, [1, "1"], [1.5, None]),
            (Literal["a", 1], ["a", 1], ["b", True, 1.0]),
            (Annotated[int, "positive"], [1], ["1"]),
            (UserId, [1], ["1"]),
            (SupportsIndex, [1, True], ["1"]),
            (Printer, [1, "anything"], []),
            (typing.List, [[1, "a"]], [{}]),  # noqa: UP006
            (dict, [{"a": 1}], [[]]),
            (list, [[1, "a"]], [(1,), {}]),
            (list[int], [[], [1, 2]], [["1"], (1,)]),
            (tuple[int, str], [(1, "a")], [(1,), ("a", 1), [1, "a"]]),
            (tuple[int, ...], [(), (1, 2)], [("a",)]),
            (set[int], [{1}], [{"a"}, [1]]),
            (frozenset[str], [frozenset("a")], [frozenset({1}), {"a"}]),
            (dict[str, list[int]], [{"a": [1]}], [{"a": ["1"]}, []]),
            (Item, [{"sku": "a"}, {"sku": "a", "unknown": 1}], [{}, [], "a"]),
            (list[Item] | None, [None, [{"sku": "a"}]], [[{}]]),
        ],
        ids=str,
    )
    def test_annotations(self, hint, good, bad):
        """Checked as far as plain checks go; what is no class lets everything pass."""
        one = dataclass(type("One", (), {"__annotations__": {"k": hint}}))
        for value in good:
            session, _ = session_of({})
            session["k"] = value
            assert type(session.as_(one)) is one
        for value in bad:
            session, _ = session_of({})
            session["k"] = value
            with pytest.raises(UnfitValue, match=r"session value k"):
                session.as_(one)

    @pytest.mark.parametrize("model", [int, dict, object, "Shop", None, Shop(user="x")])
    def test_other_kinds_are_refused(self, model):
        """The message says what can be given."""
        session, _ = session_of({})
        with pytest.raises(ConfigurationError, match="give a dataclass, a TypedDict or a pydantic model"):
            session.as_(model)

    def test_an_annotation_that_is_not_there_at_run_time(self):
        """A class imported for type checkers only."""
        one = dataclass(type("One", (), {"__annotations__": {"k": "Missing"}}))
        with pytest.raises(ConfigurationError, match=r"as_\(One\): an annotation cannot be resolved"):
            session_of({"k": 1})[0].as_(one)

    def test_a_dataclass_with_more_than_fields(self):
        """Class variables are none of its fields; those it makes itself are overwritten by what is stored."""

        @dataclass
        class Made:
            a: int
            total: int = field(init=False, default=0)
            shared: ClassVar[int] = 3

        session, ledger = session_of({"a": 1, "total": 5, "shared": "x"})
        made = session.as_(Made)
        made.total += 1

        assert (made.a, made.shared) == (1, 3)
        assert changes_of(session, ledger) == Changes(puts={"total": 6})

    def test_a_dataclass_that_wants_more_than_its_fields(self):
        """It cannot be made, and that is said."""

        @dataclass
        class Wants:
            a: int = 0

            def __init__(self, a, b):
                self.a = a

        with pytest.raises(ConfigurationError, match=r"as_\(Wants\): it cannot be made of its fields"):
            session_of({"a": 1})[0].as_(Wants)

    def test_an_alias_of_pydantic(self):
        """The key of the session is the field's name; the model takes it in by its alias."""

        class Aliased(pydantic.BaseModel):
            user: str = pydantic.Field(alias="userName")

        session, ledger = session_of({"user": "anna"})
        view = session.as_(Aliased)
        view.user = "bert"

        assert changes_of(session, ledger) == Changes(puts={"user": "bert"})

    def test_a_validator_that_shows_the_value(self):
        """Its words are not repeated."""

        class Checked(pydantic.BaseModel):
            user: str

            @pydantic.field_validator("user")
            @classmethod
            def check(cls, value):
                raise ValueError(f"bad user {value}")

        with pytest.raises(UnfitValue) as caught:
            session_of({"user": "hidden"})[0].as_(Checked)

        assert "hidden" not in str(caught.value)


class TestTypedDict:
    """The session itself, checked."""

    class Cart(TypedDict):
        items: list[str]
        note: NotRequired[str]

    class Typed(TypedDict, total=False):
        user: str
        cart: "TestTypedDict.Cart"

    def test_it_is_the_session(self):
        """Nothing is made or kept; keys may be missing or more."""
        session, ledger = session_of({"user": "anna", "cart": {"items": []}, "other": 1})

        assert session.as_(self.Typed) is session
        assert ledger.views == ()
        assert session_of({})[0].as_(self.Cart) == {}

    @pytest.mark.parametrize(
        ("content", "path"),
        [
            ({"user": 1}, "user"),
            ({"cart": 1}, "cart"),
            ({"cart": {"items": [1]}}, r"cart.items\[0\]"),
            ({"cart": {"items": [], "note": 1}}, "cart.note"),
        ],
    )
    def test_what_does_not_fit_is_named(self, content, path):
        """Also inside of nested ones."""
        with pytest.raises(UnfitValue, match=f"session value {path}: "):
            session_of(content)[0].as_(self.Typed)


class TestWritten:
    """From the object to the session."""

    @MODELS
    def test_changes_are_saved(self, server, browser, model, item):
        """Fields assigned and nested things changed; nothing else is written."""
        begun(server, browser, user="anna", items=[], other=1)

        def act(session):
            shop = session.as_(model)
            shop.visits += 1
            shop.items.append(item(sku="a"))
            shop.favourite = item(sku="f", tags={"t"})

        server.visit(browser, act)
        seen = seen_by(server, browser)

        assert seen == {
            "user": "anna",
            "items": [{"sku": "a", "count": 1, "tags": set()}],
            "other": 1,
            "favourite": {"sku": "f", "count": 1, "tags": {"t"}},
            "visits": 1,
        }

    @MODELS
    def test_a_new_session(self, server, browser, model, item):
        """An object with defaults only, changed, begins one."""

        def act(session):
            session["user"] = "anna"
            session.as_(model).visits += 1

        request = server.visit(browser, act)

        assert request.cookie == "issued"
        assert seen_by(server, browser) == {"user": "anna", "visits": 1}

    @MODELS
    def test_parallel_changes_of_different_fields_merge(self, nodes, browser, model, item):
        """On two web servers."""
        servers = [WebServer(nodes), WebServer(nodes)]
        begun(servers[0], browser, user="anna")
        one, other = (server.arrive(browser) for server in servers)
        one.session.as_(model).visits = 7
        other.session.as_(model).items = [item(sku="a")]
        one.leave()
        other.leave()

        assert seen_by(servers[0], browser).keys() == {"user", "visits", "items"}

    @MODELS
    def test_plain_assignments_meanwhile_stand(self, server, browser, model, item):
        """Of a field that the object left alone; of two changes of one key the object's stands."""
        begun(server, browser, user="anna", visits=1)

        def act(session):
            shop = session.as_(model)
            session["user"] = "bert"
            session["visits"] = 100
            shop.visits = 2

        server.visit(browser, act)

        assert seen_by(server, browser) == {"user": "bert", "visits": 2}

    @MODELS
    def test_save_shows_what_is_stored(self, server, browser, model, item):
        """In place: what others changed is seen, what they left alone stays the very object."""
        begun(server, browser, user="anna", items=[], visits=1)
        request = server.arrive(browser)
        shop = request.session.as_(model)
        items = shop.items
        items.append(item(sku="a"))
        server.visit(browser, put(visits=5))
        request.save()
        assert (shop.visits, shop.items is items) == (5, True)
        items.append(item(sku="b"))
        shop.visits += 1
        request.leave()

        assert seen_by(server, browser)["visits"] == 6
        assert [one["sku"] for one in seen_by(server, browser)["items"]] == ["a", "b"]

    @MODELS
    def test_a_session_that_ended_leaves_no_object(self, server, browser, model, item):
        """After a logout elsewhere nobody goes on with the visitor that the object named."""
        begun(server, browser, user="anna", visits=1)
        request = server.arrive(browser)
        shop = request.session.as_(model)
        server.visit(browser.copy(), lambda session: session.invalidate())
        request.save()

        assert request.session.ended
        with pytest.raises(AttributeError):
            shop.user  # noqa: B018
        request.leave()
        assert request.cookie == "kept"
        assert not server.lifecycle.forgot(request.visit)
        assert (dict(request.session), server.told()) == ({}, [])

    @MODELS
    @pytest.mark.parametrize("filled", ["the session", "the object"])
    def test_it_comes_back_with_the_session(self, server, browser, model, item, filled):
        """Filled again, the object is whole again."""
        begun(server, browser, user="anna")
        request = server.arrive(browser)
        shop = request.session.as_(model)
        request.session.invalidate()
        request.save()
        if filled == "the session":
            request.session["user"] = "bert"
        else:
            shop.user = "bert"
        request.save()

        assert (shop.user, shop.visits, shop.items) == ("bert", 0, [])
        assert seen_by(server, request.leave().browser) == {"user": "bert"}

    @MODELS
    @pytest.mark.parametrize("end", ["clear", "invalidate"])
    def test_clear_is_not_undone(self, server, browser, model, item, end):
        """What the object showed before is not written back; what is changed in it afterwards is."""
        begun(server, browser, user="anna", visits=3)

        def act(session):
            shop = session.as_(model)
            getattr(session, end)()
            shop.visits = 4

        request = server.visit(browser, act)

        assert request.cookie == "issued"
        assert seen_by(server, browser) == {"visits": 4}

    @MODELS
    def test_a_key_that_was_removed_stays_removed(self, server, browser, model, item):
        """Deleting it from the session is a change as any other."""
        begun(server, browser, user="anna", visits=3)

        def act(session):
            session.as_(model)
            del session["visits"]

        server.visit(browser, act)

        assert seen_by(server, browser) == {"user": "anna"}

    @MODELS
    def test_what_cannot_be_stored_is_named(self, server, browser, model, item):
        """The key, and the place inside its value; nothing is written."""
        begun(server, browser, user="anna", items=[{"sku": "a"}])
        request = server.arrive(browser)
        request.session.as_(model).items[0].tags = {1j}
        with pytest.raises(UnstorableValue, match=r"items\[0\]\.tags\[0\]"):
            request.leave()

        assert seen_by(server, browser) == {"user": "anna", "items": [{"sku": "a"}]}

    @MODELS
    def test_changes_after_the_response_are_noticed(self, server, browser, model, item):
        """They are lost, and that is told; a view alone is none."""
        begun(server, browser, user="anna")
        for late, forgot in [(lambda shop: None, False), (lambda shop: setattr(shop, "visits", 9), True)]:
            request = server.arrive(browser)
            shop = request.session.as_(model)
            request.leave()
            late(shop)
            assert server.lifecycle.forgot(request.visit) is forgot

    @MODELS
    def test_a_rotating_field_renews_the_id(self, browser, nodes, model, item):
        """A login through the object is a login."""
        server = WebServer(nodes, rotate_on=["user"])
        begun(server, browser, user="anna")
        old = browser.copy()
        request = server.visit(browser, lambda session: setattr(session.as_(model), "user", "bert"))

        assert request.cookie == "issued"
        assert server.visit(old).session == {}

    def test_frozen_dataclasses_show(self, server, browser):
        """They cannot be assigned to, and are shown anew after `save()`; slots are no obstacle."""

        @dataclass(frozen=True, slots=True)
        class Frozen:
            user: str
            visits: int = 0

        begun(server, browser, user="anna")
        request = server.arrive(browser)
        view = request.session.as_(Frozen)
        with pytest.raises(AttributeError):
            view.user = "bert"
        server.visit(browser, put(visits=5))
        request.save()

        assert view == Frozen(user="anna", visits=5)

    def test_the_object_and_the_session_share_nothing(self):
        """A list changed in the session is not changed in the object, nor the other way round."""

        @dataclass
        class Lists:
            plain: list

        session, ledger = session_of({"plain": [1]})
        view = session.as_(Lists)
        view.plain.append(2)
        assert session["plain"] == [1]
        assert changes_of(session, ledger) == Changes(puts={"plain": [1, 2]})
        session["plain"].append(3)

        assert view.plain == [1, 2]


def test_a_default_is_made_once_for_a_request():
    """Though each one is another: what the page shows is what the object holds to the end."""
    server, browser = WebServer(Nodes()), Browser()

    @dataclass
    class Page:
        token: str = field(default_factory=lambda: secrets.token_hex(4))
        visits: int = 0

    server.visit(browser, lambda session: session.update(visits=1))
    request = server.arrive(browser)
    page = request.session.as_(Page)
    token = page.token
    page.visits += 1
    request.save()

    assert request.session.as_(Page) is page
    assert (page.token, page.visits) == (token, 2)
    assert dict(request.session) == {"visits": 2}
