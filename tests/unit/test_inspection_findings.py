"""What is wrong with a pool, from what its nodes say: each finding, and what is no finding."""

from dataclasses import replace

import pytest

from memsession.inspection import Level, NodeReport, NodeState, findings, of_figures
from memsession.inspection.findings import CHECKS
from memsession.pool import Pool

IDLE_S = 1_800.0
STATS = {
    "version": "1.6.18",
    "uptime": "86400",
    "evictions": "0",
    "rejected_connections": "0",
    "listen_disabled_num": "0",
    "curr_connections": "10",
    "max_connections": "1024",
    "bytes": "1000",
    "limit_maxbytes": str(512 * 1_048_576),
}
SETTINGS = {
    "inter": "10.0.0.94",
    "domain_socket": "NULL",
    "udpport": "0",
    "item_size_max": "1048576",
    "evictions": "on",
    "cas_enabled": "yes",
    "dump_enabled": "yes",
    "lru_crawler": "yes",
}


def node(name="a", *, settings=(), slabs=(), **stats):
    """A report of a node that is up, with nothing to complain about but what is given."""
    return NodeReport(
        name=name,
        address="10.0.0.94:11211",
        state=NodeState.UP,
        skew_s=0.4,
        stats={**STATS, **{key: str(value) for key, value in stats.items()}},
        settings={**SETTINGS, **dict(settings)},
        slabs=dict(slabs),
    )


def evicting(age_s, count=7):
    return node(evictions=count, slabs={"items:5:evicted": str(count), "items:5:evicted_time": str(age_s)})


def of_node(report):
    """What is said of the node in a pool that is well otherwise, notes on the network left out."""
    pool = Pool(f"{report.name}=10.0.0.94", "other=10.0.0.95")
    reports = [report, node("other")]
    return [(one.level, one.check) for one in findings(pool, reports, IDLE_S) if one.node == report.name]


def of_pool(*nodes, reports=(), **settings):
    """What is said of the pool as a whole: level and check of each finding."""
    found = findings(Pool(*nodes, **settings), list(reports), IDLE_S)
    return [(one.level, one.check) for one in found if not one.node]


def test_a_healthy_node_has_no_findings():
    """Nor has one whose figures were left out."""
    assert of_node(node()) == []
    bare = {"version": "1.6.18"}
    assert of_node(replace(node(), stats=bare, skew_s=None)) == []


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (evicting(60), (Level.ERROR, "evictions")),
        (evicting(1_799), (Level.ERROR, "evictions")),
        (evicting(1_800), (Level.NOTE, "evictions")),
        (node(evictions=7), (Level.WARNING, "evictions")),
        (node(rejected_connections=3), (Level.WARNING, "connections")),
        (node(listen_disabled_num=3), (Level.WARNING, "connections")),
        (node(curr_connections=1_000), (Level.WARNING, "connections")),
        (node(bytes=450 * 1_048_576), (Level.WARNING, "memory")),
        (node(limit_maxbytes=64 * 1_048_576), (Level.NOTE, "memory")),
        (node(slabs={"items:5:outofmemory": "2"}), (Level.ERROR, "memory")),
        (node(version="1.6.17"), (Level.ERROR, "version")),
        (node(version="1.4.15"), (Level.ERROR, "version")),
        (node(version="nonsense"), (Level.ERROR, "version")),
        (node(settings={"udpport": "11211"}), (Level.WARNING, "udp")),
        (node(settings={"inter": "NULL"}), (Level.WARNING, "open")),
        (node(settings={"inter": "0.0.0.0"}), (Level.WARNING, "open")),
        (node(settings={"inter": "10.0.0.94, ::"}), (Level.WARNING, "open")),
        (node(settings={"item_size_max": "65000"}), (Level.ERROR, "item size")),
        (node(settings={"item_size_max": "65600"}), (Level.ERROR, "item size")),
        (node(settings={"evictions": "off"}), (Level.WARNING, "-M")),
        (node(settings={"cas_enabled": "no"}), (Level.ERROR, "cas")),
        (node(settings={"dump_enabled": "no"}), (Level.WARNING, "listing")),
        (node(settings={"lru_crawler": "no"}), (Level.WARNING, "listing")),
        (replace(node(), settings={}), (Level.NOTE, "open")),
        (replace(node(), skew_s=3_600.0), (Level.WARNING, "clocks")),
        (replace(node(), skew_s=-10.0), (Level.WARNING, "clocks")),
    ],
)
def test_what_is_wrong_with_a_node(report, expected):
    """One finding, with the level that it deserves."""
    assert of_node(report) == [expected]


