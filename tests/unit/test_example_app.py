"""The visit counter: what it prints, whom it believes, what it refuses to start with; and how the demo judges it."""

import asyncio
import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path

import httpx
import pytest

from memsession import Pool
from memsession.demo.child import Child, Kind, StartError
from memsession.demo.counter import create_app
from memsession.demo.ports import ask, free_ports
from memsession.demo.report import SLOWEST_MS_MAX, Phase, Report
from memsession.demo.settings import Settings, SettingsError
from memsession.demo.visitor import Page

PROJECT = Path(__file__).parents[2]
SECRET = secrets.token_urlsafe(32)
ENVIRONMENT = {"COUNTER_SECRET": SECRET, "COUNTER_POOL": "memory://"}


@pytest.fixture
async def browser() -> AsyncIterator[httpx.AsyncClient]:
    """A browser that reaches the counter through a trusted proxy at 127.0.0.1."""
    settings = Settings(
        secret_key=SECRET, pool=Pool("memory://"), name="web-1", trusted_proxies=(ip_network("127.0.0.1"),)
    )
    transport = httpx.ASGITransport(create_app(settings), client=("127.0.0.1", 5000))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8001") as client:
        yield client


async def lines_of(browser: httpx.AsyncClient, path: str = "/session.php", **headers: str) -> list[str]:
    response = await browser.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    assert response.status_code == 200
    return response.text.splitlines()


async def test_first_visit(browser):
    """A first visit is greeted, and shows no cookies, for the visitor brought none."""
    assert await lines_of(browser) == [
        "memsession welcomes you as a first time visitor on this server",
        "Server IP: 127.0.0.1:8001 (web-1)",
        "Client IP: 127.0.0.1",
        "Array",
        "(",
        ")",
    ]


async def test_refreshes_tell_the_visits_before(browser):
    """The first refresh prints 1, each further one more, whichever of the two addresses is asked."""
    await lines_of(browser, "/")

    first_lines = [(await lines_of(browser, path))[0] for path in ("/session.php", "/", "/session.php")]

    assert first_lines == [f"This server has seen you {number} times" for number in (1, 2, 3)]


async def test_the_session_cookie_is_shortened(browser):
    """The page shows each cookie by name, and of the session cookie its first four characters only."""
    await lines_of(browser)
    browser.cookies.set("theme", "dark")
    whole = browser.cookies["session"]

    shown = (await lines_of(browser))[3:]

    assert shown == ["Array", "(", f"    [session] => {whole[:4]}…", "    [theme] => dark", ")"]


async def test_control_characters_are_not_printed(browser):
    """A cookie cannot send commands to a terminal that shows the page."""
    page = await lines_of(browser, Cookie="a=\x1b[2J")

    assert "    [a] => ?[2J" in page


async def test_the_page_is_plain_text(browser):
    """The page is text, and browsers are told not to take it for anything else."""
    response = await browser.get("/")

    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("forwarded", "shown"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("198.51.100.1, 203.0.113.7", "203.0.113.7"),
        ("2001:DB8::1", "2001:db8::1"),
        ("203.0.113.7, somebody", "127.0.0.1"),
        ("", "127.0.0.1"),
    ],
)
async def test_the_proxy_names_the_visitor(browser, forwarded, shown):
    """The last address of X-Forwarded-For is the visitor's: the proxy wrote it, the others anyone can."""
    page = await lines_of(browser, X_Forwarded_For=forwarded)

    assert page[2] == f"Client IP: {shown}"


async def test_nobody_else_names_the_visitor():
    """X-Forwarded-For from a peer that is no trusted proxy is not believed."""
    settings = Settings(
        secret_key=SECRET,
        pool=Pool("memory://"),
        trusted_proxies=Settings.from_environment(ENVIRONMENT).trusted_proxies,
    )
    transport = httpx.ASGITransport(create_app(settings), client=("198.51.100.9", 5000))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8001") as client:
        page = await lines_of(client, X_Forwarded_For="203.0.113.7")

    assert page[2] == "Client IP: 198.51.100.9"


def test_settings_from_the_environment(tmp_path):
    """The environment gives the secret (or the file it is in), the pool, the name and the trusted proxies."""
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")

    settings = Settings.from_environment(
        {
            "COUNTER_SECRET_FILE": str(file),
            "COUNTER_POOL": "memcached://10.0.0.94,10.0.0.95?copies=2",
            "COUNTER_NAME": "web-2",
            "COUNTER_TRUSTED_PROXIES": "127.0.0.1, 10.0.0.0/8",
        }
    )

    assert (settings.secret_key, settings.name, settings.pool.copies) == (SECRET, "web-2", 2)
    assert [settings.trusts(peer) for peer in ("127.0.0.1", "10.9.9.9", "11.0.0.1", "/run/socket")] == [
        *(True, True, False, False)
    ]
    assert SECRET not in repr(settings)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"COUNTER_SECRET": ""}, "neither COUNTER_SECRET nor COUNTER_SECRET_FILE is set"),
        ({"COUNTER_SECRET_FILE": "/dev/null"}, "both set"),
        ({"COUNTER_SECRET": "", "COUNTER_SECRET_FILE": "/dev/null"}, "COUNTER_SECRET_FILE=/dev/null is empty"),
        ({"COUNTER_SECRET": "", "COUNTER_SECRET_FILE": "/no/such"}, "COUNTER_SECRET_FILE=/no/such cannot be read"),
        ({"COUNTER_POOL": ""}, "COUNTER_POOL is not set"),
        ({"COUNTER_POOL": "memcached://a?copies=2"}, "COUNTER_POOL: .*copies"),
        ({"COUNTER_TRUSTED_PROXIES": "nobody"}, "COUNTER_TRUSTED_PROXIES: 'nobody'"),
    ],
)
def test_wrong_settings_are_named(changed, message):
    """A setting that is missing or wrong is an error that names it."""
    with pytest.raises(SettingsError, match=message):
        Settings.from_environment({**ENVIRONMENT, **changed})


