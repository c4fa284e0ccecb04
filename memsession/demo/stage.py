"""The whole demo on this machine: memcached servers, two web servers, the proxy before them."""

import asyncio
import secrets
import shutil
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from signal import Signals
from typing import Self

from memsession.demo import programs
from memsession.demo.child import PAUSE_S, START_S_MAX, Child, PortTaken, StartError
from memsession.demo.ear import Ear
from memsession.demo.ports import HOST, ask, free_ports, is_free
from memsession.demo.programs import Programs, find_programs
from memsession.demo.turnstile import PROBE

NODES = "abcdefgh"
WEB_SERVERS = ("web-1", "web-2")
TRIES = 3
_SOCKET_PATH_MAX = 100


class Stage:
    """An async context manager: inside it everything runs, after it nothing does and the folder is gone.

    `nodes` memcached servers named a, b, ...; sessions lie on `copies` of them. `port` is the proxy's, 0 for any.
    `installed`: the programs to use, those that are found unless given. `hint`: how else a server can be stopped, for
    the page to say.
    """

    def __init__(
        self, *, nodes: int = 2, copies: int = 2, port: int = 0, installed: Programs | None = None, hint: str = ""
    ) -> None:
        self.node_names = tuple(NODES[:nodes])
        self.installed = installed or find_programs()
        self.proxy_name = "haproxy" if self.installed.haproxy else "proxy"
        self.folder = Path()
        self.children: dict[str, Child] = {}
        self._copies = copies
        self._port = port
        self._hint = hint
        self._inside = AsyncExitStack()

    @property
    def proxy(self) -> Child:
        return self.children[self.proxy_name]

    @property
    def url(self) -> str:
        """The visit counter."""
        return f"http://{HOST}:{self.proxy.port}/session.php"

    @property
    def page_url(self) -> str:
        """The page that shows the pool."""
        return f"http://{HOST}:{self.proxy.port}/pool"

    @property
    def control(self) -> Path:
        """The socket on which orders are taken, see `ear`."""
        return self.folder / "control"

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as inside:
            self.folder = _new_folder()
            inside.callback(shutil.rmtree, self.folder, ignore_errors=True)
            inside.push_async_callback(self._end_all)
            # The web servers look for the socket when they start.
            ear = await inside.enter_async_context(Ear(self.control, lambda: self.children))
            async with ear.turn:
                await self._start_all()
            self._inside = inside.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._inside.aclose()

    async def start(self, name: str) -> None:
        """Start a server that was ended, on its old port; a memcached comes back empty."""
        await self.children[name].start()

    async def end(self, name: str, how: Signals) -> None:
        """End a server and wait until it is gone."""
        await self.children[name].end(how)

    async def both_serve(self) -> None:
        """Wait until the proxy hands visitors to both web servers.

        Raises:
            StartError: it does not.
        """
        seen: list[str] = []
        try:
            async with asyncio.timeout(START_S_MAX):
                while sorted(seen[-2:]) != sorted(WEB_SERVERS):
                    if not self.proxy.running:
                        raise self.proxy.failure("ended")
                    await asyncio.sleep(PAUSE_S)
                    seen.append(await self._served_by())
        except TimeoutError:
            raise StartError(
                f"{self.proxy.name} does not hand visitors to both web servers ({START_S_MAX:.0f} s)"
            ) from None

    async def _start_all(self) -> None:
        if self._port and not is_free(self._port):
            # HAProxy shares a port with another one of the same user, and each would get half of the visitors.
            raise StartError(f"port {self._port} is in use.\nChoose another port: --port, or none for any free one.")
        for attempts_left in reversed(range(TRIES)):
            self.children = self._cast()
            try:
                for floor in (self.node_names, WEB_SERVERS, (self.proxy_name,)):
                    async with asyncio.TaskGroup() as group:
                        for name in floor:
                            group.create_task(self.children[name].start())
            except ExceptionGroup as failures:
                failure = failures.exceptions[0]
                if self._port and self.proxy.process is not None:
                    raise StartError(f"{failure}\nChoose another port: --port, or none for any free one.") from None
                if not isinstance(failure, PortTaken) or not attempts_left:
                    raise failure from None
                await self._end_all()
            else:
                break
        await self.both_serve()

    def _cast(self) -> dict[str, Child]:
        first, second, front, *ports = free_ports(len(WEB_SERVERS) + 1 + len(self.node_names))
        nodes = dict(zip(self.node_names, ports, strict=True))
        web_ports: dict[str, int] = dict(zip(WEB_SERVERS, (first, second), strict=True))
        secret_file = self.folder / "secret"
        secret_file.write_text(secrets.token_urlsafe(32), encoding="utf-8")
        addresses = ",".join(f"{name}={HOST}:{port}" for name, port in nodes.items())
        settings = {
            "COUNTER_POOL": f"memcached://{addresses}?copies={self._copies}",
            "COUNTER_SECRET_FILE": str(secret_file),
            "COUNTER_CONTROL": str(self.control),
            "COUNTER_HINT": self._hint,
            # Browsers do not tell ports apart: two demos would throw each other's session away.
            "COUNTER_COOKIE": f"session-{self._port or front}",
        }
        installed = self.installed
        return {
            **{
                name: programs.memcached(installed.memcached, name, port, self.folder) for name, port in nodes.items()
            },
            **{name: programs.web_server(name, port, self.folder, settings) for name, port in web_ports.items()},
            self.proxy_name: programs.proxy(installed.haproxy, self._port or front, self.folder, web_ports=web_ports),
        }

    async def _end_all(self) -> None:
        await asyncio.gather(*(child.end() for child in self.children.values()))

    async def _served_by(self) -> str:
        head = await ask(self.proxy.port, PROBE, b"\r\n\r\n")
        for line in head.decode("latin-1").splitlines():
            name, _, value = line.partition(":")
            if name.lower() == "x-served-by":
                return value.strip()
        return ""


def _new_folder() -> Path:
    """Return a new folder for this user only, whose path is short enough for a socket in it."""
    folder = Path(tempfile.mkdtemp(prefix="memsession-"))
    if len(str(folder)) > _SOCKET_PATH_MAX - len("/control"):
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="memsession-", dir="/tmp"))
    return folder
