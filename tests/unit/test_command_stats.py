"""`memsession stats`: the figures are memcached's own, what is wrong is marked, and every answer is clear."""

import json
import socket
from itertools import zip_longest

import pytest
from rich.console import Console

from memsession.command.table import findings_table, nodes_table, span
from memsession.inspection import NodeReport, NodeState, findings
from memsession.pool import Pool
from tests.command_line import memsession, process
from tests.listeners import listener, says, speaks_tls, web
from tests.servers import free_port

CHANGING = (
    *("time", "uptime", "rusage_user", "rusage_system", "curr_connections", "total_connections", "bytes_read"),
    *("bytes_written", "connection_structures", "cmd_meta", "response_obj_count", "response_obj_total"),
    *("response_obj_bytes", "read_buf_count", "read_buf_bytes", "read_buf_bytes_free", "lru_crawler_starts"),
    *("conn_yields", "lru_maintainer_juggles", "moves_to_cold", "moves_to_warm", "moves_within_lru"),
)
"""Figures that a question about them changes, or that change by themselves."""


def used(node):
    """Put something on a node and ask for it, so that its figures differ."""
    for number in range(5):
        node.ask(b"set k%d 0 0 3\r\nabc" % number)
    node.ask(b"get k1", until=b"END\r\n")
    node.ask(b"get k2", until=b"END\r\n")
    node.ask(b"get nobody", until=b"END\r\n")


def number_or_text(text):
    return int(text) if text.isdigit() else text


def test_the_figures_are_those_that_memcached_reports(memcached):
    """All of them, with --json; those in the table as well."""
    node = memcached()
    used(node)
    own = node.stats()
    answer = memsession("stats", node.address, "--json")
    [told] = json.loads(answer.out)["nodes"]

    steady = {key: number_or_text(value) for key, value in own.items() if key not in CHANGING}
    assert {key: value for key, value in told["stats"].items() if key in steady} == steady
    assert set(told["stats"]) == set(own)
    assert len(steady) > 60
    assert (told["version"], told["items"], told["evictions"]) == (own["version"], 5, 0)
    assert (told["memory_bytes"], told["memory_limit_bytes"]) == (int(own["bytes"]), int(own["limit_maxbytes"]))
    assert told["hit_rate"] == pytest.approx(2 / 3)
    assert (told["connections_max"], told["refused_connections"]) == (512, 0)
    assert told["settings"]["maxconns"] == 512
    assert told["slabs"]["items:1:number"] == 5


def test_a_healthy_pool(memcached):
    """A row for each node; the exit code is 0."""
    one, two = memcached(), memcached()
    used(one)
    answer = memsession("stats", f"{one.address},{two.address}")
    assert (answer.code, answer.err) == (0, "")
    assert one.address in answer.out
    assert two.address in answer.out
    assert one.stats()["version"] in answer.out
    assert "67%" in answer.out
    assert "2 of 2 nodes up" in answer.out
    assert "!" not in answer.out


def test_the_pool_from_everywhere(memcached):
    """As arguments, as an option, from the environment."""
    one, two = memcached(), memcached()
    assert "2 of 2" in memsession("stats", one.address, two.address).out
    assert "1 of 1" in memsession("stats", "--pool", one.address, MEMSESSION_POOL=two.address).out
    assert "2 of 2" in memsession("stats", MEMSESSION_POOL=f"{one.address},{two.address}").out


def test_nodes_of_the_previous_pool_are_shown_as_well(memcached):
    """Their sessions are on the way."""
    one, two = memcached(), memcached()
    answer = memsession("stats", f"a={one.address}", MEMSESSION_PREVIOUS=f"b={two.address}")
    assert "2 of 2 nodes up" in answer.out


