import os

from flask import Flask, redirect
from werkzeug.wrappers import Response

from memsession import Pool
from memsession.flask import MemSession, session

app = Flask(__name__)
app.config["SECRET_KEY"] = os.environ["SECRET_KEY"]
MemSession(app, pool=Pool(os.environ["MEMSESSION_POOL"]))


@app.get("/")
def home() -> str:
    return f"Visit {session.increment('visits')}"


@app.post("/login")
def login() -> Response:
    session["user_id"] = 42  # after you have checked the password; the ID is renewed by itself
    return redirect("/")


@app.post("/logout")
def logout() -> Response:
    session.invalidate()
    return redirect("/")
