"""Greenlets that visit through one blocking client while one of them is interrupted at every moment.

Exits with 0 if each found its own values only. The standard library is patched first, as gunicorn does for gevent.
"""

# ruff: noqa: E402, I001
from gevent import monkey

monkey.patch_all()

import gevent
import gevent.event
from gevent.pool import Pool as Greenlets
from gevent.server import StreamServer
import socket
import sys
from datetime import timedelta

from memsession.blocking import BlockingClient
from memsession.pool import Pool
from tests.rounds import News, bury, kinds, visit

MOMENTS = 300
TURNS = 14
TURN_S = 0.00002
USERS = 5
PIECE = 24


def slow_road(port):
    """A proxy that hands bytes on in small pieces, with a turn of the loop after each."""

    def hand_on(near, far):
        try:
            while data := near.recv(65_536):
                for at in range(0, len(data), PIECE):
                    far.sendall(data[at : at + PIECE])
                    gevent.sleep(0)
        except OSError:
            pass
        finally:
            for end in (near, far):
                end.close()

    def serve(near, _address):
        far = socket.create_connection(("127.0.0.1", port))
        for end in (near, far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        gevent.joinall([gevent.spawn(hand_on, near, far), gevent.spawn(hand_on, far, near)])

    server = StreamServer(("127.0.0.1", 0), serve, spawn=Greenlets())
    server.start()
    return server


class Stop(BaseException):
    """What nobody expects. (`SystemExit` in a greenlet would end the program.)"""


class User:
    """Visits that must each find what the one before it stored."""

    def __init__(self, client, names, number):
        self.client, self.names, self.number = client, names, number
        self.key = b"memsession:user-%d" % number
        self.visits = 0

    def marker(self):
        return b"of user %d, visit %d " % (self.number, self.visits) + b"." * (17 * self.number)

    def visit_until(self, ended):
        self.client.run(bury(self.names, self.key, self.marker()))
        while not ended.is_set():
            before, self.visits = self.marker(), self.visits + 1
            found, replies = self.client.run(visit(self.names, self.key, self.marker()))
            assert found == before, ("foreign or stale", found, before)
            assert kinds(replies) == ["Stored"] * len(self.names)


def interrupted(client, names, moment):
    """A visit that is interrupted some turns after it began, by a time-out or by something that nobody expects."""
    key = b"memsession:victim"
    greenlet = gevent.spawn(client.run, visit(names, key, b"victim %d" % moment))
    for _ in range(moment % TURNS):
        gevent.sleep(TURN_S)
    why = gevent.Timeout(1.0) if moment % 2 else Stop()
    greenlet.kill(why, block=True)
    found, _ = client.run(visit(names, key, b"victim after %d" % moment))
    assert found is None or found.startswith(b"victim "), ("foreign", found)
    return greenlet.value is None


def main(*ports):
    gevent.get_hub().exception_stream = None
    roads = [slow_road(int(port)) for port in ports]
    patience = timedelta(seconds=30)
    pool = Pool(*(f"127.0.0.1:{road.server_port}" for road in roads), timeout=patience, budget=patience)
    names = [node.name for node in pool.nodes]
    told = News()
    client = BlockingClient(pool, observe=told)
    ended = gevent.event.Event()
    users = [User(client, names, number) for number in range(USERS)]
    visits = [gevent.spawn(user.visit_until, ended) for user in users]
    stopped = sum(interrupted(client, names, moment) for moment in range(MOMENTS))
    ended.set()
    gevent.joinall(visits, raise_error=True)
    client.close()
    for road in roads:
        road.stop()
    assert MOMENTS / 10 < stopped < MOMENTS, stopped
    assert min(user.visits for user in users) > MOMENTS / 10
    assert told == [], told


if __name__ == "__main__":
    main(*sys.argv[1:])
