"""The token against forged requests: tied to the session, renewed with its ID."""

import hmac

import pytest

from memsession.session import AsyncSession, Ledger, csrf
from memsession.session.csrf import CSRF_KEY
from tests.visits import Browser, WebServer, begun, put, seen_by


def token_of(server, browser):
    """The token that a page of this visitor gets."""
    return server.visit(browser, lambda session: session.csrf_token()).result


def is_valid(server, browser, token):
    return server.visit(browser.copy(), lambda session: session.csrf_valid(token)).result


def test_it_begins_a_session(server, browser):
    """A form on the first page works."""
    token = token_of(server, browser)

    assert len(token) == 43
    assert is_valid(server, browser, token)


def test_it_survives_ordinary_visits(nodes, browser):
    """On all web servers, whatever is changed meanwhile; and asking for it again writes nothing."""
    one, other = WebServer(nodes), WebServer(nodes)
    token = token_of(one, browser)
    other.visit(browser, put(a=1))
    nodes.sent()

    assert token_of(other, browser) == token
    assert nodes.sent() == ["Get+Get"]
    assert is_valid(one, browser, token)


def test_two_visitors_have_different_ones(server):
    """One's token is worth nothing to the other."""
    anna, bert = Browser(), Browser()
    hers, his = token_of(server, anna), token_of(server, bert)

    assert hers != his
    assert not is_valid(server, anna, his)


@pytest.mark.parametrize("login_shows_a_form", [False, True])
@pytest.mark.parametrize(
    "login",
    [
        lambda session: session.regenerate(),
        lambda session: session.update(user_id=1),
        lambda session: (session.clear(), session.update(user_id=1)),
        lambda session: (session.clear(), session.update(a=1)),
        lambda session: session.set_lifetime(),
        lambda session: (session.invalidate(), session.update(user_id=1)),
    ],
    ids=["regenerate", "rotate_on", "clear and refill", "clear and fill", "set_lifetime", "invalidate"],
)
def test_it_changes_with_the_id(server, browser, login, login_shows_a_form):
    """Whoever planted the session knew the token of before; a form on the page that logs in has the new one."""
    begun(server, browser)
    old = token_of(server, browser)

    def act(session):
        login(session)
        return session.csrf_token() if login_shows_a_form else None

    shown = server.visit(browser, act).result
    new = token_of(server, browser)

    assert new != old
    assert shown in (None, new)
    assert is_valid(server, browser, new)
    assert not is_valid(server, browser, old)


@pytest.mark.parametrize("login", [lambda s: s.regenerate(), lambda s: s.update(user_id=1)])
def test_pages_after_a_login_agree(nodes, browser, login):
    """Two pages at once right after it get the same token: there is one already."""
    one, other = WebServer(nodes), WebServer(nodes)
    begun(one, browser)
    token_of(one, browser)
    one.visit(browser, login)
    first, second = one.arrive(browser), other.arrive(browser)
    tokens = {first.session.csrf_token(), second.session.csrf_token()}
    first.leave()
    second.leave()

    assert len(tokens) == 1


def test_first_pages_at_once(nodes, browser):
    """Two pages of a session that has no token yet make one each: both forms work, and later pages agree."""
    one, other = WebServer(nodes), WebServer(nodes)
    begun(one, browser)
    first, second = one.arrive(browser), other.arrive(browser)
    tokens = [request.session.csrf_token() for request in (first, second)]
    first.leave()
    second.leave()

    assert len(set(tokens)) == 2
    assert [is_valid(server, browser, token) for server in (one, other) for token in tokens] == [True] * 4
    assert token_of(one, browser) == token_of(other, browser)
    one.visit(browser, put(user_id=1))
    assert [is_valid(one, browser, token) for token in tokens] == [False, False]
    assert [key for key in seen_by(one, browser) if key.startswith(CSRF_KEY)] == [CSRF_KEY]


def test_a_login_makes_none_where_none_was(server, browser):
    """An application without forms keeps its sessions small."""
    begun(server, browser)
    server.visit(browser, lambda session: (session.regenerate(), session.update(user_id=1)))

    assert seen_by(server, browser) == {"cart": [1], "user_id": 1}


def test_it_is_over_at_logout(server, browser):
    """With the session."""
    token = token_of(server, browser)
    server.visit(browser, lambda session: session.invalidate())

    assert not is_valid(server, browser, token)


@pytest.mark.parametrize(
    "given",
    [None, "", "x", 0, 1.5, True, [], {}, object(), b"", "t\xf6ken", "\ud800", "x" * 100_000],
    ids=lambda given: type(given).__name__,
)
@pytest.mark.parametrize("known", [True, False])
def test_anything_else_is_not_valid(server, browser, given, known):
    """Nothing raises; in a session without a token nothing is valid."""
    begun(server, browser)
    if known:
        token_of(server, browser)

    assert is_valid(server, browser, given) is False


def test_bytes_of_the_token_are_not_the_token(server, browser):
    """Nor is the token with something after it."""
    token = token_of(server, browser)

    assert not is_valid(server, browser, token.encode())
    assert not is_valid(server, browser, token + "\n")
    assert not is_valid(server, browser, token[:-1])


@pytest.mark.parametrize("foreign", [None, 1, ["x"], b"x"])
def test_a_foreign_value_under_its_key(foreign):
    """It is no token, so it is replaced."""
    session = AsyncSession(Ledger())
    session[CSRF_KEY] = foreign

    assert not session.csrf_valid(foreign)
    assert session.csrf_valid(session.csrf_token())


@pytest.mark.parametrize("key", ["_csrf_tokens", "_csrf_token_ends", "csrf_token"])
def test_a_key_that_is_called_alike(key):
    """What an application keeps there is no token."""
    session = AsyncSession(Ledger())
    session.update({key: "mine", 3: "mine"})

    assert not session.csrf_valid("mine")
    session.regenerate()
    assert session[key] == "mine"


def test_it_is_compared_in_constant_time(monkeypatch):
    """By `hmac.compare_digest`, for every text."""
    compared = []

    def compare(a, b):
        compared.append((len(a), len(b)))
        return hmac.compare_digest(a, b)

    session = AsyncSession(Ledger())
    token = session.csrf_token()
    monkeypatch.setattr(csrf, "hmac", type("hmac", (), {"compare_digest": staticmethod(compare)}))

    assert [session.csrf_valid(given) for given in (token, "x", token[:-1])] == [True, False, False]
    assert compared == [(43, 43), (43, 1), (43, 42)]


def test_asking_whether_it_is_valid_is_an_access(server, browser):
    """The answer depends on the session."""
    begun(server, browser)
    request = server.arrive(browser)
    request.session.csrf_valid("x")

    assert request.visit.ledger.accessed
