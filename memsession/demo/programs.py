"""The programs of the demo, how each is started, and what stands in for those that are not installed.

The web servers are always real. Without memcached, fake nodes stand in for it (`fake_node`), and without HAProxy a
small proxy (`turnstile`), each a process of its own.
"""

import getpass
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from memsession.demo.child import Child, Kind
from memsession.demo.ports import HOST
from memsession.demo.turnstile import PROBE
from memsession.greeting import OLDEST

CONFIGURATION: Final = Path(__file__).with_name("haproxy.cfg")
ROOT: Final = Path(__file__).parents[2]
"""Where Python finds this package: a folder of installed ones, or a checkout."""

MORE_FOLDERS: Final = ("/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/bin")
"""Where Debian and brew put servers; the PATH of a plain user may not have them."""

HAPROXY_OLDEST: Final = (2, 4)
"""The first release that understands all of `haproxy.cfg`."""

_ANSWER: Final = "HTTP/1.1 404"
_VERSION_S_MAX: Final = 10.0
_VERSION: Final = re.compile(r"\d+(?:\.\d+)+")


@dataclass(frozen=True, kw_only=True)
class Programs:
    """The paths of memcached and HAProxy, "" for a stand-in; and for each stand-in a sentence that says why."""

    memcached: str = ""
    haproxy: str = ""
    remarks: tuple[str, ...] = ()


def find_programs(*, stand_ins: bool = False) -> Programs:
    """See what is installed; with `stand_ins`, use none of it."""
    if stand_ins:
        return Programs(
            remarks=("Fake nodes stand in for memcached, and a small proxy for HAProxy, as --stand-ins asks.",)
        )
    memcached, no_memcached = _found("memcached", "-V", OLDEST)
    haproxy, no_haproxy = _found("haproxy", "-v", HAPROXY_OLDEST)
    remarks: list[str] = []
    if no_memcached:
        remarks.append(f"Fake nodes stand in for memcached, which {no_memcached}. {_how_to_get('memcached')}")
    if no_haproxy:
        remarks.append(f"A small proxy stands in for HAProxy, which {no_haproxy}. {_how_to_get('haproxy')}")
    return Programs(memcached=memcached, haproxy=haproxy, remarks=tuple(remarks))


def memcached(path: str, name: str, port: int, folder: Path) -> Child:
    """An empty memcached, or a fake node."""
    command = [path, "-l", HOST, "-p", str(port), "-U", "0", "-m", "64", "-t", "1"]
    if os.getuid() == 0:
        command += ["-u", getpass.getuser()]
    return Child(
        name=f"memcached {name}" if path else f"fake node {name}",
        kind=Kind.MEMCACHED,
        port=port,
        command=command if path else [sys.executable, "-m", "memsession.demo.fake_node", str(port)],
        log=folder / f"memcached-{name}.log",
        question=b"stats\r\n",
        answer="STAT pid {pid}\r\n",
        environment=_python_path(),
    )


def web_server(name: str, port: int, folder: Path, environment: Mapping[str, str]) -> Child:
    """The visit counter on a web server of its own, with these settings."""
    options = ["--no-access-log", "--no-proxy-headers", "--log-level", "warning", "--workers", "1"]
    return Child(
        name=name,
        kind=Kind.WEB,
        port=port,
        command=[
            *(sys.executable, "-m", "uvicorn", "--factory", "memsession.demo.counter:create_app"),
            # Else an open page, which is told what changes for as long as it is open, would hold up the end.
            *("--host", HOST, "--port", str(port), "--timeout-graceful-shutdown", "1", *options),
        ],
        log=folder / f"{name}.log",
        question=PROBE,
        answer=_ANSWER,
        environment={
            "COUNTER_NAME": name,
            "COUNTER_TRUSTED_PROXIES": HOST,
            **environment,
            **_python_path(),
        },
    )


def proxy(path: str, port: int, folder: Path, *, web_ports: Mapping[str, int]) -> Child:
    """HAProxy before both web servers, or the turnstile."""
    places = {name: f"{HOST}:{web_port}" for name, web_port in web_ports.items()}
    stand_in = [f"{name}={web_port}" for name, web_port in web_ports.items()]
    return Child(
        name="haproxy" if path else "the proxy",
        kind=Kind.PROXY,
        port=port,
        command=[path, "-db", "-f", str(CONFIGURATION)]
        if path
        else [sys.executable, "-m", "memsession.demo.turnstile", str(port), *stand_in],
        log=folder / "proxy.log",
        question=PROBE,
        answer=_ANSWER,
        environment={
            "COUNTER_BIND": f"{HOST}:{port}",
            **{f"COUNTER_{name.upper().replace('-', '_')}": place for name, place in places.items()},
            **_python_path(),
        },
    )


def program(name: str) -> str:
    """Return the path of an installed program, "" if there is none."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *MORE_FOLDERS])) or ""


def _found(name: str, option: str, oldest: tuple[int, ...]) -> tuple[str, str]:
    """The path of a program that is new enough; or "" and why there is none."""
    path = program(name)
    if not path:
        return "", "is not installed"
    try:
        asked = subprocess.run(
            [path, option], capture_output=True, text=True, errors="replace", timeout=_VERSION_S_MAX, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return "", f"does not tell its version ({path})"
    version = _VERSION.search(asked.stdout)
    # What has a version that cannot be read is rather new than old.
    if version is None or tuple(map(int, version[0].split("."))) >= oldest:
        return path, ""
    return "", f"is too old here: {version[0]}, where {'.'.join(map(str, oldest))} is needed"


def _how_to_get(name: str) -> str:
    return f"For the real one: apt-get install {name}, or brew install {name}; then start the demo again."


def _python_path() -> dict[str, str]:
    """With what PYTHONPATH a process of ours finds this package, if not by itself."""
    if str(ROOT) in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        return {}
    given = os.environ.get("PYTHONPATH", "")
    return {"PYTHONPATH": os.pathsep.join([str(ROOT), given] if given else [str(ROOT)])}
