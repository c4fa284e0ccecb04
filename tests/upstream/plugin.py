"""A pytest plugin: the frameworks' sessions are replaced by ours before their tests are imported.

It is loaded into a process of its own, in the folder of the unpacked framework, by the name `plugin` alone: the
frameworks' tests have a package `tests` too. `UPSTREAM_SUBJECT` names the framework; with `UPSTREAM_SESSIONS=theirs`
its own sessions stay in place, to see which tests fail anyway.

What became of each test is written to the file that `UPSTREAM_REPORT` names, as JSON: {test: [outcome, message]}.
The outcome of a test that passed without a session of ours is "unused": it shows nothing about us.
"""

import hashlib
import importlib
import importlib.util
import json
import os
import sys
from pathlib import Path

import _pytest.monkeypatch
import pytest

SUBJECT = os.environ["UPSTREAM_SUBJECT"]
THEIRS = os.environ["UPSTREAM_SESSIONS"] == "theirs"
REPORT = Path(os.environ["UPSTREAM_REPORT"])

_outcomes: dict[str, tuple[str, str]] = {}
_opened: list[str] = []
"""One entry for each time that one of our doors was used in the test that runs."""


def accept_weak_secrets() -> None:
    """Each secret of their tests stands for one that is long enough for us, the same one every time."""
    import memsession.secret as ours

    checked = ours._checked

    def strengthened(secret: object, which: str) -> bytes:
        if isinstance(secret, str | bytes) and secret:
            secret = hashlib.sha256(secret.encode() if isinstance(secret, str) else secret).hexdigest()
        return checked(secret, which)

    ours._checked = strengthened


def meet_what_is_pinned() -> None:
    """Two names that their tests use, where the pinned versions of what they come from have others."""
    # Starlette's test client takes httpx or its successor, but its tests name the successor.
    if importlib.util.find_spec("httpx2") is None:
        sys.modules["httpx2"] = importlib.import_module("httpx")
    # Flask's tests name a thing inside pytest that was renamed since.
    if not hasattr(_pytest.monkeypatch, "notset"):
        _pytest.monkeypatch.notset = _pytest.monkeypatch.NOTSET


def replace_starlette() -> None:
    """Ours in the place of `starlette.middleware.sessions.SessionMiddleware`; options are passed on as they are."""
    import starlette.middleware.sessions as theirs

    from memsession.asgi import SessionMiddleware

    class InTheirPlace(SessionMiddleware):
        def __init__(self, app, secret_key, **options):
            super().__init__(app, secret_key, pool="memory://", **options)

        async def __call__(self, scope, receive, send):
            _opened.append(scope["type"])
            await super().__call__(scope, receive, send)

    theirs.SessionMiddleware = InTheirPlace


def replace_flask() -> None:
    """Ours installed in every Flask application that is made, unless its class brings a session interface."""
    import flask

    from memsession.flask import MemSession

    class InTheirPlace(MemSession):
        def open_session(self, app, request):
            _opened.append(app.name)
            return super().open_session(app, request)

    their_init = flask.Flask.__init__
    their_interface = flask.Flask.session_interface

    def init_with_ours(app, *arguments, **options):
        their_init(app, *arguments, **options)
        if app.session_interface is their_interface:
            InTheirPlace(app, pool="memory://")

    flask.Flask.__init__ = init_with_ours


# Now, for pytest imports their conftest before it calls any hook of ours.
meet_what_is_pinned()
if not THEIRS:
    accept_weak_secrets()
    {"starlette": replace_starlette, "flask": replace_flask}[SUBJECT]()


def pytest_runtest_setup() -> None:
    """A test begins."""
    _opened.clear()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """The worst of set-up, test and tear-down counts."""
    before, _ = _outcomes.get(report.nodeid, ("", ""))
    if before != "failed" and (report.when == "call" or report.outcome != "passed"):
        outcome = "unused" if report.outcome == "passed" and not _opened else report.outcome
        _outcomes[report.nodeid] = (outcome, _message(report))


def _message(report: pytest.TestReport) -> str:
    """What went wrong, and the line of code where it was seen."""
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is None:
        return str(report.longrepr or "")
    # The last line of the framework's test, and the last of all, where the error was raised.
    lines = [line[1:].strip() for line in report.longreprtext.splitlines() if line.startswith(">")]
    return "  <- ".join([crash.message.partition("\n")[0], *dict.fromkeys([*lines[-1:], *lines[:1]])])


def pytest_sessionfinish() -> None:
    """Tell the process that waits for it."""
    REPORT.write_text(json.dumps(_outcomes), encoding="utf-8")
