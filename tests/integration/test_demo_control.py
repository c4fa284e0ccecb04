"""The demo's control socket: what can be done to a server, by whom, and what is answered."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from memsession.demo import ear as ear_module
from memsession.demo import programs
from memsession.demo.child import Child, Kind, State
from memsession.demo.ear import Ear
from memsession.demo.fake_node import main as fake_node_main
from memsession.demo.fake_node import run as run_fake_node
from memsession.demo.orders import obey
from memsession.demo.ports import HOST, ask, free_ports
from memsession.demo.stage import Stage

PATIENCE_S = 30
Children = dict[str, Child]


@pytest.fixture
async def children(tmp_path) -> AsyncIterator[Children]:
    """A fake node that runs, and a web server that was never started."""
    first, second = free_ports(2)
    cast = {
        "a": programs.memcached("", "a", first, tmp_path),
        "web-1": programs.web_server("web-1", second, tmp_path, {}),
    }
    await cast["a"].start()
    yield cast
    for child in cast.values():
        await child.end()


async def told(path: Path, words: str) -> str:
    """What is answered; nothing if the connection is closed."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(words.encode())
        async with asyncio.timeout(PATIENCE_S):
            with suppress(ConnectionError):
                return (await reader.read()).decode()
            return ""
    finally:
        writer.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - it is other processes that change
            await asyncio.sleep(0.01)


async def test_what_can_be_done_to_a_server(children):
    """A server is stopped, killed, started, hung and let go on; each answer says what it does then, or why not."""
    node, ran = children["a"], children["a"].pid
    steps: list[tuple[str, str, State]] = [
        ("start a", f"error: fake node a runs already, as process {ran}", State.RUNS),
        ("continue a", "error: a does not hang", State.RUNS),
        ("hang a", "ok: a hangs", State.HANGS),
        ("hang a", "error: a hangs already", State.HANGS),
        ("empty a", "error: a hangs: let it continue first", State.HANGS),
        ("start a", f"ok: a goes on, as process {ran}", State.RUNS),
        ("hang a", "ok: a hangs", State.HANGS),
        ("continue a", f"ok: a goes on, as process {ran}", State.RUNS),
        ("hang a", "ok: a hangs", State.HANGS),
        ("stop a", "ok: a has ended", State.ENDED),
        ("stop a", "error: a does not run", State.ENDED),
        ("hang a", "error: a does not run", State.ENDED),
        ("continue a", "error: a does not run: start it", State.ENDED),
        ("empty a", "error: a does not run, so it holds nothing", State.ENDED),
        ("start a", "ok: a runs, as process ", State.RUNS),
        ("hang a", "ok: a hangs", State.HANGS),
        ("kill a", "ok: a has ended", State.ENDED),
    ]

    seen = [(order, await obey(children, order.split()), node.state) for order, _, _ in steps]

    assert [
        (order, answer[: len(expected)], state)
        for (order, answer, state), (_, expected, _) in zip(seen, steps, strict=True)
    ] == steps
    assert node.pid == 0


async def test_emptying_a_node(children):
    """A node that is emptied forgets everything and stays the same process; a web server has nothing to forget."""
    node, ran = children["a"], children["a"].pid
    await ask(node.port, b"ms key 5\r\nhello\r\n", b"\r\n")
    before = await ask(node.port, b"mg key v\r\n", b"\r\n")

    answer = await obey(children, ["empty", "a"])

    assert (before, answer) == (b"VA 5\r\n", "ok: a is empty")
    assert await ask(node.port, b"mg key v\r\n", b"\r\n") == b"EN\r\n"
    assert node.pid == ran
    assert await obey(children, ["empty", "web-1"]) == "error: web-1 holds nothing that could be emptied, but a"


