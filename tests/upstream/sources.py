"""The frameworks' source distributions, in the versions that the tests are pinned to: fetched once, unpacked anew.

They lie in .run/upstream, which no version control sees: nothing of them becomes part of the project.
"""

import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

PROJECT = Path(__file__).parents[2]
PINNED = PROJECT / "requirements" / "test.txt"
FOLDER = PROJECT / ".run" / "upstream"


_FETCH_S = 300


class NoSource(Exception):
    """A source distribution cannot be had, for instance without network."""


def pinned_version(package: str, requirements: str) -> str:
    """The version that `requirements`, the text of a requirements file, pins `package` to.

    Raises:
        NoSource: it pins none.
    """
    found = re.search(rf"^{re.escape(package)}==([\w.]+)$", requirements, re.MULTILINE | re.IGNORECASE)
    if found is None:
        raise NoSource(f"requirements/test.txt pins no version of {package}")
    return found[1]


def unpacked(package: str) -> tuple[Path, str]:
    """A fresh copy of the package's sources, and its version.

    Raises:
        NoSource: they are not here and cannot be fetched.
    """
    version = pinned_version(package, PINNED.read_text(encoding="utf-8"))
    archive, folder = FOLDER / f"{package}-{version}.tar.gz", FOLDER / f"{package}-{version}"
    if not archive.is_file():
        _fetch(package, version)
    if not archive.is_file():
        raise NoSource(f"{package} {version}: there is no source distribution of the name {archive.name}")
    shutil.rmtree(folder, ignore_errors=True)
    with tarfile.open(archive) as opened:
        # Python 3.11.4 and later refuse paths that lead out of the folder.
        opened.extractall(FOLDER, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    return folder, version


def _fetch(package: str, version: str) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    what = ["download", "--quiet", "--no-deps", "--no-binary", package, "--dest", FOLDER, f"{package}=={version}"]
    said = ""
    for pip in ([sys.executable, "-m", "pip"], ["uv", "tool", "run", "pip"]):
        try:
            done = subprocess.run(
                [*pip, *what, "--disable-pip-version-check"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=_FETCH_S,
            )
        except (FileNotFoundError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0:
            return
        said = said or done.stderr
    raise NoSource(f"the sources of {package} {version} cannot be fetched (no network?){_told(said)}")


def _told(said: str) -> str:
    """The end of what pip said, without the addresses it asked."""
    plain = re.sub(r"host='[^']*'", "host=...", re.sub(r"\w+://\S+", "...", said))
    return "".join(f"\n    {line}" for line in plain.strip().splitlines()[-5:])
