"""`memsession demo`: the visit counter on servers of its own, to stop servers under it. See `memsession.demo`."""

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from memsession.command.output import USAGE, CommandError, leave

OrderArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[ORDER [NAME]]",
        show_default=False,
        help="For a demo that runs in another terminal: start, stop, kill, hang, continue or empty, and the name of "
        "a server (a, b, web-1, web-2); or status; or servers, which prints JSON.",
    ),
]
PortOption = Annotated[
    int, typer.Option("--port", min=0, max=65_535, show_default=False, help="Where the proxy listens, else any port.")
]
CheckOption = Annotated[bool, typer.Option("--check", help="Run the articles' tests and print a table.")]
QuickOption = Annotated[bool, typer.Option("--quick", help="With --check: fewer visits and sessions.")]
FiguresOption = Annotated[
    Path | None,
    typer.Option(
        "--json", metavar="FILE", show_default=False, help="With --check: write the figures there, as JSON."
    ),
]
StandInsOption = Annotated[
    bool, typer.Option("--stand-ins", help="Use fake nodes and a small proxy, whatever is installed.")
]


def demo(
    order: OrderArgument = None,
    port: PortOption = 0,
    check: CheckOption = False,
    quick: QuickOption = False,
    json: FiguresOption = None,
    stand_ins: StandInsOption = False,
) -> None:
    """Start two memcached, two web servers and a proxy on this machine, to stop servers under a visit counter."""
    if sys.platform == "win32":
        raise CommandError("the demo stops processes by signals, which Windows does not have: run it in WSL")
    from memsession.demo.orders import WORDS  # noqa: PLC0415 - other commands do without all this
    from memsession.demo.performance import Wish, perform  # noqa: PLC0415

    words = tuple(order or ())
    if words and words[0] not in WORDS:
        raise CommandError(f'"{words[0]}" is nothing the demo can do: say one of {", ".join(WORDS)}', USAGE)
    if words and (check or quick or json or stand_ins):
        raise CommandError("--check, --quick, --json and --stand-ins are for a demo that is started", USAGE)
    if (quick or json) and not check:
        raise CommandError("--quick and --json go with --check", USAGE)
    wish = Wish(
        called=_called(),
        order=words,
        port=port,
        check=check,
        quick=quick,
        json_file=json,
        stand_ins=stand_ins,
    )
    leave(perform(wish))


def _called() -> str:
    """What to type to get here again, in any folder."""
    program = Path(sys.argv[0]).absolute()
    if program.suffix == ".py" or not os.access(program, os.X_OK):
        return f"{shlex.quote(sys.executable)} -m memsession demo"
    found = shutil.which("memsession")
    called = "memsession" if found and os.path.samefile(found, program) else shlex.quote(str(program))
    return f"{called} demo"
