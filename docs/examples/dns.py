from datetime import timedelta

from memsession import Pool
from memsession.discovery import pool_from_dns


def current_pool() -> Pool:
    return pool_from_dns("memcached.default.svc.cluster.local", timeout=timedelta(seconds=2), copies=2)