@pytest.mark.parametrize(
    "report",
    [
        node(version="1.6.18"),
        node(version="1.6.38-2-gabcdef"),
        node(version="1.7.0"),
        node(settings={"inter": "NULL", "domain_socket": "/run/memcached.sock"}),
        node(settings={"item_size_max": "65736"}),
        node(evictions=0, slabs={"items:5:evicted": "0", "items:5:evicted_time": "3"}),
        replace(node(), skew_s=-2.9),
    ],
)
def test_what_is_fine(report):
    """At the edges, and what looks wrong at first sight."""
    assert of_node(report) == []


def test_udp_that_is_open_to_all_is_an_error():
    """It can be abused by anybody."""
    report = node(settings={"udpport": "11211", "inter": "NULL"})
    assert of_node(report) == [(Level.ERROR, "udp"), (Level.WARNING, "open")]


def test_the_youngest_eviction_counts():
    """Slab classes evict for themselves: the worst one is where sessions are lost."""
    slabs = {
        "items:5:evicted": "1",
        "items:5:evicted_time": "9000",
        "items:9:evicted": "2",
        "items:9:evicted_time": "40",
        "items:11:evicted": "0",
        "items:11:evicted_time": "0",
    }
    [finding] = of_figures(node(evictions=3, slabs=slabs), IDLE_S)
    assert "40 s after its last use, and sessions live 1,800 s" in finding.what
    assert "-m" in finding.cure


def test_a_node_that_does_not_answer_is_one_error():
    """And nothing else is said of it."""
    report = NodeReport(name="a", address="10.0.0.94:11211", state=NodeState.REFUSED, problem="nothing listens here.")
    assert of_node(report) == [(Level.ERROR, "answers")]


@pytest.mark.parametrize("text", ["-1", "1.5", "²", "9" * 5_000, "", "x", " 7"])
def test_what_is_no_figure_is_none(text):
    """A node may say anything."""
    report = node(evictions=text, bytes=text, slabs={"items:5:evicted": text, "items:5:evicted_time": text})
    assert (report.number("evictions"), report.evicted_age_s) == (None, None)
    assert of_node(report) == []


def test_the_pool_itself():
    """Copies, machines, networks."""
    assert of_pool("10.0.0.94") == [(Level.WARNING, "copies"), (Level.NOTE, "network")]
    assert of_pool("10.0.0.94", "10.0.0.95") == [(Level.NOTE, "network")]
    assert of_pool("cache-a", "cache-b") == [(Level.NOTE, "network")]
    assert of_pool("8.8.8.8", "10.0.0.95") == [(Level.WARNING, "network")]
    assert of_pool("10.0.0.94:1", "10.0.0.94:2") == [(Level.WARNING, "machines"), (Level.NOTE, "network")]
    assert of_pool("127.0.0.1:1", "/run/memcached.sock", "localhost:3") == [(Level.NOTE, "machines")]


def test_nodes_of_one_machine_in_one_zone_are_fine():
    """Their copies lie in other zones; in two zones they do not."""
    zoned = ("a=10.0.0.94:1?zone=x", "b=10.0.0.94:2?zone=x", "c=10.0.0.95?zone=y")
    assert of_pool(*zoned) == [(Level.NOTE, "network")]
    split = ("a=10.0.0.94:1?zone=x", "b=10.0.0.94:2?zone=y")
    assert of_pool(*split) == [(Level.WARNING, "machines"), (Level.NOTE, "network")]


def test_if_all_clocks_are_off_it_is_this_machines():
    """Then it is said once."""
    reports = [replace(node(name), skew_s=-100.0 + at) for at, name in enumerate("ab")]
    found = [one for one in findings(Pool("a=10.0.0.94", "b=10.0.0.95"), reports, IDLE_S) if one.check == "clocks"]
    [finding] = found
    assert (finding.node, finding.what) == ("", "the clock of this machine is 100 s ahead of all nodes'")


def test_different_versions_are_worth_a_note():
    """Of those that answer."""
    reports = [node("a", version="1.6.21"), node("b"), node("c")]
    assert (Level.NOTE, "versions") in of_pool("a=10.0.0.94", "b=10.0.0.95", "c=10.0.0.96", reports=reports)
    assert (Level.NOTE, "versions") not in of_pool("a=10.0.0.94", "b=10.0.0.95", reports=reports[1:])


def test_the_worst_comes_first_and_every_check_is_known():
    """What is not found is listed as well, so every check has its name in the list."""
    reports = [node("a", settings={"evictions": "off"}), replace(evicting(3), name="b")]
    found = findings(Pool("a=10.0.0.94", "b=10.0.0.95"), reports, IDLE_S)
    assert [one.level for one in found] == [Level.ERROR, Level.WARNING, Level.NOTE]
    assert {one.check for one in found} <= {*CHECKS}
