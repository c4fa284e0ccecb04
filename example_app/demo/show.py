"""The demo for people: starts everything, says what to try, and waits until it is ended."""

import asyncio
import contextlib
import shlex
import time

from example_app.demo.child import StartError
from example_app.demo.control import Ear, status
from example_app.demo.programs import PROJECT
from example_app.demo.stage import PROXY, Stage

LOOK_S = 0.2


async def show(port: int) -> int:
    """Run the demo until it is cancelled, which is its normal end; return 0.

    Raises:
        StartError: a server did not come up, or the proxy ended.
    """
    print("Starting two memcached, two web servers and HAProxy ...")
    try:
        async with Stage(port=port) as stage, Ear(stage):
            print(introduction(stage))
            await _tell_what_changes(stage)
    except asyncio.CancelledError:
        with contextlib.suppress(OSError):
            print("Ended.")
    return 0


def introduction(stage: Stage) -> str:
    """Return what to try, as commands to copy."""
    script = shlex.quote(str(PROJECT / "scripts" / "demo"))
    servers = "\n".join(status(stage))
    return f"""
    {stage.url}

{servers}

Open the page and refresh it some times: the number rises by one, whichever web server answers.
Without a browser:   curl -s -b /tmp/jar -c /tmp/jar {stage.url}

Then stop one memcached, in another terminal, and refresh some times: the counter goes on.

    {script} stop a

Start it. It comes back empty; wait two seconds and refresh once.

    {script} start a

Stop the other one, and refresh: the counter goes on.

    {script} stop b

"kill" instead of "stop" ends a server without a farewell, as does kill -9 and its process number;
web-1 and web-2 can be stopped and started in the same way. "status" tells what runs.
Ctrl-C ends everything.
"""


async def _tell_what_changes(stage: Stage) -> None:
    """Print a line whenever a server starts or ends; return when the proxy has."""
    known = {name: child.pid for name, child in stage.children.items()}
    while stage.children[PROXY].running:
        await asyncio.sleep(LOOK_S)
        now = {name: child.pid for name, child in stage.children.items()}
        for name, pid in now.items():
            if pid != known[name]:
                what = f"runs, as process {pid}" if pid else "has ended"
                print(f"{time.strftime('%H:%M:%S')}  {stage.children[name].name} {what}")
        known = now
    raise StartError("haproxy has ended, so nobody reaches the web servers: ending the demo")
