"""The program: all commands by their names, and what becomes of the errors they raise.

Whatever a command raises because something is missing, wrong or out of reach is told in one line on standard error.
A traceback means that memsession itself is broken.
"""

import os
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from memsession.command.output import SILENT, USAGE, WRONG, CommandError, complain
from memsession.errors import ConfigurationError, PoolUnavailable, SessionError

INTERRUPTED: Final = 130
"""What shells expect of a program that was ended by Ctrl-C."""

COMMANDS: Final = {
    "stats": "stats:stats",
    "check": "check:check",
    "doctor": "check:check",
    "watch": "watch:watch",
    "locate": "locate:locate",
    "end": "ending:end",
    "refill": "refilling:refill",
    "bench": "bench:bench",
    "demo": "demo:demo",
}
"""Names of commands, and the function of each: a module in this folder, and what it is called there."""

TAKE_ID: Final = {"locate", "end"}
"""Commands whose argument is a session's ID."""


class Program(TyperGroup):
    """The group of all commands. Errors become one line and an exit code here."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        """As click's, which it overrides: it ends the process."""
        options["standalone_mode"] = False
        _open_streams()
        try:
            code = super().main(*arguments, **options)
            sys.stdout.flush()
        except BrokenPipeError:
            # Whoever read us has seen enough. Python would complain once more while it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(WRONG)
        except (KeyboardInterrupt, typer.Abort):
            sys.exit(INTERRUPTED)
        except Exception as problem:
            message, code = _told(problem)
            if message is None:
                raise
            complain(message)
        sys.exit(code if isinstance(code, int) else 0)


app = typer.Typer(
    name="memsession",
    cls=Program,
    help="Look after the memcached servers that hold the sessions of a web application.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _open_streams() -> None:
    """Whoever started us with a closed stream (`>&-`) does not want to see it: Python has None for it then."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - as long as the process


def _told(problem: Exception) -> tuple[str | None, int]:
    """What to say of an exception, and the exit code; None if nobody expected it."""
    match problem:
        case CommandError():
            return str(problem), problem.exit_code
        case ConfigurationError():
            return str(problem), USAGE
        case PoolUnavailable():
            return str(problem), SILENT
        case SessionError():
            return str(problem), WRONG
        case OSError():
            return f"{problem.strerror or problem}", WRONG
    # click's own, which typer has under different names in its different versions.
    if callable(message := getattr(problem, "format_message", None)):
        context = getattr(problem, "ctx", None)
        path = context.command_path if context else "memsession"
        return f"{message()} Try: {path} --help", USAGE
    return None, WRONG


def _version(asked: bool) -> None:
    if asked:
        try:
            number = version("memsession")
        except PackageNotFoundError:
            number = "(not installed)"
        typer.echo(f"memsession {number}")
        raise typer.Exit(0)


@app.callback(invoke_without_command=True)
def _program(
    context: typer.Context,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(USAGE)


def _command(place: str) -> Callable[..., Any]:
    module, _, name = place.partition(":")
    function: Callable[..., Any] = getattr(import_module(f"memsession.command.{module}"), name)
    return function


for _name, _place in COMMANDS.items():
    # One session in 64 has an ID that begins with "-", and that is no option.
    _settings = {"ignore_unknown_options": _name in TAKE_ID}
    app.command(_name, hidden=_name == "doctor", context_settings=_settings)(_command(_place))
