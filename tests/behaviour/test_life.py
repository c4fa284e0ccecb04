"""A session's life: begun, changed, moved at login, ended at logout or by time; and what is refused ever after."""

import pytest

from memsession import Lifetime
from memsession.cookies import Cookie, CookieSigner
from memsession.identity import SessionId
from memsession.secret import secret_keys
from tests.behaviour.adapters import Visitor
from tests.web import SECRET

HOUR_MS = 3_600_000


def test_from_first_write_to_logout(visitor, kinds):
    """The same events in every framework."""
    assert visitor.get("/get").json == {}
    visitor.get("/set?k=v")
    visitor.get("/set?l=w")
    visitor.get("/login?user=anna")
    assert visitor.get("/get").json == {"k": "v", "l": "w", "user_id": "anna"}
    visitor.get("/logout")

    assert kinds() == ["Created", "Loaded", "Saved", "Loaded", "Moved", "Loaded", "Loaded", "Ended"]


def test_visitors_have_sessions_of_their_own(server):
    """Each sees what is theirs."""
    anna, bert = Visitor(server), Visitor(server)
    anna.get("/set?name=anna")
    bert.get("/set?name=bert")

    assert [anna.get("/get").json, bert.get("/get").json] == [{"name": "anna"}, {"name": "bert"}]


def test_changes_inside_of_values_are_saved(visitor):
    """Without a flag to set."""
    visitor.get("/nest")
    visitor.get("/deepen")
    visitor.get("/deepen")

    assert visitor.get("/get").json == {"cart": {"items": ["x", "x"]}}


def test_deleted_keys_stay_deleted(visitor):
    """And the last one does not log out."""
    visitor.get("/set?a=1")

    assert visitor.get("/del?a=1").cookie == "kept"
    assert visitor.get("/get").json == {}
    assert visitor.get("/set?b=2").cookie == "kept"


def test_increment_modify_and_save(visitor):
    """Methods that record, and methods that ask the store."""
    assert [visitor.get("/increment").json for _ in range(3)] == [1, 2, 3]
    assert [visitor.get("/modify").json for _ in range(3)] == [1, 2, 3]
    assert visitor.get("/save?k=w").json is False
    assert visitor.get("/get").json == {"n": 3, "m": 3, "k": "w"}


def test_messages_for_the_next_page(visitor):
    """Shown once, in their order."""
    visitor.get("/flash?text=one")
    visitor.get("/flash?text=two")

    assert visitor.get("/flashed").json == [["info", "one"], ["info", "two"]]
    assert visitor.get("/flashed").json == []


def test_the_session_has_a_public_name(visitor):
    """None before it is stored, then the same until a login."""
    assert visitor.get("/id").json == [None, True, False]
    visitor.get("/set?a=1")
    name, is_new, ended = visitor.get("/id").json
    visitor.get("/login?user=anna")

    assert (is_new, ended) == (False, False)
    assert name not in visitor.header
    assert visitor.get("/id").json[0] not in (None, name)


@pytest.mark.parametrize(
    ("login", "shown"),
    [
        ("/login?user=anna", {"k": "v", "user_id": "anna"}),
        ("/tutorial-login?user=anna", {"user_id": "anna"}),
        ("/regenerate", {"k": "v"}),
    ],
)
def test_a_new_privilege_is_a_new_id(visitor, login, shown):
    """The old one is over, for whoever has it."""
    visitor.get("/set?k=v")
    thief = visitor.copy()
    assert visitor.get(login).cookie == "issued"

    assert visitor.header != thief.header
    assert thief.get("/get").json == {}
    assert thief.get("/set?k=thief").cookie == "kept"
    assert visitor.get("/get").json == shown


@pytest.mark.parametrize("logout", ["/logout", "/clear"])
def test_after_a_logout_the_cookie_is_worth_nothing(visitor, logout):
    """It is deleted, and when it is replayed it shows nothing, and is not deleted again by that."""
    visitor.get("/login?user=anna")
    thief = visitor.copy()
    assert visitor.get(logout).cookie == "deleted"
    replayed = thief.get("/get")

    assert (replayed.json, replayed.cookie) == ({}, "kept")
    assert visitor.get("/get").json == {}


def test_a_farewell_is_a_session_of_its_own(visitor):
    """What is written after `invalidate()` begins a new one."""
    visitor.get("/login?user=anna")
    before = visitor.copy()

    assert visitor.get("/farewell").cookie == "issued"
    assert visitor.get("/get").json == {"message": "good-bye"}
    assert before.get("/get").json == {}


def test_an_id_from_elsewhere_is_never_adopted(server, visitor):
    """An attacker plants his own session's cookie; the victim's login gets another ID."""
    attacker = Visitor(server)
    attacker.get("/set?planted=1")
    victim = attacker.copy()
    victim.get("/login?user=victim")

    assert victim.header != attacker.header
    assert attacker.get("/get").json == {}

    signed = (
        CookieSigner(Cookie(), secret_keys(SECRET)).issue(SessionId.new(), https=True).partition(b";")[0].decode()
    )
    assert visitor.get("/set?a=1", cookie=signed).cookie == "issued"
    assert signed != visitor.header


def test_idle_sessions_end(start, clock, kinds):
    """By the time of last use, which every request renews."""
    visitor = Visitor(start(lifetime=Lifetime()))
    visitor.get("/set?a=1")
    for _ in range(3):
        clock.ahead_ms += HOUR_MS // 2 - 60_000
        assert visitor.get("/get").json == {"a": "1"}
    clock.ahead_ms += HOUR_MS // 2 + 1_000
    kinds()

    assert visitor.get("/get").json == {}
    assert kinds() == ["NotThere"]


def test_sessions_end_absolutely(start, clock):
    """However much they are used."""
    visitor = Visitor(start(lifetime=Lifetime()))
    visitor.get("/set?a=1")
    seen = []
    for _ in range(30):
        clock.ahead_ms += HOUR_MS // 2 - 60_000
        seen.append(bool(visitor.get("/get").json))

    assert seen == [True] * 24 + [False] * 6


def test_last_use_is_renewed_without_a_cookie_and_seldom(server, visitor, clock, spent):
    """Within a twentieth of the idle limit a reader only reads."""
    visitor.get("/set?a=1")
    spent()
    visitor.get("/get")
    assert spent() == 2
    clock.ahead_ms += 91_000
    assert visitor.get("/get").cookie == "kept"
    assert spent() == 4
