"""The program around the commands: errors in one line, exit codes, completion, and packages that are missing."""

import errno
import io
import os
import subprocess
import sys

import pytest
import typer

from memsession.command import main, program
from memsession.command.output import CommandError, complain, leave
from memsession.errors import ConfigurationError, PoolUnavailable, SessionTooLarge
from tests.command_line import PROJECT, memsession, process

COMPLETE = {"_MEMSESSION_COMPLETE": "complete_bash", "COMP_CWORD": "1"}


def raising(monkeypatch, problem):
    """Let `stats` raise something, whatever it is told."""

    def pool_given(*_, **__):
        raise problem

    monkeypatch.setattr("memsession.command.stats.pool_given", pool_given)


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (CommandError("why and what to do"), 1),
        (CommandError("why and what to do", 3), 3),
        (ConfigurationError("why and what to do"), 2),
        (PoolUnavailable("why and what to do"), 3),
        (SessionTooLarge(10, 5), 1),
        (OSError(errno.EMFILE, "why and what to do"), 1),
        (OSError("why and what to do"), 1),
    ],
)
def test_errors_are_one_line(monkeypatch, problem, code):
    """On standard error, with the exit code that the pages tell."""
    raising(monkeypatch, problem)
    answer = memsession("stats", "a")
    assert (answer.code, answer.out) == (code, "")
    assert answer.err.startswith("memsession: ")
    assert "why and what to do" in answer.err or isinstance(problem, SessionTooLarge)


def test_an_error_with_control_characters_is_one_line(monkeypatch, capsys):
    """A message may carry what a server has said."""
    complain("a\nb\x1b[31mc " + "long " * 100)
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines()), "\x1b" in err) == ("", 1, False)


def test_what_nobody_expected_is_not_hidden(monkeypatch):
    """It is an error in memsession, and to be reported as one."""
    raising(monkeypatch, ZeroDivisionError("oh"))
    with pytest.raises(AssertionError) as seen:
        memsession("stats", "a")
    assert "ZeroDivisionError" in str(seen.value)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nothing"], "nothing"),
        (["stats", "--nothing"], "--nothing"),
        (["stats", "--pool"], "--pool"),
        (["--nothing"], "--nothing"),
    ],
)
def test_wrong_usage(arguments, told):
    """One line, which says how to get help."""
    answer = memsession(*arguments)
    assert (answer.code, answer.out) == (2, "")
    assert told in answer.err
    assert "--help" in answer.err


def test_without_a_command():
    """All commands are listed, and the exit code is that of wrong usage."""
    answer = memsession()
    assert answer.code == 2
    for name in ("stats", "check", "watch"):
        assert f" {name} " in answer.out
    assert "│ doctor" not in answer.out


@pytest.mark.parametrize("name", list(program.COMMANDS))
def test_every_command_has_help(name):
    """With its options, and what its exit codes mean."""
    answer = memsession(name, "--help")
    assert (answer.code, answer.err) == (0, "")
    assert "--json" in answer.out
    assert "xit code" in answer.words or name == "demo"


@pytest.mark.parametrize("name", [name for name in program.COMMANDS if name != "demo"])
def test_no_secret_is_an_argument(name):
    """Everybody on the machine can read arguments."""
    answer = memsession(name, "--help")
    assert "--secret " not in answer.out
    assert "--cookie " not in answer.out


def test_the_version():
    """Of the package that is installed; or that it is not."""
    answer = memsession("--version")
    assert answer.code == 0
    assert answer.out.startswith("memsession ")


def test_the_version_where_it_is_not_installed(monkeypatch):
    """As in a clone that was never installed."""

    def version(_):
        raise program.PackageNotFoundError

    monkeypatch.setattr(program, "version", version)
    assert memsession("--version").out == "memsession (not installed)\n"


def test_ctrl_c_in_any_command(monkeypatch):
    """Ends it without a word, as shells expect."""
    raising(monkeypatch, KeyboardInterrupt())
    answer = memsession("stats", "a")
    assert (answer.code, answer.out, answer.err) == (130, "", "")
    raising(monkeypatch, typer.Abort())
    assert memsession("stats", "a").code == 130


