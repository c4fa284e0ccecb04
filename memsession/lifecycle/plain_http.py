"""Plain http: a session cookie that anybody on the way can read is worth one warning."""

import logging
import re
from collections.abc import Iterable

from memsession.cookies import Cookie

_logger = logging.getLogger("memsession")

_LOOPBACK = re.compile(rb"(?:(?:.+\.)?localhost|127(?:\.\d{1,3}){3}|\[::1\]|testserver)(?::\d*)?", re.IGNORECASE)
"""Hosts that are this machine (RFC 6761, section 6.3; RFC 1122, section 3.2.1.3), and that of test clients."""


class PlainHttp:
    """Warns once when a cookie without Secure leaves over http for a host that is not this machine."""

    def __init__(self, cookie: Cookie) -> None:
        self._silent = cookie.is_secure(https=False)

    def sent(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """A cookie leaves over plain http, in answer to a request with these headers."""
        if self._silent:
            return
        host = next((value for name, value in headers if name == b"host"), b"")
        if not host or _LOOPBACK.fullmatch(host):
            return
        self._silent = True
        _logger.warning(
            "a session cookie without Secure was sent over http to %r: serve https, and behind a proxy that ends TLS "
            "let the server trust its X-Forwarded-Proto (uvicorn: --proxy-headers --forwarded-allow-ips; gunicorn: "
            "--forwarded-allow-ips)",
            host[:100].decode("latin-1"),
        )
