"""The page /pool: its files, what it shows of nodes and copies, that looking changes nothing, and its buttons."""

import asyncio
import json
import re
import secrets
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from memsession import Pool
from memsession.demo import page_control, pool_view
from memsession.demo.counter import create_app
from memsession.demo.page import BODY_BYTES_MAX
from memsession.demo.settings import Settings
from memsession.errors import ConfigurationError
from memsession.inspection import NodeReport, NodeState
from tests.servers import Memcached

SECRET = secrets.token_urlsafe(32)
STATIC = Path(pool_view.__file__).with_name("static")
HERE = "http://127.0.0.1:8001"
FOLLOWED = {"Origin": HERE, "Sec-Fetch-Site": "same-origin"}


def browser_of(pool: Pool, *, url: str = HERE, **settings) -> httpx.AsyncClient:
    app = create_app(Settings(secret_key=SECRET, pool=pool, name="web-1", **settings))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=url)


@pytest.fixture
async def browser() -> AsyncIterator[httpx.AsyncClient]:
    """A browser before a counter whose sessions are in memory."""
    async with browser_of(Pool("memory://")) as client:
        yield client


@pytest.fixture
def nodes(memcached) -> dict[str, Memcached]:
    """Two memcached, by name."""
    return {"a": memcached(), "b": memcached()}


@pytest.fixture
async def visitor(nodes, monkeypatch) -> AsyncIterator[httpx.AsyncClient]:
    """A browser before a counter on both; what is asked about nodes is never remembered."""
    monkeypatch.setattr(pool_view, "FRESH_S", -1.0)
    pool = Pool(*(f"{name}={node.address}" for name, node in nodes.items()), copies=2)
    async with browser_of(pool) as client:
        yield client


async def state_of(browser: httpx.AsyncClient) -> dict:
    response = await browser.get("/pool/state")
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    assert "set-cookie" not in response.headers
    return response.json()


def copies_in(state: dict) -> dict[str, tuple[str, int | None]]:
    return {copy["node"]: (copy["state"], copy["version"]) for copy in state["copies"]}


# --- files -----------------------------------------------------------------------------------------------------


async def test_the_page_comes_with_a_policy_that_allows_its_own_files_only(browser):
    """HTML, never stored, never framed, no script or style but those of its own files."""
    response = await browser.get("/pool")

    policy = dict(part.split(" ", 1) for part in response.headers["content-security-policy"].split("; "))
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"
    assert (policy["default-src"], policy["frame-ancestors"]) == ("'none'", "'none'")
    assert {policy["script-src"], policy["style-src"], policy["connect-src"]} == {"'self'"}


@pytest.mark.parametrize("file", sorted(STATIC.iterdir()), ids=lambda file: file.name)
def test_the_files_need_nothing_from_elsewhere_and_nothing_that_the_policy_forbids(file):
    """No address of another host, no script or style inside the HTML, no text turned into code or HTML."""
    text = file.read_text(encoding="utf-8").replace('xmlns="http://www.w3.org/2000/svg"', "")

    assert not re.search(
        r"//[\w-]+\.\w|https?:|\bimport\(|\beval\b|innerHTML|insertAdjacentHTML|document\.write", text
    )
    if file.suffix == ".html":
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", text)
        for name in re.findall(r'(?:src|href)="pool/static/([^"]+)"', text):
            assert (STATIC / name).is_file()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("page.js", "text/javascript; charset=utf-8"),
        ("pool.css", "text/css; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
    ],
)
async def test_files_are_sent_as_what_they_are(browser, name, kind):
    """With their type, which browsers are told to believe."""
    response = await browser.get(f"/pool/static/{name}")

    assert response.content == (STATIC / name).read_bytes()
    assert response.headers["content-type"] == kind
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", ["none.js", "../page.py", "..%2fpage.py", "%2e%2e/page.py", ""])
async def test_no_other_file_is_sent(browser, name):
    """Neither one that is not there nor one of another folder."""
    assert (await browser.get(f"/pool/static/{name}")).status_code == 404


# --- what is shown ---------------------------------------------------------------------------------------------


