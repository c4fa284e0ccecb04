"""The command `memsession` as people call it, and what must be true of every answer."""

import os
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from memsession.command.program import app

PROJECT = Path(__file__).parents[1]
SECRET = "a-secret-of-the-tests-0123456789abcdef"


class Answer:
    """`code`, and what stands on standard output and standard error."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    def __repr__(self) -> str:
        return f"exit code {self.code}\n{self.out}\n--- stderr\n{self.err}"

    @property
    def words(self) -> str:
        """All of both, without the places where lines were broken."""
        return " ".join(f"{self.out} {self.err}".split())


def memsession(*arguments: str, given: str | None = None, **environment: str) -> Answer:
    """Call it in this process, with nothing in its environment but `environment`.

    Every answer is checked: no traceback, one line of error at most, and no secret.
    """
    forget = {name: None for name in os.environ if name.startswith("MEMSESSION_")}
    env = {**forget, "COLUMNS": "80", **environment}
    result = CliRunner().invoke(app, list(arguments), input=given, env=env, prog_name="memsession")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    answer = Answer(result.exit_code, result.stdout, result.stderr)
    check_clear(answer)
    return answer


def process(*arguments: str, **environment: str) -> Answer:
    """The same as a process of its own: `python -m memsession`."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("MEMSESSION_")}
    done = subprocess.run(
        [sys.executable, "-m", "memsession", *arguments],
        env={**env, **environment},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    answer = Answer(done.returncode, done.stdout, done.stderr)
    check_clear(answer)
    return answer


def check_clear(answer: Answer) -> None:
    """What nobody may ever see is not there."""
    assert "Traceback" not in answer.out + answer.err
    assert len(answer.err.splitlines()) <= 1
    assert SECRET not in answer.out + answer.err
