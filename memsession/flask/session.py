"""The session as Flask's code expects it: ours, with the attributes of theirs."""

from typing import NoReturn, cast

import flask
from flask.sessions import NullSession, SessionMixin

from memsession.errors import ConfigurationError, UnstorableValue
from memsession.session import PERMANENT_KEY, Session, changes_of


class FlaskSession(Session, SessionMixin):
    """A `memsession.Session` with the attributes that Flask's sessions have beside."""

    @property
    def permanent(self) -> bool:
        """Whether the cookie outlives the browser's window."""
        return bool(self.get(PERMANENT_KEY, False))

    @permanent.setter
    def permanent(self, value: bool) -> None:
        self[PERMANENT_KEY] = bool(value)

    @property
    def new(self) -> bool:  # type: ignore[override]
        """Whether nothing is stored yet under this visitor's cookie."""
        return self.is_new

    @property
    def modified(self) -> bool:
        """Whether something was changed and not saved yet. It may be set, which does nothing: changes are found."""
        try:
            return bool(changes_of(self, self._ledger)) or self._ledger.asks()
        except UnstorableValue:
            return True

    @modified.setter
    def modified(self, value: bool) -> None:
        pass

    @property
    def accessed(self) -> bool:
        """Whether the response depends on the session. Flask sets it; it cannot be taken back."""
        return self._ledger.accessed or self._ledger.used

    @accessed.setter
    def accessed(self, value: bool) -> None:
        self._ledger.accessed = self._ledger.accessed or value


class KeylessSession(NullSession):
    """What `flask.session` is without any secret key: Flask's own, and our methods say what is missing, too."""

    why = (
        "there is no session without a secret key: set app.config['SECRET_KEY'], the same on every web server; "
        'python -c "import secrets; print(secrets.token_urlsafe(32))" makes one'
    )

    def __getattr__(self, name: str) -> NoReturn:
        if name not in dir(FlaskSession):
            raise AttributeError(name)
        raise ConfigurationError(self.why)


class SkippedSession(KeylessSession):
    """What `flask.session` is at a path without a session: empty, and not to be written to."""

    why = "there is no session at this path: it lies below one of MemSession(skip=[...])"

    def _fail(self, *_: object, **__: object) -> NoReturn:
        raise RuntimeError(self.why)

    __setitem__ = __delitem__ = clear = pop = popitem = update = setdefault = _fail
    del _fail


session: FlaskSession = cast("FlaskSession", flask.session)
"""`flask.session`, for type checkers."""
