"""How the session cookie is set: name, prefix and attributes, refused at start where browsers would drop it."""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

from memsession.errors import ConfigurationError
from memsession.identity import ID_LENGTH
from memsession.spelling import spelled

PREFIXED: Final = re.compile(r"__(?:Host-Http|Host|Http|Secure)-", re.IGNORECASE)
"""The names that browsers treat specially (RFC 6265bis and its successor), in any case."""

VALUE_LENGTH: Final = ID_LENGTH + 1 + 43
"""Characters of a cookie's value: the ID, a dot, the signature."""

AGE_MAX: Final = timedelta(days=400)
"""Browsers cut a longer age (RFC 6265bis, section 5.5)."""

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_DOMAIN: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*(?:\.[A-Za-z0-9-]+)*)")
_PATH: Final = re.compile(r"/[!-:<-~]*")
_ATTRIBUTE_MAX: Final = 1_024
_COOKIE_MAX: Final = 4_096


@spelled
@dataclass(frozen=True, kw_only=True)
class Cookie:
    """How the session cookie is set. HttpOnly always; the rest follows RFC 6265bis and OWASP ASVS 5.0, V3.3.

    `name`: a generic word says least about the server. A prefix is added to it where browsers honour it, see
    `secure`; a name that has a prefix already is used as it is.
    `same_site`: "lax", "strict" or "none"; "none" needs `secure=True`.
    `secure`: "auto": on https Secure and a prefixed name, on http neither. True: both always. False: never.
    `domain`: shares the cookie with all subdomains, so the prefix becomes `__Secure-`, which protects less.
    `path`: any other than "/" has the same effect on the prefix.
    `max_age`: keeps the cookie when the browser is closed; at most 400 days are sent, browsers cut there. It never
    decides whether a session is still good, `Lifetime` does.
    `partitioned`: a cookie jar of its own under each site that embeds the application (CHIPS), for use in frames of
    other sites together with `same_site="none"`; needs `secure=True`.
    `priority`: "low", "medium" or "high": which cookies of a site Chromium keeps when they are too many.

    Raises:
        ConfigurationError: a setting is malformed, or browsers would silently drop the cookie.
    """

    name: str = "session"
    same_site: Literal["lax", "strict", "none"] = "lax"
    secure: bool | Literal["auto"] = "auto"
    domain: str | None = None
    path: str = "/"
    max_age: timedelta | None = None
    partitioned: bool = False
    priority: Literal["low", "medium", "high"] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.secure, bool) and self.secure != "auto":
            raise ConfigurationError(f'Cookie(secure={self.secure!r}): use "auto", True or False')
        self._check_name()
        self._check_scope()
        if self.same_site not in ("lax", "strict", "none"):
            raise ConfigurationError(f'Cookie(same_site={self.same_site!r}): use "lax", "strict" or "none"')
        if not isinstance(self.partitioned, bool):
            raise ConfigurationError(f"Cookie(partitioned={self.partitioned!r}): use True or False")
        self._check_always_secure()
        if self.priority not in (None, "low", "medium", "high"):
            raise ConfigurationError(f'Cookie(priority={self.priority!r}): use "low", "medium", "high" or None')
        if self.max_age is not None and not _is_age(self.max_age):
            raise ConfigurationError(
                f"Cookie(max_age={self.max_age!r}): use a timedelta of a second or more, or None for a cookie that "
                f"ends with the browser"
            )

    def _check_always_secure(self) -> None:
        asked = [
            *(['same_site="none"'] if self.same_site == "none" else []),
            *(["partitioned=True"] if self.partitioned else []),
        ]
        if asked and not self.is_secure(https=False):
            raise ConfigurationError(f"Cookie({asked[0]}): browsers drop it without Secure; add secure=True")

    def _check_name(self) -> None:
        if not _is_text(self.name, _TOKEN, _COOKIE_MAX):
            raise ConfigurationError(
                f"Cookie(name={self.name!r}): use letters, digits and - _ . only, for instance 'session'"
            )
        if len(self.full_name(https=True)) + VALUE_LENGTH > _COOKIE_MAX:
            raise ConfigurationError(f"Cookie(name=...) has {len(self.name)} characters: browsers drop such a cookie")
        prefix = PREFIXED.match(self.name)
        if prefix is None:
            return
        if prefix[0] not in ("__Host-", "__Secure-", "__Http-", "__Host-Http-"):
            raise ConfigurationError(f"Cookie(name={self.name!r}): write the prefix as __Host- or __Secure-")
        if self.secure is False:
            raise ConfigurationError(
                f"Cookie(name={self.name!r}, secure=False): browsers drop it without Secure; take the prefix away"
            )
        if "Host" in prefix[0] and (self.domain is not None or self.path != "/"):
            raise ConfigurationError(
                f"Cookie(name={self.name!r}): {prefix[0]} allows no domain and no path but /; name it __Secure-..."
            )

    def _check_scope(self) -> None:
        if self.domain is not None and not _is_text(self.domain, _DOMAIN, _ATTRIBUTE_MAX):
            raise ConfigurationError(
                f"Cookie(domain={self.domain!r}): give a bare host name without leading dot or port: 'example.com'"
            )
        if not _is_text(self.path, _PATH, _ATTRIBUTE_MAX):
            raise ConfigurationError(f"Cookie(path={self.path!r}): begin with / and leave out spaces and semicolons")

    def is_secure(self, *, https: bool) -> bool:
        """Whether the cookie is marked Secure."""
        if PREFIXED.match(self.name):
            return True
        return https if self.secure == "auto" else self.secure

    def full_name(self, *, https: bool) -> str:
        """Return the name in the header, with its prefix if there is one."""
        if PREFIXED.match(self.name) or not self.is_secure(https=https):
            return self.name
        return ("__Host-" if self.domain is None and self.path == "/" else "__Secure-") + self.name

    def attributes(self, *, https: bool) -> str:
        """Return what follows name and value in Set-Cookie, the age excepted."""
        parts = [f"Path={self.path}"]
        if self.domain is not None:
            parts.append(f"Domain={self.domain}")
        if self.is_secure(https=https):
            parts.append("Secure")
        parts += ["HttpOnly", f"SameSite={self.same_site.capitalize()}"]
        if self.partitioned:
            parts.append("Partitioned")
        if self.priority is not None:
            parts.append(f"Priority={self.priority.capitalize()}")
        return "; ".join(parts)


def _is_text(value: object, pattern: re.Pattern[str], longest: int) -> bool:
    return isinstance(value, str) and len(value) <= longest and pattern.fullmatch(value) is not None


def _is_age(value: object) -> bool:
    return isinstance(value, timedelta) and value >= timedelta(seconds=1)
