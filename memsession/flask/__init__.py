"""Sessions for Flask: `flask.session` as ever, kept on several memcached nodes."""

from memsession.flask.interface import MemSession
from memsession.flask.session import FlaskSession, session

__all__ = ["FlaskSession", "MemSession", "session"]
