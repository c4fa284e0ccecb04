"""The demo in containers: it comes up from nothing, and under every fault no visitor's count has a gap or a repeat.

A visitor's browser comes again and again through the proxy while a server is killed, paused or taken off the network,
and when it is back. The figures are printed: `pytest -m docker -rP tests/integration/test_compose.py`.
"""

import asyncio
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from memsession.demo.ports import free_ports
from memsession.demo.visitor import Visitor
from memsession.identity import SessionId, storage_key

pytestmark = pytest.mark.docker

PROJECT = Path(__file__).parents[2]
NODES = ("memcached-a", "memcached-b")
WEB_SERVERS = ("web-1", "web-2")
VISITORS = 4
VISITS = 150
"""So often each visitor comes while a server is away, and once more as often when it is back."""

THINKS_S = 0.01
ENGINE_S_MAX = 20
COMMAND_S_MAX = 900
"""The first of them makes the image."""
SETTLED_S_MAX = 60

ASK = """
exec 3<>/dev/tcp/127.0.0.1/11211
printf '{}mn\\r\\n' >&3
while read -r line <&3; do echo $line; [[ $line == MN* ]] && exit; done
"""


@pytest.fixture(scope="module")
def engine() -> None:
    """A Docker engine with Compose, or no test."""
    for command in (["docker", "info"], ["docker", "compose", "version"]):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=ENGINE_S_MAX, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            pytest.skip(f"no Docker engine: {error}")
        if done.returncode:
            pytest.skip(f"no Docker engine: {' '.join(command)} says: {done.stderr.strip()[-200:]}")


class Stack:
    """The services of docker-compose.yml, in a project of their own, with the proxy at a port of their own."""

    def __init__(self, name: str, *options: str) -> None:
        [self.port] = free_ports(1)
        self.project = f"memsession-test-{name}-{os.getpid()}"
        self._compose = ["docker", "compose", "-p", self.project, *options]
        self._ids: dict[str, str] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/session.php"

    def __call__(self, *words: str) -> str:
        """Say something to Compose; what it prints."""
        return run(*self._compose, *words, COUNTER_PORT=str(self.port))

    def id_of(self, service: str) -> str:
        """The container of a service, also of one that has ended."""
        if service not in self._ids:
            self._ids[service] = self("ps", "--all", "--quiet", service).strip()
        return self._ids[service]

    def inspect(self, service: str) -> dict:
        return json.loads(run("docker", "inspect", self.id_of(service)))[0]

    def inside(self, service: str, *command: str) -> str:
        """What a command in the container of a service prints."""
        return run("docker", "exec", self.id_of(service), *command)

    def tokens(self, node: str, keys: list[str]) -> list[str]:
        """memcached's number of the last write of each key on a node; "" where the key is missing."""
        lines = self.inside(node, "bash", "-c", ASK.format("".join(f"mg {key} c k\\r\\n" for key in keys))).split(
            "\n"
        )
        found = {hit[2]: hit[1] for line in lines if (hit := re.match(r"HD c(\d+) k(\S+)", line))}
        return [found.get(key, "") for key in keys]


