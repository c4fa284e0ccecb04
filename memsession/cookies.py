"""The cookie that carries the session ID: how it looks, how it is signed, how it is found again.

On https the name gets the prefix `__Host-`, which makes browsers refuse a cookie of that name from a plain-http
page or a neighbouring subdomain (RFC 6265bis, section 4.1.3). The value is the ID, a dot, and a signature of it by
itsdangerous. The signature lets a guessed or foreign ID cost nothing: it is refused before any node is asked.

The Cookie header is everybody's to fill. It is searched as bytes, nothing of it is decoded or parsed as a whole,
and no bytes whatsoever make it raise.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from itsdangerous import Signer

from memsession.errors import ConfigurationError
from memsession.identity import ID_LENGTH, SessionId

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_DOMAIN: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*(?:\.[A-Za-z0-9-]+)*)")
_PATH: Final = re.compile(r"/[!-:<-~]*")
_PREFIXED: Final = re.compile(r"__(?:Host-Http|Host|Http|Secure)-", re.IGNORECASE)

_VALUE_LENGTH: Final = ID_LENGTH + 1 + 43
# Letter for letter what issue() writes: itsdangerous alone would also accept other spellings of a signature.
_VALUE: Final = re.compile(rb"[\w-]{42}[AEIMQUYcgkosw048]\.[\w-]{42}[AEIMQUYcgkosw048]")
_ATTRIBUTE_MAX: Final = 1_024
_COOKIE_MAX: Final = 4_096
_AGE_MAX: Final = timedelta(days=400)
_TRIED_MAX: Final = 16
_REMEMBERED: Final = 4_096
_SALT: Final = b"memsession.cookie."
"""The cookie's name follows: a cookie of another application with the same secret is not taken for one of ours."""


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

    Raises:
        ConfigurationError: a setting is malformed, or browsers would silently drop the cookie.
    """

    name: str = "session"
    same_site: Literal["lax", "strict", "none"] = "lax"
    secure: bool | Literal["auto"] = "auto"
    domain: str | None = None
    path: str = "/"
    max_age: timedelta | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.secure, bool) and self.secure != "auto":
            raise ConfigurationError(f'Cookie(secure={self.secure!r}): use "auto", True or False')
        self._check_name()
        self._check_scope()
        if self.same_site not in ("lax", "strict", "none"):
            raise ConfigurationError(f'Cookie(same_site={self.same_site!r}): use "lax", "strict" or "none"')
        if self.same_site == "none" and not self.is_secure(https=False):
            raise ConfigurationError('Cookie(same_site="none"): browsers drop it without Secure; add secure=True')
        if self.max_age is not None and not _is_age(self.max_age):
            raise ConfigurationError(
                f"Cookie(max_age={self.max_age!r}): use a timedelta of a second or more, or None for a cookie that "
                f"ends with the browser"
            )

    def _check_name(self) -> None:
        if not _is_text(self.name, _TOKEN, _COOKIE_MAX):
            raise ConfigurationError(
                f"Cookie(name={self.name!r}): use letters, digits and - _ . only, for instance 'session'"
            )
        if len(self.full_name(https=True)) + _VALUE_LENGTH > _COOKIE_MAX:
            raise ConfigurationError(f"Cookie(name=...) has {len(self.name)} characters: browsers drop such a cookie")
        prefix = _PREFIXED.match(self.name)
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
        if _PREFIXED.match(self.name):
            return True
        return https if self.secure == "auto" else self.secure

    def full_name(self, *, https: bool) -> str:
        """Return the name in the header, with its prefix if there is one."""
        if _PREFIXED.match(self.name) or not self.is_secure(https=https):
            return self.name
        return ("__Host-" if self.domain is None and self.path == "/" else "__Secure-") + self.name

    def attributes(self, *, https: bool) -> str:
        """Return what follows name and value in Set-Cookie, the age excepted."""
        parts = [f"Path={self.path}"]
        if self.domain is not None:
            parts.append(f"Domain={self.domain}")
        if self.is_secure(https=https):
            parts.append("Secure")
        return "; ".join([*parts, "HttpOnly", f"SameSite={self.same_site.capitalize()}"])


def _is_text(value: object, pattern: re.Pattern[str], longest: int) -> bool:
    return isinstance(value, str) and len(value) <= longest and pattern.fullmatch(value) is not None


def _is_age(value: object) -> bool:
    return isinstance(value, timedelta) and value >= timedelta(seconds=1)


class Found(NamedTuple):
    """What a request's Cookie headers hold.

    `id`: the session ID, if there is exactly one that this application signed.
    `bad`: there was a cookie of our name that nobody here signed, whether or not there was a good one too.
    `conflict`: there were two good ones of different sessions. Neither is taken: one of them was planted, and a
    server cannot know which.
    """

    id: SessionId | None = None
    bad: bool = False
    conflict: bool = False


_NOTHING: Final = Found()
_BAD: Final = Found(bad=True)


class CookieSigner:
    """Finds, issues and deletes the session cookie. Safe to share between threads.

    `keys` are the secrets that `secret_keys()` returned: the first signs, all verify.
    """

    def __init__(self, cookie: Cookie, keys: Sequence[bytes]) -> None:
        # itsdangerous signs with the last key of its list.
        self._signer = Signer(
            list(reversed(keys)),
            salt=_SALT + _PREFIXED.sub("", cookie.name).encode(),
            key_derivation="hmac",
            digest_method=hashlib.sha256,
        )
        # Remembers what verified, by raw value. What did not verify raises: a flood of forgeries displaces nothing.
        self._verified = lru_cache(_REMEMBERED)(self._verify)
        age = "" if cookie.max_age is None else f"; Max-Age={int(min(cookie.max_age, _AGE_MAX).total_seconds())}"
        gone = "; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"
        names = {https: cookie.full_name(https=https) for https in (False, True)}
        ends = {https: cookie.attributes(https=https) for https in (False, True)}
        self._starts = {https: f"{names[https]}=".encode() for https in names}
        self._ends = {https: f"{age}; {ends[https]}".encode() for https in names}
        self._deletions = {https: f"{names[https]}={gone}; {ends[https]}".encode() for https in names}

    def find(self, headers: bytes | Sequence[bytes], *, https: bool) -> Found:
        """Look for the session cookie in the raw value of the Cookie header, or of several (HTTP/2 splits them).

        Every cookie of our name is tried, for browsers promise no order among them. Never raises.
        """
        start = self._starts[https]
        if isinstance(headers, bytes):
            values = _values(headers, start)
        else:
            values = [value for header in headers for value in _values(header, start)]
        if not values:
            return _NOTHING
        if len(values) == 1:
            return self._judged(values[0])
        return self._chosen(set(values))

    def issue(self, id: SessionId, *, https: bool) -> bytes:  # noqa: A002
        """Return the value of a Set-Cookie header that gives the visitor `id`."""
        return self._starts[https] + self._signer.sign(id.text) + self._ends[https]

    def delete(self, *, https: bool) -> bytes:
        """Return the value of a Set-Cookie header that takes the cookie away, with the same attributes."""
        return self._deletions[https]

    def _chosen(self, values: set[bytes]) -> Found:
        if sum(len(value) == _VALUE_LENGTH for value in values) > _TRIED_MAX:
            return _BAD
        found = [self._judged(value) for value in values]
        ids = {one.id for one in found if one.id is not None}
        bad = any(one.bad for one in found)
        if len(ids) > 1:
            return Found(None, bad, conflict=True)
        return Found(ids.pop() if ids else None, bad)

    def _judged(self, value: bytes) -> Found:
        if len(value) != _VALUE_LENGTH:
            return _BAD
        try:
            return self._verified(value)
        except ValueError:
            return _BAD

    def _verify(self, value: bytes) -> Found:
        if not _VALUE.fullmatch(value):
            raise ValueError("not a cookie of ours")
        id_text, signature = value[:ID_LENGTH], value[ID_LENGTH + 1 :]
        if not self._signer.verify_signature(id_text, signature):
            raise ValueError("not signed by us")
        return Found(SessionId(id_text.decode("ascii")))


def _values(header: bytes, start: bytes) -> list[bytes]:
    """Return what follows `start`, a name and =, wherever it begins a cookie.

    Each cookie is passed once, so the time grows with the length of the header only.
    """
    values: list[bytes] = []
    begin = 0
    while (at := header.find(start, begin)) >= 0:
        before = header[max(header.rfind(b";", begin, at) + 1, begin) : at]
        end = header.find(b";", at)
        if end < 0:
            end = len(header)
        if not before.strip(b" \t"):
            values.append(header[at + len(start) : end])
        begin = end + 1
    return values
