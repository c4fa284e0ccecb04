"""The session cookie on the wire: issued, deleted, and found among whatever else a Cookie header holds."""

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from itsdangerous import Signer

from memsession.cookies.settings import AGE_MAX, PREFIXED, VALUE_LENGTH, Cookie
from memsession.identity import ID_LENGTH, SessionId

# Letter for letter what issue() writes: itsdangerous alone would also accept other spellings of a signature.
_VALUE: Final = re.compile(rb"[\w-]{42}[AEIMQUYcgkosw048]\.[\w-]{42}[AEIMQUYcgkosw048]")
_TRIED_MAX: Final = 16
_REMEMBERED: Final = 4_096
_SALT: Final = b"memsession.cookie."
"""The cookie's name follows: a cookie of another application with the same secret is not taken for one of ours."""
_AGE_MAX_S: Final = int(AGE_MAX.total_seconds())


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
            salt=_SALT + PREFIXED.sub("", cookie.name).encode(),
            key_derivation="hmac",
            digest_method=hashlib.sha256,
        )
        # Remembers what verified, by raw value. What did not verify raises: a flood of forgeries displaces nothing.
        self._verified = lru_cache(_REMEMBERED)(self._verify)
        age = "" if cookie.max_age is None else f"; Max-Age={int(min(cookie.max_age, AGE_MAX).total_seconds())}"
        gone = "; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"
        names = {https: cookie.full_name(https=https) for https in (False, True)}
        ends = {https: cookie.attributes(https=https) for https in (False, True)}
        self._starts = {https: f"{names[https]}=".encode() for https in names}
        self._age = age.encode()
        self._ends = {https: f"; {ends[https]}".encode() for https in names}
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

    def issue(self, id: SessionId, *, https: bool, max_age_s: int | None = None) -> bytes:  # noqa: A002
        """Return the value of a Set-Cookie header that gives the visitor `id`.

        `max_age_s`: an age of this cookie's own, in seconds, instead of the settings'; at most 400 days are sent.

        Raises:
            ValueError: `max_age_s` is below 1: browsers would take the cookie away. `delete` does that.
        """
        age = self._age
        if max_age_s is not None:
            if max_age_s < 1:
                raise ValueError(f"max_age_s={max_age_s}: a cookie lives a second at least; delete() takes it away")
            age = b"; Max-Age=%d" % min(max_age_s, _AGE_MAX_S)
        return self._starts[https] + self._signer.sign(id.text) + age + self._ends[https]

    def delete(self, *, https: bool) -> bytes:
        """Return the value of a Set-Cookie header that takes the cookie away, with the same attributes."""
        return self._deletions[https]

    def _chosen(self, values: set[bytes]) -> Found:
        if sum(len(value) == VALUE_LENGTH for value in values) > _TRIED_MAX:
            return _BAD
        found = [self._judged(value) for value in values]
        ids = {one.id for one in found if one.id is not None}
        bad = any(one.bad for one in found)
        if len(ids) > 1:
            return Found(None, bad, conflict=True)
        return Found(ids.pop() if ids else None, bad)

    def _judged(self, value: bytes) -> Found:
        if len(value) != VALUE_LENGTH:
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
