"""The command `memsession`: looks at a pool, and does what an administrator has to do.

The commands need two more packages, typer and rich, which come with the extra `cli`. Nothing of them is imported
before `main()` runs.
"""

import sys

__all__ = ["main"]

_NEEDED = ("typer", "rich")
_USAGE = 2


def main() -> None:
    """Run the command that the arguments name. It ends the process with the command's exit code."""
    try:
        from memsession.command.program import app  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        package = (missing.name or "").partition(".")[0]
        if package not in _NEEDED:
            raise
        sys.stderr.write(f'memsession: {package} is not installed: pip install "memsession[cli]"\n')
        sys.exit(_USAGE)
    app(prog_name="memsession")
