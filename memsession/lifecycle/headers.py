"""What a response has to tell caches when it depends on a session or carries its cookie; and the words of an outage.

`Vary: Cookie` keeps a shared cache from giving one visitor's page to another; `Cache-Control: no-store` keeps it
from storing a Set-Cookie (OWASP Session Management Cheat Sheet, "Web Content Caching"). Headers are added, never
taken away or weakened.
"""

from collections.abc import Iterable
from typing import Final, TypeAlias

Headers: TypeAlias = list[tuple[bytes, bytes]]

UNAVAILABLE_HEADERS: Final = (
    (b"content-type", b"text/plain; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"retry-after", b"1"),
)
UNAVAILABLE_BODY: Final = b"The session store is unavailable. Please try again in a moment.\n"
"""What a visitor reads with status 503, when no node of the session answers. No cookie is touched."""


def headers_to_add(headers: Iterable[tuple[bytes, bytes]], *, cookie: bytes | None) -> Headers:
    """What a response with these headers needs beside them when it depends on the session, or sets its cookie."""
    there = list(headers)
    added: Headers = []
    if not _has(there, b"vary", b"cookie", b"*"):
        added.append((b"vary", b"Cookie"))
    if cookie is not None:
        added.append((b"set-cookie", cookie))
        if not _has(there, b"cache-control", b"no-store"):
            added.append((b"cache-control", b"no-store"))
    return added


def _has(headers: Headers, name: bytes, *words: bytes) -> bool:
    """Whether one of the comma-separated `words` stands in a header of that name."""
    for key, value in headers:
        if key.lower() == name and any(part.strip().lower() in words for part in value.split(b",")):
            return True
    return False
