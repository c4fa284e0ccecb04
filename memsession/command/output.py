"""How commands answer: a table for people or JSON for programs, and errors in one line on standard error.

A command prints by `show`, and says by `leave` what it found. What it cannot do it raises as a `CommandError`, whose
text names the cure. All commands have the same exit codes.
"""

import json
import re
import sys
from typing import Any, Final, NoReturn

import typer
from rich.console import Console, RenderableType
from rich.text import Text

WELL: Final = 0
"""All is well."""

WRONG: Final = 1
"""Something is wrong: a node is down, copies disagree, a check failed."""

USAGE: Final = 2
"""The command was called wrongly, or a setting is missing or wrong."""

SILENT: Final = 3
"""No node answers."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]+")
"""Control characters, and those that hide text or turn its direction round."""


class CommandError(Exception):
    """Why a command ends: one line that names the cure, and the exit code."""

    def __init__(self, message: str, exit_code: int = WRONG) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def console(*, err: bool = False) -> Console:
    """A console that writes to what is standard output, or standard error, at this moment.

    It colours on a terminal only, and takes no text for markup.
    """
    return Console(file=sys.stderr if err else sys.stdout, highlight=False, markup=False, emoji=False)


def show(data: Any, table: RenderableType, as_json: bool) -> None:
    """Print `data` as JSON, or `table`."""
    if as_json:
        sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=True) + "\n")
    else:
        console().print(table)


def complain(message: str) -> None:
    """One line on standard error. What cannot be printed is left out of it."""
    console(err=True).print(Text("memsession: ", style="bold red").append(plain(message), style=""), soft_wrap=True)


def leave(exit_code: int) -> NoReturn:
    """End the command, which has said all that it has to say."""
    raise typer.Exit(exit_code)


def plain(text: str) -> str:
    """`text` in one line, without control characters: what a server says may be meant for the terminal."""
    return _CONTROL.sub(" ", text).strip()
