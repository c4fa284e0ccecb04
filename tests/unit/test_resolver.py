"""Names of nodes: asked for beside the requests, by a resolver that may hang, fail, or change its mind."""

import os
import socket
import threading
import time

import pytest

from memsession import resolver
from memsession.pool import Pool
from memsession.resolver import Lookup, Resolver, Unresolved
from tests.servers import PATIENCE_S

PATIENT_S = 30.0


def node_of(address):
    [node] = Pool(address).nodes
    return node


NAMED = node_of("cache.example:11211")


class Names:
    """In the place of the system's resolver. `says` is an address, or what to raise; it waits while it hangs."""

    def __init__(self, monkeypatch):
        self.says = "10.0.0.1"
        self.asked = []
        self.heard = 0
        self.go_on = threading.Event()
        self.go_on.set()
        monkeypatch.setattr(socket, "getaddrinfo", self._getaddrinfo)

    def _getaddrinfo(self, host, port, *, type):  # noqa: A002 - the system's name for it
        assert type == socket.SOCK_STREAM
        self.asked.append(host)
        try:
            assert self.go_on.wait(PATIENCE_S)
            if isinstance(self.says, Exception):
                raise self.says
            return [(socket.AF_INET, type, 6, "", (address, port)) for address in self.says.split()]
        finally:
            self.heard += 1

    def until_heard(self, times):
        """Wait until the threads that asked are gone."""
        for thread in threading.enumerate():
            if thread.name == "memsession-resolver":
                thread.join(PATIENCE_S)
        assert self.heard == times


class Clock:
    """In the place of the module `time`."""

    def __init__(self):
        self.ahead = 0.0

    def monotonic(self):
        return time.monotonic() + self.ahead


@pytest.fixture
def names(monkeypatch):
    names = Names(monkeypatch)
    yield names
    names.go_on.set()
    for thread in threading.enumerate():
        if thread.name == "memsession-resolver":
            thread.join(PATIENCE_S)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(resolver, "time", clock)
    return clock


def resolved(known):
    """What a first question brings."""
    found = known.places(NAMED, PATIENT_S)
    return found.take(time.monotonic() + PATIENT_S) if isinstance(found, Lookup) else found


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("10.0.0.94", (socket.AF_INET, ("10.0.0.94", 11211))),
        ("[::1]:7", (socket.AF_INET6, ("::1", 7, 0, 0))),
        ("/run/memcached.sock", (socket.AF_UNIX, "/run/memcached.sock")),
    ],
)
def test_addresses_and_sockets_need_no_resolver(names, address, place):
    """They are taken as they stand."""
    assert Resolver().places(node_of(address), 0.25) == [place]
    assert names.asked == []


def test_the_first_time_one_waits(names):
    """Nothing is known; the answer comes from another thread."""
    names.says = "10.0.0.1 10.0.0.2"

    assert resolved(Resolver()) == [
        (socket.AF_INET, ("10.0.0.1", 11211)),
        (socket.AF_INET, ("10.0.0.2", 11211)),
    ]


def test_a_resolver_that_hangs_costs_one_patience(names, clock):
    """All who come in that time wait no longer than its end; afterwards nobody waits, and nobody asks again."""
    names.go_on.clear()
    known = Resolver()
    first = known.places(NAMED, 0.2)
    assert first.take(-1.0) is None
    clock.ahead = 0.1
    second = known.places(NAMED, 0.2)
    assert second.due == first.due
    clock.ahead = 0.2
    for lookup in (first, second):
        with pytest.raises(Unresolved, match="the resolver has not answered yet"):
            lookup.take(clock.monotonic() + PATIENT_S)
    for ahead in (0.3, 5.0, 50.0):
        clock.ahead = ahead
        with pytest.raises(Unresolved, match="the resolver has not answered yet"):
            known.places(NAMED, 0.2)
    assert names.asked == ["cache.example"]

    names.go_on.set()
    names.until_heard(1)
    assert known.places(NAMED, 0.2) == [(socket.AF_INET, ("10.0.0.1", 11211))]


