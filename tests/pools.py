"""A pool of real memcached, with sessions on it that were made by the plans web servers run."""

import time
from datetime import timedelta

from memsession.blocking import BlockingClient
from memsession.commands import Add, Bury
from memsession.identity import SessionId, fingerprint, storage_key
from memsession.lifetime import Lifetime
from memsession.plans import Saved, create, load
from memsession.plans.load import read
from memsession.pool import Pool
from memsession.record import Dead, Entry, Live
from memsession.secret import secret_keys
from memsession.upkeep.build import sites
from tests.servers import PATIENCE_S, Memcached

SECRET = "a-secret-of-the-tests-0123456789abcdef"


class RealPool:
    """`nodes` by name (a, b, ...), the `pool` of them, and what it takes to put sessions there and read them."""

    def __init__(self, nodes: list[Memcached], secret: str = SECRET, **options) -> None:
        self.nodes = dict(zip("abcdef", nodes, strict=False))
        copies = min(options.pop("copies", 2), len(nodes))
        addresses = [f"{name}={node.address}" for name, node in self.nodes.items()]
        self.text = f"memcached://{','.join(addresses)}?copies={copies}"
        self.pool = Pool(self.text, timeout=timedelta(seconds=1), budget=timedelta(seconds=5), **options)
        self.keys = secret_keys(secret)
        self.client = BlockingClient(self.pool, observe=lambda _: None)
        self.site = sites(
            keys=self.keys, lifetime=Lifetime(), senses=self.client, observe=lambda _: None, rate=9_999
        )(self.pool)
        self.world = self.site.world

    def run(self, plan):
        """What a plan returns."""
        return self.client.run(plan, deadline=time.monotonic() + PATIENCE_S)

    def new_key(self) -> bytes:
        """Of a session that is nowhere yet."""
        return storage_key(SessionId.new(), self.pool.prefix)

    def live(self, *, doubted: str = "", version: int = 1, user: str = "ann", seen_s: int = 0) -> Live:
        """A session that was used `seen_s` seconds ago."""
        now_ms = self.client.now_ms()
        entries = {"user": Entry(version, "w", user)}
        ends_ms = now_ms + self.world.lifetime.absolute_ms
        return Live(entries, {}, now_ms, ends_ms, now_ms - 1_000 * seen_s, version, doubted)

    def born(self, opened_by: SessionId | None = None, **fields) -> bytes:
        """The key of a new session that lies on all its homes."""
        key = storage_key(opened_by, self.pool.prefix) if opened_by else self.new_key()
        saved = self.run(create(self.world, key, self.live(**fields)))
        assert isinstance(saved, Saved)
        assert saved.confirmed == {*self.pool.homes(key)}
        return key

    def put(self, node: str, key: bytes, record: Live | Dead | bytes) -> None:
        """Put it on that node; a `Live` only where there is nothing."""
        value = record if isinstance(record, bytes) else self.world.codec.seal(key, record)

        def plan():
            yield [(Bury if isinstance(record, Dead) else Add)(node, key, value, 600)]

        self.run(plan())

    def held(self, key: bytes) -> dict:
        """What its homes hold, by their names: a record, or None. Nothing of those that do not answer."""
        copies = self.run(read(self.world, key, self.world.homes(key), force=True))
        return {node: copy and copy.record for node, copy in copies.items()}

    def loaded(self, key: bytes):
        """As a visitor's request finds it."""
        return self.run(load(self.world, key))

    def names(self, key: bytes) -> str:
        """The session's public ID."""
        return fingerprint(key)

    def settings(self) -> dict[str, str]:
        """The environment of a command."""
        return {"MEMSESSION_POOL": self.text, "MEMSESSION_SECRET": SECRET}

    def close(self) -> None:
        """Close its connections."""
        self.client.close()
