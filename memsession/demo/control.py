"""How a command in one terminal reaches the demo that runs in another: by its note, and the socket that it names."""

import socket

from memsession.demo.notes import Note, NotesError, found

ANSWER_S_MAX = 40.0


class NotReached(Exception):
    """No demo runs, or more than one and none was chosen."""


def command(words: list[str], port: int = 0, *, called: str) -> str:
    """Tell a running demo, the one on `port` if given, and return its answer.

    `called`: how a demo is started, for the message.

    Raises:
        NotReached: no demo runs, or several do and `port` does not say which.
    """
    opened = _open_doors()
    try:
        doors = {number: door for number, door in opened.items() if port in (0, number)}
        if not doors:
            raise NotReached("no demo runs" + (f" on port {port}" if port else "") + f"; start it with {called}")
        if len(doors) > 1:
            choices = " or ".join(f"--port {number}" for number in sorted(doors))
            raise NotReached(f"several demos run; say which: {choices}")
        (door,) = doors.values()
        door.sendall(" ".join(words).encode() + b"\n")
        with door.makefile(encoding="utf-8") as lines:
            return lines.read().rstrip("\n") or "error: the demo has ended"
    except OSError as error:
        raise NotReached(f"the demo did not answer: {error}") from error
    finally:
        for door in opened.values():
            door.close()


def _open_doors() -> dict[int, socket.socket]:
    """Connect to every demo that left a note, by its port; the notes of demos that were killed are taken away."""
    try:
        notes = found()
    except NotesError as problem:
        raise NotReached(str(problem)) from None
    return {note.port: door for note in notes if (door := _opened(note)) is not None}


def _opened(note: Note) -> socket.socket | None:
    door = socket.socket(socket.AF_UNIX)
    door.settimeout(ANSWER_S_MAX)
    try:
        door.connect(note.socket)
    except (FileNotFoundError, ConnectionRefusedError):
        note.file.unlink(missing_ok=True)
    except OSError:
        pass  # it may be too busy
    else:
        return door
    door.close()
    return None