async def test_a_pool_in_memory_has_nothing_to_show(browser):
    """Then the page knows whose session it is, and that is all."""
    await browser.get("/session.php")

    state = await state_of(browser)

    assert re.fullmatch(r"[\w-]{12}", state["session"])
    assert (state["server"], state["nodes"], state["copies"], state["control"]) == ("web-1", [], [], None)


async def test_nodes_are_shown_with_the_figures_they_tell(visitor, nodes):
    """State, version, memory, hit rate and evictions of each, as memcached itself has them."""
    await visitor.get("/session.php")

    state = await state_of(visitor)

    assert [node["name"] for node in state["nodes"]] == ["a", "b"]
    for node in state["nodes"]:
        stats = nodes[node["name"]].stats()
        assert (node["state"], node["problem"]) == ("up", "")
        assert (node["address"], node["version"]) == (nodes[node["name"]].address, stats["version"])
        assert node["bytes_max"] == int(stats["limit_maxbytes"])
        assert node["items"] == int(stats["curr_items"]) >= 1
        assert node["evictions"] == 0
        assert 0.0 <= node["hit_rate"] <= 1.0


async def test_a_visitor_without_a_session_is_shown_none(visitor, nodes):
    """Whoever only looks gets no session, and none is stored."""
    before = {name: node.stats()["cmd_set"] for name, node in nodes.items()}

    state = await state_of(visitor)

    assert (state["session"], state["copies"]) == (None, [])
    assert {name: node.stats()["cmd_set"] for name, node in nodes.items()} == before


async def test_a_forged_cookie_shows_nobodys_session(visitor):
    """A cookie that this application did not sign is no cookie."""
    await visitor.get("/session.php")
    value = visitor.cookies["session"]
    visitor.cookies.clear()
    visitor.cookies.set("session", f"{value[:-2]}AA")

    assert (await state_of(visitor))["session"] is None


async def test_both_copies_are_shown_with_version_and_life(visitor):
    """On which nodes the session is, that they hold the same, and how long it lives."""
    for _ in range(3):
        await visitor.get("/session.php")

    state = await state_of(visitor)

    (_, version), *_ = copies_in(state).values()
    assert copies_in(state) == {"a": ("live", version), "b": ("live", version)}
    assert state["wanted"] == 2
    for copy in state["copies"]:
        assert 0 < copy["idle_left_s"] < 1_802  # two clients read the clock of the pool, to about a second each
        assert 1_802 < copy["absolute_left_s"] < 43_202
        assert copy["bytes"] > 0


async def test_looking_changes_nothing(visitor, nodes):
    """However often one looks: a copy that is missing stays so until somebody visits, and no version rises."""
    await visitor.get("/session.php")
    nodes["b"].flush()

    states = [copies_in(await state_of(visitor)) for _ in range(5)]
    await visitor.get("/session.php")
    after = copies_in(await state_of(visitor))

    assert {state["b"] for state in states} == {("missing", None)}
    assert len({state["a"] for state in states}) == 1
    assert after["a"] == after["b"]
    assert after["a"][1] > states[0]["a"][1]


async def test_a_stopped_node_is_shown_as_stopped(visitor, nodes):
    """The other is shown as ever, with the copy that it has."""
    await visitor.get("/session.php")
    nodes["a"].kill()

    state = await state_of(visitor)

    assert [node["state"] for node in state["nodes"]] == ["refused", "up"]
    assert "it is stopped" in state["nodes"][0]["problem"]
    assert {name: copy[0] for name, copy in copies_in(state).items()} == {"a": "silent", "b": "live"}


async def test_a_hung_node_is_shown_as_silent(visitor, nodes):
    """It costs a look its time-out; the other node and its copy are shown."""
    await visitor.get("/session.php")
    nodes["b"].stop()
    try:
        state = await state_of(visitor)
    finally:
        nodes["b"].cont()

    assert [node["state"] for node in state["nodes"]] == ["up", "silent"]
    assert {name: copy[0] for name, copy in copies_in(state).items()} == {"a": "live", "b": "silent"}


