"""What a node says of itself, on real memcached processes and on servers that are none."""

import socket
import subprocess
import threading

import pytest

from memsession.inspection import NodeState, report_nodes, report_of, report_pool
from memsession.inspection.dialogue import ANSWER_BYTES_MAX
from memsession.inspection.dialogue import speaks_tls as speaks_tls_there
from memsession.pool import Pool
from memsession.resolver import Resolver
from tests.listeners import listener, says, self_signed, speaks_tls, web
from tests.servers import free_port

TIMEOUT_S = 5.0
HELP = subprocess.run(["memcached", "-h"], capture_output=True, check=False).stdout
SHORT_S = 0.2
"""For whoever never answers."""


def report(address, timeout_s=TIMEOUT_S, resolver=None):
    [node] = Pool(address).nodes
    return report_of(node, timeout_s, resolver)


def at(port):
    return f"127.0.0.1:{port}"


def test_a_memcached_is_up(memcached):
    """With its version, its figures, its settings."""
    node = memcached()
    node.ask(b"set a 0 0 1\r\nx")
    node.ask(b"get a", until=b"END\r\n")
    node.ask(b"get b", until=b"END\r\n")
    said = report(node.address)

    assert (said.state, said.is_up, said.problem) == (NodeState.UP, True, "")
    assert said.version == node.stats()["version"]
    assert (said.number("curr_items"), said.hit_rate, said.refused_connections) == (1, 0.5, 0)
    assert (said.setting("maxbytes"), said.setting("inter"), said.setting("nothing")) == (
        "67108864",
        "127.0.0.1",
        None,
    )
    assert said.slabs["items:1:number"] == "1"
    assert (said.evicted_age_s, said.declined) == (None, 0)
    assert abs(said.skew_s) < 60


def test_a_unix_socket(memcached, tmp_path):
    """Is a node like any other."""
    node = memcached(path=str(tmp_path / "mc.sock"))
    assert report(node.address).is_up


def test_a_new_node_has_no_hit_rate(memcached):
    """Nor is it zero."""
    assert report(memcached().address).hit_rate is None


def test_evictions_and_their_age(memcached):
    """In the words of memcached, over all slab classes."""
    node = memcached(options=["-m", "2"])
    for number in range(100):
        node.ask(b"set k%d 0 0 50000\r\n%b" % (number, b"x" * 50_000))
    said = report(node.address)
    assert said.number("evictions") == int(node.stats()["evictions"]) > 0
    assert 0 <= said.evicted_age_s < 600


def test_declined_writes(memcached):
    """With -M nothing is evicted, and what does not fit is declined."""
    node = memcached(options=["-m", "2", "-M"])
    answers = {node.ask(b"set k%d 0 0 50000\r\n%b" % (number, b"x" * 50_000)) for number in range(100)}
    assert b"SERVER_ERROR out of memory storing object\r\n" in answers
    said = report(node.address)
    assert said.declined > 0
    assert said.setting("evictions") == "off"


def test_nothing_listens():
    """The address and the cure are told."""
    said = report(at(free_port()))
    assert said.state is NodeState.REFUSED
    assert said.problem.startswith(f"{said.address}: nothing listens here.")
    assert (said.version, said.stats, said.skew_s) == ("", {}, None)


def test_a_node_that_hangs(memcached):
    """It is not waited for any longer than that."""
    node = memcached()
    node.stop()
    assert report(node.address, SHORT_S).state is NodeState.SILENT


