"""The visit counter in Flask: without a session, with Flask's cookie session, with memsession.

APP chooses; NODES names the memcached servers.
"""

import os

from flask import Flask, session

from memsession import Pool
from memsession.flask import MemSession
from memsession.flask import session as typed

KIND = os.environ["APP"]

app = Flask(__name__)
app.config["SECRET_KEY"] = "benchmark-only-7d0f1b3a5c9e2846-not-a-secret"
if KIND in ("memsession", "assign"):
    MemSession(app, pool=Pool(*os.environ["NODES"].split(","), copies=2))


@app.get("/visit")
def visit() -> str:
    if KIND == "none":
        return "This server has seen you\n"
    if KIND == "memsession":
        return f"This server has seen you {typed.increment('visit')} times\n"
    session["visit"] = session.get("visit", 0) + 1
    return f"This server has seen you {session['visit']} times\n"
