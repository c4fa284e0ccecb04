"""The page's buttons: who may press them, and how a press reaches the demo that started this web server.

There are buttons only where that demo said on which socket it listens. A press is a POST that must come from the page
itself, in a browser on this machine; everything else is refused before anything is done:

    Host             names this machine: a foreign name that leads here (DNS rebinding) does not
    Origin           is that host; browsers send it with every POST. Sec-Fetch-Site, where sent, must say the same
    Content-Type     is JSON, which no form of another site can send
    a token          made from the session's ID and the secret key, which only the page can read

The token is not `session.csrf_token()`, which is kept in the session: the buttons that start memcached again must
work after those that stopped them all.
"""

import asyncio
import hmac
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

from starlette.requests import Request

from memsession.identity import SessionId
from memsession.secret import derive

ASK_S_MAX: Final = 1.0
TELL_S_MAX: Final = 40.0
"""A server that is started is waited for."""
FRESH_S: Final = 0.5
TEXT_MAX: Final = 200

VERBS: Final = {
    "memcached": ("start", "stop", "kill", "hang", "continue", "empty"),
    "web": ("start", "stop", "kill", "hang", "continue"),
}
"""What can be done, by the kind of a server. Without the proxy nobody would reach the page."""

_HERE: Final = {"127.0.0.1", "::1", "localhost"}
_ENDINGS: Final = {"stop", "kill", "hang"}
_PURPOSE: Final = b"memsession.demo.control:"


class Refused(Exception):
    """A press that is not obeyed: the status to answer with, and a sentence for people."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Press:
    """A button: what is to happen to whom, and the token that proves where it comes from."""

    verb: str
    name: str
    token: str

    @classmethod
    def read(cls, content: Any) -> Self:
        """Make it of the JSON that was sent.

        Raises:
            Refused: it is something else.
        """
        match content:
            case {"verb": str(verb), "name": str(name), "token": str(token)}:
                return cls(verb=verb, name=name, token=token)
        raise Refused(400, "A button says a verb, a name and a token.")


def is_on_this_machine(request: Request) -> bool:
    """Whether the browser reached us under a name that is this machine's in any case."""
    try:
        return urlsplit(f"//{request.headers.get('host', '')}").hostname in _HERE
    except ValueError:
        return False


def check_sender(request: Request) -> None:
    """Whether it was this page that sent the request, as browsers tell it.

    Raises:
        Refused: it was another one, or it cannot be known.
    """
    headers = request.headers
    if not is_on_this_machine(request):
        raise Refused(403, "The buttons work on the machine only that the demo runs on.")
    if headers.get("origin", "") not in {f"http://{headers['host']}", f"https://{headers['host']}"}:
        raise Refused(403, "That came from another page.")
    if headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise Refused(403, "That came from another page.")
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refused(415, "A button sends JSON.")


class Door:
    """The way to the demo: `socket` is where it listens, `secret` makes the tokens."""

    def __init__(self, socket: Path, secret: bytes) -> None:
        self._socket = socket
        self._secret = secret
        self._servers: list[dict[str, str]] = []
        self._asked_at = float("-inf")

    def token(self, id: SessionId) -> str:  # noqa: A002
        """What the page has to send with each press, for a visitor with this session."""
        return derive(self._secret, _PURPOSE + id.text.encode()).hex()

    def check_token(self, id: SessionId | None, press: Press) -> None:  # noqa: A002
        """Whether the page of this visitor sent the press.

        Raises:
            Refused: it did not.
        """
        if id is None:
            raise Refused(403, "The buttons work after your first visit has been counted.")
        if not hmac.compare_digest(self.token(id).encode(), press.token.encode("utf-8", "replace")):
            raise Refused(403, "Your session has changed: reload the page.")

    async def check(self, press: Press, *, asked: str) -> None:
        """Whether the press makes sense. `asked` is the web server that was asked.

        Raises:
            Refused: it does not, or would leave nobody to press the next button.
        """
        servers = {server["name"]: server for server in await self.servers()}
        kind = servers[press.name]["kind"] if press.name in servers else ""
        if press.verb not in VERBS.get(kind, ()):
            raise Refused(400, "There is no such button.")
        # The one that was asked runs, whatever the list says.
        running = {name for name, server in servers.items() if (server["kind"], server["state"]) == ("web", "runs")}
        if kind == "web" and press.verb in _ENDINGS and not (running | {asked}) - {press.name}:
            raise Refused(409, f"{press.name} is the last web server that runs: without it nobody could start one.")

    async def servers(self) -> list[dict[str, str]]:
        """The demo's servers: name, kind, address, state. The last known ones while the demo is busy."""
        if time.monotonic() - self._asked_at > FRESH_S:
            self._asked_at = time.monotonic()
            try:
                first, _, rest = (await self._ask("servers", ASK_S_MAX)).partition("\n")
                if first.startswith("ok"):
                    self._servers = [_server(entry) for entry in json.loads(rest)]
            except (OSError, ValueError, KeyError, TypeError):
                pass
        return self._servers

    async def tell(self, press: Press) -> str:
        """Let the demo do it, and return what it says. If it is our own end, it says so before it does it.

        Raises:
            Refused: it did not.
        """
        try:
            answer = await self._ask(f"{press.verb} {press.name}", TELL_S_MAX)
        except OSError:
            raise Refused(503, "The demo does not answer.") from None
        finally:
            self._asked_at = float("-inf")
        status, _, text = (answer.splitlines() or ["error: the demo has ended"])[0].partition(":")
        if status != "ok":
            raise Refused(409, f"The demo refused: {text.strip()[:TEXT_MAX] or 'it did not say why'}.")
        return text.strip()[:TEXT_MAX]

    async def _ask(self, words: str, patience_s: float) -> str:
        async with asyncio.timeout(patience_s):
            reader, writer = await asyncio.open_unix_connection(self._socket)
            try:
                writer.write(f"{words}\n".encode())
                await writer.drain()
                return (await reader.read()).decode("utf-8", "replace")
            finally:
                writer.close()


def _server(entry: Any) -> dict[str, str]:
    return {key: str(entry[key]) for key in ("name", "kind", "address", "state")}