async def test_the_page_comes_up_while_every_node_is_stopped(visitor, nodes):
    """The visit is refused; the page and what it shows are there."""
    await visitor.get("/session.php")
    for node in nodes.values():
        node.kill()

    assert (await visitor.get("/session.php")).status_code == 503
    assert (await visitor.get("/pool")).status_code == 200
    state = await state_of(visitor)
    assert [node["state"] for node in state["nodes"]] == ["refused", "refused"]
    assert {copy[0] for copy in copies_in(state).values()} == {"silent"}


def up(node) -> NodeReport:
    return NodeReport(name=node.name, address="", state=NodeState.UP)


async def test_many_pages_ask_a_node_once(monkeypatch):
    """However many look at the same moment or shortly after, each node is asked about itself once."""
    asked: list[str] = []

    def report_of(node, timeout_s) -> NodeReport:
        asked.append(node.name)
        return up(node)

    monkeypatch.setattr(pool_view, "report_of", report_of)
    async with browser_of(Pool("a=127.0.0.1:1", "b=127.0.0.1:2")) as browser:
        states = await asyncio.gather(*(state_of(browser) for _ in range(20)))
        states.append(await state_of(browser))

    assert sorted(asked) == ["a", "b"]
    assert {node["state"] for state in states for node in state["nodes"]} == {"up"}


async def test_a_node_that_takes_its_time_is_waited_for_a_moment_and_asked_no_second_time(monkeypatch):
    """A name that is looked up for ten seconds: the page is told that the node is silent, until it has answered."""
    goes_on, asked = threading.Event(), []

    def report_of(node, timeout_s) -> NodeReport:
        asked.append(node.name)
        goes_on.wait(10)
        return up(node)

    monkeypatch.setattr(pool_view, "report_of", report_of)
    monkeypatch.setattr(pool_view, "LOOK_S_MAX", 0.01)
    async with browser_of(Pool("a=127.0.0.1:1")) as browser:
        try:
            waiting = [(await state_of(browser))["nodes"][0]["state"] for _ in range(3)]
        finally:
            goes_on.set()
        monkeypatch.setattr(pool_view, "LOOK_S_MAX", 10.0)
        answered = (await state_of(browser))["nodes"][0]["state"]

    assert (waiting, answered, asked) == (["silent"] * 3, "up", ["a"])


async def test_the_hint_is_shown():
    """What the settings say about stopping servers by hand."""
    async with browser_of(Pool("memory://"), hint="docker compose kill memcached-a") as browser:
        assert (await state_of(browser))["hint"] == "docker compose kill memcached-a"


def test_a_weak_secret_is_refused():
    """As everywhere."""
    with pytest.raises(ConfigurationError, match="secret_key"):
        create_app(Settings(secret_key="short", pool=Pool("memory://")))


# --- buttons ---------------------------------------------------------------------------------------------------


