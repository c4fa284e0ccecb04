"""A TCP proxy before a memcached that hands out wrong replies now and then: UPSTREAM SEED ONE_IN.

    again      the reply, and after it one that somebody got before
    instead    one that somebody got before, in place of the reply
    disguised  the value of another reply under the name of the key that was asked for

It prints where it listens and, on SIGTERM, how often it did each, as JSON.
"""

import asyncio
import json
import os
import random
import signal
import sys
from collections import Counter, deque

import uvloop

REMEMBERED = 64


class ReplayingProxy:
    def __init__(self, upstream, seed, one_in):
        self.upstream = upstream
        self.chance = random.Random(seed)
        self.one_in = one_in
        self.earlier = deque(maxlen=REMEMBERED)
        self.done = Counter()

    async def serve(self, reader, writer):
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        there = asyncio.ensure_future(hand_on(reader, far_writer))
        back = asyncio.ensure_future(self.reply(far_reader, writer))
        try:
            await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            there.cancel()
            back.cancel()
            await asyncio.gather(there, back, return_exceptions=True)
            for end in (writer, far_writer):
                end.transport.abort()

    async def reply(self, reader, writer):
        while head := await reader.readline():
            data = b""
            if head.startswith(b"VA "):
                data = await reader.readexactly(int(head.split()[1]) + 2)
            known = b" O" in head and b":node" not in head
            writer.write(self.tampered(head, data) if known else head + data)
            if known:
                self.earlier.append((head, data))

    def tampered(self, head, data):
        if not self.earlier or self.chance.randrange(self.one_in):
            return head + data
        kind = self.chance.choice(("again", "instead", "disguised"))
        other_head, other_data = self.chance.choice(self.earlier)
        if kind == "disguised":
            others = [value for _, value in self.earlier if value and value != data]
            if not data or not others:
                return head + data
            value = self.chance.choice(others)
            words = head.split()
            words[1] = b"%d" % (len(value) - 2)
            self.done[kind] += 1
            return b" ".join(words) + b"\r\n" + value
        self.done[kind] += 1
        return (head + data if kind == "again" else b"") + other_head + other_data


async def hand_on(reader, writer):
    while data := await reader.read(65_536):
        writer.write(data)


async def main(upstream, seed, one_in):
    proxy = ReplayingProxy(upstream, seed, one_in)
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    async with await asyncio.start_server(proxy.serve, "127.0.0.1", 0) as server:
        print("http://127.0.0.1:{1}".format(*server.sockets[0].getsockname()), flush=True)
        await over.wait()
        print(json.dumps(proxy.done), flush=True)
        os._exit(0)  # with connections open, on which there may be anything


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(*map(int, sys.argv[1:])))