def test_one_node_down(memcached):
    """It is marked and told, and the exit code is 1; the others are shown."""
    one, dead = memcached(), f"127.0.0.1:{free_port()}"
    answer = memsession("stats", one.address, dead)
    assert answer.code == 1
    assert "refused!" in answer.out
    assert "nothing listens here" in answer.words
    assert "1 of 2 nodes up" in answer.out
    [_, told] = json.loads(memsession("stats", one.address, dead, "--json").out)["nodes"]
    assert (told["state"], told["version"], told["items"], told["stats"]) == ("refused", "", None, {})


def test_all_down():
    """The exit code is 3."""
    answer = memsession("stats", f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}")
    assert answer.code == 3
    assert "0 of 2 nodes up" in answer.out


def test_a_node_that_hangs(memcached):
    """It is silent, which is not the same as refused."""
    one, two = memcached(), memcached()
    two.stop()
    answer = memsession("stats", one.address, two.address)
    assert answer.code == 1
    assert "silent!" in answer.out
    assert "does it hang?" in answer.words


def test_a_wrong_address():
    """One line, and the exit code of wrong usage."""
    answer = memsession("stats", "10.0.0.300")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("memsession: ")
    assert "is no IPv4 address" in answer.err


def test_a_name_that_nobody_knows(monkeypatch):
    """The resolver's words, and a question that helps."""

    def getaddrinfo(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    answer = memsession("stats", "cache.example")
    assert answer.code == 3
    assert "unknown!" in answer.out
    assert "Is it spelt right" in answer.words


@pytest.mark.parametrize(
    ("serve", "told"),
    [
        (speaks_tls, "it speaks TLS"),
        (says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "it is a web server"),
    ],
)
def test_something_else_listens(serve, told):
    """It is said what, as far as one can see."""
    with listener(serve) as port:
        answer = memsession("stats", f"127.0.0.1:{port}")
    assert answer.code == 3
    assert told in answer.words


def test_nothing_of_what_a_server_says_reaches_the_terminal_as_it_is():
    """Escape sequences are not obeyed, long words are cut, and JSON escapes what is no letter."""
    odd = "\x1b]0;title\x07\x9b".encode() + b"x" * 200
    answers = (b"VERSION 1\r\n", b"STAT version " + odd + b"\r\nSTAT uptime 5\r\nEND\r\n", b"END\r\n", b"END\r\n")
    with listener(says(*answers)) as port:
        answer = memsession("stats", f"127.0.0.1:{port}")
    assert (answer.code, "is too old" in answer.words) == (1, True)
    assert {"\x1b", "\x07", "\x9b"} & {*answer.out} == set()
    assert "x" * 30 not in answer.out
    with listener(says(*answers)) as port:
        answer = memsession("stats", f"127.0.0.1:{port}", "--json")
    assert json.loads(answer.out)["nodes"][0]["version"] == odd.decode()
    assert {"\x1b", "\x07", "\x9b"} & {*answer.out} == set()


def test_a_web_server_and_a_process_of_its_own():
    """The same from the shell."""
    with web() as address:
        answer = process("stats", address.removeprefix("http://"))
    assert answer.code == 3
    assert "it is a web server" in answer.words


def test_sessions_that_are_thrown_away(memcached):
    """Evictions of items younger than the idle time-out are an error."""
    node = memcached(options=["-m", "2"])
    for number in range(100):
        node.ask(b"set k%d 0 0 50000\r\n%b" % (number, b"x" * 50_000))
    answer = memsession("stats", node.address)
    assert answer.code == 1
    assert "sessions are thrown away" in answer.words
    [told] = json.loads(memsession("stats", node.address, "--json").out)["findings"]
    assert (told["level"], told["check"], told["node"]) == ("error", "evictions", node.address)


def test_a_wrong_idle_time():
    """Is an error of usage."""
    answer = memsession("stats", "127.0.0.1:1", "--idle", "soon")
    assert (answer.code, answer.out) == (2, "")


def crowded(name, state=NodeState.UP):
    """A report with large figures, and something wrong in every column."""
    stats = {
        "version": "1.6.18",
        "uptime": "31536000",
        "evictions": "123456789",
        "rejected_connections": "123456",
        "bytes": "99999999999",
        "limit_maxbytes": "107374182400",
        "curr_items": "123456789",
        "get_hits": "99",
        "get_misses": "1",
        "curr_connections": "12345",
        "max_connections": "16384",
    }
    slabs = {"items:5:evicted": "7", "items:5:evicted_time": "1234"}
    return NodeReport(name=name, address=name, state=state, problem=f"{name}: why", stats=stats, slabs=slabs)


def rendered(renderable, width=80):
    console = Console(width=width, highlight=False, markup=False)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


@pytest.mark.parametrize("rates", [None, {f"10.0.0.{at}:11211": (123_456.0, 99_999.0) for at in range(100, 110)}])
def test_ten_nodes_fit_into_eighty_columns(rates):
    """No figure is cut off, whatever it is."""
    reports = [crowded(f"10.0.0.{at}:11211") for at in range(100, 110)]
    found = findings(Pool(*(report.name for report in reports)), reports, 1_800.0)
    lines = rendered(nodes_table(reports, found, rates)).splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)
    for report in reports:
        [line] = [line for line in lines if report.name in line]
        figures = ["365d", "123M", "20m!", "123k!", "93G/100G", "123M", "99%", "12k/16k"]
        assert line.split()[1:9] == figures
    assert max(map(len, rendered(findings_table(found)).splitlines())) <= 80