class Ear:
    """In place of a running demo: hears what it is told, and answers as it is set to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heard: list[str] = []
        self.answer = "ok: so it is"
        self.servers = [
            {"name": "a", "kind": "memcached", "address": "127.0.0.1:1", "state": "runs"},
            {"name": "web-1", "kind": "web", "address": "127.0.0.1:2", "state": "runs"},
            {"name": "web-2", "kind": "web", "address": "127.0.0.1:3", "state": "runs"},
            {"name": "haproxy", "kind": "proxy", "address": "127.0.0.1:4", "state": "runs"},
        ]
        self.listed = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readline()).decode().strip()
        if line == "servers":
            answer = self.listed or f"ok\n{json.dumps(self.servers)}"
        else:
            self.heard.append(line)
            answer = self.answer
        writer.write(f"{answer}\n".encode() if answer else b"")
        writer.close()


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose path leaves room for a socket's name."""
    folder = Path(tempfile.mkdtemp(prefix="memsession-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
async def ear(short_folder, monkeypatch) -> AsyncIterator[Ear]:
    """What hears the buttons; which servers there are is never remembered."""
    monkeypatch.setattr(page_control, "FRESH_S", -1.0)
    ear = Ear(short_folder / "control")
    async with await asyncio.start_unix_server(ear.serve, ear.path):
        yield ear


@pytest.fixture
async def presser(ear) -> AsyncIterator[httpx.AsyncClient]:
    """A browser with a session, before a counter with buttons."""
    async with browser_of(Pool("memory://"), control=ear.path) as client:
        await client.get("/session.php")
        yield client


async def press(browser: httpx.AsyncClient, verb: str, name: str, **headers: str) -> httpx.Response:
    token = (await state_of(browser))["control"]["token"]
    content = {"verb": verb, "name": name, "token": token}
    return await browser.post("/pool/control", json=content, headers={**FOLLOWED, **headers})


async def test_without_a_demo_there_are_no_buttons(browser):
    """Where no demo listens, nobody is told so much as that there could be buttons."""
    await browser.get("/session.php")

    assert (await state_of(browser))["control"] is None
    assert (await browser.post("/pool/control", json={}, headers=FOLLOWED)).status_code == 404


async def test_the_page_knows_the_servers_of_the_demo(presser, ear):
    """With their kinds and states, from the demo itself."""
    assert (await state_of(presser))["control"]["servers"] == ear.servers


@pytest.mark.parametrize("verb", ["start", "stop", "kill", "hang", "continue", "empty"])
async def test_a_button_reaches_the_demo(presser, ear, verb):
    """Its verb and the server's name, as one line; what the demo says comes back."""
    response = await press(presser, verb, "a")

    assert (response.status_code, response.json()) == (200, {"said": "so it is"})
    assert ear.heard == [f"{verb} a"]


@pytest.mark.parametrize(
    ("verb", "name"),
    [
        ("stop", "haproxy"),
        ("empty", "web-2"),
        ("stop", "nobody"),
        ("status", "a"),
        ("stop", "a\nkill web-2"),
        ("", ""),
    ],
)
async def test_what_is_no_button_is_refused(presser, ear, verb, name):
    """Neither another verb, nor another server, nor the proxy, nor a second line reaches the demo."""
    response = await press(presser, verb, name)

    assert (response.status_code, response.json()) == (400, {"error": "There is no such button."})
    assert ear.heard == []


@pytest.mark.parametrize("verb", ["stop", "kill", "hang"])
async def test_the_last_web_server_cannot_be_stopped(presser, ear, verb):
    """Nobody could press the button that starts one."""
    ear.servers[2]["state"] = "hangs"

    response = await press(presser, verb, "web-1")

    assert response.status_code == 409
    assert "web-1 is the last web server that runs" in response.json()["error"]
    assert (await press(presser, verb, "web-2")).status_code == 200
    assert ear.heard == [f"{verb} web-2"]


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"Host": "demo.example:8001", "Origin": "http://demo.example:8001"}, 403),
        ({"Host": "[::1"}, 403),
        ({"Host": ""}, 403),
        ({"Origin": "http://127.0.0.1:9999"}, 403),
        ({"Origin": "http://localhost:8001"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": ""}, 415),
    ],
)
async def test_presses_from_elsewhere_are_refused(presser, ear, changed, status):
    """Another page, another name of this machine, a form: refused, though the token is right."""
    response = await press(presser, "stop", "a", **changed)

    assert response.status_code == status
    assert response.json()["error"]
    assert ear.heard == []


@pytest.mark.parametrize("host", ["localhost:8001", "[::1]:8001", "127.0.0.1:8001", "localhost"])
async def test_every_name_of_this_machine_will_do(presser, ear, host):
    """As long as the page has the same one."""
    response = await press(presser, "stop", "a", Host=host, Origin=f"http://{host}")

    assert response.status_code == 200


async def test_a_press_without_the_sites_of_old_browsers_is_obeyed(presser, ear):
    """Sec-Fetch-Site is believed where it is sent; the token and Origin are asked for in any case."""
    token = (await state_of(presser))["control"]["token"]
    content = {"verb": "stop", "name": "a", "token": token}

    response = await presser.post("/pool/control", json=content, headers={"Origin": HERE})

    assert response.status_code == 200


