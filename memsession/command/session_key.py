"""Which session is meant: from what people write to its storage key.

A session is named by its public ID (`session.id`), which opens nothing; the first characters of it are enough, as
logs show them. The cookie does open it: so it is read from standard input only, without an echo, and never shown.
"""

import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Final

import typer

from memsession.addresses import Node
from memsession.blocking.listing import keys as listed_keys
from memsession.command.output import SILENT, USAGE, WRONG, CommandError
from memsession.command.silence import why_silent
from memsession.cookies import Cookie, CookieSigner
from memsession.cookies.settings import PREFIXED, VALUE_LENGTH
from memsession.errors import ConfigurationError
from memsession.identity import ID_LENGTH, storage_key
from memsession.pool import Pool
from memsession.wire import ProtocolError
from memsession.wire.listing import ListingRefused

SHORTEST: Final = 12
"""Characters of a public ID, as logs show them: 72 bits, so there is hardly ever a second session."""

MATCHES_MAX: Final = 4
SEARCH_S: Final = 60.0
"""For all that a node lists: about a million keys take a second."""

SILENCE_S: Final = 5.0
THREADS_MAX: Final = 32
LINE_BYTES_MAX: Final = 16_384

_PUBLIC: Final = re.compile(r"[A-Za-z0-9_-]+")

SessionArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        show_default=False,
        help="The session.id, or its first 12 characters. - reads a cookie from standard input. "
        "Before an ID that begins with -h write --.",
    ),
]
CookieNameOption = Annotated[
    str, typer.Option("--cookie-name", metavar="NAME", help="Cookie(name=...) of the application, for ID = -.")
]


def key_of(text: str, pool: Pool, *, secrets: tuple[bytes, ...], cookie_name: str = "session") -> bytes:
    """The storage key of the session that `text` names, or that the cookie on standard input does if it is `-`.

    Raises:
        CommandError: it is no ID, nobody has a session of that name, or several begin so.
    """
    if text == "-":
        return _of_cookie(_line(), pool, secrets, cookie_name)
    name = text.removeprefix(f"{pool.prefix}:")
    if len(text) >= VALUE_LENGTH and re.search(r"[\w-]{43}\.[\w-]{43}", text):
        raise CommandError(
            "this is a cookie, which opens the session, and others may have seen it now: end the session. Give "
            "cookies on standard input, with - in place of the ID",
            USAGE,
        )
    if not _PUBLIC.fullmatch(name) or len(name) > ID_LENGTH:
        raise CommandError(
            "this is no session ID: give the session.id that the application or its log shows, 43 letters, digits, "
            "- and _, or the first 12 of them at least",
            USAGE,
        )
    if len(name) < SHORTEST:
        raise CommandError(f"so few characters may be of many sessions: give {SHORTEST} at least", USAGE)
    key = f"{pool.prefix}:{name}".encode()
    return key if len(name) == ID_LENGTH else _searched(key, pool)


def _searched(start: bytes, pool: Pool) -> bytes:
    """The only key that begins so, among all that all nodes list."""
    give_up = time.monotonic() + SEARCH_S
    with ThreadPoolExecutor(min(THREADS_MAX, len(pool.all_nodes)), thread_name_prefix="memsession-search") as threads:
        answers = list(threads.map(lambda node: _listed(node, start, pool.prefix, give_up), pool.all_nodes))
    found = sorted(set().union(*(answer for answer in answers if isinstance(answer, set))))
    if len(found) == 1:
        return found[0]
    begin = start.rpartition(b":")[2].decode()
    if found:
        raise CommandError(f"several sessions begin with {begin}: give more characters of the ID", USAGE)
    names = [node.name for node in pool.all_nodes]
    refused = {name: answer for name, answer in zip(names, answers, strict=True) if isinstance(answer, str)}
    reasons = why_silent(pool, refused, refused)
    if len(refused) == len(names):
        raise CommandError("no node lists its sessions: " + "; ".join(reasons.values()), SILENT)
    unasked = f"; but not all nodes could be asked: {'; '.join(reasons.values())}" if refused else ""
    raise CommandError(
        f"no session begins with {begin}: it is over, or has another prefix (--prefix){unasked}", WRONG
    )


def _listed(node: Node, start: bytes, prefix: str, give_up: float) -> set[bytes] | str:
    """The keys of a node that begin so, a few at most; or why it did not tell them all."""
    found: set[bytes] = set()
    try:
        for batch in listed_keys(node, timeout_s=SILENCE_S, prefix=prefix):
            found.update(key for key in batch if key.startswith(start))
            if len(found) >= MATCHES_MAX:
                break
            if time.monotonic() >= give_up:
                return f"it has not listed all its keys within {SEARCH_S:g} s"
    except (OSError, ProtocolError, ListingRefused) as problem:
        return str(problem)
    return found


def _of_cookie(line: bytes, pool: Pool, secrets: tuple[bytes, ...], name: str) -> bytes:
    """The key of the session that a cookie opens: its value, or a whole Cookie header."""
    try:
        cookie = Cookie(name=name)
    except ConfigurationError as problem:
        raise CommandError(f"--cookie-name: {problem}", USAGE) from None
    header = re.sub(rb"(?i)^cookie:\s*", b"", line.strip())
    signer = CookieSigner(cookie, secrets)
    for https in (True, False):
        for start in (b"", f"{cookie.full_name(https=https)}=".encode()):
            found = signer.find(start + header, https=https)
            if found.conflict:
                raise CommandError("these are cookies of several sessions: give one of them", USAGE)
            if found.id is not None:
                return storage_key(found.id, pool.prefix)
    raise CommandError(
        f"no cookie that was signed with this secret and is named {PREFIXED.sub('', name)}: is the secret the "
        "application's, and --cookie-name its Cookie(name=...)?",
        USAGE,
    )


def _line() -> bytes:
    """One line of standard input; from a terminal without an echo."""
    if sys.stdin.isatty():
        return str(typer.prompt("Cookie (it is not shown)", hide_input=True)).encode("utf-8", "surrogateescape")
    line = sys.stdin.buffer.readline(LINE_BYTES_MAX + 1)
    if len(line) > LINE_BYTES_MAX:
        raise CommandError("standard input is too long for a cookie: give its value, in one line", USAGE)
    return line
