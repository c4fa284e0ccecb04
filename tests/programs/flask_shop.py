"""A Flask application under gunicorn. POOL names the memcached servers.

WARM makes a visit before any worker is forked: whoever inherits those connections must not use them.
"""

import os
import time

import flask

from memsession import Exclusive
from memsession.flask import MemSession, session
from tests.web import SECRET

app = flask.Flask("shop")
MemSession(app, secret_key=SECRET, pool=os.environ["POOL"], exclusive=Exclusive(paths=["/plain"]))


@app.after_request
def sign(response):
    response.headers["X-Worker"] = str(os.getpid())
    return response


@app.get("/visit")
def visit():
    return str(session.increment("n"))


@app.get("/show")
def show():
    return flask.jsonify(dict(session))


@app.get("/set")
def put():
    session.update(flask.request.args)
    return "done"


@app.get("/plain")
def plain():
    session["plain"] = session.get("plain", 0) + 1
    return "done"


@app.get("/me")
def me():
    session.increment("n")
    return session.get("who", "")


@app.get("/slow")
def slow():
    session["slow"] = 1
    time.sleep(float(flask.request.args["s"]))
    session.save()
    session["slower"] = 2
    return "done"


@app.get("/logout")
def logout():
    session.invalidate()
    return "done"


if os.environ.get("WARM"):
    assert app.test_client().get("/visit").text == "1"
