"""`memsession check`: whatever is wrong with a pool, its web servers or their cookie is found and told."""

import json
import threading
import time

import pytest

from memsession.blocking import BlockingClient
from memsession.command import page as pages
from memsession.command.page import Page, judged
from memsession.command.settings import pool_given
from memsession.command.web_servers import of_status, of_web_servers
from memsession.inspection import Level
from memsession.lifetime import Lifetime
from memsession.upkeep.build import sites
from memsession.upkeep.fingerprint import fingerprint, in_use
from memsession.upkeep.status import Sound, Status, Unread, note, pool_put, sound_put
from tests.command_line import SECRET, memsession, process
from tests.listeners import listener, says, self_signed, speaks_tls, web
from tests.servers import PATIENCE_S, free_port

OTHER_SECRET = "another-secret-of-the-tests-0123456789"
VALUE = "x" * 43 + "." + "y" * 43
COOKIE = f"__Host-session={VALUE}; Path=/; Secure; HttpOnly; SameSite=Lax"
GOOD = [
    ("Set-Cookie", COOKIE),
    ("Vary", "Accept-Encoding, Cookie"),
    ("Cache-Control", "no-store"),
    ("Strict-Transport-Security", "max-age=63072000"),
]


class Servers:
    """Web servers of a pool, as far as they say something to each other."""

    def __init__(self, *texts, secret=SECRET):
        self.pool = pool_given([*texts])
        self.client = BlockingClient(self.pool, observe=lambda _: None)
        self.client.greet()
        make = sites(keys=[secret.encode()], lifetime=Lifetime(), senses=self.client, observe=lambda _: None, rate=1)
        self.site = make(self.pool)
        self.marks = self.client.incarnations

    def say(self, puts):
        """Write it into the status."""
        plan = note(self.site.status_world, self.site.status_key, lambda _: puts, self.site.deadline)
        assert self.client.run(plan, deadline=time.monotonic() + PATIENCE_S)

    def use(self, *texts, ago_s=0.0):
        """A web server says that it uses this pool."""
        pool = pool_given([*texts])
        self.say(pool_put(fingerprint(pool), in_use(pool, self.client.now_ms() - round(ago_s * 1000))))

    def refilled(self, *names):
        """These nodes have all their copies."""
        status = Status({}, {}, {}, {})
        for name in names:
            status = Status({**status.sound, name: Sound(self.marks[name], "")}, {}, {}, {})
            self.say(sound_put(status, name, status.sound[name], self.site.names))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()


def findings_of(*arguments, **environment):
    """(level, check, node) of each finding, the exit code, and the checks that passed."""
    answer = memsession("check", *arguments, "--json", **environment)
    told = json.loads(answer.out)
    return [(one["level"], one["check"], one["node"]) for one in told["findings"]], answer.code, told["passed"]


def worth(found):
    """All but notes."""
    return [one for one in found if one[0] != "note"]


def test_a_healthy_pool(memcached):
    """Notes only: what it is, what was not checked, and what is well."""
    one, two = memcached(), memcached()
    answer = memsession("check", one.address, two.address)
    assert (answer.code, answer.err) == (0, "")
    assert "error" not in answer.out
    assert "warning" not in answer.out
    assert "are on one machine" in answer.words
    assert "for want of the secret" in answer.words
    assert "well: answers, evictions," in answer.words
    assert "2 of 2 nodes up" in answer.out


def test_doctor_is_the_same(memcached):
    """By another name."""
    one, two = memcached(), memcached()
    assert memsession("doctor", one.address, two.address).words == memsession("check", one.address, two.address).words


def test_a_node_down(memcached):
    """Exit code 1; everything else is checked all the same."""
    one, dead = memcached(), f"127.0.0.1:{free_port()}"
    found, code, passed = findings_of(one.address, dead)
    assert (worth(found), code) == ([("error", "answers", dead)], 1)
    assert "version" in passed


def test_all_down():
    """Exit code 3; nothing is said to be well, for nothing was looked at."""
    dead = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    found, code, passed = findings_of(*dead)
    assert ([one[1] for one in worth(found)], code, passed) == (["answers", "answers"], 3, [])


def test_a_wrong_address():
    """Exit code 2, one line."""
    answer = memsession("check", "a:x")
    assert (answer.code, answer.out, len(answer.err.splitlines())) == (2, "", 1)
    assert memsession("check", "a,b", "--max-bytes", "3").code == 2


@pytest.mark.parametrize(("serve", "told"), [(speaks_tls, "TLS"), (says(b"<html>\n"), "web server")])
def test_something_else_listens(memcached, serve, told):
    """Beside a memcached, and alone."""
    node = memcached()
    with listener(serve) as port:
        answer = memsession("check", node.address, f"127.0.0.1:{port}")
        assert answer.code == 1
        assert told in answer.words
    with listener(serve) as port:
        assert memsession("check", f"127.0.0.1:{port}").code == 3


