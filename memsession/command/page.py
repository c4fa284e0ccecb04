"""One page of the application, asked as a new visitor would, and what its session cookie is worth.

Of the answer only the head is read; the cookie's value is never shown. A page that stores something for its visitor
begins a session, which ends by itself.
"""

import re
import ssl
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ipaddress import ip_address
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Final
from urllib.parse import SplitResult, urlsplit

from memsession.command.output import USAGE, CommandError, plain
from memsession.cookies.settings import PREFIXED
from memsession.identity import ID_LENGTH
from memsession.inspection import Finding, Level

TIMEOUT_S: Final = 5.0
PATIENCE_S: Final = 10.0
"""For everything: a name to resolve, a connection, a head that comes in small pieces."""

CHECK: Final = "cookie"

_SIGNED: Final = re.compile(rf"[A-Za-z0-9_-]{{{ID_LENGTH}}}\.[A-Za-z0-9_-]{{43}}")
"""How the value of memsession's cookie looks, whatever its name."""

_SHOWN_MAX: Final = 60


@dataclass(frozen=True, slots=True)
class Page:
    """The head of an answer. `cookies`: what each Set-Cookie says; `headers`: the others, by small names."""

    host: str
    https: bool
    cookies: tuple[str, ...]
    headers: dict[str, str]
    status: int = 200


def page_of(url: str) -> SplitResult:
    """The parts of a page's URL.

    Raises:
        CommandError: it is none, or holds a password; exit code 2.
    """
    try:
        parts = urlsplit(url)
        port_is_right = parts.port is None or parts.port > 0
    except ValueError:
        port_is_right = False
        parts = urlsplit("")
    if not port_is_right or parts.scheme not in ("http", "https") or not parts.hostname:
        raise CommandError("--url: give a page of the application, for instance https://shop.example/", USAGE)
    if "@" in parts.netloc:
        raise CommandError("--url: a user name and password are not taken; name a page that everybody sees", USAGE)
    return parts


def of_page(parts: SplitResult, cookie_name: str) -> list[Finding]:
    """Ask a page, and judge the session cookie that it sets. Takes ten seconds at most."""
    answers: SimpleQueue[Page | Exception] = SimpleQueue()
    Thread(target=lambda: answers.put(_asked(parts)), name="memsession-page", daemon=True).start()
    try:
        answer = answers.get(timeout=PATIENCE_S)
    except Empty:
        answer = TimeoutError(f"no answer within {PATIENCE_S:.0f} s")
    if isinstance(answer, Exception):
        what = f"the page cannot be asked: {plain(str(answer) or type(answer).__name__)[:200]}"
        cure = "Does the web server run, are address and certificate right?"
        return [_found(Level.ERROR, what, cure)]
    return judged(answer, cookie_name)


def judged(page: Page, cookie_name: str) -> list[Finding]:
    """What is wrong with the session cookie that a page sets, and with the headers beside it."""
    mine = [cookie for cookie in page.cookies if _is_session(cookie, cookie_name)]
    if not mine:
        how = "" if 200 <= page.status < 300 else f" (it answers {page.status})"
        what = f"not checked: the page sets no session cookie{how}"
        cure = "Name a page that stores something in the session, and the cookie by --cookie-name."
        return [_found(Level.NOTE, what, cure)]
    found = [finding for cookie in mine for finding in (*_of_secure(page, cookie), *_of_attributes(cookie))]
    if len(mine) > 1:
        what = f"the page sets {len(mine)} session cookies: two middlewares, or two applications with one name"
        found.append(_found(Level.WARNING, what, "Keep one, or give them different names."))
    return [*found, *_of_headers(page)]


def _of_secure(page: Page, cookie: str) -> list[Finding]:
    """Whether the cookie stays on https."""
    name, attributes = _read(cookie)
    if not page.https:
        if _is_here(page.host):
            return []
        what = "the page is served over plain http: whoever listens on the way takes the session over"
        return [_found(Level.ERROR, what, "Serve it over https, and redirect there.")]
    if "secure" not in attributes:
        what = f"{name} has no Secure: browsers send it over plain http as well"
        cure = "Tell the web server to believe its proxy that visitors come by https, or set Cookie(secure=True)."
        return [_found(Level.ERROR, what, cure)]
    if not PREFIXED.match(name):
        what = f"{name} has no prefix: other hosts of the domain, and plain-http pages, can plant one"
        return [_found(Level.WARNING, what, 'Leave Cookie(secure=...) at "auto" or True: then it is __Host-...')]
    return []


def _of_attributes(cookie: str) -> list[Finding]:
    name, attributes = _read(cookie)
    found = []
    if "httponly" not in attributes:
        found.append(_found(Level.ERROR, f"{name} has no HttpOnly: scripts can read it", "See who rewrites cookies."))
    match attributes.get("samesite", "").lower():
        case "lax" | "strict":
            pass
        case "none":
            what = f"{name} has SameSite=None: requests that other sites cause carry it"
            found.append(
                _found(Level.WARNING, what, "Use Cookie(same_site=...) lax or strict, or check csrf_token().")
            )
        case _:
            found.append(_found(Level.WARNING, f"{name} has no SameSite", "See who rewrites cookies."))
    if "domain" in attributes:
        what = f"{name} has a Domain: every host of it gets the cookie, and can set it"
        found.append(_found(Level.NOTE, what, "Leave Cookie(domain=...) out if one host is enough."))
    return found


def _of_headers(page: Page) -> list[Finding]:
    vary = {word.strip().lower() for word in page.headers.get("vary", "").split(",")}
    caching = page.headers.get("cache-control", "").lower()
    found = []
    if not vary & {"cookie", "*"} or not re.search(r"\b(no-store|private)\b", caching):
        what = "a page with a session comes without Vary: Cookie or without Cache-Control: no-store"
        cure = "memsession sends both: see which proxy takes them away, for caches may hand on a visitor's page."
        found.append(_found(Level.WARNING, what, cure))
    if page.https and "strict-transport-security" not in page.headers:
        what = "no Strict-Transport-Security: a visitor's first request may go over plain http"
        found.append(_found(Level.NOTE, what, "Send it from the proxy when all of the site is on https."))
    return found


def _asked(parts: SplitResult) -> Page | Exception:
    host, https = parts.hostname or "", parts.scheme == "https"
    connection = (
        HTTPSConnection(host, parts.port, timeout=TIMEOUT_S, context=ssl.create_default_context())
        if https
        else HTTPConnection(host, parts.port, timeout=TIMEOUT_S)
    )
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("GET", target, headers={"User-Agent": "memsession check", "Connection": "close"})
        answer = connection.getresponse()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return Page(host, https, tuple(answer.headers.get_all("Set-Cookie", [])), headers, answer.status)
    except (OSError, HTTPException, ValueError) as problem:
        return problem
    finally:
        connection.close()


def _is_session(cookie: str, cookie_name: str) -> bool:
    name, _, value = cookie.partition(";")[0].strip().partition("=")
    return PREFIXED.sub("", name, count=1) == PREFIXED.sub("", cookie_name, count=1) or bool(_SIGNED.fullmatch(value))


def _read(cookie: str) -> tuple[str, dict[str, str]]:
    """Name and attributes of a Set-Cookie."""
    pair, *rest = cookie.split(";")
    attributes = (part.strip().partition("=") for part in rest)
    return plain(pair.partition("=")[0])[:_SHOWN_MAX], {key.lower(): value for key, _, value in attributes}


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _found(level: Level, what: str, cure: str) -> Finding:
    return Finding(level=level, check=CHECK, what=what, cure=cure)
