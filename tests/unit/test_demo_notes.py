"""The notes of running demos: found again, and kept where nobody else can write or read."""

import os
import socket
import tempfile

import pytest

from memsession.demo import control, notes
from memsession.demo.notes import NotesError


@pytest.fixture(autouse=True)
def _no_other_place(tmp_path, monkeypatch) -> None:
    """A folder for temporary files of each test's own, on a system without runtime folders."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)


def test_a_note_is_found_while_it_is_there(tmp_path):
    """A demo is found by its note until it takes it away."""
    with notes.noted(tmp_path / "one", 1001), notes.noted(tmp_path / "two", 1002):
        found = {note.port: note.socket for note in notes.found()}

    assert found == {1001: str(tmp_path / "one"), 1002: str(tmp_path / "two")}
    assert notes.found() == []


def test_the_folder_is_for_this_user_only(tmp_path):
    """It is named after the user, and neither the group nor others may look into it."""
    folder = notes.folder()

    assert folder == tmp_path / f"memsession-demos-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_runtime_folder_is_preferred(tmp_path, monkeypatch):
    """Where the system gives each user a folder for such things, the notes lie there."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))

    assert notes.folder() == tmp_path / "memsession-demos"


@pytest.mark.parametrize("wrong", ["relative", "/no/such/folder", ""])
def test_a_runtime_folder_that_is_none_is_passed_over(tmp_path, monkeypatch, wrong):
    """A variable that names no folder of this user's changes nothing."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", wrong)

    assert notes.folder().parent == tmp_path


def test_somebody_elses_runtime_folder_is_passed_over(tmp_path, monkeypatch):
    """After su the variable may still name the folder of whoever called it."""
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(other))
    me = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: me + 1)

    with pytest.raises(NotesError, match="not yours alone"):  # of the temporary folder it is made in our own name
        notes.folder()

    assert list(other.iterdir()) == []


def test_a_link_in_its_place_is_refused(tmp_path):
    """Whoever put a link there beforehand does not get our notes."""
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / f"memsession-demos-{os.getuid()}").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(NotesError, match="take it away, or set TMPDIR"):
        notes.folder()


def test_a_file_in_its_place_is_refused(tmp_path):
    """What is no folder is an error that names the cure."""
    (tmp_path / f"memsession-demos-{os.getuid()}").write_text("")

    with pytest.raises(NotesError, match="TMPDIR"):
        notes.folder()


def test_a_folder_that_others_may_read_is_refused(tmp_path):
    """A folder that was made before, with more rights, is not used."""
    folder = tmp_path / f"memsession-demos-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o755)

    with pytest.raises(NotesError, match="not yours alone"):
        notes.folder()


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"socket": "x", "port": "y"}', "{" * 9_000])
def test_a_note_that_cannot_be_read_is_taken_away(content):
    """A half-written note hides no demo, and is gone afterwards."""
    file = notes.folder() / "1-aa.json"
    file.write_text(content)

    assert notes.found() == []
    assert not file.exists()


def test_the_note_of_a_killed_demo_is_taken_away(tmp_path):
    """A note whose socket nobody listens on any more is no demo."""
    path = tmp_path / "control"
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(path))
    file = notes.folder() / "1-aa.json"
    file.write_text(f'{{"socket": "{path}", "port": 1001}}')

    with pytest.raises(control.NotReached, match="no demo runs; start it with memsession demo"):
        control.command(["status"], called="memsession demo")

    assert not file.exists()


def test_a_busy_demo_keeps_its_note(tmp_path):
    """A demo that cannot take one more asker at the moment is not reached, but its note stays."""
    path = tmp_path / "control"
    with socket.socket(socket.AF_UNIX) as door, socket.socket(socket.AF_UNIX) as other:
        door.bind(str(path))
        door.listen(0)
        other.connect(str(path))
        file = notes.folder() / "1-aa.json"
        file.write_text(f'{{"socket": "{path}", "port": 1001}}')
        saved = control.ANSWER_S_MAX
        control.ANSWER_S_MAX = 0.05
        try:
            with pytest.raises(control.NotReached):
                control.command(["status"], called="memsession demo")
        finally:
            control.ANSWER_S_MAX = saved

    assert file.exists()


def test_a_folder_that_cannot_be_used_is_told(tmp_path):
    """A command says why it cannot look for demos."""
    (tmp_path / f"memsession-demos-{os.getuid()}").write_text("")

    with pytest.raises(control.NotReached, match="cannot be made"):
        control.command(["status"], called="memsession demo")
