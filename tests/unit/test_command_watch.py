"""`memsession watch`: one look after the other, by itself, until somebody has seen enough."""

import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from memsession.command import watch as watching
from tests.command_line import PROJECT, Answer, check_clear, memsession
from tests.servers import PATIENCE_S, free_port

FAST = ("--every", "0.1")


def instead_of_sleep(monkeypatch, happens):
    """Between two looks something happens, and no time is lost."""
    clocks = {name: getattr(time, name) for name in ("monotonic", "time", "strftime")}
    monkeypatch.setattr(watching, "time", SimpleNamespace(**clocks, sleep=happens))


def test_blocks_without_a_terminal(memcached):
    """Each with the time, the nodes, and what they do in a second."""
    one, two = memcached(), memcached()
    answer = memsession("watch", one.address, two.address, "--count", "2", *FAST)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.count("2 of 2 nodes up") == 2
    assert answer.out.count("get/s") == 2
    assert answer.out.count(one.address) == 2


def test_lines_of_json(memcached):
    """One for each look; rates from the second one on."""
    node = memcached()
    answer = memsession("watch", node.address, "--count", "2", "--json", *FAST)
    first, second = (json.loads(line) for line in answer.out.splitlines())
    assert first["nodes"][0]["gets_per_s"] is None
    assert (second["nodes"][0]["gets_per_s"], second["nodes"][0]["sets_per_s"]) == (0.0, 0.0)
    assert second["time"] >= first["time"]
    assert (first["findings"], first["nodes"][0]["state"]) == ([], "up")


def test_what_nodes_do_in_a_second(memcached, monkeypatch):
    """Is counted between two looks; who has restarted in between has no rate."""
    one, two = memcached(), memcached()
    two.ask(b"get a", until=b"END\r\n")

    def sleep(_):
        for _ in range(5):
            one.ask(b"get a", until=b"END\r\n")
        one.ask(b"set a 0 0 1\r\nx")
        two.restart()

    instead_of_sleep(monkeypatch, sleep)
    answer = memsession("watch", one.address, two.address, "--count", "2", "--json")
    _, second = (json.loads(line) for line in answer.out.splitlines())
    busy, restarted = second["nodes"]
    assert busy["gets_per_s"] > busy["sets_per_s"] > 0.0
    assert restarted["gets_per_s"] is None


def test_on_a_terminal_it_stays_in_its_place(memcached):
    """The cursor goes up again, and nothing is left hidden."""
    node = memcached()
    answer = memsession("watch", node.address, "--count", "3", *FAST, FORCE_COLOR="1", TERM="xterm")
    assert answer.code == 0
    assert "\x1b[1A" in answer.out
    assert answer.out.rfind("\x1b[?25h") > answer.out.rfind("\x1b[?25l")
    assert node.address in answer.out


def test_a_node_that_goes(memcached, monkeypatch):
    """Is shown as gone by the next look, and the exit code is of the last one."""
    one, two = memcached(), memcached()
    instead_of_sleep(monkeypatch, lambda _: two.kill())
    answer = memsession("watch", one.address, two.address, "--count", "2")
    assert answer.code == 1
    first, second = answer.out.split("1 of 2 nodes up")
    assert "refused!" not in first
    assert "refused!" in second


def test_all_down():
    """The exit code is 3, as with stats."""
    answer = memsession("watch", f"127.0.0.1:{free_port()}", "--count", "1")
    assert (answer.code, answer.err) == (3, "")
    assert "nothing listens here" in answer.words


@pytest.fixture
def foreground():
    """What is started here is ended by Ctrl-C, though we may have been started in the background, where it is not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_it_well(memcached, foreground):
    """With 0, without a word, from a real shell."""
    node = memcached()
    with subprocess.Popen(
        [sys.executable, "-m", "memsession", "watch", node.address, *FAST],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "80"},
    ) as program:
        assert "1 of 1 node up" in program.stdout.readline()
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=PATIENCE_S * 10)
    check_clear(Answer(program.returncode, out, err))
    assert (program.returncode, err) == (0, "")


def test_ctrl_c_between_two_looks(monkeypatch):
    """Even if all nodes are down: somebody has seen enough."""

    def stop(_):
        raise KeyboardInterrupt

    instead_of_sleep(monkeypatch, stop)
    answer = memsession("watch", f"127.0.0.1:{free_port()}")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.count("nodes up") + answer.out.count("node up") == 1


@pytest.mark.parametrize("options", [["--every", "0"], ["--count", "0"], ["--every", "often"], ["--idle", "0"]])
def test_wrong_options(options):
    """Are errors of usage, in one line."""
    answer = memsession("watch", "127.0.0.1:1", *options)
    assert (answer.code, answer.out) == (2, "")
    assert options[0] in answer.err
