"""The whole demo on this machine: memcached servers, two web servers, the proxy before them."""

import asyncio
import secrets
import shutil
import tempfile
from pathlib import Path
from signal import Signals
from typing import Self

from example_app.demo import programs
from example_app.demo.child import PAUSE_S, START_S_MAX, Child, PortTaken, StartError
from example_app.demo.ports import ask, free_ports

NODES = "abcdefgh"
WEB_SERVERS = ("web-1", "web-2")
PROXY = "haproxy"
TRIES = 3
_SOCKET_PATH_MAX = 100


class Stage:
    """An async context manager: inside it everything runs, after it nothing does and the folder is gone.

    `nodes` memcached servers named a, b, ...; sessions lie on `copies` of them. `port` is the proxy's, 0 for any.
    """

    def __init__(self, *, nodes: int = 2, copies: int = 2, port: int = 0) -> None:
        self.node_names = tuple(NODES[:nodes])
        self._copies = copies
        self._port = port
        self.folder = Path()
        self.children: dict[str, Child] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.children[PROXY].port}/session.php"

    async def __aenter__(self) -> Self:
        self.folder = _new_folder()
        try:
            await self._start_all()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end_all()
        shutil.rmtree(self.folder, ignore_errors=True)

    async def start(self, name: str) -> None:
        """Start a server that was ended, on its old port; a memcached comes back empty."""
        child = self.children[name]
        if child.running:
            raise StartError(f"{child.name} runs already, as process {child.pid}")
        await child.start()

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
                    if not self.children[PROXY].running:
                        raise self.children[PROXY].failure("ended")
                    await asyncio.sleep(PAUSE_S)
                    seen.append(await self._served_by())
        except TimeoutError:
            raise StartError(f"haproxy does not hand visitors to both web servers ({START_S_MAX:.0f} s)") from None

    async def _start_all(self) -> None:
        for attempts_left in reversed(range(TRIES)):
            self.children = self._cast()
            try:
                for floor in (self.node_names, WEB_SERVERS, (PROXY,)):
                    async with asyncio.TaskGroup() as group:
                        for name in floor:
                            group.create_task(self.children[name].start())
            except ExceptionGroup as failures:
                failure = failures.exceptions[0]
                if self._port and self.children[PROXY].process is not None:
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
        secret_file = self.folder / "secret"
        secret_file.write_text(secrets.token_urlsafe(32), encoding="utf-8")
        addresses = ",".join(f"{name}=127.0.0.1:{port}" for name, port in nodes.items())
        pool = f"memcached://{addresses}?copies={self._copies}"
        web_ports = (first, second)
        return {
            **{name: programs.memcached(name, port, self.folder) for name, port in nodes.items()},
            **{
                name: programs.web_server(name, port, self.folder, pool=pool, secret_file=secret_file)
                for name, port in zip(WEB_SERVERS, web_ports, strict=True)
            },
            PROXY: programs.proxy(self._port or front, self.folder, web_ports=web_ports),
        }

    async def _end_all(self) -> None:
        await asyncio.gather(*(child.end() for child in self.children.values()))

    async def _served_by(self) -> str:
        head = await ask(self.children[PROXY].port, programs.PROBE, b"\r\n\r\n")
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
