"""What users may set: the same options for every adapter, each with its default in one place."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypedDict

from memsession.cookies import Cookie
from memsession.errors import ConfigurationError
from memsession.events import Observe, log
from memsession.exclusive import Exclusive
from memsession.lifetime import Lifetime
from memsession.paths import roots
from memsession.pool import Pool
from memsession.spelling import check_names
from memsession.upkeep.options import Upkeep

_logger = logging.getLogger("memsession")

ROTATE_ON = ("user_id", "_user_id", "_auth_user_id", "user")
"""Keys by which applications usually remember who is logged in; their change renews the ID."""


_ELSEWHERE: Final = {
    "cookie": tuple(Cookie.__dataclass_fields__),
    "lifetime": tuple(Lifetime.__dataclass_fields__),
    "pool": ("copies", "prefix", "max_bytes", "timeout", "budget", "previous"),
}
"""Settings that people look for among the options."""


class Options(TypedDict, total=False):
    """The keyword arguments of every adapter.

    `pool`: the memcached servers; without it sessions live in this process, for development.
    `cookie`, `lifetime`: how the cookie looks, and when sessions end by themselves.
    `rotate_on`: keys whose change renews the session's ID, so that a login cannot be fixed beforehand.
    `on_outage`: when none of a session's nodes answers, `"error"` answers 503, `"empty"` shows an empty session that
    is not saved; the cookie is kept either way.
    `vary`: send `Vary: Cookie` only with responses that depend on the session, or always.
    `on_server_error`: a response of 500 and above that the application makes itself saves as any other (`"save"`), or
    saves nothing (`"discard"`); an exception that nobody handles never saves.
    `skip`: paths where there is no session, for instance `["/static", "/health"]`: each with all that lies below it.
    `exclusive`: let requests of one session take turns, everywhere or where it says.
    `observe`: is called with every event (see `memsession.events`); by default they go to the logger "memsession".
    `debug`: raise where changes are lost because `save()` was forgotten, instead of only logging it; None: as the
    application's own debug flag.
    `upkeep`: what is done behind the requests (refill of emptied nodes, and so on), in a thread of each process.
    None: nothing is, and another process has to do it.
    """

    pool: Pool | str | None
    cookie: Cookie
    lifetime: Lifetime
    rotate_on: Collection[str]
    on_outage: Literal["error", "empty"]
    vary: Literal["accessed", "always"]
    on_server_error: Literal["save", "discard"]
    skip: Collection[str]
    exclusive: Exclusive | None
    observe: Observe
    debug: bool | None
    upkeep: Upkeep | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Options, checked, with their defaults."""

    secret_key: str | bytes | Sequence[str | bytes] = field(repr=False)
    pool: Pool | str | None = None
    cookie: Cookie = Cookie()  # noqa: RUF009 - frozen
    lifetime: Lifetime = Lifetime()  # noqa: RUF009 - frozen
    rotate_on: Collection[str] = ROTATE_ON
    on_outage: str = "error"
    vary: str = "accessed"
    on_server_error: str = "save"
    skip: Collection[str] = ()
    exclusive: Exclusive | None = None
    observe: Observe = log
    debug: bool | None = None
    upkeep: Upkeep | None = Upkeep()  # noqa: RUF009 - frozen

    def __post_init__(self) -> None:
        _check_kind("cookie", self.cookie, Cookie, 'Cookie(name="session")')
        _check_kind("lifetime", self.lifetime, Lifetime, "Lifetime(idle=timedelta(minutes=30))")
        if self.exclusive is not None:
            _check_kind("exclusive", self.exclusive, Exclusive, "Exclusive(wait=timedelta(seconds=10))")
        if self.upkeep is not None:
            _check_kind("upkeep", self.upkeep, Upkeep, "Upkeep(rate=1000), or None")
        if self.on_outage not in ("error", "empty"):
            raise ConfigurationError(f"on_outage={self.on_outage!r}: use 'error' (answer 503) or 'empty'")
        if self.vary not in ("accessed", "always"):
            raise ConfigurationError(f"vary={self.vary!r}: use 'accessed' or 'always'")
        if self.on_server_error not in ("save", "discard"):
            raise ConfigurationError(f"on_server_error={self.on_server_error!r}: use 'save' or 'discard'")
        roots("skip={}", self.skip)
        if self.cookie.secure is False and self.debug is not True:
            raise ConfigurationError(
                'Cookie(secure=False): without Secure the cookie also leaves over http; use "auto" (Secure on '
                "https), or debug=True in development"
            )
        if self.debug is not None and not isinstance(self.debug, bool):
            raise ConfigurationError(f"debug={self.debug!r}: use True, False, or None (as the application)")
        _check_rotate_on(self.rotate_on)
        if not callable(self.observe):
            raise ConfigurationError(f"observe={self.observe!r}: give a function that takes an event")


def settings(secret_key: str | bytes | Sequence[str | bytes], options: Mapping[str, Any]) -> Settings:
    """The settings that were meant.

    Raises:
        ConfigurationError: an option is unknown (the message suggests one that is not), or malformed.
    """
    check_options(options, Options.__annotations__)
    return Settings(secret_key=secret_key, **options)


def check_options(given: Collection[str], known: Collection[str]) -> None:
    """Refuse options that are not known.

    Raises:
        ConfigurationError: the message says where the option belongs, or suggests one that there is.
    """
    for name in given:
        for setting, fields in _ELSEWHERE.items():
            if name not in known and name in fields:
                kind = setting.capitalize()
                raise ConfigurationError(f"unknown option {name}: write {setting}={kind}({name}=...)")
    check_names(given, [*known, "secret_key"])


def pool_of(pool: Pool | str | None) -> Pool:
    """The pool that was meant; without one, nodes inside this process, with a warning.

    Raises:
        ConfigurationError: `pool` is something else, or malformed.
    """
    if pool is None:
        _logger.warning("no pool given: sessions live in this process only and end with it; set pool=Pool(...)")
        pool = "memory://"
    pool = Pool(pool) if isinstance(pool, str) else pool
    _check_kind("pool", pool, Pool, 'Pool("10.0.0.94", "10.0.0.95")')
    return pool


def _check_rotate_on(keys: object) -> None:
    if isinstance(keys, str):
        raise ConfigurationError(f"rotate_on={keys!r}: give a list of keys, for instance [{keys!r}]")
    if not isinstance(keys, Collection) or not all(isinstance(key, str) for key in keys):
        raise ConfigurationError(
            f"rotate_on={keys!r}: give a list of keys, for instance ['user_id'], or an empty one"
        )


def _check_kind(setting: str, value: object, kind: type, example: str) -> None:
    if not isinstance(value, kind):
        raise ConfigurationError(f"{setting} is a {type(value).__name__}: give for instance {setting}={example}")
