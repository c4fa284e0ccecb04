"""The demo for people: starts everything, says what to try, and waits until it is ended."""

import asyncio
import contextlib
import time
from typing import Final

from memsession.demo.child import StartError, State
from memsession.demo.notes import noted
from memsession.demo.orders import status
from memsession.demo.programs import Programs
from memsession.demo.stage import Stage

LOOK_S: Final = 0.2

_NODES: Final = {True: "two memcached", False: "two fake nodes"}
_PROXY: Final = {True: "HAProxy", False: "a small proxy"}


async def show(port: int, installed: Programs, called: str) -> int:
    """Run the demo until it is cancelled, which is its normal end; return 0.

    `called`: what to type to call it again.

    Raises:
        StartError: a server did not come up, or the proxy ended.
        NotesError: there is no place for a note that it runs.
    """
    nodes, proxy = _NODES[bool(installed.memcached)], _PROXY[bool(installed.haproxy)]
    print(f"Starting {nodes}, two web servers and {proxy} ...")
    for remark in installed.remarks:
        print(remark)
    hint = f"Or in a terminal: {called} stop a"
    try:
        async with Stage(port=port, installed=installed, hint=hint) as stage:
            with noted(stage.control, stage.proxy.port):
                print(introduction(stage, called))
                await _tell_what_changes(stage)
    except asyncio.CancelledError:
        with contextlib.suppress(OSError):
            print("Ended.")
    return 0


def introduction(stage: Stage, called: str) -> str:
    """Return what to try, as commands to copy."""
    servers = "\n".join(status(stage.children))
    return f"""
    {stage.page_url}          the page to watch, with buttons to stop servers
    {stage.url}   the visit counter alone, as text

{servers}

Open a page and refresh it some times: the number rises by one, whichever web server answers.
Without a browser:   curl -s -b /tmp/jar -c /tmp/jar {stage.url}

Then stop one {_NODES[bool(stage.installed.memcached)].split(" ", 1)[1].removesuffix("s")}, \
in another terminal, and refresh some times: the counter goes on.

    {called} stop a

Start it. It comes back empty; wait two seconds and refresh once.

    {called} start a

Stop the other one, and refresh: the counter goes on.

    {called} stop b

"kill" instead of "stop" ends a server without a farewell, as does kill -9 and its process number. "hang" lets it
take connections and answer nothing, until "continue". "empty" makes a memcached forget everything.
web-1 and web-2 can be stopped and started in the same way. "status" tells what runs.
Ctrl-C ends everything.
"""


async def _tell_what_changes(stage: Stage) -> None:
    """Print a line whenever a server starts, hangs or ends; return when the proxy has ended."""
    known = _doings(stage)
    while stage.proxy.running:
        await asyncio.sleep(LOOK_S)
        now = _doings(stage)
        for name, (pid, state) in now.items():
            if (pid, state) == known[name]:
                continue
            went_on = pid == known[name][0]
            match state:
                case State.RUNS:
                    what = "goes on" if went_on else f"runs, as process {pid}"
                case State.HANGS:
                    what = "hangs"
                case State.ENDED:
                    what = "has ended"
            print(f"{time.strftime('%H:%M:%S')}  {stage.children[name].name} {what}")
        known = now
    raise StartError(f"{stage.proxy.name} has ended, so nobody reaches the web servers: ending the demo")


def _doings(stage: Stage) -> dict[str, tuple[int, State]]:
    return {name: (child.pid, child.state) for name, child in stage.children.items()}
