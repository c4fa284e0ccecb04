"""Visits without sockets: nodes in this process that fail as told, web servers, and browsers with their cookies."""

import itertools
from dataclasses import dataclass, field, replace
from enum import Enum

from memsession.commands import Add, Bury, Cas, Get, Skipped, Unreachable
from memsession.cookies import Cookie, CookieSigner
from memsession.errors import SessionError
from memsession.lifecycle import ROTATE_ON, Lifecycle, Placing
from memsession.lifetime import Lifetime
from memsession.memory import MemoryNode
from memsession.plans import World
from memsession.pool import Pool
from memsession.record import CounterMemory, Live
from memsession.seal import Seal
from memsession.secret import secret_keys
from memsession.session import AsyncSession
from memsession.vault import Vault

SECRET = "n0t-s0-s3cr3t-7d0f1b3a5c9e2846-8ac1f0e2"
START_MS = 1_795_177_655_000

ORDINARY = {"Created", "Loaded", "Saved", "Ended", "Moved", "NotThere"}
"""Kinds of events that tell of no trouble."""

_writers = itertools.count(1)


class Mode(Enum):
    """How a node behaves."""

    UP = "answers"
    OUT = "known to be out: only asked by those who insist, and does not answer"
    SILENT = "thought to be up, does not answer, and does nothing"
    MUTE = "thought to be up, does what it is told, and its replies are lost"


class Nodes:
    """The nodes of a pool, and the time. `log` has every round that was sent, as kinds of commands by node."""

    def __init__(self, count=2, copies=2, **settings):
        self.pool = Pool(f"memory://?nodes={count}", copies=copies, **settings)
        self.names = [node.name for node in self.pool.nodes]
        self.now_s = 0.0
        self.took_s = 0.0
        self.modes = dict.fromkeys(self.names, Mode.UP)
        self.nodes = {name: MemoryNode(monotonic=lambda: self.now_s) for name in self.names}
        self.log = []

    def now_ms(self):
        return START_MS + int(self.now_s * 1000)

    def is_up(self, name):
        return self.modes[name] is not Mode.OUT

    def set(self, mode, *names):
        for name in names or self.names:
            self.modes[name] = mode

    def sent(self):
        """The rounds since the last time, each as its kinds of commands; and forget them."""
        log, self.log = self.log, []
        return log

    def answer(self, commands):
        """One round; it takes `took_s`."""
        self.now_s += self.took_s
        self.log.append("+".join(sorted(type(command).__name__ for command in commands)))
        return [self._answer(command) for command in commands]

    def _answer(self, command):
        mode = self.modes[command.node]
        if mode is Mode.OUT and not (isinstance(command, Bury) or getattr(command, "force", False)):
            return Skipped()
        if mode in (Mode.OUT, Mode.SILENT):
            return Unreachable("told to")
        node = self.nodes[command.node]
        match command:
            case Get(_, key):
                reply = node.get(key)
            case Add(_, key, value, ttl):
                reply = node.add(key, value, ttl)
            case Cas(_, key, value, ttl, token):
                reply = node.cas(key, value, ttl, token)
            case Bury(_, key, value, ttl):
                reply = node.bury(key, value, ttl)
        return reply if mode is Mode.UP else Unreachable("told to")

    def conduct(self, plan):
        """Run a plan to its end."""
        try:
            return self.finish(plan, next(plan))
        except StopIteration as finished:
            return finished.value

    def finish(self, plan, commands):
        """Run a plan to its end that has asked for a round already."""
        try:
            while True:
                commands = plan.send(self.answer(commands))
        except StopIteration as finished:
            return finished.value

    def held(self, key):
        """What the nodes hold under a key, by name; None where there is nothing."""
        values = {}
        for name, node in self.nodes.items():
            reply = node.get(key)
            values[name] = getattr(reply, "value", None)
        return values

    def items(self):
        return sum(len(node) for node in self.nodes.values())


@dataclass
class Browser:
    """Its cookies, as the raw value of a Cookie header."""

    cookies: dict[bytes, bytes] = field(default_factory=dict)

    def header(self):
        return [b"; ".join(name + b"=" + value for name, value in self.cookies.items())] if self.cookies else []

    def take(self, set_cookie):
        """Obey a Set-Cookie header."""
        if set_cookie is None:
            return
        pair, _, attributes = set_cookie.partition(b";")
        name, _, value = pair.partition(b"=")
        if b"max-age=0" in attributes.lower():
            self.cookies.pop(name, None)
        else:
            self.cookies[name] = value

    def copy(self):
        """The same cookies as they are now: another tab, or a thief."""
        return replace(self, cookies=dict(self.cookies))


