import secrets

from flask import Flask

from memsession.flask import MemSession, session
from memsession.testing import FakePool


def test_a_cart_survives_a_hung_node() -> None:
    with FakePool(nodes=["a", "b"]) as fake:
        app = Flask(__name__)
        app.secret_key = secrets.token_urlsafe(32)
        MemSession(app, pool=fake.pool)
        app.add_url_rule("/buy", view_func=lambda: str(session.increment("articles")))
        client = app.test_client()

        assert client.get("/buy").text == "1"
        fake.pause("a")
        assert client.get("/buy").text == "2"
        fake.resume("a")
        assert client.get("/buy").text == "3"
