"""`memsession demo` as it is typed: what it makes of its arguments, and what it refuses."""

import sys
import tempfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from memsession.command.program import app
from memsession.demo import performance
from memsession.demo.performance import Wish


@pytest.fixture(autouse=True)
def _no_demo_runs(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)


@pytest.fixture
def wishes(monkeypatch) -> list[Wish]:
    """What the demo was asked for; it does nothing, and ends with 3."""
    asked: list[Wish] = []

    def perform(wish: Wish) -> int:
        asked.append(wish)
        return 3

    monkeypatch.setattr(performance, "perform", perform)
    return asked


@pytest.mark.parametrize(
    ("arguments", "wish"),
    [
        ([], {}),
        (["--port", "8080", "--stand-ins"], {"port": 8080, "stand_ins": True}),
        (["--check"], {"check": True}),
        (["--check", "--quick", "--json", "x"], {"check": True, "quick": True, "json_file": Path("x")}),
        (["stop", "a", "--port", "8080"], {"order": ("stop", "a"), "port": 8080}),
        (["status"], {"order": ("status",)}),
    ],
)
def test_what_is_asked_for(wishes, arguments, wish):
    """Each option means what it says, and the command ends with the demo's own exit code."""
    result = CliRunner().invoke(app, ["demo", *arguments])

    (asked,) = wishes
    assert result.exit_code == 3
    assert asked == Wish(called=asked.called, **wish)
    assert asked.called.endswith(" demo")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["dance"], '"dance" is nothing the demo can do: say one of start, stop, kill, hang, continue, empty'),
        (["stop", "a", "--check"], "are for a demo that is started"),
        (["--quick"], "--quick and --json go with --check"),
        (["--json", "x"], "--quick and --json go with --check"),
        (["--port", "65536"], "--port"),
        (["--port", "-1"], "--port"),
    ],
)
def test_what_is_refused(wishes, arguments, message):
    """Arguments that make no sense are a one-line error, exit code 2, before anything is started."""
    result = CliRunner().invoke(app, ["demo", *arguments])

    assert (result.exit_code, wishes) == (2, [])
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_an_order_without_a_demo(monkeypatch, tmp_path):
    """An order that reaches nobody says how a demo is started, by the command that was typed."""
    program = tmp_path / "memsession"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(program)])
    runs = [CliRunner().invoke(app, ["demo", "stop", "a"])]
    monkeypatch.setenv("PATH", str(tmp_path))
    runs.append(CliRunner().invoke(app, ["demo", "stop", "a", "--port", "8080"]))
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "__main__.py")])
    runs.append(CliRunner().invoke(app, ["demo", "stop", "a"]))

    assert [run.exit_code for run in runs] == [1, 1, 1]
    assert runs[0].stderr == f"error: no demo runs; start it with {program} demo\n"
    assert runs[1].stderr == "error: no demo runs on port 8080; start it with memsession demo\n"
    assert runs[2].stderr == f"error: no demo runs; start it with {sys.executable} -m memsession demo\n"


def test_windows_is_told(monkeypatch, wishes):
    """Where there are no signals, the demo says so."""
    monkeypatch.setattr(sys, "platform", "win32")

    result = CliRunner().invoke(app, ["demo"])

    assert (result.exit_code, wishes) == (1, [])
    assert "run it in WSL" in result.stderr