class WebServer:
    """One web server on some nodes: a lifecycle with its own memory of counters. `events` is what it was told.

    `waiting` is called with each pause of a request that waits for its turn, before the time has passed.
    """

    def __init__(self, nodes, *, lifetime=None, rotate_on=ROTATE_ON, secrets=SECRET, cookie=None, **settings):
        self.nodes = nodes
        self.events = []
        self.waiting = lambda pause_s: None
        keys = secret_keys(secrets)
        self.world = World(
            homes=nodes.pool.homes,
            codec=Vault(Seal(keys)),
            lifetime=lifetime or Lifetime(),
            now_ms=nodes.now_ms,
            monotonic=lambda: nodes.now_s,
            nonce=lambda: f"w{next(_writers)}",
            is_up=nodes.is_up,
            counters=CounterMemory(lambda: f"c{next(_writers)}"),
            home_sets=nodes.pool.home_sets if nodes.pool.consistency == "majority" else None,
        )
        self.lifecycle = Lifecycle(
            world=self.world,
            placing=Placing(nodes.pool),
            keys=keys,
            signer=CookieSigner(cookie or Cookie(), keys),
            make_session=AsyncSession,
            observe=self._tell,
            rotate_on=rotate_on,
            **settings,
        )

    def _tell(self, event):
        self.events.append(event)

    def arrive(self, browser, *, https=True, method="GET", path="/"):
        """A request comes in, waits for its turn if it has to, and its session is loaded."""
        return Request(self, browser, https, method, path)

    def visit(self, browser, act=lambda session: None):
        """A whole request: arrive, act on the session, leave."""
        request = self.arrive(browser)
        request.result = act(request.session)
        request.leave()
        return request

    def told(self):
        """The kinds of events that tell of trouble since the last time; and forget all."""
        return [name for name in self.told_of_all() if name not in ORDINARY]

    def told_of_all(self):
        """The kinds of events since the last time; and forget them."""
        events, self.events = self.events, []
        return [type(event).__name__ for event in events]


class Request:
    """A request under way."""

    def __init__(self, server, browser, https, method="GET", path="/"):
        self.server = server
        self.browser = browser
        self.lifecycle = server.lifecycle
        self.visit = self.lifecycle.arrive(browser.header(), https=https)
        self.set_cookie = None
        self.result = None
        try:
            if self.lifecycle.needs_turn(self.visit, method, path):
                self.take_turn()
            if self.visit.ticket is not None:
                self.run(self.lifecycle.load(self.visit))
        except SessionError:
            self.over()
            raise

    def take_turn(self):
        """Wait for the lock."""
        while (pause_s := self.run(self.lifecycle.claim(self.visit))) is not None:
            self.server.waiting(pause_s)
            self.server.nodes.now_s += pause_s

    def over(self):
        """The request is over, in whatever way; nothing is committed."""
        if self.visit.owner is not None:
            self.run(self.lifecycle.end_turn(self.visit))

    @property
    def session(self):
        return self.visit.session

    @property
    def key(self):
        """The storage key of the session it is with now."""
        return self.visit.ticket.key

    def run(self, plan):
        self.lifecycle.deadline(self.visit)
        return self.server.nodes.conduct(plan)

    def save(self):
        self.run(self.lifecycle.save(self.visit))

    def modify(self, key, fn, default=None):
        return self.run(self.lifecycle.modify(self.visit, key, fn, default))

    def commit(self):
        self.run(self.lifecycle.commit(self.visit))

    def leave(self):
        """Commit, and the browser takes the response with its cookie."""
        try:
            self.commit()
            self.set_cookie = dict(self.lifecycle.answer(self.visit, [], [])).get(b"set-cookie")
        finally:
            self.over()
        self.browser.take(self.set_cookie)
        return self

    @property
    def cookie(self):
        """What became of the cookie: "kept", "issued" or "deleted"."""
        if self.set_cookie is None:
            return "kept"
        return "deleted" if b"Max-Age=0" in self.set_cookie else "issued"


def put(**content):
    """What a handler does that stores something."""
    return lambda session: session.update(content)


def begun(server, browser, **content):
    """A visitor gets a session; its storage key. What was sent and told for that is forgotten."""
    request = server.visit(browser, put(**(content or {"cart": [1]})))
    server.told()
    server.nodes.sent()
    return request.key


def seen_by(server, browser):
    """What the browser's next request would find."""
    return dict(server.arrive(browser.copy()).session)


def records(server, key):
    """What each node holds under a key: a record, or None."""
    held = server.nodes.held(key)
    return [None if value is None else server.world.codec.open(key, value) for value in held.values()]


def live_sessions(server):
    """How many live records all nodes hold together."""
    everything = [(key, item[0]) for node in server.nodes.nodes.values() for key, item in node._items.items()]
    return sum(isinstance(server.world.codec.open(key, value), Live) for key, value in everything)
