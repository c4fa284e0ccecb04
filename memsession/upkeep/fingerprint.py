"""Fingerprints of pools, by which web servers see whether they place sessions alike."""

from hashlib import blake2b

from memsession.pool import Pool
from memsession.upkeep.status import InUse


def fingerprint(pool: Pool) -> str:
    """16 hex digits that are the same where sessions are placed alike, whatever the addresses are."""
    nodes = sorted((node.name, node.weight, pool.zones.get(node.name, "")) for node in pool.nodes)
    return blake2b(repr((nodes, pool.copies)).encode(), digest_size=8).hexdigest()


def chain(pool: Pool) -> list[Pool]:
    """The pool, what it was before, and before that."""
    pools = [pool]
    while (before := pools[-1].previous) is not None:
        pools.append(before)
    return pools


def in_use(pool: Pool, now_ms: int) -> InUse:
    """What to say of a pool that is in use."""
    nodes = tuple(sorted(node.name for node in pool.nodes))
    return InUse(nodes, pool.copies, tuple(fingerprint(one) for one in chain(pool)[1:]), now_ms)
