"""The session ID, a secret that only the visitor's cookie holds, and the public names made from it.

A session is known by three names. The *ID* opens it, so it stays in the cookie and in memory. The *storage key*
is a hash of the ID: memcached lists its keys to whoever asks, and whoever reads one cannot get back to the ID.
The *fingerprint* is the storage key without its prefix: `session.id`, in lists and tools; logs show the first
12 characters of it.

The hash needs no secret: an ID has 256 random bits, so there is nothing to guess, and secrets can change without
moving any session.
"""

import re
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import blake2b, sha256
from typing import Final

from memsession.secret import derive

ID_LENGTH: Final = 43
"""Characters of an ID: 256 bits in base64url (RFC 4648, section 5) without padding."""

# The last of 43 characters carries 4 bits; the other 2 are zero in the one spelling that encoders write. Any
# other spelling is refused, so that a session has exactly one ID.
_ID: Final = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")

_STORAGE_PURPOSE: Final = b"memsession.storage-key:"
_MARK_PURPOSE: Final = b"memsession.mark"
_SHORT_LENGTH: Final = 12


@dataclass(frozen=True, slots=True)
class SessionId:
    """256 random bits in 43 base64url characters. Shown nowhere: `repr()` and `str()` hide it.

    OWASP's Session Management Cheat Sheet asks for 64 bits of entropy at least, ASVS 5.0 (7.2.3) for 128.

    Raises:
        ValueError: `text` is not an ID as `new()` makes it.
    """

    text: str = field(repr=False)

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.text):
            raise ValueError("a session ID is 43 base64url characters; use SessionId.new() or SessionId.parse()")

    @classmethod
    def new(cls) -> "SessionId":
        """Draw an ID from the operating system's secure random source."""
        return cls(secrets.token_urlsafe(32))

    @classmethod
    def parse(cls, text: str) -> "SessionId | None":
        """Return the ID that `text` spells, or None. There is one spelling for each ID."""
        return cls(text) if _ID.fullmatch(text) else None

    def __repr__(self) -> str:
        return "SessionId(hidden)"


def storage_key(id: SessionId, prefix: str) -> bytes:  # noqa: A002
    """Return the key under which memcached holds the session: `prefix`, a colon, and a hash of the ID."""
    digest = sha256(_STORAGE_PURPOSE + id.text.encode()).digest()
    return b"%b:%b" % (prefix.encode(), urlsafe_b64encode(digest)[:ID_LENGTH])


def fingerprint(key: bytes) -> str:
    """Return the public name of the session stored under `key`: what `session.id` shows."""
    return key.rpartition(b":")[2].decode("ascii", "backslashreplace")


def short(key: bytes) -> str:
    """Return the first 12 characters of the fingerprint, for logs."""
    return fingerprint(key)[:_SHORT_LENGTH]


def mark(secret: bytes, id: SessionId) -> str:  # noqa: A002
    """Return 16 hex digits that tell the ID apart from others, and tell nothing about it without `secret`.

    The tombstone of a regenerated session carries the mark of its successor: of two requests that regenerate
    at once, both see the greater mark, and so agree which of them was first.
    """
    return blake2b(id.text.encode(), digest_size=8, key=derive(secret, _MARK_PURPOSE)).hexdigest()