def test_from_the_shell():
    """All down, as a process of its own."""
    answer = process("check", f"127.0.0.1:{free_port()}")
    assert (answer.code, answer.err) == (3, "")
    assert "nothing listens here" in answer.words


def test_how_memcached_was_started(memcached):
    """Its own settings are told: -M, -I, -C, -X, no listing."""
    node = memcached(options=["-M", "-I", "32k", "-o", "slab_chunk_max=16384", "-C", "-X"])
    good = memcached()
    found, code, _ = findings_of(node.address, good.address)
    assert {one[1] for one in found if one[2] == node.address} == {"-M", "item size", "cas", "listing", "memory"}
    assert code == 1
    found, code, _ = findings_of(node.address, good.address, "--max-bytes", "20000")
    assert "item size" not in {one[1] for one in found}


def test_udp(memcached):
    """On a port of its own."""
    port = str(free_port())
    node, good = memcached(options=["-U", port]), memcached()
    assert worth(findings_of(node.address, good.address)[0]) == [("warning", "udp", node.address)]


def test_a_unix_socket_is_not_open(memcached, tmp_path):
    """It listens on no address at all."""
    node = memcached(path=str(tmp_path / "mc.sock"))
    assert worth(findings_of(node.address, memcached().address)[0]) == []


def test_two_names_for_one_process(memcached):
    """Are an error, and both are named."""
    node = memcached()
    answer = memsession("check", f"a=127.0.0.1:{node.port}", f"b=localhost:{node.port}")
    assert answer.code == 1
    assert "are one memcached process" in answer.words
    assert '"a"' in answer.words


def test_all_web_servers_use_this_pool(memcached):
    """And every node has its copies: both is well."""
    texts = [f"a={memcached().address}", f"b={memcached().address}"]
    with Servers(*texts) as servers:
        servers.use(*texts)
        servers.refilled("a", "b")
        found, code, passed = findings_of(*texts, MEMSESSION_SECRET=SECRET)
    assert (worth(found), code) == ([], 0)
    assert {"web servers", "refills", "twins"} <= {*passed}


def test_a_web_server_with_another_pool(memcached):
    """An error that names what differs."""
    one, two, three = (memcached().address for _ in range(3))
    with Servers(f"a={one}", f"b={two}") as servers:
        servers.use(f"a={one}", f"b={two}")
        servers.use(f"a={one}", f"c={three}")
        answer = memsession("check", f"a={one}", f"b={two}", MEMSESSION_SECRET=SECRET)
        assert answer.code == 1
        assert "some web servers use another pool than this one: only there: c, only here: b" in answer.words
        answer = memsession("check", f"memcached://a={one},b={two}?copies=1", MEMSESSION_SECRET=SECRET)
        assert "the web servers use another pool than this one" in answer.words
        assert "copies=2 there, 1 here" in answer.words


def test_other_weights_are_another_pool(memcached):
    """Though the names are the same."""
    one, two = (memcached().address for _ in range(2))
    with Servers(f"a={one}", f"b={two}") as servers:
        servers.use(f"a={one}?weight=2", f"b={two}")
        answer = memsession("check", f"a={one}", f"b={two}", MEMSESSION_SECRET=SECRET)
    assert "other weights or zones" in answer.words


def test_many_names_are_not_all_shown(memcached):
    """The first eight, and how many there are."""
    texts = [f"a={memcached().address}"]
    with Servers(*texts) as servers:
        servers.use(*texts, *(f"n{at:02}=10.0.0.{at}" for at in range(1, 21)))
        answer = memsession("check", *texts, MEMSESSION_SECRET=SECRET)
    assert "n08 and 12 more" in answer.words


def test_a_pool_that_nobody_uses_any_more(memcached):
    """What was said long ago does not count."""
    one, two, three = (memcached().address for _ in range(3))
    with Servers(f"a={one}", f"b={two}") as servers:
        servers.use(f"a={one}", f"c={three}", ago_s=60)
        found, code, _ = findings_of(f"a={one}", f"b={two}", MEMSESSION_SECRET=SECRET)
    assert (code, ("note", "web servers", "") in found) == (0, True)


def test_a_pool_that_changes(memcached):
    """The former pool is known to the new one: a note, no error."""
    one, two, three = (memcached().address for _ in range(3))
    before, now = f"a={one},b={two}", [f"a={one}", f"b={two}", f"c={three}"]
    with Servers(f"a={one}", f"b={two}") as servers:
        servers.use(f"a={one}", f"b={two}")
        servers.refilled("a", "b")
        found, code, _ = findings_of(*now, "--previous", before, MEMSESSION_SECRET=SECRET)
    assert (worth(found), code) == ([("warning", "refills", "c")], 0)
    assert ("note", "web servers", "") in found


