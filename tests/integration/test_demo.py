"""The demo as it is started by hand: it checks itself, obeys commands, ends everything, and leaves nothing behind."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL

import httpx
import pytest

from memsession.demo.__main__ import main
from memsession.demo.check import QUICK
from memsession.demo.ports import free_ports
from memsession.demo.report import Report
from memsession.demo.stage import Stage
from memsession.demo.trials import Trials

PROJECT = Path(__file__).parents[2]
DEMO = [sys.executable, "-m", "memsession.demo"]
PATIENCE_S = 60


def _hear_hangups() -> None:
    """As from a terminal, also when these tests themselves were started by nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


class Running:
    """A demo in the background, without a terminal; what it printed up to its last instruction is in `said`."""

    def __init__(self) -> None:
        # As a shell starts something in the background: with Ctrl-C switched off for it.
        command = ["/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh", *DEMO]
        self.process = subprocess.Popen(
            command,
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=_hear_hangups,  # noqa: PLW1509 - no thread of ours runs yet
        )
        # Whatever goes wrong, nobody waits for ever for its next line.
        self._alarm = threading.Timer(PATIENCE_S, self.process.kill)
        self._alarm.start()
        self.said = ""
        self.read_until("Ctrl-C ends everything")

    def read_until(self, words: str) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line.decode()
            if words in self.said:
                return self.said
        raise AssertionError(f"the demo ended without saying {words!r}, but:\n{self.said}")

    @property
    def url(self) -> str:
        found = re.search(r"http://127\.0\.0\.1:\d+/session\.php", self.said)
        assert found is not None
        return found[0]

    @property
    def page(self) -> str:
        found = re.search(r"http://127\.0\.0\.1:\d+/pool", self.said)
        assert found is not None
        return found[0]

    @property
    def port(self) -> str:
        return self.url.split(":")[2].split("/")[0]

    def tell(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [*DEMO, *words, "--port", self.port]
        return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=PATIENCE_S, check=False)

    def addresses(self) -> dict[str, tuple[int, int]]:
        """Port and process of each server, 0 for one that has ended."""
        lines = re.findall(
            r"^  (\S+) +127\.0\.0\.1:(\d+) +(?:process (\d+)|ended)$", self.tell("status").stdout, re.M
        )
        return {name: (int(port), int(pid or 0)) for name, port, pid in lines}

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        assert self.process.stdout is not None
        self.said += self.process.stdout.read().decode()
        self.process.stdout.close()
        status = self.process.wait(PATIENCE_S)
        self._alarm.cancel()
        return status


@pytest.fixture
def demo() -> Iterator[Running]:
    running = Running()
    yield running
    running.end()


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_check_finds_every_figure_right(tmp_path):
    """A shortened check goes through all phases, and each figure is what it must be."""
    file = tmp_path / "figures.json"

    run = subprocess.run(
        [*DEMO, "--check", "--quick", "--json", str(file)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )

    assert run.returncode == 0, run.stdout + run.stderr
    phases = json.loads(file.read_text())["phases"]
    assert [phase for phase in phases if phase["failures"]] == []
    assert [phase["lost"] > 0 for phase in phases] == [("copies=1: a killed" in phase["phase"]) for phase in phases]
    assert {phase["visits"] for phase in phases} == {1, 4, 20, 60}


def test_the_check_on_stand_ins(tmp_path, capsys):
    """Without memcached and HAProxy the same check goes through all phases on fake nodes, and says so."""
    file = tmp_path / "figures.json"

    status = main(["--check", "--quick", "--stand-ins", "--json", str(file)])

    printed = capsys.readouterr().out.splitlines()
    assert status == 0, "\n".join(printed)
    assert printed[0] == "Fake nodes stand in for memcached, and a small proxy for HAProxy, as --stand-ins asks."
    assert "All figures are what they must be, shown on stand-ins" in printed[-1]
    figures = json.loads(file.read_text())
    assert figures["stand_ins"] == printed[:1]
    assert {phase["visits"] for phase in figures["phases"]} == {1, 4, 20, 60}


async def test_the_check_finds_what_is_lost():
    """Where sessions have one copy only, ending the nodes in turn loses counts, and the check says so."""
    report = Report()
    async with Stage(copies=1) as stage:
        await Trials(QUICK, report).nodes_in_turn(stage, SIGKILL)

    assert report.failures != []
    assert sum(phase.errors + phase.reset + phase.lost for phase in report.phases) > 0


def test_commands_stop_and_start_servers(demo):
    """What the demo says to try works: it stops and starts a node, and the counter goes on meanwhile."""
    before = demo.addresses()
    with httpx.Client(trust_env=False) as browser:
        numbers = [browser.get(demo.url).text.split("\n")[0]]

        assert demo.tell("stop", "a").stdout == "ok: a has ended\n"
        demo.read_until("memcached a has ended")
        numbers.append(browser.get(demo.url).text.split("\n")[0])
        assert demo.addresses()["a"] == (before["a"][0], 0)

        assert demo.tell("start", "a").returncode == 0
        demo.read_until("memcached a runs")
        numbers.append(browser.get(demo.url).text.split("\n")[0])

    assert numbers[1:] == ["This server has seen you 1 times", "This server has seen you 2 times"]
    after = demo.addresses()
    assert after["a"][0] == before["a"][0]
    assert after["a"][1] not in (0, before["a"][1])
    assert {name: after[name] for name in after if name != "a"} == {
        name: before[name] for name in before if name != "a"
    }


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (("stop", "z"), "error: there is no z here, but a, b, web-1, web-2, haproxy\n"),
        (("start", "b"), "error: memcached b runs already, as process "),
        (("stop",), "error: say status or servers, or start, stop, kill, hang, continue, empty and a name\n"),
        (("continue", "a"), "error: a does not hang\n"),
    ],
)
def test_commands_that_make_no_sense_are_refused(demo, words, answer):
    """A command that cannot be obeyed says why, and fails."""
    told = demo.tell(*words)

    assert told.returncode == 1
    assert told.stderr.startswith(answer)


