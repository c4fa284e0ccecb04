"""Pools from names that stand for several servers, such as a headless service of Kubernetes."""

import socket
from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from threading import Thread
from typing import Any

from memsession.addresses import DEFAULT_PORT, NODES_MAX
from memsession.errors import ConfigurationError
from memsession.pool import Pool

Resolve = Callable[[str, int], list[str]]


def addresses_of(host: str, port: int) -> list[str]:
    """All addresses that the system's resolver knows for a name, sorted: of the fourth version, if it has any.

    A server that has addresses of both versions would otherwise be two nodes of the pool.

    Raises:
        OSError: it knows none, or does not answer.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    fourth = [where for family, _, _, _, where in found if family == socket.AF_INET]
    return sorted({str(where[0]) for where in fourth or [where for _, _, _, _, where in found]})


def pool_from_dns(
    host: str,
    port: int = DEFAULT_PORT,
    *,
    timeout: timedelta = timedelta(seconds=5),
    resolve: Resolve = addresses_of,
    **options: Any,
) -> Pool:
    """The pool of all servers that `host` stands for now, each named by its address. `options` go to `Pool`.

    To be called again when they may have changed, and the result given to `reload`: it is never empty, so a resolver
    that fails takes no server away. `timeout` bounds the wait for the resolver.

    Raises:
        ConfigurationError: the name cannot be resolved, or stands for too many; or as `Pool` does.
    """
    given: object = timeout
    if not isinstance(given, timedelta) or given <= timedelta():
        raise ConfigurationError(f"pool_from_dns(timeout={timeout!r}): use a timedelta above zero")
    answer: Future[list[str]] = Future()

    def ask() -> None:
        try:
            answer.set_result(resolve(host, port))
        except Exception as problem:  # noqa: BLE001 - it is raised where the answer is awaited
            answer.set_exception(problem)

    Thread(target=ask, name="memsession resolver", daemon=True).start()
    try:
        found = answer.result(timeout.total_seconds())
    except (OSError, UnicodeError) as problem:
        why = str(problem) or f"no answer within {timeout.total_seconds():g} s"
        raise ConfigurationError(f"pool_from_dns({host!r}): the name cannot be resolved: {why}") from problem
    if not 0 < len(found) <= NODES_MAX:
        raise ConfigurationError(
            f"pool_from_dns({host!r}): it stands for {len(found)} addresses; use 1 to {NODES_MAX}"
        )
    return Pool(*(f"[{one}]:{port}" if ":" in one else f"{one}:{port}" for one in found), **options)
