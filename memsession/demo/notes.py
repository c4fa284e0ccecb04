"""The notes that running demos leave, so that a command in another terminal finds them.

They lie in a folder of this user's alone: in `$XDG_RUNTIME_DIR`, where there is one, or in the folder for temporary
files. That one everybody may write to, so the folder is used only if it is no link, and if nobody else owns it or
may look into it.
"""

import contextlib
import json
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NAME: Final = "memsession-demos"
NOTE_BYTES_MAX: Final = 4_096


class NotesError(Exception):
    """The folder cannot be used; the text names the cure."""


@dataclass(frozen=True, kw_only=True)
class Note:
    """A running demo: the socket on which it takes commands, the proxy's port, and the note's own file."""

    socket: str
    port: int
    file: Path


@contextlib.contextmanager
def noted(socket: Path, port: int) -> Iterator[None]:
    """Leave a note, and take it away afterwards.

    Raises:
        NotesError: there is no place for it.
    """
    file = folder() / f"{os.getpid()}-{secrets.token_hex(4)}.json"
    unfinished = file.with_suffix(".new")
    # "x": a file that is there, or a link, is never written to.
    with unfinished.open("x", encoding="utf-8") as opened:
        json.dump({"socket": str(socket), "port": port}, opened)
    unfinished.rename(file)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def found() -> list[Note]:
    """All notes that are there, also those of demos that were killed.

    Raises:
        NotesError: the folder is not this user's own.
    """
    notes: list[Note] = []
    for file in sorted(folder().glob("*.json")):
        try:
            with file.open(encoding="utf-8") as opened:
                content = json.loads(opened.read(NOTE_BYTES_MAX))
            notes.append(Note(socket=str(content["socket"]), port=int(content["port"]), file=file))
        except (OSError, ValueError, KeyError, TypeError):
            file.unlink(missing_ok=True)
    return notes


def folder() -> Path:
    """The folder, made if it is not there.

    Raises:
        NotesError: it is not this user's own, or cannot be made.
    """
    place = _place()
    try:
        place.mkdir(mode=0o700, exist_ok=True)
        known = place.lstat()
    except OSError as problem:
        raise NotesError(f"{place} cannot be made: {problem.strerror}; set TMPDIR to a folder of your own") from None
    if not stat.S_ISDIR(known.st_mode) or known.st_uid != os.getuid() or known.st_mode & 0o077:
        raise NotesError(f"{place} is not yours alone: take it away, or set TMPDIR to a folder of your own")
    return place


def _place() -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    with contextlib.suppress(OSError):
        # After su and sudo it may be somebody else's.
        if os.path.isabs(runtime) and os.stat(runtime).st_uid == os.getuid():
            return Path(runtime) / NAME
    return Path(tempfile.gettempdir()) / f"{NAME}-{os.getuid()}"
