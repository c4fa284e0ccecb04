"""The demo for people from inside: what it prints while servers come and go, how it ends, how it judges itself."""

import asyncio
import os
import re
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from memsession.demo import control, notes, performance
from memsession.demo.__main__ import main
from memsession.demo.child import Child, StartError
from memsession.demo.programs import Programs
from memsession.demo.show import show
from memsession.demo.visitor import Visitor

PATIENCE_S = 60
STAND_INS = Programs(remarks=("Fake nodes stand in.",))


@pytest.fixture(autouse=True)
def _own_notes(tmp_path, monkeypatch) -> None:
    """Demos of other tests are not seen."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - it is other processes that change
            await asyncio.sleep(0.02)


async def tell(*words: str) -> str:
    return await asyncio.to_thread(control.command, list(words), called="memsession demo")


async def test_what_is_printed(capsys):
    """It says what stands in, what to try, and every change; when it is ended, nothing stays behind."""
    said = ""

    def has_said(words: str) -> bool:
        nonlocal said
        said += capsys.readouterr().out
        return words in said

    demo = asyncio.ensure_future(show(0, STAND_INS, "memsession demo"))
    await until(lambda: has_said("Ctrl-C"))
    for order, words in [
        (("hang", "a"), "fake node a hangs"),
        (("continue", "a"), "fake node a goes on"),
        (("kill", "web-1"), "web-1 has ended"),
        (("start", "web-1"), "web-1 runs, as process "),
    ]:
        await tell(*order)
        await until(lambda words=words: has_said(words))
    folders = [Path(note.socket).parent for note in notes.found()]
    demo.cancel()

    assert await demo == 0
    assert said.startswith("Starting two fake nodes, two web servers and a small proxy ...\nFake nodes stand in.\n")
    assert len(re.findall(r"http://127\.0\.0\.1:\d+/(pool|session\.php) ", said)) == 2
    assert "memsession demo stop b" in said
    assert has_said("Ended.")
    assert notes.found() == []
    assert [folder.exists() for folder in folders] == [False]


async def test_the_end_of_the_proxy_is_the_end():
    """Without the proxy nobody reaches anything: that is an error."""
    demo = asyncio.ensure_future(show(0, STAND_INS, "memsession demo"))
    await until(lambda: bool(notes.found()) or demo.done())
    await tell("kill", "proxy")

    with pytest.raises(StartError, match="the proxy has ended, so nobody reaches the web servers"):
        await demo


async def test_a_signal_ends_the_work_in_order():
    """The first signal cancels it, a second one while it ends its servers does not; the status tells the signal."""
    left = asyncio.Event()

    async def work() -> int:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.Event().wait()
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(0.05)
            left.set()
        return 0

    assert await performance._until_signalled(work()) == 128 + signal.SIGTERM
    assert left.is_set()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "1", "--stand-ins"], "Choose another port: --port"),
        (["stop", "a"], "error: no demo runs; start it with "),
        (["--port", "8080", "stop", "a"], "error: no demo runs on port 8080; start it with "),
    ],
)
def test_errors_are_told_in_words(monkeypatch, capsys, arguments, message):
    """What cannot be done ends with status 1 and a sentence that names the cure."""

    async def no_room(port: int, installed: Programs, called: str) -> int:
        raise StartError("Choose another port: --port")

    monkeypatch.setattr(performance, "show", no_room)

    assert main(arguments) == 1

    assert message in capsys.readouterr().err


def test_a_port_that_is_none(capsys):
    """A number that is no port is refused as an argument."""
    with pytest.raises(SystemExit) as ended:
        main(["--port", "65536"])

    assert ended.value.code == 2
    assert "65536 is no port" in capsys.readouterr().err


def test_missing_packages_are_named(monkeypatch, capsys):
    """Without the extra, the demo says what it needs."""
    monkeypatch.setattr(performance, "_NEEDED", ("no_such_framework", "no_such_server"))

    assert main(["--check"]) == 1

    assert capsys.readouterr().err == (
        'The demo cannot go on: no_such_framework and no_such_server not installed: pip install "memsession[demo]"\n'
    )


async def test_a_server_that_will_not_hang(tmp_path):
    """One that has ended, or was never started, cannot be stopped."""
    from memsession.demo import programs

    child: Child = programs.memcached("", "a", 1, tmp_path)
    await child.hang()
    await child.go_on()
    await child.end()

    assert not child.running


# --- the visitor -----------------------------------------------------------------------------------------------

COUNTED = "This server has seen you {} times\nServer IP: 127.0.0.1:1 (web-1)\n"


def answer(text: str, status: str = "200 OK", *fields: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(text)}", *fields, "", text]
    return "\r\n".join(lines).encode()


async def visits(*answers: bytes) -> list[tuple[int | None, str]]:
    """Number and problem of each of one visitor's visits, to a server that sends these answers."""
    waiting = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while waiting and await reader.readline():
            while await reader.readline() != b"\r\n":
                pass
            writer.write(data := waiting.pop(0))
            if b"Content-Length" not in data or b"close" in data:
                break
        writer.close()

    door = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{door.sockets[0].getsockname()[1]}/session.php"
    async with Visitor(url) as visitor:
        pages = [await visitor.visit() for _ in answers]
    door.close()
    return [(page.number, page.problem) for page in pages]


async def test_a_visitor_keeps_his_cookie():
    """Pages are read, over one connection or several, and the cookie is the same each time."""
    seen = await visits(
        answer(COUNTED.format(1), "200 OK", "Set-Cookie: session=abc; Path=/; HttpOnly"),
        answer(COUNTED.format(2), "200 OK", "Connection: close"),
        answer(COUNTED.format(3)),
    )

    assert seen == [(1, ""), (2, ""), (3, "")]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "no answer"),
        (b"HTTP/1.1 200", "no answer"),
        (b"nonsense\r\n\r\n", "no answer"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "no answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nhalf", "no answer"),
        (answer("", "503 Service Unavailable"), "status 503"),
        (answer("x"), "status 200"),
        (answer("x\ny\n"), "not the page of the visit counter"),
        (answer(COUNTED.format(2), "200 OK", "Set-Cookie: session=xyz; Path=/"), "the cookie has changed"),
        (answer(COUNTED.format(2), "200 OK", "Set-Cookie: session=; Max-Age=0; Path=/"), "there is no cookie"),
    ],
)
async def test_a_visitor_notices_what_is_wrong(data, problem):
    """Whatever is not the next page of the counter, with the same cookie, is a problem and no exception."""
    seen = await visits(answer(COUNTED.format(1), "200 OK", "Set-Cookie: session=abc; Path=/"), data)

    assert seen[0] == (1, "")
    assert seen[1][1].startswith(problem)
