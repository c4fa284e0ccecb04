"""The options of Starlette's own SessionMiddleware, in memsession's terms.

So `from starlette.middleware.sessions import SessionMiddleware` is replaced by memsession's, and a pool is added.
They are either given as Starlette names them or as a `Cookie`; both together would contradict each other.
"""

import sys
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, Literal

from memsession.cookies import Cookie
from memsession.errors import ConfigurationError
from memsession.lifecycle import Options, check_options
from memsession.lifetime import MEMCACHED_TTL_MAX, Lifetime

_MAX_AGE_MIN: Final = 2
_OF_THE_COOKIE: Final = ("session_cookie", "max_age", "path", "same_site", "https_only", "domain", "partitioned")
_OF_ASGI: Final = frozenset(
    {
        *("type", "asgi", "http_version", "method", "scheme", "path", "raw_path", "query_string", "root_path"),
        *("headers", "client", "server", "extensions", "subprotocols", "state", "app", "router", "endpoint"),
        *("path_params", "user", "auth"),
    }
)


class AsgiOptions(Options, total=False):
    """The keyword arguments of `SessionMiddleware`: those of every adapter, and Starlette's.

    `scope_key`: under which key of the scope the session lies, for a second middleware with a cookie of its own;
    `request.session` is what lies under "session".
    `session_cookie`: the cookie's name. `path`, `same_site`, `domain`, `partitioned`: its attributes.
    `https_only`: True is `Cookie(secure=True)`, False is `"auto"`: Secure on https, and only there.
    `max_age`: seconds. The session ends when it was not used for so long, and after twelve hours or `max_age`,
    whichever is longer, however much it is used; the cookie outlives the browser's window. 30 days at most. None is
    a cookie that ends with the browser, and so is leaving it out. `lifetime` overrules the limits, not the cookie.
    """

    scope_key: str
    session_cookie: str
    max_age: int | None
    path: str
    same_site: Literal["lax", "strict", "none"]
    https_only: bool
    domain: str | None
    partitioned: bool


def translated(options: Mapping[str, Any]) -> tuple[Options, str]:
    """The options that every adapter has, and the scope key.

    Raises:
        ConfigurationError: an option is unknown, malformed, or given twice in different words.
    """
    check_options(options, AsgiOptions.__annotations__)
    key = options.get("scope_key", "session")
    if not isinstance(key, str) or not key or key in _OF_ASGI:
        raise ConfigurationError(
            f"scope_key={key!r}: give a name that ASGI does not use, for instance 'admin_session'"
        )
    old = {name: options[name] for name in _OF_THE_COOKIE if name in options}
    rest: Any = {name: value for name, value in options.items() if name not in old and name != "scope_key"}
    if not old:
        return rest, key
    if "cookie" in rest:
        raise ConfigurationError(
            f"{', '.join(old)} and cookie= both say how the cookie looks: put everything into cookie=Cookie(...)"
        )
    max_age = old.get("max_age")
    if max_age is not None and "lifetime" not in rest:
        rest["lifetime"] = _lifetime(max_age)
    rest["cookie"] = _cookie(old, rest.get("lifetime"))
    return rest, key


def plain_secret(secret_key: Any) -> Any:
    """The secret itself, or the list of them, where Starlette's `Config` has wrapped it in its `Secret`."""
    module = sys.modules.get("starlette.datastructures")
    if module is None:
        return secret_key
    if isinstance(secret_key, list | tuple):
        return [plain_secret(one) for one in secret_key]
    return str(secret_key) if isinstance(secret_key, module.Secret) else secret_key


def _lifetime(max_age: object) -> Lifetime:
    if type(max_age) is not int or not _MAX_AGE_MIN <= max_age <= MEMCACHED_TTL_MAX:
        raise ConfigurationError(
            f"max_age={max_age!r}: use {_MAX_AGE_MIN} to {MEMCACHED_TTL_MAX} seconds (30 days, no session is kept "
            f"longer), or None for a cookie that ends with the browser"
        )
    idle = timedelta(seconds=max_age)
    return Lifetime(idle=idle, absolute=max(idle, timedelta(hours=12)))


def _cookie(old: Mapping[str, Any], lifetime: Lifetime | None) -> Cookie:
    https_only = old.get("https_only", False)
    if not isinstance(https_only, bool):
        raise ConfigurationError(f"https_only={https_only!r}: use True or False")
    domain = old.get("domain")
    named = {"name": "session_cookie", "path": "path", "same_site": "same_site", "partitioned": "partitioned"}
    given: dict[str, Any] = {ours: old[theirs] for ours, theirs in named.items() if theirs in old}
    try:
        return Cookie(
            secure=True if https_only else "auto",
            domain=domain[1:] if isinstance(domain, str) and domain.startswith(".") else domain,
            max_age=None if old.get("max_age") is None or lifetime is None else lifetime.absolute,
            **given,
        )
    except ConfigurationError as error:
        text = str(error).replace("secure=True", "https_only=True").replace("Cookie(name=", "Cookie(session_cookie=")
        raise ConfigurationError(text.replace("Cookie(", "SessionMiddleware(")) from None
