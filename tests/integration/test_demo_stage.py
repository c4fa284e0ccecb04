"""The demo's stage and its processes: taken ports, servers that do not come up or do not go, what is left behind."""

import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL

import pytest

from memsession.demo import check as check_module
from memsession.demo import child as child_module
from memsession.demo import stage as stage_module
from memsession.demo.child import Child, Kind, StartError, State
from memsession.demo.ports import HOST, free_ports
from memsession.demo.programs import Programs
from memsession.demo.report import Report
from memsession.demo.stage import Stage
from memsession.demo.visitor import Browser

STAND_INS = Programs()


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody else listens."""
    with socket.create_server((HOST, free_ports(1)[0])) as other:
        yield other.getsockname()[1]


def program(tmp_path: Path, code: str) -> Child:
    command = [sys.executable, "-c", code]
    return Child(
        name="it",
        kind=Kind.WEB,
        port=free_ports(1)[0],
        command=command,
        log=tmp_path / "log",
        question=b"?",
        answer="!",
    )


async def test_a_port_that_was_taken_meanwhile(taken, monkeypatch):
    """Between the choice of a port and its use another program may take it: then others are chosen."""
    chosen = [[*free_ports(3), taken, *free_ports(1)]]
    monkeypatch.setattr(stage_module, "free_ports", lambda count: chosen.pop() if chosen else free_ports(count))

    async with Stage(installed=STAND_INS) as stage:
        ports = {child.port for child in stage.children.values()}
        states = {child.state for child in stage.children.values()}

    assert taken not in ports
    assert states == {State.RUNS}


async def test_a_wanted_port_that_is_taken(taken, monkeypatch, tmp_path):
    """The port that somebody asked for is not replaced by another one; what had started is ended again."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    stage = Stage(installed=STAND_INS, port=taken)

    with pytest.raises(StartError, match=r"is in use(.|\n)*Choose another port: --port"):
        await stage.__aenter__()

    assert {child.state for child in stage.children.values()} <= {State.ENDED}
    assert list(tmp_path.iterdir()) == []


async def test_a_program_that_is_broken(tmp_path, monkeypatch):
    """A server that cannot run is an error at once, with its own words, and nothing is tried again."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    stage = Stage(installed=Programs(memcached="/bin/false"))

    with pytest.raises(StartError, match=r"memcached [ab] ended at once"):
        await stage.__aenter__()

    assert list(tmp_path.iterdir()) == []


async def test_web_servers_that_are_not_reached(monkeypatch):
    """If the proxy does not hand visitors to both web servers, or has gone, that is an error and no endless wait."""
    monkeypatch.setattr(stage_module, "START_S_MAX", 5.0)
    async with Stage(installed=STAND_INS) as stage:
        monkeypatch.setattr(stage_module, "START_S_MAX", 0.2)
        await stage.end("web-1", SIGKILL)
        with pytest.raises(StartError, match="the proxy does not hand visitors to both web servers"):
            await stage.both_serve()
        await stage.end("proxy", SIGKILL)
        with pytest.raises(StartError, match="the proxy ended"):
            await stage.both_serve()


def test_the_folder_is_private_and_its_name_short(tmp_path, monkeypatch):
    """The path of a socket has a limit: where the folder for temporary files lies too deep, another one is taken."""
    deep = tmp_path / ("x" * 90)
    deep.mkdir()
    folders = []
    for place in (tmp_path, deep):
        monkeypatch.setattr(tempfile, "tempdir", str(place))
        folders.append(stage_module._new_folder())

    modes = [folder.stat().st_mode & 0o777 for folder in folders]
    for folder in folders:
        folder.rmdir()
    assert modes == [0o700, 0o700]
    assert folders[1].parent == Path("/tmp")
    assert list(deep.iterdir()) == []


async def test_a_process_that_does_not_go_is_killed(tmp_path, monkeypatch):
    """One that ignores SIGTERM is gone all the same."""
    monkeypatch.setattr(child_module, "END_S_MAX", 0.1)
    stubborn = program(
        tmp_path,
        "import os, signal, socket, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "door = socket.create_server(('127.0.0.1', int(os.environ['IT'])))\n"
        "while True: door.accept()[0].sendall(b'!')",
    )
    stubborn.environment = {"IT": str(stubborn.port)}
    await stubborn.start()

    await stubborn.end()

    assert stubborn.state is State.ENDED


async def test_a_process_that_does_not_answer_is_ended(tmp_path, monkeypatch):
    """One that runs and never serves is an error, and does not stay."""
    monkeypatch.setattr(child_module, "START_S_MAX", 0.1)
    silent = program(tmp_path, "import time; time.sleep(60)")

    with pytest.raises(StartError, match=r"it did not answer within(.|\n)*\(it wrote nothing\)"):
        await silent.start()

    assert silent.state is State.ENDED


async def test_settings_of_another_counter_do_not_get_in(tmp_path, monkeypatch):
    """What the environment says of some other visit counter is not passed on, all else is."""
    monkeypatch.setenv("COUNTER_SECRET", "of another one")
    monkeypatch.setenv("ANYTHING_ELSE", "stays")
    asks = program(
        tmp_path,
        "import os\n"
        "raise SystemExit(' '.join(sorted(os.environ.keys() & {'COUNTER_SECRET', 'ANYTHING_ELSE', 'OWN'})))",
    )
    asks.environment = {"OWN": "1"}

    with pytest.raises(StartError, match=r"\n    ANYTHING_ELSE OWN$"):
        await asks.start()


async def test_only_what_runs_can_hang(tmp_path, monkeypatch):
    """A process that has ended cannot be stopped; and where the system does not tell, what was done is believed."""
    sleeper = program(tmp_path, "import time; time.sleep(60)")
    sleeper._spawn()
    await sleeper.hang()
    seen = [sleeper.state]
    monkeypatch.setattr(child_module, "_is_stopped", lambda pid: None)
    seen.append(sleeper.state)
    sleeper.told_to_hang = False
    seen.append(sleeper.state)
    await sleeper.end()

    assert seen == [State.HANGS, State.HANGS, State.RUNS]
    with pytest.raises(StartError, match="could not be stopped"):
        await sleeper.hang()


def test_a_process_that_is_gone_is_not_said_to_hang():
    """Of a process that there is not, the system tells nothing."""
    assert child_module._is_stopped(2**22 + 1) is None
    assert child_module._is_stopped(os.getpid()) is not True


def test_a_check_with_wrong_figures_fails(capsys):
    """A figure that is not what it must be is named, with its phase, and makes the check fail."""
    report = Report()
    with report.phase("some visits") as phase:
        phase.fail("status 503")

    assert check_module._verdict(report, None) == 1

    said = capsys.readouterr().out
    assert "2 figures are not what they must be" in said
    assert "some visits: status 503" in said


async def test_a_port_that_another_demo_has_is_refused() -> None:
    async with Stage() as first:
        with pytest.raises(StartError, match="Choose another port"):
            async with Stage(port=first.proxy.port):
                pass


async def test_demos_in_one_browser_have_cookies_of_their_own() -> None:
    async with Stage() as one, Stage() as other:
        names = []
        for stage in (one, other):
            browser = Browser(stage.url)
            await browser.get()
            names += browser.cookies()
            browser.close()
    assert len(set(names)) == 2
