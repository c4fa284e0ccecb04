"""Flask's configuration of sessions, as our settings.

It is looked at again when it has changed, for tests and factories set it whenever they like.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import flask
from flask.sessions import SessionInterface

from memsession.cookies import Cookie
from memsession.errors import ConfigurationError
from memsession.lifecycle import Settings, settings
from memsession.lifetime import Lifetime

_LOOKED_AT: Final = (
    *("SECRET_KEY", "SESSION_COOKIE_NAME", "SESSION_COOKIE_DOMAIN", "SESSION_COOKIE_PATH", "APPLICATION_ROOT"),
    *("SESSION_COOKIE_HTTPONLY", "SESSION_COOKIE_SECURE", "SESSION_COOKIE_SAMESITE", "SESSION_COOKIE_PARTITIONED"),
    "PERMANENT_SESSION_LIFETIME",
)
_DEFAULT_LIFETIME: Final = timedelta(days=31)
"""Flask's own `PERMANENT_SESSION_LIFETIME`."""


def seen(config: Mapping[str, Any]) -> tuple[object, ...]:
    """All of the configuration that sessions go by, to be compared."""
    return (*map(config.get, _LOOKED_AT), *(config.get("SECRET_KEY_FALLBACKS") or ()))


def settings_of(
    app: flask.Flask,
    interface: SessionInterface,
    secret_key: str | bytes | Sequence[str | bytes] | None,
    options: Mapping[str, Any],
) -> Settings | None:
    """Settings by what the user gave us and, where he gave nothing, by the application's configuration.

    None if there is no secret key anywhere.

    Raises:
        ConfigurationError: the message names Flask's setting.
    """
    if secret_key is None:
        if not app.secret_key:
            return None
        secret_key = [app.secret_key, *(app.config.get("SECRET_KEY_FALLBACKS") or ())]
    if app.config["SESSION_COOKIE_HTTPONLY"] is False:
        raise ConfigurationError("SESSION_COOKIE_HTTPONLY=False: scripts must not read the cookie; take it out")
    given = dict(options)
    if "cookie" not in given:
        given["cookie"] = _cookie(app, interface)
    if "lifetime" not in given:
        given["lifetime"] = _lifetime(app)
    return settings(secret_key, given)


def _cookie(app: flask.Flask, interface: SessionInterface) -> Cookie:
    same_site = interface.get_cookie_samesite(app)
    domain = interface.get_cookie_domain(app) or None
    try:
        return Cookie(
            name=interface.get_cookie_name(app),
            domain=domain.removeprefix(".") if isinstance(domain, str) else domain,
            path=interface.get_cookie_path(app),
            secure=interface.get_cookie_secure(app) or "auto",
            same_site="lax" if same_site is None else same_site.lower(),  # type: ignore[arg-type]
            partitioned=app.config.get("SESSION_COOKIE_PARTITIONED", False),
        )
    except (ConfigurationError, AttributeError) as problem:
        raise ConfigurationError(f"SESSION_COOKIE_* of Flask's configuration: {problem}") from problem


def _lifetime(app: flask.Flask) -> Lifetime:
    idle = app.permanent_session_lifetime
    if idle == _DEFAULT_LIFETIME:
        return Lifetime()
    try:
        return Lifetime(idle=idle, absolute=max(idle, Lifetime().absolute))
    except ConfigurationError as problem:
        raise ConfigurationError(
            f"PERMANENT_SESSION_LIFETIME={idle} of Flask's configuration is the idle limit of all sessions: {problem}"
        ) from problem
