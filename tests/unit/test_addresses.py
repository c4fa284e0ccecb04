"""Everything people write for nodes, and what they are told when it cannot be read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memsession.addresses import Addresses, Node, parse_addresses, parse_nodes
from memsession.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("10.0.0.94", Node("10.0.0.94:11211", "10.0.0.94", 11211)),
        ("10.0.0.94:11212", Node("10.0.0.94:11212", "10.0.0.94", 11212)),
        ("cache-a", Node("cache-a:11211", "cache-a", 11211)),
        (" Cache_A.Example.COM:1 ", Node("cache_a.example.com:1", "cache_a.example.com", 1)),
        ("cache-a:65535:33", Node("cache-a:65535", "cache-a", 65535, 33)),
        ("[::1]", Node("[::1]:11211", "::1", 11211)),
        ("[2001:DB8:0:0::5]:99", Node("[2001:db8::5]:99", "2001:db8::5", 99)),
        ("[::1]:11211:2", Node("[::1]:11211", "::1", 11211, 2)),
        ("[fe80::1%eth0]:11211", Node("[fe80::1%eth0]:11211", "fe80::1%eth0", 11211)),
        ("/run/mc.sock", Node("/run/mc.sock", "/run/mc.sock", 0)),
        ("/run/mc.sock:0", Node("/run/mc.sock", "/run/mc.sock", 0)),
        ("/run/mc.sock:0:7", Node("/run/mc.sock", "/run/mc.sock", 0, 7)),
        ("/run/a:b.sock", Node("/run/a:b.sock", "/run/a:b.sock", 0)),
        ("/" + "x" * 102, Node("/" + "x" * 102, "/" + "x" * 102, 0)),
        ("unix:///run/mc.sock", Node("/run/mc.sock", "/run/mc.sock", 0)),
        ("unix:///run/mc.sock:0", Node("/run/mc.sock", "/run/mc.sock", 0)),
        ("unix:///run/mc.sock:0?weight=4&persistent=0", Node("/run/mc.sock", "/run/mc.sock", 0, 4)),
        ("tcp://ip1:11211", Node("ip1:11211", "ip1", 11211)),
        ("TCP://ip1:11211/?weight=2", Node("ip1:11211", "ip1", 11211, 2)),
        ("a=10.0.0.5:11211", Node("a", "10.0.0.5", 11211)),
        ("a = 10.0.0.5:11211:3", Node("a", "10.0.0.5", 11211, 3)),
        ("10.0.0.94:11211=10.0.0.99", Node("10.0.0.94:11211", "10.0.0.99", 11211)),
        ("a=unix:///run/mc.sock", Node("a", "/run/mc.sock", 0)),
        ("a=tcp://ip1?weight=5", Node("a", "ip1", 11211, 5)),
    ],
)
def test_one_node(text: str, node: Node) -> None:
    """Each form gives the node it means, under its canonical name."""
    assert parse_nodes(text) == (node,)
    assert parse_nodes([text]) == (node,)


def test_a_list_in_any_shape_is_the_same_pool() -> None:
    """Separate texts, one text with commas, a URL and both php.ini forms name the same nodes."""
    nodes = (Node("ip1:11211", "ip1", 11211), Node("ip2:11211", "ip2", 11211))

    assert parse_nodes(["ip1", "ip2"]) == nodes
    assert parse_nodes("ip1:11211,ip2:11211") == nodes
    assert parse_nodes("tcp://ip1:11211, tcp://ip2:11211") == nodes
    assert parse_nodes("memcached://ip1:11211,ip2") == nodes
    assert parse_nodes("MEMCACHED://ip1,ip2/") == nodes
    assert parse_nodes(("ip1:11211 , ip2",)) == nodes


def test_php_ini_is_taken_as_it_stands() -> None:
    """pecl-memcache's options are understood: the weight counts, what concerns PHP's connections does not."""
    text = "tcp://ip1:11211?weight=2, tcp://ip2:11211?persistent=1&weight=1&timeout=1&retry_interval=15"
    mixed = "unix:///path/socket:0, tcp://ip1:11211?persistent=1"

    assert parse_addresses(text) == Addresses((Node("ip1:11211", "ip1", 11211, 2), Node("ip2:11211", "ip2", 11211)))
    assert [node.host for node in parse_nodes(mixed)] == ["/path/socket", "ip1"]


def test_a_url_may_say_how_many_copies() -> None:
    """`copies` in a URL is passed on; without it there is none."""
    assert parse_addresses("memcached://a:11211,b:11211?copies=2").copies == 2
    assert parse_addresses("memcached://a,b/?copies=1").copies == 1
    assert parse_addresses("memcached://a,b").copies is None
    assert len(parse_nodes("memcached:///run/a.sock,/run/b.sock?copies=2")) == 2


def test_memory_is_a_pool_without_servers() -> None:
    """`memory://` gives in-process nodes, two unless said otherwise."""
    usual, asked = parse_addresses("memory://"), parse_addresses("memory:///?nodes=3&copies=2")

    assert [node.name for node in usual.nodes] == ["memory-1", "memory-2"]
    assert usual.in_process
    assert usual.copies is None
    assert (len(asked.nodes), asked.copies, asked.in_process) == (3, 2, True)
    assert not parse_addresses("a").in_process


BAD = [
    ("10.0.0.94:0", 'port "0".*1 to 65535'),
    ("10.0.0.94:70000", 'port "70000".*1 to 65535'),
    ("10.0.0.94:65536", 'port "65536"'),
    ("10.0.0.94:11211x", 'port "11211x"'),
    ("10.0.0.94:", 'port ""'),
    ("10.0.0.94:-1", 'port "-1"'),
    ("10.0.0.94:\uff11\uff11", 'port "\uff11\uff11"'),
    ("[::1]:", 'port ""'),
    ("[::1]:99999999999999999999", "port"),
    ("::1", r"brackets, for instance \[::1\]:11211"),
    ("::1:11211", "brackets"),
    ("2001:db8::5", "brackets"),
    ("1:2:3:4:5:6:7:8", "brackets"),
    ("[::1", r"\[::1\]:11211"),
    ("[::1]11211", r"\[::1\]:11211"),
    ("[hello]:1", '"hello" is no IPv6'),
    ("10.0.0.300", "no IPv4"),
    ("11211", "no IPv4"),
    ("a:11211:0", 'weight "0"'),
    ("a:11211:heavy", 'weight "heavy"'),
    ("a:11211:", 'weight ""'),
    ("a:11211:1001", "1 to 1,000"),
    ("tcp://a?weight=0", 'weight "0"'),
    ("a:11211:2?weight=3", "weight is given twice"),
    ("tcp://a?wieght=2", 'unknown option "wieght"; did you mean "weight"'),
    ("tcp://a?x=2", 'unknown option "x"; there is: weight'),
    ("tcp://a?weight=1&weight=2", '"weight" is given twice'),
    ("tcp://", '"" is no host'),
    ("a b", '"a b" is no host'),
    ("user:pass@host:11211", "no host|port|brackets"),
    ("-a", '"-a" is no host'),
    ("a\x00b", "no host"),
    ("häuser", "no host"),
    ("http://a", "http:// is unknown"),
    ("redis://a", "redis:// is unknown"),
    ("unix://", "absolute path"),
    ("unix://run/mc.sock", "absolute path"),
    ("/run/mc sock", "absolute path"),
    ("/" + "x" * 103, "104 characters"),
    ("=a", "1 to 100 letters"),
    ("my node=a", "1 to 100 letters"),
    ("x" * 101 + "=a", "1 to 100 letters"),
    ("", "no nodes"),
    ("  ", "no nodes"),
    ("a,,b", "empty entry"),
    ("a,", "empty entry"),
    ("a,a:11211", '"a:11211" is listed twice'),
    ("A,a", "listed twice"),
    ("a=x,a=y", '"a" is listed twice'),
    ("one=x:1,two=x:1", '"one" and "two" have the same address'),
    ("[::1],[0:0::1]:11211", "listed twice"),
    (",".join(f"n{number}" for number in range(1_025)), "at most 1024"),
    ("a?zone=", r'"a\?...": the zone is empty'),
    ("memcached://", "no nodes"),
    ("memcached://?copies=2", "no nodes"),
    ("memcached://a?copise=2", 'unknown option "copise"; did you mean "copies"'),
    ("memcached://a?copies=two", 'copies "two"'),
    ("memcached://a?copies=0", 'copies "0"'),
    ("memcached://a/b", "no host|port"),
    ("memory://a", "no addresses"),
    ("memory://?nodes=0", 'nodes "0"'),
    ("memory://?node=3", 'did you mean "nodes"'),
    ("PERSISTENT=x ip1:11211", '"x ip1" is no host'),
    (
        "memcached://user:pass@host",
        r'"memcached://...@..." is not shown.*no user and no password here, write host:port',
    ),
]


@pytest.mark.parametrize(("text", "message"), BAD, ids=[text[:30] for text, _ in BAD])
def test_what_cannot_be_read_is_named(text: str, message: str) -> None:
    """The error shows the bad text and says what to write instead."""
    with pytest.raises(ConfigurationError, match=message):
        parse_nodes(text)


@pytest.mark.parametrize(
    "text",
    [
        "memcached://user:hush@host",
        "memcached://user:hu,hush@host:11211?copies=1",
        "MEMCACHED://:hush@a,b",
        " memcached://user:hush@",
        "user:hush@host",
        "a=user:hush@host",
        "hush=user@host",
        "redis://:hush@host:6379/0",
        "tcp://user:hush@host?weight=2",
        "unix://user:hush@/run/mc.sock",
        "memory://user:hush@a",
        "a:11211:hush@host",
        "a,b,user:hush@c",
        "memcached://a,b?copies=1&password=hush",
        "memcached://a/b?password=hush",
        "tcp://a?auth=hush",
        "my node=tcp://a?weight=1&auth=hush",
        "tcp://a:0?persistent=hush",
        "memory://a?password=hush",
    ],
)
def test_no_message_shows_a_password(text: str) -> None:
    """Other stores have a user and a password in their URLs; who writes one here does not find it in a log."""
    for texts in ([text], ["c", text], [text, "memcached://c"]):
        with pytest.raises(ConfigurationError) as refused:
            parse_nodes(texts)

        assert "hush" not in str(refused.value)
        assert refused.value.__cause__ is None
        assert refused.value.__suppress_context__ or "hush" not in str(refused.value.__context__)


@pytest.mark.parametrize("text", [b"memcached://user:hush@host", ["user:hush@host"], {"password": "hush"}])
def test_no_message_shows_what_is_no_text(text: object) -> None:
    """Only its type is told."""
    with pytest.raises(ConfigurationError, match=r"given as a str, not as a (bytes|list|dict)") as refused:
        parse_nodes([text])  # type: ignore[list-item]

    assert "hush" not in str(refused.value)


def test_an_at_sign_in_a_socket_path_is_none() -> None:
    """systemd names sockets with one."""
    assert parse_nodes("/run/memcached@1.sock,b=/run/memcached@2.sock")[1] == Node("b", "/run/memcached@2.sock", 0)


@pytest.mark.parametrize("texts", [[], (), [None], [11211], [["a", "b"]], [b"a"], ["a", 5]])
def test_nodes_are_texts(texts: list[str]) -> None:
    """No nodes, and nodes that are no str, are refused."""
    with pytest.raises(ConfigurationError, match=r"Pool\(\"10.0.0.94\""):
        parse_nodes(texts)


@pytest.mark.parametrize("url", ["memcached://a,b", "memory://"])
def test_a_url_stands_alone(url: str) -> None:
    """A URL names the whole pool, so nothing can stand beside it."""
    with pytest.raises(ConfigurationError, match="give it alone"):
        parse_nodes([url, "c"])
    with pytest.raises(ConfigurationError, match="give it alone"):
        parse_nodes(["c", url])


@given(st.text(alphabet="ab01:/[]?=&,.% ué\n\x00", max_size=30) | st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Whatever is written, there are nodes with distinct names and printable hosts, or a configuration error."""
    for each in (text, "tcp://" + text, "unix:///" + text, "memcached://" + text, "memory://" + text, "a=" + text):
        try:
            nodes = parse_nodes(each)
        except ConfigurationError:
            continue

        assert nodes
        assert len({node.name for node in nodes}) == len(nodes)
        assert all(node.host.isprintable() and " " not in node.host and 0 <= node.port <= 65_535 for node in nodes)
        assert all(parse_nodes(f"unix://{node.host}") for node in nodes if node.host.startswith("/"))