def test_a_name_that_nobody_knows(monkeypatch):
    """The resolver's own words are told."""

    def getaddrinfo(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    said = report("cache.example")
    assert said.state is NodeState.UNKNOWN
    assert "Name or service not known" in said.problem


def test_a_resolver_that_hangs(monkeypatch):
    """Is not waited for."""
    answers = {}

    def getaddrinfo(*_, **__):
        answers["thread"].wait(TIMEOUT_S)
        return []

    answers["thread"] = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    said = report("cache.example", SHORT_S)
    answers["thread"].set()
    assert said.state is NodeState.UNKNOWN
    assert "has not answered" in said.problem


def test_a_resolver_that_takes_its_time(memcached, monkeypatch):
    """Is waited for, as long as a node."""
    node = memcached()
    asked = threading.Event()

    def getaddrinfo(*_, **__):
        asked.wait(SHORT_S)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", node.port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert report("cache.example").is_up


def test_a_name_with_several_addresses(memcached, monkeypatch):
    """One that leads nowhere costs nothing but its share; where the node was met is asked first the next time."""
    node, nobody = memcached(), free_port()
    good = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", node.port))
    bad = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", nobody))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [bad, good])
    resolver = Resolver()
    assert report("cache.example", resolver=resolver).is_up
    [place, *_] = resolver.places(Pool("cache.example").nodes[0], 0.0)
    assert place[1] == ("127.0.0.1", node.port)


def test_a_name_without_addresses(monkeypatch):
    """As good as unknown."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
    assert report("cache.example").state is NodeState.UNKNOWN


def test_a_path_without_a_socket(tmp_path):
    """The system's own words are told."""
    said = report(str(tmp_path / "nobody.sock"))
    assert said.state is NodeState.SILENT
    assert "No such file" in said.problem


@pytest.mark.parametrize(
    ("serve", "told"),
    [
        (speaks_tls, "it speaks TLS"),
        (says(b"\x15\x03\x03\x00\x02\x02\x46"), "it speaks TLS"),
        (says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "it is a web server"),
        (says(b"<!DOCTYPE HTML>\n"), "it is a web server"),
        (says(b"-ERR unknown command 'version'\r\n"), "its answer is none of memcached's"),
        (says(b"SSH-2.0-OpenSSH_9.2\r\n"), "its answer is none of memcached's"),
        (says(b"CLIENT_ERROR unauthenticated\r\n"), "user name and a password"),
        (says(b"x" * (ANSWER_BYTES_MAX + 1)), "sends without end"),
        (says(b"VERSION 1.6.18\r\n", b"\x00\x01"), "its answer is none of memcached's"),
    ],
)
def test_somebody_else(serve, told):
    """Is no memcached, and it is said who, as far as one can see."""
    with listener(serve) as port:
        said = report(at(port))
    assert said.state is NodeState.OTHER
    assert told in said.problem


@pytest.mark.skipif(b"--enable-ssl" not in HELP, reason="this memcached was built without TLS")
def test_a_memcached_that_speaks_tls(memcached, tmp_path):
    """It hangs up without a word, so it is asked again, in TLS."""
    certificate = self_signed(tmp_path)
    node = memcached(options=["-Z", "-o", f"ssl_chain_cert={certificate},ssl_key={certificate}"])
    said = report(node.address)
    assert said.state is NodeState.OTHER
    assert "it speaks TLS" in said.problem


def test_a_web_server():
    """A real one."""
    with web() as address:
        said = report(address.removeprefix("http://"))
    assert (said.state, "it is a web server" in said.problem) == (NodeState.OTHER, True)


def test_who_hangs_up_without_a_word():
    """May be a memcached that takes no more connections."""
    with listener(lambda door: None) as port:
        said = report(at(port))
    assert said.state is NodeState.LOST
    assert "-c" in said.problem


def test_who_listens_and_hangs_up():
    """The same; and it is no TLS server because of that."""
    with listener(lambda door: door.recv(65_536)) as port:
        said = report(at(port))
    assert (said.state, "closed the connection" in said.problem) == (NodeState.LOST, True)


def test_nobody_speaks_tls_where_nobody_is():
    """Nor where the name is unknown; it is a question, not an error."""
    [node] = Pool(at(free_port())).nodes
    assert not speaks_tls_there(node, SHORT_S, Resolver())


def test_half_an_answer_is_none():
    """Silence after the first bytes is silence."""
    with listener(lambda door: (says(b"VERS")(door), door.recv(1))) as port:
        assert report(at(port), SHORT_S).state is NodeState.SILENT


def test_who_sends_a_byte_now_and_then():
    """Has as much time as everybody."""

    def drip(door):
        while True:
            door.sendall(b"V")

    with listener(drip) as port:
        assert report(at(port), SHORT_S).state in {NodeState.SILENT, NodeState.OTHER}


def test_settings_that_are_refused_are_empty():
    """The node is up all the same."""
    stats = b"STAT version 1.6.18\r\nSTAT time soon\r\nSTAT odd\r\nEND\r\n"
    with listener(says(b"VERSION 1.6.18\r\n", stats, b"ERROR\r\n", b"END\r\n")) as port:
        said = report(at(port))
    assert (said.state, said.stats, said.settings) == (NodeState.UP, {"version": "1.6.18", "time": "soon"}, {})
    assert (said.skew_s, said.refused_connections, said.hit_rate) == (None, None, None)


def test_all_nodes_of_a_pool_in_its_order(memcached):
    """One that is down does not hold up the others' answers, nor change their places."""
    one, two = memcached(), memcached()
    pool = Pool(one.address, at(free_port()), two.address)
    reports = report_pool(pool, TIMEOUT_S)
    assert [said.name for said in reports] == [node.name for node in pool.nodes]
    assert [said.is_up for said in reports] == [True, False, True]
    assert [said.is_up for said in report_nodes(pool.nodes[1:], TIMEOUT_S)] == [False, True]
