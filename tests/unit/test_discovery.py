"""Pools from names that stand for several servers."""

import socket
import threading
from datetime import timedelta

import pytest

from memsession.discovery import addresses_of, pool_from_dns
from memsession.errors import ConfigurationError


def names(pool):
    return [node.name for node in pool.nodes]


def test_every_address_is_a_node():
    """In the order of the addresses, whatever the resolver's is."""
    pool = pool_from_dns("cache.test", 11_212, resolve=lambda host, port: ["10.0.0.2", "10.0.0.1"], copies=2)

    assert names(pool) == ["10.0.0.2:11212", "10.0.0.1:11212"]
    assert pool.copies == 2


def test_addresses_of_the_sixth_version():
    """Are put into brackets."""
    assert names(pool_from_dns("cache.test", resolve=lambda host, port: ["::1"])) == ["[::1]:11211"]


def test_the_system_is_asked_and_each_address_counts_once(monkeypatch):
    """The resolver tells an address once for each way to use it."""
    said = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.2", 11_211)),
        (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("10.0.0.2", 11_211)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 11_211)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: said)

    assert addresses_of("cache.test", 11_211) == ["10.0.0.1", "10.0.0.2"]


def test_a_name_that_nobody_knows_is_an_error():
    """Not an empty pool."""

    def unknown(host, port):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(ConfigurationError, match=r"cache.test.*cannot be resolved.*not known"):
        pool_from_dns("cache.test", resolve=unknown)


def test_a_resolver_that_hangs_is_an_error_in_the_end():
    """The caller is not kept for ever."""
    never = threading.Event()
    with pytest.raises(ConfigurationError, match=r"no answer within 0\.01 s"):
        pool_from_dns("cache.test", timeout=timedelta(milliseconds=10), resolve=lambda *_: never.wait() and [])
    never.set()


@pytest.mark.parametrize("count", [0, 1_025])
def test_as_many_as_a_pool_may_have(count):
    """None at all is an error, too."""
    found = [f"10.0.{number // 250}.{number % 250}" for number in range(count)]
    with pytest.raises(ConfigurationError, match=f"{count} addresses"):
        pool_from_dns("cache.test", resolve=lambda host, port: found)


def test_a_server_with_addresses_of_both_versions_counts_once(monkeypatch):
    """Otherwise one process would be two nodes."""
    said = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fd00::1", 11_211, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 11_211)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: said)

    assert addresses_of("cache.test", 11_211) == ["10.0.0.1"]


def test_what_a_resolver_of_ones_own_raises_is_raised():
    """At once, as it is."""

    def broken(host, port):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        pool_from_dns("cache.test", resolve=broken)


@pytest.mark.parametrize("timeout", [5, timedelta(), None])
def test_a_time_out_that_is_none(timeout):
    """The message names the cure."""
    with pytest.raises(ConfigurationError, match="use a timedelta above zero"):
        pool_from_dns("cache.test", timeout=timeout, resolve=lambda host, port: ["10.0.0.1"])