def test_the_process_ends_with_the_reason():
    """A web server that is started with wrong settings ends with one sentence, not with a stack trace."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COUNTER_")}
    run = subprocess.run(
        [sys.executable, "-m", "uvicorn", "--factory", "memsession.demo.counter:create_app", "--port", "0"],
        env=environment,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert run.returncode != 0
    assert "The visit counter cannot start: neither COUNTER_SECRET" in run.stderr
    assert "Traceback" not in run.stderr


# --- how the demo judges ---------------------------------------------------------------------------------------


def page(number: int | None, expected: int, milliseconds: float = 1.0, problem: str = "") -> Page:
    return Page(number, expected, "web-1", milliseconds, problem)


@pytest.mark.parametrize(
    ("seen", "figures"),
    [
        (page(7, 7), {}),
        (page(6, 7), {"repeated": 1}),
        (page(0, 7), {"reset": 1}),
        (page(0, 1), {"reset": 1}),
        (page(4, 7), {"lost": 3}),
        (page(8, 7), {"errors": 1}),
        (page(None, 7, problem="status 503"), {"errors": 1}),
        (page(7, 7, problem="the cookie has changed"), {"errors": 1}),
    ],
)
def test_a_visit_that_brings_the_wrong_number_is_counted(seen, figures):
    """A number that fell back, stayed, began anew or jumped stands in its column, and makes the phase a failure."""
    phase = Phase("phase")

    phase.see_next(seen)

    counted = {name: getattr(phase, name) for name in ("lost", "repeated", "reset", "errors")}
    assert {name: count for name, count in counted.items() if count} == figures
    assert bool(phase.failures) == bool(figures)


def test_a_slow_visit_is_a_failure():
    """A visit that takes longer than the store may take is not as it must be, though its number is right."""
    phase = Phase("phase")

    phase.see_next(page(7, 7, milliseconds=SLOWEST_MS_MAX + 1))

    assert [failure.split()[0] for failure in phase.failures] == ["slowest"]


@pytest.mark.parametrize(("after", "lost", "errors"), [(58, 0, 0), (57, 1, 0), (59, 0, 1), (0, 50, 0)])
def test_parallel_visits_are_judged_by_the_total(after, lost, errors):
    """Of 50 parallel visits after page 7, the next page must say 58."""
    phase = Phase("phase")

    phase.see_rise(page(7, 7), page(after, 58), 50)

    assert (phase.lost, phase.errors) == (lost, errors)


@pytest.mark.parametrize(("lost", "fails"), [(0, True), (9, True), (10, False), (60, False), (61, True)])
def test_a_loss_that_is_shown_must_be_there(lost, fails):
    """Where the demo shows what is lost without copies, losing nothing is a failure, too."""
    phase = Phase("phase", lost=lost, errors=lost, loses=(10, 60))

    assert bool(phase.failures) is fails


def test_the_report_prints_and_keeps_every_phase(capsys):
    """A phase is printed when it ends, marked if it failed; the same figures stand in the JSON text."""
    report = Report()
    with report.phase("good") as phase:
        phase.see_next(page(3, 3))
    with report.phase("bad") as phase:
        phase.see_next(page(2, 3))

    printed = capsys.readouterr().out.splitlines()
    written = json.loads(report.as_json())["phases"]

    assert [bool(re.search("WRONG", line)) for line in printed] == [False, False, True]
    assert [(figures["phase"], figures["visits"], figures["repeated"]) for figures in written] == [
        *(("good", 1, 0), ("bad", 1, 1))
    ]
    assert report.failures == ["bad: 1 repeated"]


# --- the demo's processes --------------------------------------------------------------------------------------


def child(tmp_path: Path, command: list[str], port: int) -> Child:
    return Child(
        name="it", kind=Kind.WEB, port=port, command=command, log=tmp_path / "log", question=b"?", answer="!"
    )


async def test_a_process_that_ends_at_once_is_an_error_with_its_last_words(tmp_path):
    """A server that does not come up is named, with what it wrote."""
    broken = child(tmp_path, [sys.executable, "-c", "raise SystemExit('no room here')"], free_ports(1)[0])

    with pytest.raises(StartError, match=r"it ended at once(.|\n)*no room here"):
        await broken.start()


async def test_a_program_that_does_not_exist_is_an_error(tmp_path):
    """A server whose program is missing is named."""
    with pytest.raises(StartError, match="it cannot be started"):
        await child(tmp_path, ["/no/such/program"], 1).start()


async def test_nobody_listens_on_a_free_port():
    """Free ports are different from each other, and asking there brings nothing."""
    ports = free_ports(5)

    answers = await asyncio.gather(*(ask(port, b"stats\r\n", 1) for port in ports))

    assert len(set(ports)) == 5
    assert answers == [b""] * 5