async def test_what_runs_is_told(children):
    """Programs are told name, kind, address and state of each server, and people the same and the process."""
    node, web = children["a"], children["web-1"]
    first, _, rest = (await obey(children, ["servers"])).partition("\n")

    assert first == "ok"
    assert json.loads(rest) == [
        {"name": "a", "kind": "memcached", "address": f"{HOST}:{node.port}", "state": "runs"},
        {"name": "web-1", "kind": "web", "address": f"{HOST}:{web.port}", "state": "ended"},
    ]

    await obey(children, ["hang", "a"])

    lines = (await obey(children, ["status"])).splitlines()
    assert [line.split() for line in lines] == [
        ["ok"],
        ["a", f"{HOST}:{node.port}", "process", f"{node.pid},", "hangs"],
        ["web-1", f"{HOST}:{web.port}", "ended"],
    ]
    assert json.loads((await obey(children, ["servers"])).partition("\n")[2])[0]["state"] == "hangs"


@pytest.mark.parametrize("words", [[], ["stop"], ["stop", "a", "b"], ["dance", "a"], ["status", "a"]])
async def test_words_that_make_no_order(children, words):
    """What is no order is refused with the list of those that are, and changes nothing."""
    answer = await obey(children, words)

    assert answer == ("error: say status or servers, or start, stop, kill, hang, continue, empty and a name")
    assert children["a"].state is State.RUNS


async def test_an_unknown_name(children):
    """A name that is none of the servers' is refused with their names."""
    assert await obey(children, ["stop", "z"]) == "error: there is no z here, but a, web-1"


async def test_a_server_that_does_not_come_up(children):
    """A start that fails is answered with the reason."""
    children["web-1"].environment = {**children["web-1"].environment, "COUNTER_POOL": "memory://"}

    answer = await obey(children, ["start", "web-1"])

    assert answer.startswith("error: web-1 ended at once")
    assert "COUNTER_SECRET" in answer


async def test_orders_come_over_a_socket(children, tmp_path):
    """One line is asked and answered; an order waits for the one before, a look does not."""
    path = tmp_path / "control"
    async with Ear(path, lambda: children) as ear:
        async with ear.turn:
            waiting = asyncio.ensure_future(told(path, "hang a\n"))
            looks = [await told(path, "servers\n"), await told(path, "status\n")]
            assert not waiting.done()
        answer = await waiting

    assert [look.startswith("ok\n") for look in looks] == [True, True]
    assert answer == "ok: a hangs: it takes connections and answers nothing\n"


async def test_who_asks_badly_disturbs_nobody(children, tmp_path, monkeypatch):
    """Endless lines, silence, no text, askers who leave, too many of them: the next one is answered."""
    monkeypatch.setattr(ear_module, "LINE_S_MAX", 0.05)
    path = tmp_path / "control"
    async with Ear(path, lambda: children):
        answers = [await told(path, "x" * 5_000), await told(path, ""), await told(path, "\n")]
        for data in (b"", b"status\n", b"\xff\xfe\n"):
            _, writer = await asyncio.open_unix_connection(path)
            writer.write(data)
            writer.close()
        monkeypatch.setattr(ear_module, "_ASKERS_MAX", 0)
        answers.append(await told(path, "servers\n"))
        monkeypatch.setattr(ear_module, "_ASKERS_MAX", 100)
        last = await told(path, "servers\n")

    assert answers == [""] * 4
    assert last.startswith("ok\n[")


ASK_FOR_ONE_S_OWN_END = """
import pathlib, socket, sys, time
verb, path, file = sys.argv[1:]
with socket.socket(socket.AF_UNIX) as door:
    door.connect(path)
    door.sendall(f"{verb} me\\n".encode())
    pathlib.Path(file).write_bytes(door.makefile("rb").read())
time.sleep(60)
"""


