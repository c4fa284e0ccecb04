"""ASGI and WSGI servers that share one pool: parallel writers of one session, and logouts that race with saves."""

import json
import random
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from memsession.identity import SessionId, storage_key
from memsession.record import visible
from memsession.seal import Seal
from memsession.secret import secret_keys
from memsession.vault import Vault
from tests.web import SECRET
from tests.webservers import Browser, gunicorn, uvicorn

WRITERS = 16
ROUNDS = 5
RACES = 300
LANES = 6
LONGEST_S = 0.012
SEED = 20_261_120


@pytest.fixture
def nodes(memcached):
    return [memcached(), memcached()]


@pytest.fixture
def ports(nodes):
    """One of each world."""
    pool = ",".join(node.address for node in nodes)
    with uvicorn(pool) as asgi, gunicorn(pool, "-k", "gthread", "-w", "2", "--threads", "8") as wsgi:
        yield asgi.port, wsgi.port


def stored(node, cookie):
    """The content of a session as one node has it."""
    key = storage_key(SessionId(cookie.partition("=")[2].partition(".")[0]), "memsession")
    reply = node.ask(b"mg %b v" % key)
    size = int(re.match(rb"VA (\d+)", reply)[1])
    value = reply.partition(b"\r\n")[2][:size]
    return visible(Vault(Seal(secret_keys(SECRET))).open(key, value))


def test_writers_of_different_keys_lose_nothing(ports, nodes):
    """Whoever wrote through whichever server: in the end every node has every key."""
    with Browser(ports[0]) as visitor:
        visitor.get("/set?first=1")
        cookie = visitor.cookie

    def write(at):
        with Browser(ports[at % 2], cookie) as browser:
            return [browser.get(f"/set?w{at}r{number}={at}") for number in range(ROUNDS)]

    with ThreadPoolExecutor(WRITERS) as threads:
        pages = [page for pages in threads.map(write, range(WRITERS)) for page in pages]

    expected = {"first": "1"} | {f"w{at}r{number}": str(at) for at in range(WRITERS) for number in range(ROUNDS)}
    assert {(page.status, page.set_cookie) for page in pages} == {(200, "")}
    assert [stored(node, cookie) for node in nodes] == [expected, expected]


def test_requests_take_turns_across_servers(ports):
    """In exclusive mode code that reads, adds and writes is exact, too."""
    with Browser(ports[0]) as visitor:
        visitor.get("/set?first=1")
        cookie = visitor.cookie

        def add(at):
            with Browser(ports[at % 2], cookie) as browser:
                return [browser.get("/plain").status for _ in range(ROUNDS)]

        with ThreadPoolExecutor(WRITERS // 2) as threads:
            statuses = {status for statuses in threads.map(add, range(WRITERS // 2)) for status in statuses}

        assert statuses == {200}
        assert json.loads(visitor.get("/show").body)["plain"] == ROUNDS * WRITERS // 2


def race(ports, chance):
    """A slow save on one server, a logout on the other at some moment of it. What went wrong."""
    here, there = ports if chance.random() < 0.5 else ports[::-1]
    slow_s, offset_s = chance.uniform(0.0, LONGEST_S), chance.uniform(0.0, 1.5 * LONGEST_S)
    with Browser(here) as visitor, Browser(there) as leaving, ThreadPoolExecutor(1) as thread:
        visitor.get("/set?a=1")
        old = leaving.cookie = visitor.cookie
        saving = thread.submit(visitor.get, f"/slow?s={slow_s:.4f}")
        time.sleep(offset_s)
        left = leaving.get("/logout")
        logout_first = not saving.done()
        saved = saving.result()
        problems = [name for name, page in (("logout", left), ("save", saved)) if page.status != 200]
        if saved.set_cookie.startswith(old):
            problems.append("the old cookie was set again")
        if "Max-Age=0" not in left.set_cookie:
            problems.append("the logout did not delete the cookie")
        for port in ports:
            with Browser(port, old) as thief:
                if thief.get("/show").body.strip() != b"{}":
                    problems.append("the old cookie was accepted")
    return logout_first, problems


def test_a_logout_is_final_whatever_is_under_way(ports):
    """300 slow saves against logouts at random moments: no old cookie is accepted, or handed out again."""

    def lane(number):
        chance = random.Random(SEED + number)
        return [race(ports, chance) for _ in range(RACES // LANES)]

    with ThreadPoolExecutor(LANES) as threads:
        outcomes = [outcome for outcomes in threads.map(lane, range(LANES)) for outcome in outcomes]

    assert [problems for _, problems in outcomes if problems] == []
    assert len(outcomes) == RACES
    assert 50 < sum(logout_first for logout_first, _ in outcomes) < 250, "both orders were tried"
