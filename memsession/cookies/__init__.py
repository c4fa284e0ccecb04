"""The cookie that carries the session ID: how it looks, how it is signed, how it is found again.

On https the name gets the prefix `__Host-`, which makes browsers refuse a cookie of that name from a plain-http
page or a neighbouring subdomain (RFC 6265bis, section 4.1.3). The value is the ID, a dot, and a signature of it by
itsdangerous. The signature lets a guessed or foreign ID cost nothing: it is refused before any node is asked.

The Cookie header is everybody's to fill. It is searched as bytes, nothing of it is decoded or parsed as a whole,
and no bytes whatsoever make it raise.
"""

from memsession.cookies.settings import AGE_MAX, Cookie
from memsession.cookies.signer import CookieSigner, Found

__all__ = ["AGE_MAX", "Cookie", "CookieSigner", "Found"]
