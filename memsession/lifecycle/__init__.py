"""From cookie to session and back, as plans: a request's whole life, without a socket."""

from memsession.lifecycle.build import build
from memsession.lifecycle.lifecycle import Lifecycle
from memsession.lifecycle.options import ROTATE_ON, Options, Settings, check_options, pool_of, settings
from memsession.lifecycle.placing import Placing
from memsession.lifecycle.plain_http import PlainHttp
from memsession.lifecycle.visit import CookieAction, Delete, Issue, Keep, Standing, Ticket, Visit

__all__ = [
    "ROTATE_ON",
    "CookieAction",
    "Delete",
    "Issue",
    "Keep",
    "Lifecycle",
    "Options",
    "Placing",
    "PlainHttp",
    "Settings",
    "Standing",
    "Ticket",
    "Visit",
    "build",
    "check_options",
    "pool_of",
    "settings",
]