@pytest.mark.parametrize(
    "problem", [socket.gaierror(socket.EAI_NONAME, "Name or service not known"), UnicodeError("label too long")]
)
def test_a_resolver_that_fails_says_why(names, clock, problem):
    """At once, to everybody; asked again in the background once a second, and known when it knows better."""
    names.says = problem
    known = Resolver()
    reason = str(problem).replace("[", r"\[")
    with pytest.raises(Unresolved, match=f"its name cannot be resolved: {reason}"):
        resolved(known)
    for _ in range(5):
        with pytest.raises(Unresolved, match=reason):
            known.places(NAMED, PATIENT_S)
    names.until_heard(1)
    names.says = "10.0.0.1"
    names.go_on.clear()
    clock.ahead = 1.0
    with pytest.raises(Unresolved, match=reason):
        known.places(NAMED, PATIENT_S)
    names.go_on.set()
    names.until_heard(2)
    assert known.places(NAMED, PATIENT_S) == [(socket.AF_INET, ("10.0.0.1", 11211))]


def test_a_name_without_an_address_is_not_resolved(names):
    """An empty answer is none."""
    names.says = ""
    with pytest.raises(Unresolved, match="the resolver knows no address"):
        resolved(Resolver())


def test_what_is_known_is_used_at_once_and_asked_for_again(names, clock):
    """The next connection goes to the old address without waiting, the one after it to the new."""
    known = Resolver()
    old = resolved(known)
    names.says = "10.0.0.2"
    names.go_on.clear()
    clock.ahead = 1.0
    assert known.places(NAMED, 0.2) == old
    names.go_on.set()
    names.until_heard(2)
    clock.ahead = 1.1
    assert known.places(NAMED, 0.2) == [(socket.AF_INET, ("10.0.0.2", 11211))]
    assert len(names.asked) == 2, "no more than once a second"


def test_the_last_good_address_stays_when_the_resolver_fails(names, clock):
    """The node is likely where it was."""
    known = Resolver()
    old = resolved(known)
    names.says = socket.gaierror(socket.EAI_AGAIN, "resolver is out")
    for second in range(1, 4):
        clock.ahead = 1.0 * second
        assert known.places(NAMED, 0.2) == old
        names.until_heard(1 + second)


def test_a_forked_process_asks_for_itself(names):
    """The question that was under way in the parent has nobody to answer it here; what was known, is known."""
    names.go_on.clear()
    known = Resolver()
    known.places(NAMED, PATIENT_S)
    known._known["other.example", 11211] = [(socket.AF_INET, ("10.0.0.9", 11211))]
    process = os.fork()
    if process == 0:
        code = 1
        try:
            names.go_on = threading.Event()
            names.go_on.set()
            right = resolved(known) == [(socket.AF_INET, ("10.0.0.1", 11211))]
            names.go_on.clear()
            other = known.places(node_of("other.example"), 0.2) == [(socket.AF_INET, ("10.0.0.9", 11211))]
            code = 0 if right and other else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0


def test_no_thread_is_a_reason_as_well(names, clock, monkeypatch):
    """Where no thread can be started the name is not resolved, and it is tried again."""
    known = Resolver()
    with monkeypatch.context() as without:
        without.setattr(threading.Thread, "start", failing)
        with pytest.raises(Unresolved, match="no thread can be started"):
            known.places(NAMED, 0.0)
    clock.ahead = 1.0
    names.go_on.clear()
    with pytest.raises(Unresolved, match="no thread can be started"):
        known.places(NAMED, 0.0)
    names.go_on.set()
    names.until_heard(1)
    assert known.places(NAMED, 0.0) == [(socket.AF_INET, ("10.0.0.1", 11211))]


def failing(_thread):
    raise RuntimeError("can't start new thread")


def test_of_many_threads_one_asks(names):
    """They come at once, and all get the answer."""
    names.go_on.clear()
    known, found = Resolver(), []
    threads = [threading.Thread(target=lambda: found.append(resolved(known))) for _ in range(8)]
    for thread in threads:
        thread.start()
    names.go_on.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert found == [[(socket.AF_INET, ("10.0.0.1", 11211))]] * 8
    assert names.asked == ["cache.example"]