def test_long_names_are_broken_not_cut():
    """A unix socket's path, for instance."""
    path = "/var/run/memcached/" + "x" * 60 + ".sock"
    reports = [crowded(path), crowded("b", NodeState.SILENT)]
    lines = rendered(nodes_table(reports, [])).splitlines()
    assert max(map(len, lines)) <= 80
    column = [line.split()[0] for line in lines[1:-1]]
    assert "".join(column) == path


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *[(None, "-"), (0, "0s"), (59, "59s"), (60, "1m"), (61, "1m1s"), (3_599, "59m"), (7_260, "2h1m")],
        *[(86_400, "1d"), (10 * 86_400 + 3_600, "10d"), (365 * 86_400, "365d"), (9 * 86_400 + 82_800, "9d23h")],
    ],
)
def test_times_are_short(seconds, text):
    """Two units at most."""
    assert span(seconds) == text


def test_a_node_without_figures_is_shown_without():
    """A dash is no zero."""
    report = NodeReport(name="a", address="a", state=NodeState.UP, stats={"version": "1.6.18"})
    [_, line] = rendered(nodes_table([report], [])).splitlines()
    assert line.split() == ["a", "-", "-", "-", "-/-", "-", "-", "-/-", "1.6.18"]


def test_small_and_large_figures():
    """Four characters at most."""
    texts = []
    for number in (0, 7, 999, 1_000, 1_049, 9_960, 12_345, 999_600, 10**18, 10**21):
        report = NodeReport(name="a", address="a", state=NodeState.UP, stats={"curr_items": str(number)})
        texts.append(rendered(nodes_table([report], [])).splitlines()[1].split()[5])
    expected = ["0", "7", "999", "1.0k", "1.0k", "10k", "12k", "1.0M", "1.0E", "-"]
    assert [pair for pair in zip_longest(texts, expected) if pair[0] != pair[1]] == []


def test_what_one_node_makes_up_does_not_hide_the_names():
    """All names can be read at 80 columns, whatever a node says of itself."""
    names = "evictions bytes limit_maxbytes curr_items get_hits get_misses curr_connections max_connections uptime"
    wild = dict.fromkeys([*names.split(), "rejected_connections"], "9" * 20)
    slabs = {"items:5:evicted": "9", "items:5:evicted_time": "9" * 20}
    state = NodeState.UP
    odd = NodeReport(name="odd", address="x", state=state, stats={**wild, "version": "x" * 300}, slabs=slabs)
    text = rendered(nodes_table([odd, NodeReport(name="well", address="y", state=state)], []))
    assert [line.split()[0] for line in text.splitlines()] == ["node", "odd", "well"]
    assert "\u2026" not in text