def test_a_node_that_forgot(memcached):
    """Its refill is due."""
    nodes = [memcached(), memcached()]
    texts = [f"{name}={node.address}" for name, node in zip("ab", nodes, strict=True)]
    with Servers(*texts) as servers:
        servers.use(*texts)
        servers.refilled("a", "b")
        nodes[1].restart()
        found, code, _ = findings_of(*texts, MEMSESSION_SECRET=SECRET)
    assert (worth(found), code) == ([("warning", "refills", "b")], 0)


def test_another_secret(memcached, tmp_path):
    """Than the web servers': nothing of it is shown."""
    texts = [f"a={memcached().address}", f"b={memcached().address}"]
    file = tmp_path / "secret"
    file.write_text(OTHER_SECRET)
    with Servers(*texts) as servers:
        servers.use(*texts)
        answer = memsession("check", *texts, "--secret-file", str(file))
    assert answer.code == 1
    assert "use another secret" in answer.words
    assert OTHER_SECRET not in answer.words


def test_a_status_that_nobody_knows(memcached):
    """If its nodes are silent, it was not checked."""
    with Servers(f"a={memcached().address}", f"b={memcached().address}") as servers:
        [finding], checks = of_status(servers.site, Unread.SILENT, 0, {})
    assert (finding.level, finding.check, checks) == (Level.NOTE, "web servers", ())


def test_a_single_copy_has_no_refill(memcached):
    """What one node has no other one has."""
    texts = [f"a={memcached().address}"]
    with Servers(*texts) as servers:
        servers.use(*texts)
        found, code, passed = findings_of(*texts, MEMSESSION_SECRET=SECRET)
    assert (worth(found), code) == ([("warning", "copies", "")], 0)
    assert "web servers" in passed
    assert "refills" not in passed


def test_a_pool_without_web_servers(memcached):
    """Nothing is said to be well that nobody knows."""
    texts = [memcached().address, memcached().address]
    found, code, passed = findings_of(*texts, MEMSESSION_SECRET=SECRET)
    assert (code, ("note", "web servers", "") in found) == (0, True)
    assert {"web servers", "refills"} & {*passed} == set()


def test_looking_writes_nothing_but_the_mark(memcached):
    """The one that every web server puts there."""
    nodes = [memcached(), memcached()]
    pool = pool_given([node.address for node in nodes])
    of_web_servers(pool, [SECRET.encode()])
    assert [node.stats()["curr_items"] for node in nodes] == ["1", "1"]
    assert [node.stats()["cmd_set"] for node in nodes] == ["1", "1"]


def test_a_secret_that_everybody_may_read(memcached, tmp_path):
    """Is a warning."""
    node = memcached().address
    file = tmp_path / "secret"
    file.write_text(SECRET)
    file.chmod(0o644)
    found, code, _ = findings_of(node, memcached().address, MEMSESSION_SECRET_FILE=str(file))
    assert (worth(found), code) == ([("warning", "secret file", "")], 0)
    file.chmod(0o600)
    _, _, passed = findings_of(node, memcached().address, MEMSESSION_SECRET_FILE=str(file))
    assert "secret file" in passed


def page(*cookies, https=True, host="shop.example", headers=GOOD):
    fields = {name.lower(): value for name, value in headers if name != "Set-Cookie"}
    return Page(host, https, cookies, fields)


def verdict(*arguments, **options):
    return [(one.level, one.what) for one in judged(page(*arguments, **options), "session")]


def test_a_good_cookie():
    """Nothing to complain about."""
    assert verdict(COOKIE) == []
    assert verdict("other=1", COOKIE.replace("Lax", "Strict")) == []
    assert verdict(COOKIE.replace("__Host-", "__Secure-").replace("Secure;", "secure;")) == []


@pytest.mark.parametrize(
    ("cookie", "level", "told"),
    [
        (f"session={VALUE}; Path=/; HttpOnly; SameSite=Lax", Level.ERROR, "no Secure"),
        (f"session={VALUE}; Path=/; Secure; HttpOnly; SameSite=Lax", Level.WARNING, "no prefix"),
        (COOKIE.replace(" HttpOnly;", ""), Level.ERROR, "no HttpOnly"),
        (COOKIE.replace("; SameSite=Lax", ""), Level.WARNING, "no SameSite"),
        (COOKIE.replace("Lax", "None"), Level.WARNING, "SameSite=None"),
        (COOKIE.replace("__Host-", "__Secure-") + "; Domain=shop.example", Level.NOTE, "a Domain"),
        (f"odd={VALUE}; Secure; HttpOnly; SameSite=Lax", Level.WARNING, "odd has no prefix"),
        ("session=short; Secure; HttpOnly; SameSite=Lax", Level.WARNING, "session has no prefix"),
        ("other=1; Path=/", Level.NOTE, "no session cookie"),
    ],
)
def test_what_is_wrong_with_a_cookie(cookie, level, told):
    """One finding each; the value is never shown."""
    [(found, what)] = verdict(cookie)
    assert (found, told in what) == (level, True)
    assert VALUE not in what


