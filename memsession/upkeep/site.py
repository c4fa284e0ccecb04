"""What a keeper has to do with: a pool, the worlds in which its plans run, and whom to tell."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from memsession.events import Observe
from memsession.plans import World
from memsession.pool import Pool
from memsession.upkeep.fingerprint import chain, fingerprint

STATUS_NODES: Final = 5
"""Nodes of each pool that keep the status and the lease: with so many, some are always there."""

PATIENCE_S: Final = 5.0
"""For a plan that no visitor waits for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Made anew when the pool changes. `status_world` is for the status and the lease, `world` for sessions.

    `mark` gives 32 hex digits that were never given before. `rate` is in sessions a second.
    """

    pool: Pool
    world: World
    status_world: World
    observe: Observe
    mark: Callable[[], bytes]
    rate: int
    names: tuple[str, ...]
    fingerprint: str

    @property
    def status_key(self) -> bytes:
        """Where the status is; the lease is beside it."""
        return f"{self.pool.prefix}:upkeep".encode()

    @property
    def mark_key(self) -> bytes:
        """Where each node keeps its mark; `memsession.greeting` puts it there as well."""
        return f"{self.pool.prefix}:node".encode()

    @property
    def deadline(self) -> float:
        """For a plan that begins now."""
        return self.world.monotonic() + PATIENCE_S


def site_of(
    pool: Pool, *, world: World, status_world: World, observe: Observe, mark: Callable[[], bytes], rate: int
) -> Site:
    """The worlds are given without regard to the pool; here they get its homes."""
    strict = pool.consistency == "majority"
    keepers = tuple(dict.fromkeys(name for one in chain(pool) for name in _keepers(one)))
    return Site(
        pool=pool,
        world=replace(world, homes=pool.placed, home_sets=pool.home_sets if strict else None),
        status_world=replace(status_world, homes=lambda _: keepers),
        observe=observe,
        mark=mark,
        rate=rate,
        names=tuple(node.name for node in pool.all_nodes),
        fingerprint=fingerprint(pool),
    )


def _keepers(pool: Pool) -> list[str]:
    """The first nodes by name: so pools that differ a little have most of them in common."""
    return sorted(node.name for node in pool.nodes)[:STATUS_NODES]
