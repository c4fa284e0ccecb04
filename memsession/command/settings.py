"""What commands are told: the pool and the secret, from arguments, the environment or a file.

A secret is never an argument, for everybody on the machine can read the arguments of everybody's processes.

    MEMSESSION_POOL           the memcached servers, in any form that Pool() takes
    MEMSESSION_PREVIOUS       the pool as it was before, while sessions move
    MEMSESSION_PREFIX         Pool(prefix=...), if the application sets it
    MEMSESSION_CONSISTENCY    Pool(consistency=...), if the application sets it
    MEMSESSION_SECRET         the application's secret key; or several, one on each line, the newest first
    MEMSESSION_SECRET_FILE    a file that holds it instead

Every command takes these as parameters, with the types below: `PoolArgument` (for commands whose main argument is a
pool) or only `PoolOption`, `PrefixOption`, `PreviousOption`, `ConsistencyOption`, `SecretFileOption`, `JsonOption`.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from memsession.addresses import parse_addresses
from memsession.command.output import USAGE, CommandError, plain
from memsession.errors import ConfigurationError
from memsession.pool import Pool
from memsession.secret import secret_keys

SECRET_FILE_BYTES_MAX: Final = 65_536

TIMEOUT: Final = timedelta(seconds=1)
BUDGET: Final = timedelta(seconds=5)
"""Who looks after a pool can wait longer than a visitor, and may be farther away."""

_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(|s|m|h|d)")
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DURATION_MAX_S: Final = 400 * 86_400

PoolArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="POOL",
        show_default=False,
        help="The memcached servers, for instance 10.0.0.94,10.0.0.95. Without it: --pool, or MEMSESSION_POOL.",
    ),
]
PoolOption = Annotated[
    str | None,
    typer.Option("--pool", metavar="POOL", help="The memcached servers. Without it: MEMSESSION_POOL."),
]
PreviousOption = Annotated[
    str | None,
    typer.Option(
        "--previous", metavar="POOL", help="The pool as it was before, while it changes. Or: MEMSESSION_PREVIOUS."
    ),
]
PrefixOption = Annotated[
    str | None,
    typer.Option("--prefix", metavar="TEXT", help="Pool(prefix=...) of the application. Or: MEMSESSION_PREFIX."),
]
ConsistencyOption = Annotated[
    str | None,
    typer.Option(
        "--consistency",
        metavar="one|majority",
        help="Pool(consistency=...) of the application. Or: MEMSESSION_CONSISTENCY.",
    ),
]
SecretFileOption = Annotated[
    Path | None,
    typer.Option(
        "--secret-file",
        metavar="FILE",
        help="A file with the application's secret key. Or: MEMSESSION_SECRET_FILE, or the key in MEMSESSION_SECRET.",
    ),
]
IdleOption = Annotated[
    str,
    typer.Option(
        "--idle", metavar="TIME", help="Lifetime(idle=...) of the application, for instance 90s, 30m, 12h or 2d."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings:
    """What else an application may have told its pool. None: what the environment says, or else the default."""

    prefix: str | None = None
    previous: str | None = None
    consistency: str | None = None
    max_bytes: int | None = None


def pool_given(*texts: str | Sequence[str] | None, settings: PoolSettings | None = None) -> Pool:
    """The pool that a command is for: the one of `texts` that is given, or else MEMSESSION_POOL.

    Its time-outs are longer than an application's. `settings` None: as the environment says.

    Raises:
        CommandError: there is none, two are given, or it cannot be read; exit code 2.
    """
    given = [text for text in texts if text]
    if len(given) > 1:
        raise CommandError("the pool is given twice, as an argument and as --pool: leave one out", USAGE)
    nodes: str | Sequence[str] = given[0] if given else os.environ.get("MEMSESSION_POOL", "")
    if not nodes:
        raise CommandError(
            "no pool: name the memcached servers, for instance --pool 10.0.0.94,10.0.0.95, or set MEMSESSION_POOL",
            USAGE,
        )
    asked = settings or PoolSettings()
    options: dict[str, Any] = {"timeout": TIMEOUT, "budget": BUDGET}
    if prefix := asked.prefix or os.environ.get("MEMSESSION_PREFIX"):
        options["prefix"] = prefix
    if consistency := asked.consistency or os.environ.get("MEMSESSION_CONSISTENCY"):
        options["consistency"] = consistency
    if asked.max_bytes is not None:
        options["max_bytes"] = asked.max_bytes
    previous = asked.previous or os.environ.get("MEMSESSION_PREVIOUS")
    try:
        former = _pool(previous, options) if previous else None
        return _pool(nodes, {**options, "previous": former})
    except ConfigurationError as problem:
        raise CommandError(str(problem), USAGE) from None


def duration(text: str, option: str) -> timedelta:
    """The time that `text` spells: a number and s, m, h or d; seconds if it is a number alone.

    Raises:
        CommandError: it is none, or not above zero; exit code 2.
    """
    spelt = _DURATION.fullmatch(text.strip())
    seconds = float(spelt[1]) * _UNITS[spelt[2]] if spelt else 0.0
    if not 0.0 < seconds <= _DURATION_MAX_S:
        raise CommandError(f'{option} "{plain(text)[:40]}": give a time above zero, as in 90s, 30m, 12h or 2d', USAGE)
    return timedelta(seconds=seconds)


def secrets(secret_file: Path | None = None) -> tuple[bytes, ...]:
    """The application's secret keys, checked: of `secret_file`, of MEMSESSION_SECRET, or MEMSESSION_SECRET_FILE.

    Raises:
        CommandError: there is none, or it is not fit for one; exit code 2. No message shows anything of it.
    """
    found = secrets_if_any(secret_file)
    if not found:
        raise CommandError(
            "no secret: set MEMSESSION_SECRET, or name a file with --secret-file or MEMSESSION_SECRET_FILE; it has "
            "to be the application's secret_key",
            USAGE,
        )
    return found


def secrets_if_any(secret_file: Path | None = None) -> tuple[bytes, ...]:
    """The same, but empty if nothing is given.

    Raises:
        CommandError: something is given that is no secret; exit code 2.
    """
    file, direct = secret_file_given(secret_file), os.environ.get("MEMSESSION_SECRET", "")
    if secret_file is None and file and direct:
        raise CommandError("MEMSESSION_SECRET and MEMSESSION_SECRET_FILE are both set: take one away", USAGE)
    if file is None and not direct:
        return ()
    where = f'the secret file "{file}"' if file else "MEMSESSION_SECRET"
    lines = (_contents(file) if file else direct).splitlines()
    try:
        keys = [line.strip() for line in lines if line.strip()]
        return secret_keys(keys[0] if len(keys) == 1 else keys)
    except ConfigurationError as problem:
        raise CommandError(f"{where}: {problem}", USAGE) from None


def secret_file_given(secret_file: Path | None = None) -> Path | None:
    """The file that the secret is in, if it is in one."""
    named = os.environ.get("MEMSESSION_SECRET_FILE", "")
    return secret_file or (Path(named) if named else None)


def _pool(nodes: str | Sequence[str], options: dict[str, Any]) -> Pool:
    texts = [nodes] if isinstance(nodes, str) else [*nodes]
    if parse_addresses(texts).in_process:
        raise ConfigurationError(
            "memory:// is inside the application's own process, where no command can look: name memcached servers"
        )
    return Pool(*texts, **options)


def _contents(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            data = opened.read(SECRET_FILE_BYTES_MAX + 1)
    except OSError as problem:
        raise CommandError(f'the secret file "{file}" cannot be read: {problem.strerror}', USAGE) from None
    if len(data) > SECRET_FILE_BYTES_MAX:
        raise CommandError(f'the secret file "{file}" is too large to be one: is it the right file?', USAGE)
    try:
        return data.decode()
    except UnicodeDecodeError:
        # From None: the other exception carries the secret.
        raise CommandError(
            f'the secret file "{file}" is no UTF-8 text: put the secret in it as text', USAGE
        ) from None