def test_a_server_hangs_and_goes_on(demo):
    """A node that hangs is told apart from one that ended, and the counter goes on while it does, and afterwards."""
    process = demo.addresses()["a"][1]
    with httpx.Client(trust_env=False) as browser:
        numbers = [browser.get(demo.url).text.split("\n")[0]]

        assert demo.tell("hang", "a").returncode == 0
        demo.read_until("memcached a hangs")
        numbers.append(browser.get(demo.url).text.split("\n")[0])
        assert {server["name"]: server["state"] for server in json.loads(demo.tell("servers").stdout)}["a"] == "hangs"

        assert demo.tell("continue", "a").stdout == f"ok: a goes on, as process {process}\n"
        demo.read_until("memcached a goes on")
        assert demo.tell("empty", "a").stdout == "ok: a is empty\n"
        numbers.append(browser.get(demo.url).text.split("\n")[0])

    assert numbers[1:] == ["This server has seen you 1 times", "This server has seen you 2 times"]


def test_a_server_killed_from_outside_is_noticed_and_starts_again(demo):
    """A plain kill -9 does what "kill" does, and the server can be started again."""
    os.kill(demo.addresses()["web-1"][1], SIGKILL)
    demo.read_until("web-1 has ended")

    assert demo.tell("kill", "web-1").stderr == "error: web-1 does not run\n"
    assert demo.tell("start", "web-1").stdout.startswith("ok: web-1 runs, as process ")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything(how):
    """Ctrl-C, SIGTERM or a closed terminal end all processes in order, also of a demo without a terminal."""
    demo = Running()
    pids = [pid for _, pid in demo.addresses().values()]

    status = demo.end(how)

    assert status == 0
    assert demo.said.endswith("Ended.\n")
    assert [pid for pid in pids if is_running(pid)] == []
    assert demo.tell("status").stderr == (
        f"error: no demo runs on port {demo.port}; start it with {PROJECT / 'scripts' / 'demo'}\n"
    )


def test_a_signal_in_the_middle_of_the_start_ends_everything(tmp_path):
    """Ended before it was ready, the demo leaves no process and no folder."""
    before = set(os.listdir(tmp_path))
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(DEMO, cwd=PROJECT, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        said = process.stdout.read().decode()

    assert process.returncode == 0
    assert "Ended." in said
    assert set(os.listdir(tmp_path)) == before


def test_the_end_of_the_proxy_is_the_end_of_the_demo():
    """Without the proxy nobody reaches anything: the demo ends, says so and fails."""
    demo = Running()
    pids = {name: pid for name, (_, pid) in demo.addresses().items()}
    os.kill(pids["haproxy"], SIGKILL)
    demo.read_until("haproxy has ended, so")

    assert demo.process.wait(PATIENCE_S) == 1
    demo.end()
    assert [pid for pid in pids.values() if is_running(pid)] == []


def test_a_taken_port_is_an_error_that_names_the_cure():
    """A port that another program has is refused, and nothing stays behind."""
    with socket.create_server(("127.0.0.1", free_ports(1)[0])) as other:
        run = subprocess.run(
            [*DEMO, "--port", str(other.getsockname()[1])],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    assert run.returncode == 1
    assert "is in use" in run.stderr
    assert "Choose another port: --port" in run.stderr


def test_several_demos_are_told_apart(demo):
    """With two demos running, a command must say which one it means."""
    other = Running()
    try:
        told = subprocess.run(
            [*DEMO, "status"], cwd=PROJECT, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
    finally:
        other.end()

    assert told.returncode == 1
    assert "several demos run; say which" in told.stderr
    assert f"--port {demo.port}" in told.stderr
    assert f"--port {other.port}" in told.stderr
