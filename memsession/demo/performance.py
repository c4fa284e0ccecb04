"""What the demo's two command lines, `python -m memsession.demo` and `memsession demo`, have in common."""

import asyncio
import contextlib
import io
import signal
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from memsession.demo import control
from memsession.demo.check import FULL, QUICK, check
from memsession.demo.child import StartError
from memsession.demo.notes import NotesError
from memsession.demo.programs import find_programs
from memsession.demo.show import show

_NEEDED: Final = ("starlette", "uvicorn")
_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the command line asks for.

    `called`: what to type to call it again. `order`: words for a demo that runs already, see `orders`; without them
    a new one is started on `port`, 0 for any. `check`: run the articles' tests instead of waiting for people,
    `quick` with fewer visits, and write the figures to `json_file`, too. `stand_ins`: use nothing that is installed.
    """

    called: str
    order: tuple[str, ...] = ()
    port: int = 0
    check: bool = False
    quick: bool = False
    json_file: Path | None = None
    stand_ins: bool = False


def perform(wish: Wish) -> int:
    """Do what is asked for; return the exit status: 0, 1 for what went wrong, 128 and more for a signal."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # into a file or a pipe, too, each line when it is true
    if wish.order:
        return _give(wish)
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        return _cannot(f'{" and ".join(missing)} not installed: pip install "memsession[demo]"')
    installed = find_programs(stand_ins=wish.stand_ins)
    if wish.check:
        work = check(QUICK if wish.quick else FULL, wish.json_file, installed)
    else:
        work = show(wish.port, installed, wish.called)
    try:
        return asyncio.run(_until_signalled(work))
    except (StartError, NotesError) as error:
        return _cannot(str(error))


def _cannot(reason: str) -> int:
    print(f"The demo cannot go on: {reason}", file=sys.stderr)
    return 1


async def _until_signalled(work: Coroutine[None, None, int]) -> int:
    """Do `work`, or leave it in order when a signal comes. Signals that come while leaving change nothing."""
    task = asyncio.ensure_future(work)
    came: list[signal.Signals] = []

    def leave(which: signal.Signals) -> None:
        if not came:
            task.cancel()
            with contextlib.suppress(OSError):  # the terminal may be what has gone
                print("\nEnding ...")
        came.append(which)

    loop = asyncio.get_running_loop()
    for which in _ENDING:
        # nohup ignores SIGHUP on purpose; a shell that starts something in the background ignores SIGINT for it,
        # and that one we do want.
        if which is not signal.SIGHUP or signal.getsignal(which) is not signal.SIG_IGN:
            loop.add_signal_handler(which, leave, which)
    with contextlib.suppress(asyncio.CancelledError):
        return await task
    return 128 + came[0] if came else 1


def _give(wish: Wish) -> int:
    try:
        answer = control.command([*wish.order], wish.port, called=wish.called)
    except control.NotReached as error:
        answer = f"error: {error}"
    failed = answer.startswith("error")
    if wish.order[0] == "servers":
        answer = answer.removeprefix("ok\n")  # what is left is JSON
    print(answer, file=sys.stderr if failed else sys.stdout)
    return int(failed)