def test_two_session_cookies():
    """Two middlewares, most likely."""
    [(level, what)] = verdict(COOKIE, COOKIE)
    assert (level, "2 session cookies" in what) == (Level.WARNING, True)


def test_plain_http():
    """On the way to another machine it is an error; on this one it is development."""
    cookie = f"session={VALUE}; Path=/; HttpOnly; SameSite=Lax"
    [(level, what)] = verdict(cookie, https=False)
    assert (level, "plain http" in what) == (Level.ERROR, True)
    for host in ("localhost", "127.0.0.1", "::1"):
        assert verdict(cookie, https=False, host=host) == []


def test_what_proxies_take_away():
    """Caches must be told, and browsers that https is all there is."""
    assert [level for level, _ in verdict(COOKIE, headers=[])] == [Level.WARNING, Level.NOTE]
    assert [level for level, _ in verdict(COOKIE, headers=GOOD[:2])] == [Level.WARNING, Level.NOTE]


def test_a_page_over_https(memcached, tmp_path, monkeypatch):
    """It is asked with the certificate checked."""
    node, certificate = memcached().address, self_signed(tmp_path)
    with web(GOOD, certificate) as address:
        found, code, passed = findings_of(node, memcached().address, "--url", f"{address}/cart?x=1")
        assert (worth(found), code, "cookie" in passed) == ([("error", "cookie", "")], 1, False)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        found, code, passed = findings_of(node, memcached().address, "--url", f"{address}/cart?x=1")
    assert (worth(found), code, "cookie" in passed) == ([], 0, True)


def test_a_page_over_http(memcached):
    """On this machine."""
    cookie = f"shop={VALUE}; Path=/; SameSite=Lax"
    nodes = [memcached().address, memcached().address]
    with web([("Set-Cookie", cookie), *GOOD[1:]]) as address:
        answer = memsession("check", *nodes, "--url", address, "--cookie-name", "shop")
    assert answer.code == 1
    assert "shop has no HttpOnly" in answer.words
    assert VALUE not in answer.words


@pytest.mark.parametrize("serve", [speaks_tls, says(b"nonsense\r\n"), lambda door: None])
def test_a_page_that_cannot_be_asked(memcached, serve):
    """Is an error, and told in a sentence."""
    with listener(serve) as port:
        answer = memsession("check", memcached().address, memcached().address, "--url", f"http://127.0.0.1:{port}/")
    assert answer.code == 1
    assert "the page cannot be asked" in answer.words


def test_a_page_that_nobody_serves(memcached):
    """Nothing listens."""
    address = f"https://127.0.0.1:{free_port()}/"
    found, code, _ = findings_of(memcached().address, memcached().address, "--url", address)
    assert (worth(found), code) == ([("error", "cookie", "")], 1)


def test_a_page_that_never_comes(memcached, monkeypatch):
    """Is not waited for for ever, even if a byte comes now and then."""
    monkeypatch.setattr(pages, "PATIENCE_S", 0.2)
    seen = threading.Event()

    def drip(door):
        says(b"HTTP/1.1 200 OK\r\nX")(door)
        seen.wait(PATIENCE_S)

    with listener(drip) as port:
        address = f"http://127.0.0.1:{port}/"
        answer = memsession("check", memcached().address, memcached().address, "--url", address)
        seen.set()
    assert "no answer within" in answer.words


@pytest.mark.parametrize(
    "url", ["shop.example", "ftp://shop.example/", "http://", "http://a:99999/", "http://[::1", "http://a:0/"]
)
def test_what_is_no_page(url):
    """Is an error of usage."""
    answer = memsession("check", "127.0.0.1:1", "--url", url)
    assert (answer.code, answer.out) == (2, "")
    assert "--url" in answer.err


def test_a_password_in_the_url_is_refused_and_not_shown():
    """It stands in the arguments, where everybody can read it."""
    answer = memsession("check", "127.0.0.1:1", "--url", "http://user:hunter2@shop.example/")
    assert answer.code == 2
    assert "hunter2" not in answer.err


def test_a_page_that_is_not_shown_says_so():
    """A redirect, or an error, is why there is no cookie."""
    [(_, what)] = [(one.level, one.what) for one in judged(Page("shop.example", True, (), {}, 301), "session")]
    assert what == "not checked: the page sets no session cookie (it answers 301)"
