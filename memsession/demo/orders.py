"""What the demo can be told to do to its servers, and what it answers.

An order is one line: `start`, `stop` (SIGTERM), `kill` (SIGKILL), `hang` (SIGSTOP), `continue` (SIGCONT) or `empty`
(memcached's flush_all) with the name of a server; or `status`, for people, or `servers`, for programs. The first line
of the answer begins with "ok" or "error".
"""

import json
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from memsession.demo.child import Child, Kind, StartError, State
from memsession.demo.ports import HOST, ask

Children = Mapping[str, Child]


async def obey(children: Children, words: Sequence[str]) -> str:
    """Do what the words say, and return the answer."""
    match words:
        case ["status"]:
            return "ok\n" + "\n".join(status(children))
        case ["servers"]:
            return "ok\n" + json.dumps(servers(children))
        case [verb, name] if verb in ORDERS:
            if name not in children:
                return f"error: there is no {name} here, but {', '.join(children)}"
            try:
                return await ORDERS[verb](children, name)
            except StartError as error:
                return f"error: {error}"
        case _:
            return f"error: say status or servers, or {', '.join(ORDERS)} and a name"


def status(children: Children) -> list[str]:
    """Return a line for each server: its name, address and process."""
    return [f"  {name:<9} {f'{HOST}:{child.port}':<15} {_doing(child)}" for name, child in children.items()]


def servers(children: Children) -> list[dict[str, str]]:
    """Return the same as data."""
    return [
        {
            "name": name,
            "kind": child.kind.value,
            "address": f"{HOST}:{child.port}",
            "state": child.state.value,
        }
        for name, child in children.items()
    ]


def _doing(child: Child) -> str:
    match child.state:
        case State.RUNS:
            return f"process {child.pid}"
        case State.HANGS:
            return f"process {child.pid}, hangs"
        case State.ENDED:
            return "ended"


async def _start(children: Children, name: str) -> str:
    child = children[name]
    if child.state is State.HANGS:
        return await _go_on(children, name)
    await child.start()
    return f"ok: {name} runs, as process {child.pid}"


async def _stop(children: Children, name: str) -> str:
    return await _end(children, name, signal.SIGTERM)


async def _kill(children: Children, name: str) -> str:
    return await _end(children, name, signal.SIGKILL)


async def _end(children: Children, name: str, how: signal.Signals) -> str:
    if not children[name].running:
        return f"error: {name} does not run"
    await children[name].end(how)
    return f"ok: {name} has ended"


async def _hang(children: Children, name: str) -> str:
    match children[name].state:
        case State.RUNS:
            await children[name].hang()
            return f"ok: {name} hangs: it takes connections and answers nothing"
        case State.HANGS:
            return f"error: {name} hangs already"
        case State.ENDED:
            return f"error: {name} does not run"


async def _go_on(children: Children, name: str) -> str:
    child = children[name]
    match child.state:
        case State.RUNS:
            return f"error: {name} does not hang"
        case State.HANGS:
            await child.go_on()
            return f"ok: {name} goes on, as process {child.pid}"
        case State.ENDED:
            return f"error: {name} does not run: start it"


async def _empty(children: Children, name: str) -> str:
    child = children[name]
    if child.kind is not Kind.MEMCACHED:
        nodes = [other for other, one in children.items() if one.kind is Kind.MEMCACHED]
        return f"error: {name} holds nothing that could be emptied, but {', '.join(nodes)}"
    match child.state:
        case State.RUNS:
            answered = await ask(child.port, b"flush_all\r\n", b"\r\n") == b"OK\r\n"
            return f"ok: {name} is empty" if answered else f"error: {name} did not answer"
        case State.HANGS:
            return f"error: {name} hangs: let it continue first"
        case State.ENDED:
            return f"error: {name} does not run, so it holds nothing"


ORDERS: Final[dict[str, Callable[[Children, str], Awaitable[str]]]] = {
    "start": _start,
    "stop": _stop,
    "kill": _kill,
    "hang": _hang,
    "continue": _go_on,
    "empty": _empty,
}
"""What can be done to a server, by its word."""

SILENCING: Final = frozenset({"stop", "kill", "hang"})
"""Orders after which a server says nothing more."""

LOOKS: Final = frozenset({"status", "servers"})
"""Orders that change nothing."""

WORDS: Final = (*ORDERS, *sorted(LOOKS))
"""All first words of orders."""
