import secrets

from flask import Flask

from memsession.flask import MemSession, session


def test_a_user_is_greeted() -> None:
    app = Flask(__name__)
    app.secret_key = secrets.token_urlsafe(32)
    MemSession(app, pool="memory://")
    app.add_url_rule("/", view_func=lambda: f"Hello {session['name']}")

    client = app.test_client()
    with client.session_transaction() as prepared:
        prepared["name"] = "Ada"

    assert client.get("/").text == "Hello Ada"
    with client.session_transaction() as found:
        assert found["name"] == "Ada"