def run(*command: str, **environment: str) -> str:
    """What a command prints; it must succeed."""
    done = subprocess.run(
        command,
        cwd=PROJECT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_S_MAX,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@contextmanager
def stack_of(name: str, *options: str) -> Iterator[Stack]:
    """Everything up and healthy; in the end all of it is gone, volumes included."""
    stack = Stack(name, *options)
    try:
        stack("up", "--detach", "--build", "--wait")
        yield stack
    finally:
        stack("down", "--volumes", "--remove-orphans", "--timeout", "5")


@pytest.fixture(scope="module")
def stack(engine) -> Iterator[Stack]:
    """As a fresh clone starts it."""
    with stack_of("two") as stack:
        yield stack


class Guest(Visitor):
    """A visitor whose session one can look for."""

    @property
    def key(self) -> str:
        """The key under which memcached has the session."""
        cookie = self._browser.cookies()["session"]
        return storage_key(SessionId(cookie.partition(".")[0]), "memsession").decode()


@dataclass
class Log:
    """What visitors saw, by what was the matter at that time."""

    visits: dict[str, int] = field(default_factory=dict)
    slowest_ms: dict[str, float] = field(default_factory=dict)
    slow: dict[str, int] = field(default_factory=dict)
    twice: dict[tuple[Visitor, str], int] = field(default_factory=dict)
    """Visits that a web server counted, and could not say so any more, so that another one counted them again."""
    problems: list[str] = field(default_factory=list)

    async def visit(self, guest: Visitor, when: str, *, may_be_counted_twice: str = "") -> str:
        """Let somebody come once; who answered."""
        page = await guest.visit()
        self.visits[when] = self.visits.get(when, 0) + 1
        self.slow[when] = self.slow.get(when, 0) + (page.milliseconds > 100)
        self.slowest_ms[when] = max(self.slowest_ms.get(when, 0.0), page.milliseconds)
        if page.number == page.expected + 1 and may_be_counted_twice and not page.problem:
            trial = (guest, may_be_counted_twice)
            self.twice[trial] = self.twice.get(trial, 0) + 1
        elif page.problem or page.number != page.expected:
            self.problems.append(f"{when}: {page.number} instead of {page.expected} by {page.server} {page.problem}")
        return page.server

    def judge(self) -> None:
        """Print the figures, as rows of a table. No count has a gap or a repeat, and nobody saw an error."""
        for when, visits in self.visits.items():
            print(f"| {when} | {visits:,} | {self.slow[when]} | {self.slowest_ms[when]:.0f} ms |")
        print(f"counted twice: {sum(self.twice.values())}")
        assert self.problems == []
        assert set(self.twice.values()) <= {1}, "each has one visit under way when a server fails"


class Crowd:
    """Some visitors, and all that they saw."""

    def __init__(self, stack: Stack, guests: list[Guest], *, nodes: tuple[str, ...], web: tuple[str, ...]) -> None:
        self.stack, self.guests, self.nodes, self.web = stack, guests, nodes, web
        self.log = Log()

    async def settle(self, copies: int = 2) -> None:
        """Come until each web server writes all copies of each session: then the next server may fail."""
        await asyncio.gather(*(self.log.visit(guest, "before") for guest in self.guests))
        keys = [guest.key for guest in self.guests]
        missing = {(key, server) for key in keys for server in self.web}
        give_up = time.monotonic() + SETTLED_S_MAX
        while missing:
            assert time.monotonic() < give_up, f"not seen to be written by these web servers: {missing}"
            before = await self._tokens(keys)
            servers = await asyncio.gather(*(self.log.visit(guest, "before") for guest in self.guests))
            after = await self._tokens(keys)
            for number, (key, server) in enumerate(zip(keys, servers, strict=True)):
                written = sum("" != old[number] != new[number] != "" for old, new in zip(before, after, strict=True))
                if written == copies:
                    missing.discard((key, server))

    async def _tokens(self, keys: list[str]) -> list[list[str]]:
        return await asyncio.gather(*(asyncio.to_thread(self.stack.tokens, node, keys) for node in self.nodes))

    async def endure(self, fault: "Fault", service: str) -> None:
        """Come all the time while a server fails, is away, and comes back."""
        await self._come_while(lambda: fault.begin(self.stack, service), f"{service} {fault.name}", service)
        await self._come_while(lambda: fault.end(self.stack, service), f"{service} back", service)

    async def _come_while(self, doing: Callable[[], object], when: str, service: str) -> None:
        """All come while something is done, and often after that; so does somebody who was never here.

        What a web server has counted when it fails, but not answered, the proxy asks another one for, who counts it
        again. So half of the visitors do not come in the moment in which a web server fails: theirs must be exact.
        """
        async with Visitor(self.stack.url) as newcomer, asyncio.TaskGroup() as group:
            done = group.create_task(asyncio.to_thread(doing))
            for number, visitor in enumerate((*self.guests, newcomer)):
                in_flight = service if service in self.web and number % 2 else ""
                waits = service in self.web and not in_flight
                group.create_task(self._come(visitor, when, done, waits=waits, in_flight=in_flight))

    async def _come(self, visitor: Visitor, when: str, done: asyncio.Task, *, waits: bool, in_flight: str) -> None:
        if waits:
            await asyncio.wait([done])
        left = VISITS
        while left:
            left -= done.done()
            await self.log.visit(visitor, when, may_be_counted_twice=in_flight)
            await asyncio.sleep(THINKS_S)


@asynccontextmanager
async def crowd_of(stack: Stack, *, nodes: tuple[str, ...] = NODES, web: tuple[str, ...] = WEB_SERVERS):
    async with AsyncExitStack() as browsers:
        guests = [await browsers.enter_async_context(Guest(stack.url)) for _ in range(VISITORS)]
        yield Crowd(stack, guests, nodes=nodes, web=web)


@dataclass(frozen=True)
class Fault:
    """Something that happens to a service, and how it ends."""

    name: str
    begin: Callable[[Stack, str], object]
    end: Callable[[Stack, str], object]


def _off_the_network(stack: Stack, service: str) -> None:
    run("docker", "network", "disconnect", f"{stack.project}_default", stack.id_of(service))


def _on_the_network(stack: Stack, service: str) -> None:
    run("docker", "network", "connect", "--alias", service, f"{stack.project}_default", stack.id_of(service))


KILLED = Fault(
    "killed", lambda stack, service: stack("kill", service), lambda stack, service: stack("start", service)
)
PAUSED = Fault(
    "paused", lambda stack, service: stack("pause", service), lambda stack, service: stack("unpause", service)
)
CUT_OFF = Fault("off the network", _off_the_network, _on_the_network)


@pytest.mark.parametrize("fault", [KILLED, PAUSED, CUT_OFF], ids=lambda fault: fault.name)
async def test_no_visitor_notices(stack, fault):
    """The article's test: each memcached and each web server in turn fails and comes back."""
    async with crowd_of(stack) as crowd:
        for service in (*NODES, *WEB_SERVERS):
            await crowd.settle()
            await crowd.endure(fault, service)
        await crowd.settle()
    crowd.log.judge()


async def test_three_nodes_hold_two_copies(engine):
    """Each session lies on two of three, and any of the three may be killed."""
    nodes = (*NODES, "memcached-c")
    with stack_of("three", "--env-file", "example_app/three.env") as stack:
        async with crowd_of(stack, nodes=nodes) as crowd:
            for service in nodes:
                await crowd.settle()
                await crowd.endure(KILLED, service)
            await crowd.settle()
            holders = await crowd._tokens([guest.key for guest in crowd.guests])
        crowd.log.judge()
        assert [sum(token != "" for token in copies) for copies in zip(*holders, strict=True)] == [2] * VISITORS


async def test_flask_serves_the_same_sessions(engine):
    """It takes its turn beside the two others, with one session for all; it may be killed, and a memcached, too."""
    web = (*WEB_SERVERS, "flask")
    with stack_of("flask", "--profile", "flask") as stack:
        async with crowd_of(stack, web=web) as crowd:
            for service in ("flask", *NODES):
                await crowd.settle()
                await crowd.endure(KILLED, service)
            await crowd.settle()
        crowd.log.judge()


def test_only_the_proxy_is_published(stack):
    """On the loopback address."""
    services = [*NODES, *WEB_SERVERS, "haproxy"]
    published = {
        service: [(end["HostIp"], end["HostPort"]) for ends in ports.values() for end in ends or ()]
        for service in services
        if (ports := stack.inspect(service)["NetworkSettings"]["Ports"])
    }

    assert {service: ends for service, ends in published.items() if ends} == {
        "haproxy": [("127.0.0.1", str(stack.port))]
    }


@pytest.mark.parametrize("service", [*NODES, *WEB_SERVERS, "haproxy"])
def test_nobody_is_root(stack, service):
    """No process is, its files cannot be changed, and its health is looked after."""
    told = stack.inspect(service)

    assert stack.inside(service, "id", "-u").strip() != "0"
    assert told["HostConfig"]["ReadonlyRootfs"]
    assert told["HostConfig"]["CapDrop"] == ["ALL"]
    assert told["State"]["Health"]["Status"] == "healthy"


def test_the_secret_is_made_once_and_for_the_web_servers_only(stack):
    """In a volume that both read and neither writes; another start of everything keeps it; no environment has it."""
    file = "/var/lib/counter/secret"
    secrets = {stack.inside(server, "cat", file) for server in WEB_SERVERS}
    stack("up", "--detach", "--wait")
    [secret] = secrets | {stack.inside(server, "cat", file) for server in WEB_SERVERS}

    assert len(secret.strip()) >= 43
    assert stack.inside("web-1", "stat", "-c", "%a %U", file).split() == ["400", "counter"]
    assert [mount["RW"] for mount in stack.inspect("web-1")["Mounts"] if mount["Type"] == "volume"] == [False]
    for service in (*NODES, *WEB_SERVERS, "haproxy", "secret"):
        assert secret.strip() not in json.dumps(stack.inspect(service))
