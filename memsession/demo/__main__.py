"""The demo's command line, which `scripts/demo` calls."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from memsession.demo.orders import WORDS
from memsession.demo.performance import Wish, perform
from memsession.demo.programs import ROOT


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit status."""
    called = _called()
    given = _parser(called).parse_args(arguments)
    return perform(
        Wish(
            called=called,
            order=(given.verb, *given.name) if given.verb else (),
            port=given.port,
            check=given.check,
            quick=given.quick,
            json_file=given.json,
            stand_ins=given.stand_ins,
        )
    )


def _called() -> str:
    """What to type to get here again, in any folder."""
    script = ROOT / "scripts" / "demo"
    return shlex.quote(str(script)) if script.is_file() else f"{shlex.quote(sys.executable)} -m memsession.demo"


def _parser(called: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=called,
        description="The articles' visit counter on two web servers and two memcached, to stop servers under it.",
    )
    parser.add_argument("--port", type=_port, default=0, help="where the proxy listens; any free port unless given")
    parser.add_argument("--check", action="store_true", help="run the articles' tests and print a table")
    parser.add_argument("--quick", action="store_true", help="with --check: fewer visits and sessions")
    parser.add_argument("--json", type=Path, metavar="FILE", help="with --check: write the figures there too")
    parser.add_argument(
        "--stand-ins", action="store_true", help="use fake nodes and a small proxy, whatever is installed"
    )
    verbs = parser.add_argument_group("while the demo runs in another terminal")
    verbs.add_argument("verb", nargs="?", choices=WORDS, help="what to do with")
    verbs.add_argument("name", nargs="*", help="a, b, web-1 or web-2")
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65_535:
        raise argparse.ArgumentTypeError(f"{port} is no port: give 1 to 65535, or 0 for any free one")
    return port


if __name__ == "__main__":
    sys.exit(main())
