"""The three programs of the demo, and how each is started."""

import getpass
import os
import shutil
import sys
from pathlib import Path

from example_app.demo.child import Child, StartError

PROJECT = Path(__file__).parents[2]
CONFIGURATION = PROJECT / "example_app" / "haproxy.cfg"
MORE_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/bin")
"""Where Debian and brew put servers; the PATH of a plain user may not have them."""

PROBE = b"GET /ready HTTP/1.0\r\n\r\n"
_ANSWER = "HTTP/1.1 404"
"""A page that does not exist: it is answered without a session, so that nothing is stored by asking."""


def memcached(name: str, port: int, folder: Path) -> Child:
    """An empty memcached."""
    command = [program("memcached"), "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-m", "64", "-t", "1"]
    if os.getuid() == 0:
        command += ["-u", getpass.getuser()]
    return Child(
        name=f"memcached {name}",
        port=port,
        command=command,
        log=folder / f"memcached-{name}.log",
        question=b"stats\r\n",
        answer="STAT pid {pid}\r\n",
    )


def web_server(name: str, port: int, folder: Path, *, pool: str, secret_file: Path) -> Child:
    """The visit counter on a web server of its own."""
    options = ["--no-access-log", "--no-proxy-headers", "--log-level", "warning"]
    return Child(
        name=name,
        port=port,
        command=[
            *(sys.executable, "-m", "uvicorn", "--factory", "example_app.app:create_app"),
            *("--app-dir", str(PROJECT), "--host", "127.0.0.1", "--port", str(port), *options),
        ],
        log=folder / f"{name}.log",
        question=PROBE,
        answer=_ANSWER,
        environment={
            "COUNTER_POOL": pool,
            "COUNTER_SECRET_FILE": str(secret_file),
            "COUNTER_NAME": name,
            "COUNTER_TRUSTED_PROXIES": "127.0.0.1",
        },
    )


def proxy(port: int, folder: Path, *, web_ports: tuple[int, int]) -> Child:
    """HAProxy before both web servers."""
    return Child(
        name="haproxy",
        port=port,
        command=[program("haproxy"), "-db", "-f", str(CONFIGURATION)],
        log=folder / "haproxy.log",
        question=PROBE,
        answer=_ANSWER,
        environment={
            "COUNTER_BIND": f"127.0.0.1:{port}",
            "COUNTER_WEB_1": f"127.0.0.1:{web_ports[0]}",
            "COUNTER_WEB_2": f"127.0.0.1:{web_ports[1]}",
        },
    )


def program(name: str) -> str:
    """Return the path of an installed program.

    Raises:
        StartError: it is not installed.
    """
    path = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *MORE_FOLDERS]))
    if path is None:
        raise StartError(f"{name} is not installed: call scripts/demo, which installs it, or install it by hand")
    return path