def test_a_command_says_how_it_went(monkeypatch):
    """By the exit code that it leaves with; 0 if it just ends."""

    def pool_given(*_, **__):
        leave(1)

    monkeypatch.setattr("memsession.command.stats.pool_given", pool_given)
    assert memsession("stats", "a").code == 1


def test_who_reads_us_may_stop(memcached):
    """As `head` does; there is no complaint."""
    node = memcached()
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "memsession", "stats", node.address, "--json"],
            cwd=PROJECT,
            stdout=writer,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_reader_that_stops_at_the_end(monkeypatch, tmp_path):
    """When the last bytes are sent; Python must not complain of that once more while it ends."""

    class Gone(io.StringIO):
        def fileno(self):
            return file.fileno()

        def flush(self):
            raise BrokenPipeError

    with (tmp_path / "out").open("w") as file:
        monkeypatch.setattr(sys, "stdout", Gone())
        with pytest.raises(SystemExit) as end:
            program.app(["--version"], prog_name="memsession")
        file.write("nobody reads this")
    assert end.value.code == 1
    assert (tmp_path / "out").read_text() == ""


def test_main_runs_what_the_arguments_name(monkeypatch, capsys):
    """As the script of the package does."""
    monkeypatch.setattr(sys, "argv", ["anything", "--version"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith("memsession ")


@pytest.mark.parametrize("missing", ["typer", "another"])
def test_main_without_a_package(monkeypatch, capsys, missing):
    """The extra is named if it is one of its packages."""

    class Finder:
        @staticmethod
        def find_spec(name, *_):
            if name == "memsession.command.program":
                raise ModuleNotFoundError("no", name=missing)

    monkeypatch.delitem(sys.modules, "memsession.command.program")
    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    with pytest.raises(SystemExit if missing == "typer" else ModuleNotFoundError):
        main()
    assert ('pip install "memsession[cli]"' in capsys.readouterr().err) == (missing == "typer")


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra_the_cure_is_named(missing):
    """In one line, before anything else is looked at."""
    code = f"import sys; sys.modules['{missing}'] = None; from memsession.command import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [f'memsession: {missing} is not installed: pip install "memsession[cli]"']


def test_another_missing_module_is_not_blamed_on_the_extra():
    """It is an error of its own."""
    code = "import sys; sys.modules['memsession.command.program'] = None; from memsession.command import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "memsession.command.program" in done.stderr


def test_importing_the_package_loads_no_command():
    """typer and rich are an extra."""
    code = "import sys, memsession, memsession.command; print({'typer', 'rich'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "set()\n"


def test_as_a_module_and_from_the_shell():
    """`python -m memsession` is the same command."""
    answer = process("--help")
    assert answer.code == 0
    assert "Usage: memsession " in answer.out


def test_completion_of_commands():
    """As bash asks for it."""
    answer = process(**COMPLETE, COMP_WORDS="memsession st")
    assert answer.out.split() == ["stats"]


def test_completion_of_options():
    """Of a command."""
    answer = process(**{**COMPLETE, "COMP_CWORD": "2"}, COMP_WORDS="memsession stats --js")
    assert answer.out.split() == ["--json"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_completion(shell):
    """Is printed for the shell to read."""
    answer = process(_MEMSESSION_COMPLETE=f"source_{shell}")
    assert answer.code == 0
    assert "_MEMSESSION_COMPLETE" in answer.out


@pytest.mark.parametrize(("stream", "arguments"), [(">&-", "--json"), (">&-", ""), ("2>&-", "--json")])
def test_a_closed_stream_is_no_traceback(tmp_path, stream, arguments):
    """Who closed it does not want to see it, and an error does not go to the other one instead."""
    command = f"{sys.executable} -m memsession stats 127.0.0.1:1 {arguments} {stream}"
    done = subprocess.run(["sh", "-c", command], cwd=PROJECT, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (3, b"")
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m memsession stats {stream}"],
        cwd=PROJECT,
        env={name: value for name, value in os.environ.items() if not name.startswith("MEMSESSION_")},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, b"")
