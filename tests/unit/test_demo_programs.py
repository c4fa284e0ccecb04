"""Which programs the demo finds, what stands in for those it does not, and how each is started."""

import os
import sys
import sysconfig
from pathlib import Path

import pytest

from memsession.demo import programs
from memsession.demo.child import Kind
from memsession.demo.programs import Programs, find_programs


@pytest.fixture
def machine(tmp_path, monkeypatch) -> Path:
    """A machine on which nothing is installed but what a test puts into this folder."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(programs, "MORE_FOLDERS", (str(tmp_path / "sbin"),))
    for folder in ("bin", "sbin"):
        (tmp_path / folder).mkdir()
    return tmp_path


def install(place: Path, says: str) -> str:
    place.write_text(f"#!/bin/sh\necho '{says}'\n")
    place.chmod(0o755)
    return str(place)


def test_what_is_installed_is_used(machine):
    """memcached and HAProxy are taken from the PATH, and from where systems put servers for administrators."""
    memcached = install(machine / "bin" / "memcached", "memcached 1.6.18")
    haproxy = install(machine / "sbin" / "haproxy", "HAProxy version 2.6.12-1+deb12u1 2023/12/16")

    assert find_programs() == Programs(memcached=memcached, haproxy=haproxy)


def test_what_is_missing_is_stood_in_for(machine):
    """Without them, the demo says what stands in, and how to get the real ones."""
    found = find_programs()

    assert (found.memcached, found.haproxy) == ("", "")
    assert [remark.split(". ")[0] for remark in found.remarks] == [
        "Fake nodes stand in for memcached, which is not installed",
        "A small proxy stands in for HAProxy, which is not installed",
    ]
    assert ["apt-get install memcached" in found.remarks[0], "brew install haproxy" in found.remarks[1]] == [True] * 2


def test_what_is_too_old_is_stood_in_for(machine):
    """A program that cannot do what the demo needs is as good as none; the demo says which version it found."""
    install(machine / "bin" / "memcached", "memcached 1.6.14")
    install(machine / "bin" / "haproxy", "HA-Proxy version 1.8.19-1+deb10u3 2020/08/01")

    found = find_programs()

    assert (found.memcached, found.haproxy) == ("", "")
    assert "too old here: 1.6.14, where 1.6.18 is needed" in found.remarks[0]
    assert "too old here: 1.8.19, where 2.4 is needed" in found.remarks[1]


def test_a_version_that_cannot_be_read_is_no_reason(machine):
    """A program of unknown version is tried."""
    memcached = install(machine / "bin" / "memcached", "memcached of today")

    assert find_programs().memcached == memcached


def test_a_program_that_does_not_start_is_stood_in_for(machine):
    """A file that is no program of this machine's is as good as none."""
    broken = machine / "bin" / "memcached"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)

    assert (
        find_programs()
        .remarks[0]
        .startswith(f"Fake nodes stand in for memcached, which does not tell its version ({broken})")
    )


def test_stand_ins_can_be_asked_for(machine):
    """Whatever is installed, it can be left alone."""
    install(machine / "bin" / "memcached", "memcached 1.6.18")

    found = find_programs(stand_ins=True)

    assert (found.memcached, found.haproxy, len(found.remarks)) == ("", "", 1)


@pytest.mark.parametrize("real", [True, False])
def test_stand_ins_are_started_for_what_they_stand_for(tmp_path, real):
    """The real program or the stand-in: kind and port are the same, and its name says which it is."""
    node = programs.memcached("/bin/memcached" if real else "", "a", 1001, tmp_path)
    proxy = programs.proxy("/bin/haproxy" if real else "", 1002, tmp_path, web_ports={"web-1": 1003, "web-2": 1004})

    assert (node.kind, node.port, proxy.kind, proxy.port) == (Kind.MEMCACHED, 1001, Kind.PROXY, 1002)
    if real:
        assert (node.name, node.command[0]) == ("memcached a", "/bin/memcached")
        assert (proxy.name, proxy.command[0]) == ("haproxy", "/bin/haproxy")
        assert Path(proxy.command[-1]).is_file()
        assert (proxy.environment["COUNTER_BIND"], proxy.environment["COUNTER_WEB_2"]) == (
            *("127.0.0.1:1002", "127.0.0.1:1004"),
        )
    else:
        assert (node.name, [*node.command]) == (
            *("fake node a", [sys.executable, "-m", "memsession.demo.fake_node", "1001"]),
        )
        assert [*proxy.command[1:]] == ["-m", "memsession.demo.turnstile", "1002", "web-1=1003", "web-2=1004"]


def test_processes_find_the_package(tmp_path, monkeypatch):
    """From a checkout the processes are told where the package is; where it is installed they need not be."""
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    told = programs.memcached("", "a", 1, tmp_path).environment
    monkeypatch.setattr(programs, "ROOT", Path(sysconfig.get_path("purelib")))

    assert told == {"PYTHONPATH": f"{Path(programs.__file__).parents[2]}{os.pathsep}/elsewhere"}
    assert programs.memcached("", "a", 1, tmp_path).environment == {}