async def test_the_token_belongs_to_one_session(presser, ear):
    """Another visitor's token, none and a wrong one are refused, and so is who has no session."""
    own = (await state_of(presser))["control"]["token"]
    async with browser_of(Pool("memory://"), control=ear.path) as other:
        stranger = (await state_of(other))["control"]["token"]
        content = {"verb": "stop", "name": "a", "token": own}
        without = await other.post("/pool/control", json=content, headers=FOLLOWED)
        await other.get("/session.php")
        foreign = (await state_of(other))["control"]["token"]

    headers = {**FOLLOWED, "Content-Type": "application/json"}
    answers = [
        await presser.post("/pool/control", content=json.dumps({**content, "token": token}), headers=headers)
        for token in (foreign, "", own[:-1], "é\ud800")
    ]

    assert stranger == ""
    assert {answer.status_code for answer in (without, *answers)} == {403}
    assert "after your first visit" in without.json()["error"]
    assert ear.heard == []


async def test_a_page_under_another_name_gets_no_token(ear):
    """A name of somebody else's that leads here does not learn what to send, nor what could be stopped."""
    async with browser_of(Pool("memory://"), url="http://demo.example:8001", control=ear.path) as browser:
        await browser.get("/session.php")
        assert (await state_of(browser))["control"] is None


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"\xff", 400),
        (b"[]", 400),
        (b'{"verb": "stop", "name": "a"}', 400),
        (b'{"verb": "stop", "name": "a", "token": 1}', 400),
        (b"[" * BODY_BYTES_MAX, 400),
        (b'"' + b"a" * BODY_BYTES_MAX, 413),
    ],
)
async def test_what_no_button_sends_is_refused(presser, ear, body, status):
    """Something else than a verb, a name and a token, or more than that."""
    headers = {**FOLLOWED, "Content-Type": "application/json"}

    response = await presser.post("/pool/control", content=body, headers=headers)

    assert response.status_code == status
    assert response.json()["error"]
    assert ear.heard == []


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("error: a does not run\n    and much more", "The demo refused: a does not run."),
        ("error", "The demo refused: it did not say why."),
        ("", "The demo refused: the demo has ended."),
    ],
)
async def test_what_the_demo_refuses_is_told_in_one_line(presser, ear, answer, told):
    """Its first line, without the log that it may show to whoever sits at the terminal."""
    ear.answer = answer

    response = await press(presser, "stop", "a")

    assert (response.status_code, response.json()) == (409, {"error": told})


async def test_a_demo_that_is_gone_is_told_so(short_folder, monkeypatch):
    """The last known servers are shown, and a button says that nobody obeys."""
    monkeypatch.setattr(page_control, "FRESH_S", -1.0)
    ear = Ear(short_folder / "control")
    async with browser_of(Pool("memory://"), control=ear.path) as browser:
        await browser.get("/session.php")
        none = (await state_of(browser))["control"]["servers"]
        async with await asyncio.start_unix_server(ear.serve, ear.path):
            known = (await state_of(browser))["control"]["servers"]
        gone = (await state_of(browser))["control"]["servers"]
        answer = await press(browser, "stop", "a")

    assert (none, known, gone) == ([], ear.servers, ear.servers)
    assert (answer.status_code, answer.json()) == (503, {"error": "The demo does not answer."})


@pytest.mark.parametrize("listed", ["error: what?", "ok", "ok\nnot json", 'ok\n[{"name": "a"}]', "ok\n7"])
async def test_a_demo_that_lists_no_servers_leaves_the_page_without_buttons(presser, ear, listed):
    """Nothing can be pressed then, and the page is as it was."""
    ear.listed = listed

    assert (await state_of(presser))["control"]["servers"] == []
    assert (await press(presser, "stop", "a")).status_code == 400


async def test_the_servers_are_asked_for_now_and_then_only(ear, monkeypatch):
    """However many pages look."""
    monkeypatch.setattr(page_control, "FRESH_S", 60.0)
    async with browser_of(Pool("memory://"), control=ear.path) as browser:
        first = (await state_of(browser))["control"]["servers"]
        ear.servers = []
        again = (await state_of(browser))["control"]["servers"]

    assert first == again != []
