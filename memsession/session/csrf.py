"""A token against forged requests from other sites, tied to the session and renewed with its ID.

It is kept in the session, so all web servers know it: under a key of its own for each request that makes one, for
two first pages at once make one each, and both are good. Renewed with the ID, because an attacker who could plant a
session of his own in a browser would otherwise know the token of whoever logs in there. Then it is replaced, not
removed: of two pages that are asked for right after a login and make a token each, all have the same one.
"""

import hmac
import secrets
from collections.abc import Mapping
from typing import Any, Final

CSRF_KEY: Final = "_csrf_token"
"""Where a renewed token is; first ones have something random behind it."""


def token(session: dict[str, Any]) -> str:
    """The session's token, made when there is none."""
    known = _known(session)
    if not known:
        key = f"{CSRF_KEY}.{secrets.token_urlsafe(6)}"
        known = {key: secrets.token_urlsafe(32)}
        session.update(known)
    return known[min(known)]


def is_valid(session: dict[str, Any], given: object) -> bool:
    """Whether `given` is a token of the session. Never raises; a session without a token has no valid one."""
    known = _known(session)
    if not isinstance(given, str):
        return False
    text = given.encode("utf-8", "replace")
    # No stop at the first that fits: which one it was is nobody's business.
    return sum(hmac.compare_digest(one.encode("utf-8", "replace"), text) for one in known.values()) > 0


def is_stale(session: dict[str, Any], before: Mapping[str, Any]) -> bool:
    """Whether the session still has a token of `before`."""
    known = _known(session)
    return any(before.get(key) == one for key, one in known.items())


def renew(session: dict[str, Any]) -> None:
    """From now on another token is the right one, if there was any."""
    known = _known(session)
    for key in known:
        del session[key]
    if known:
        session[CSRF_KEY] = secrets.token_urlsafe(32)


def _known(session: dict[str, Any]) -> dict[str, str]:
    """The session's tokens by their keys."""
    return {key: one for key, one in session.items() if _is_key(key) and isinstance(one, str)}


def _is_key(key: object) -> bool:
    return isinstance(key, str) and (key == CSRF_KEY or key.startswith(f"{CSRF_KEY}."))