@pytest.mark.parametrize(("verb", "then"), [("stop", State.ENDED), ("kill", State.ENDED), ("hang", State.HANGS)])
async def test_a_server_that_asks_for_its_own_end_is_answered_first(tmp_path, monkeypatch, verb, then):
    """A web server through which its own end was ordered can still pass the answer on; then it is done."""
    monkeypatch.setattr(ear_module, "PARTING_S", 1.0)
    path, file = tmp_path / "control", tmp_path / "answer"
    child = Child(name="me", kind=Kind.WEB, port=1, command=(), log=tmp_path / "log", question=b"", answer="")
    other = Child(name="other", kind=Kind.WEB, port=2, command=(), log=tmp_path / "log", question=b"", answer="")
    other.process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])  # noqa: ASYNC220
    async with Ear(path, lambda: {"me": child, "other": other}):
        command = [sys.executable, "-c", ASK_FOR_ONE_S_OWN_END, verb, str(path), str(file)]
        child.process = subprocess.Popen(command)  # noqa: ASYNC220 - as the demo does
        await until(lambda: child.state is then)
    await child.end()
    await other.end()

    assert file.read_text() == "ok: me has heard it\n"


@pytest.mark.parametrize("verb", ["stop", "kill", "hang"])
async def test_no_button_silences_the_last_web_server_that_runs(tmp_path, verb):
    """Whatever the page that was asked believed; from a terminal it can be done."""
    path, file = tmp_path / "control", tmp_path / "answer"
    child = Child(name="me", kind=Kind.WEB, port=1, command=(), log=tmp_path / "log", question=b"", answer="")
    gone = Child(name="gone", kind=Kind.WEB, port=2, command=(), log=tmp_path / "log", question=b"", answer="")
    async with Ear(path, lambda: {"me": child, "gone": gone}):
        command = [sys.executable, "-c", ASK_FOR_ONE_S_OWN_END, verb, str(path), str(file)]
        child.process = subprocess.Popen(command)  # noqa: ASYNC220 - as the demo does
        await until(lambda: file.exists() and file.read_text().endswith("\n"))
        before = child.state
        answer = await told(path, f"{verb} me\n")
    await child.end()

    assert file.read_text() == "error: me is the last web server that runs\n"
    assert before is State.RUNS
    assert answer.startswith("ok: me ")


async def test_nothing_is_started_after_the_end(children, tmp_path):
    """An order that still waits when the demo ends is dropped, so that it leaves no process behind."""
    path = tmp_path / "control"
    await children["a"].end()
    async with Ear(path, lambda: children) as ear:
        await ear.turn.acquire()
        waiting = asyncio.ensure_future(told(path, "start a\n"))
        await until(lambda: len(ear._askers) == 1)

    assert await waiting == ""
    assert not children["a"].running


async def test_the_page_reaches_the_demo_that_it_belongs_to():
    """The socket is there before the web servers start, which know it, in a folder for this user only."""
    async with Stage(installed=programs.Programs()) as stage:
        answer = await told(stage.control, "servers\n")
        web = stage.children["web-1"]
        known = web.environment["COUNTER_CONTROL"]
        mode = os.stat(stage.folder).st_mode & 0o777
        order = [os.stat(stage.control).st_mtime_ns, os.stat(web.log).st_mtime_ns]

    kinds = {server["name"]: server["kind"] for server in json.loads(answer.partition("\n")[2])}
    assert kinds == {"a": "memcached", "b": "memcached", "web-1": "web", "web-2": "web", "proxy": "proxy"}
    assert (known, mode) == (str(stage.control), 0o700)
    assert order == sorted(order)
    assert not stage.folder.exists()


async def test_a_fake_node_serves_until_it_is_ended():
    """As a process of its own, a fake node serves on the port that it was given, and gives it back."""
    (port,) = free_ports(1)
    running = asyncio.ensure_future(run_fake_node(port))
    await asyncio.sleep(0)

    version = await ask(port, b"version\r\n", b"\r\n")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert version.startswith(b"VERSION 1.6.")
    assert await ask(port, b"version\r\n", b"\r\n") == b""


async def test_a_fake_node_whose_port_is_taken(children, capsys):
    """It ends with the reason in one line."""
    port = str(children["a"].port)

    assert await asyncio.to_thread(fake_node_main, [port]) == 1

    assert capsys.readouterr().err.startswith(f"port {port}: ")
