"""From cookie to session and back, as plans: a request's whole life, without a socket."""

from memsession.lifecycle.headers import add_headers
from memsession.lifecycle.lifecycle import ROTATE_ON, Lifecycle
from memsession.lifecycle.plain_http import PlainHttp
from memsession.lifecycle.settings import build, pool_of
from memsession.lifecycle.visit import CookieAction, Delete, Issue, Keep, Standing, Ticket, Visit

__all__ = [
    "ROTATE_ON",
    "CookieAction",
    "Delete",
    "Issue",
    "Keep",
    "Lifecycle",
    "PlainHttp",
    "Standing",
    "Ticket",
    "Visit",
    "add_headers",
    "build",
    "pool_of",
]
