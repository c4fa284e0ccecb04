"""What is wrong with how a node was started, by the settings that it tells."""

import re
from typing import Final

from memsession.greeting import OLDEST
from memsession.inspection.finding import Finding, Level
from memsession.inspection.report import NodeReport, whole

ITEM_SURPLUS: Final = 200
"""What memcached stores with a session: its own header, and the key."""

SMALL: Final = 64 * 1_048_576
"""What memcached takes if nobody tells it how much."""

ROOM: Final = 2_200
"""Bytes for a session of 1 KB: its chunk in memcached, and half as much again."""

CHECKS: Final = ("version", "open", "udp", "item size", "memory", "-M", "cas", "listing")

_VERSION: Final = re.compile(r"([0-9]{1,4})\.([0-9]{1,4})\.([0-9]{1,4})")
_EVERYWHERE: Final = frozenset({"", "NULL", "0.0.0.0", "::", "[::]", "*"})  # noqa: S104 - that is what is warned about


def of_configuration(report: NodeReport, max_bytes: int) -> list[Finding]:
    """What is to be said of a node's settings, for sessions of up to `max_bytes`. Nothing of one that is not up."""
    if not report.is_up:
        return []
    if not report.settings:
        what = "it does not tell its settings, so they were not checked"
        return [*of_version(report), _found(report, Level.NOTE, "open", what, "")]
    return [*of_version(report), *_reach(report), *_room(report, max_bytes), *_needs(report)]


def of_version(report: NodeReport) -> list[Finding]:
    """Whether it has the commands that are needed. Nothing of a node that is not up."""
    if not report.is_up:
        return []
    numbers = _VERSION.match(report.version)
    if numbers and tuple(map(int, numbers.groups())) >= OLDEST:
        return []
    oldest = ".".join(map(str, OLDEST))
    what = f"memcached {report.version[:20]} is too old: its meta commands are needed"
    return [_found(report, Level.ERROR, "version", what, f"Upgrade memcached to {oldest} or newer.")]


def _reach(report: NodeReport) -> list[Finding]:
    """Who may speak to it."""
    socket_path = report.setting("domain_socket") or "NULL"
    places = [place.strip() for place in (report.setting("inter") or "").split(",")]
    is_open = socket_path == "NULL" and any(place in _EVERYWHERE for place in places)
    findings = []
    if is_open:
        what = "it listens on all addresses of its machine, and asks nobody for a password"
        cure = "Bind it to a private address (-l), and let a firewall keep out all but the web servers."
        findings.append(_found(report, Level.WARNING, "open", what, cure))
    if (report.setting("udpport") or "0") != "0":
        what = "it answers UDP, which others can abuse to flood somebody"
        level = Level.ERROR if is_open else Level.WARNING
        findings.append(_found(report, level, "udp", what, "Start memcached with -U 0."))
    return findings


def _room(report: NodeReport, max_bytes: int) -> list[Finding]:
    findings = []
    largest = whole(report.setting("item_size_max") or "")
    if largest is not None and largest < max_bytes + ITEM_SURPLUS:
        what = f"its items have {largest:,} bytes at most, and a session may have {max_bytes:,}"
        cure = "Start memcached with a larger -I, or lower Pool(max_bytes=...)."
        findings.append(_found(report, Level.ERROR, "item size", what, cure))
    limit = report.number("limit_maxbytes")
    if limit is not None and limit <= SMALL:
        what = f"it has {limit / 1_048_576:,.0f} MB: enough for some {_rounded(limit // ROOM):,} sessions of 1 KB"
        findings.append(_found(report, Level.NOTE, "memory", what, "If you have more visitors, raise -m."))
    if report.setting("evictions") == "off":
        what = "when it is full it refuses sessions (-M), also those in use"
        findings.append(_found(report, Level.WARNING, "-M", what, "Start memcached without -M, and watch evictions."))
    return findings


def _needs(report: NodeReport) -> list[Finding]:
    """What replication and refills need."""
    findings = []
    if report.setting("cas_enabled") == "no":
        what = "compare-and-swap is off (-C), and nothing can be saved without"
        findings.append(_found(report, Level.ERROR, "cas", what, "Start memcached without -C."))
    if "no" in (report.setting("dump_enabled"), report.setting("lru_crawler")):
        what = "it does not list its keys, so nobody can refill another node from it"
        cure = "Start memcached without -X and without -o no_lru_crawler."
        findings.append(_found(report, Level.WARNING, "listing", what, cure))
    return findings


def _rounded(number: int) -> int:
    """To one digit and zeros, downwards."""
    unit = 10 ** (len(str(number)) - 1)
    return int(number // unit * unit)


def _found(report: NodeReport, level: Level, check: str, what: str, cure: str) -> Finding:
    return Finding(level=level, check=check, node=report.name, what=what, cure=cure)
