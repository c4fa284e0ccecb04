"""Two users, four forked workers, and proxies before memcached that hand out other people's replies."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

from tests.webservers import Browser, Program, gunicorn

REQUESTS = 10_000
TABS = 16
"""More than three workers take (five connections each)."""

ONE_IN = 40
SEED = 20_261_120


@contextmanager
def replaying(upstream, seed):
    """A proxy before a memcached."""
    with Program("tests/programs/replaying_proxy.py", str(upstream), str(seed), str(ONE_IN)) as proxy:
        yield proxy


def ask(port, who, cookie, number):
    """Requests of one user over one connection: what they showed, by how often."""
    seen: Counter[str | int] = Counter()
    workers = set()
    with Browser(port, cookie) as browser:
        for _ in range(number):
            page = browser.get("/me", obey=False)
            seen[page.body.decode() if page.status == 200 else page.status] += 1
            if page.status == 200:
                workers.add(page.worker)
    return who, seen, workers


def test_nobody_sees_what_is_anothers(memcached):
    """Whatever reply comes for whatever was asked: a page shows its own user, or says that it cannot."""
    nodes = [memcached(), memcached()]
    with ExitStack() as stack:
        direct = stack.enter_context(gunicorn(",".join(node.address for node in nodes), "-w", "1"))
        proxies = [stack.enter_context(replaying(node.port, SEED + at)) for at, node in enumerate(nodes)]
        pool = ",".join(f"127.0.0.1:{proxy.port}" for proxy in proxies)
        options = ["--preload", "-k", "gthread", "-w", "4", "--threads", "2", "--worker-connections", "5"]
        server = stack.enter_context(gunicorn(pool, *options))
        users = {}
        for who in ("anna", "bert"):
            with Browser(direct.port) as browser:
                browser.get(f"/set?who={who}")
                users[who] = browser.cookie
        with ThreadPoolExecutor(TABS) as threads:
            jobs = [
                threads.submit(ask, server.port, *list(users.items())[at % 2], REQUESTS // TABS) for at in range(TABS)
            ]
            answers = [job.result() for job in jobs]
        done = Counter()
        for proxy in proxies:
            proxy.end()
            done.update(json.loads(proxy.said.splitlines()[-1]))

    own = sum(seen[who] for who, seen, _ in answers)
    others = [(who, seen) for who, seen, _ in answers if not seen.keys() <= {who, "", 503}]
    print(f"{REQUESTS} requests, {own} showed their own user; wrong replies: {dict(done)}")
    assert others == []
    assert len(set().union(*(workers for _, _, workers in answers))) == 4
    assert own > REQUESTS // 2, "most requests have to be answered, or nothing was shown"
    assert min(done[kind] for kind in ("again", "instead", "disguised")) > 3, "the proxies did what they are for"
