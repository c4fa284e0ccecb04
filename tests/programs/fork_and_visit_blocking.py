"""Visits, a fork, and visits in both processes with the one blocking client. Exits with 0 if each got its own."""

import os
import sys

from memsession.blocking import BlockingClient
from memsession.pool import Pool
from tests.rounds import News, kinds, visit

CHILDREN = 2
VISITS = 200


def visits(client, names, who):
    """Each visit finds what the one before it stored."""
    key, before = b"memsession:" + who, None
    for number in range(VISITS):
        value = b"%s %d" % (who, number)
        found, replies = client.run(visit(names, key, value))
        assert (found, kinds(replies)) == (before, ["Stored"] * len(names)), (found, before, replies)
        before = value


def child(client, names, number):
    """A forked process, which finds its parent's connections open."""
    assert all(client.is_up(name) for name in names)
    visits(client, names, b"child-%d" % number)
    assert len(client.incarnations) == len(names)
    client.close()


def main(*addresses):
    pool = Pool(*addresses)
    names = [node.name for node in pool.nodes]
    told = News()
    client = BlockingClient(pool, observe=told)
    visits(client, names, b"parent")
    children = []
    for number in range(CHILDREN):
        process = os.fork()
        if process == 0:
            code = 1
            try:
                child(client, names, number)
                code = 0
            finally:
                sys.stderr.flush()
                os._exit(code)
        children.append(process)
    visits(client, names, b"parent-in-between")
    codes = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in children]
    before = client._process._idle[0]._connections.copy()
    visits(client, names, b"parent-at-last")
    assert client._process._idle[0]._connections == before, "no connection of the parent was lost"
    assert codes == [0] * CHILDREN, codes
    assert told == [], told


if __name__ == "__main__":
    main(*sys.argv[1:])
