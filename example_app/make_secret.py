"""Makes the key that signs the cookies, once: a file that only its owner can read.

    python -m example_app.make_secret FILE

A second call leaves the file as it is.
"""

import contextlib
import os
import secrets
import sys
import tempfile
from pathlib import Path

OWNER_READS = 0o400


def make_secret(file: Path) -> bool:
    """Write a new secret to `file`, unless there is one. True if it was written.

    Whoever reads the file at any moment finds a whole secret or no file, also when several make it at once.

    Raises:
        OSError: the folder is missing or cannot be written to.
    """
    if file.exists():
        return False
    handle, name = tempfile.mkstemp(dir=file.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as begun:
            os.fchmod(begun.fileno(), OWNER_READS)
            begun.write(secrets.token_urlsafe(32) + "\n")
            begun.flush()
            os.fsync(begun.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(name, file)
            return True
        return False
    finally:
        Path(name).unlink()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("say where: python -m example_app.make_secret FILE")
    try:
        made = make_secret(Path(sys.argv[1]))
    except OSError as error:
        sys.exit(f"The secret cannot be made: {error}")
    print("A new secret was made." if made else "There is a secret, which stays.")
