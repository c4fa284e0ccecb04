"""The demo's command line, which `scripts/demo` calls."""

import argparse
import asyncio
import contextlib
import io
import signal
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path

from example_app.demo import control
from example_app.demo.check import FULL, QUICK, check
from example_app.demo.child import StartError
from example_app.demo.show import show

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit status."""
    given = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # into a file or a pipe, too, each line when it is true
    if given.verb:
        return _command(given)
    try:
        if given.check:
            return asyncio.run(_until_signalled(check(QUICK if given.quick else FULL, given.json)))
        return asyncio.run(_until_signalled(show(given.port)))
    except StartError as error:
        print(f"The demo cannot go on: {error}", file=sys.stderr)
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


def _command(given: argparse.Namespace) -> int:
    try:
        answer = control.command([given.verb, *given.name], given.port)
    except control.NotReached as error:
        answer = f"error: {error}"
    failed = answer.startswith("error")
    print(answer, file=sys.stderr if failed else sys.stdout)
    return int(failed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description="The articles' visit counter on two web servers and two memcached, to stop servers under it.",
    )
    parser.add_argument("--port", type=_port, default=0, help="where HAProxy listens; any free port unless given")
    parser.add_argument("--check", action="store_true", help="run the articles' tests and print a table")
    parser.add_argument("--quick", action="store_true", help="with --check: fewer visits and sessions")
    parser.add_argument("--json", type=Path, metavar="FILE", help="with --check: write the figures there too")
    verbs = parser.add_argument_group("while the demo runs in another terminal")
    verbs.add_argument("verb", nargs="?", choices=["start", "stop", "kill", "status"], help="what to do with")
    verbs.add_argument("name", nargs="*", help="a, b, web-1 or web-2")
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65_535:
        raise argparse.ArgumentTypeError(f"{port} is no port: give 1 to 65535, or 0 for any free one")
    return port


if __name__ == "__main__":
    sys.exit(main())
