"""How the frameworks' tests are judged, and where their sources come from; running them is `scripts/upstream`."""

import subprocess
import tarfile
from types import SimpleNamespace

import pytest

from . import __main__ as program
from . import sources
from .verdict import TABLE, Deviation, as_markdown, deviations, judge, plain_name

AGE = Deviation(subject="starlette", test="t.py::test_age", error="Max-Age", reason="The age is another one.")
PASSED, FAILED, SKIPPED = ("passed", ""), ("failed", "assert Max-Age == 1\nmore"), ("skipped", "no trio")
UNUSED = ("unused", "")


def test_a_failure_that_is_explained_is_none():
    """It is counted, and nothing is wrong."""
    verdict = judge(
        {"t.py::test_age[asyncio]": FAILED, "t.py::test_b": PASSED, "t.py::test_c": SKIPPED, "t.py::test_d": UNUSED},
        {},
        [AGE],
    )

    assert (verdict.explained, verdict.wrong) == (["t.py::test_age"], [])
    assert (verdict.passed, verdict.others) == (["t.py::test_b"], ["t.py::test_c", "t.py::test_d"])


@pytest.mark.parametrize(
    ("outcomes", "wrong"),
    [
        ({"t.py::test_age": FAILED, "t.py::test_b": FAILED}, ["t.py::test_b: assert Max-Age == 1"]),
        ({"t.py::test_age": ("failed", "assert 1 == 2")}, ["t.py::test_age: assert 1 == 2"]),
        ({"t.py::test_age": PASSED}, ["t.py::test_age: explained, but it did not fail"]),
        ({"t.py::test_age": SKIPPED}, ["t.py::test_age: explained, but it did not fail"]),
        ({}, ["t.py::test_age: explained, but it did not fail"]),
    ],
)
def test_what_is_not_as_explained_is_wrong(outcomes, wrong):
    """A failure that is not in the table, or with another message; and an entry of the table that does not fail."""
    assert judge(outcomes, {}, [AGE]).wrong == wrong


def test_what_fails_anyway_is_none_of_ours():
    """It is counted apart, and needs no explanation; one that was written all the same has to go."""
    outcomes = {"t.py::test_age[asyncio]": FAILED, "t.py::test_b": PASSED}
    verdict = judge(outcomes, {"t.py::test_age[asyncio]": FAILED}, [])

    assert (verdict.broken, verdict.explained, verdict.wrong) == (["t.py::test_age"], [], [])
    assert judge(outcomes, outcomes, [AGE]).wrong == ["t.py::test_age: explained, but it did not fail"]
    assert judge(outcomes, {"t.py::test_age[asyncio]": PASSED}, [AGE]).explained == ["t.py::test_age"]


@pytest.mark.parametrize(
    ("test", "plain"),
    [
        ("a.py::test_b[asyncio]", "a.py::test_b"),
        ("a.py::test_b[asyncio-True]", "a.py::test_b[True]"),
        ("a.py::test_b[True-asyncio]", "a.py::test_b[True]"),
        ("a.py::test_b[True]", "a.py::test_b[True]"),
    ],
)
def test_the_event_loop_is_no_part_of_a_name(test, plain):
    """Wherever it stands among the parameters."""
    assert plain_name(test) == plain


def test_the_table_is_for_users():
    """Each deviation names a framework that is run, a test once, a message, and the reason in one sentence."""
    table = deviations(TABLE.read_text(encoding="utf-8"))

    assert {one.subject for one in table} <= {*program.SUBJECTS}
    assert len({(one.subject, one.test) for one in table}) == len(table)
    for one in table:
        assert one.error
        assert one.reason[0].isupper() or one.reason[0] == "`"
        assert one.reason.endswith(".")
        assert ". " not in one.reason


def test_tests_of_one_reason_are_one_row():
    """As it stands in the documentation."""
    other = Deviation(subject="starlette", test="t.py::test_zero", error="x", reason=AGE.reason)

    assert as_markdown([AGE, other]).splitlines()[2:] == [
        "| starlette | `test_age`, `test_zero` | The age is another one. |"
    ]


def test_versions_are_those_of_the_requirements():
    """An exact pin of the very package."""
    text = "# flask==9\npytest-flask==1.2\nFlask==3.1.3\nstarlette>=1\n"

    assert sources.pinned_version("flask", text) == "3.1.3"
    with pytest.raises(sources.NoSource, match="pins no version of starlette"):
        sources.pinned_version("starlette", text)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder for sources that is empty, and one framework of version 1.0."""
    pinned = tmp_path / "test.txt"
    pinned.write_text("starlette==1.0\n")
    monkeypatch.setattr(sources, "PINNED", pinned)
    monkeypatch.setattr(sources, "FOLDER", tmp_path / "upstream")
    monkeypatch.setattr(program, "FOLDER", tmp_path / "upstream")
    return tmp_path / "upstream"


def test_without_network_nothing_is_judged(folder, monkeypatch, capsys):
    """Exit code 2 and the reason, without the addresses that were asked."""
    said = "Retrying host='secret.example'\nERROR: https://secret.example/simple: no route\n"
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=1, stderr=said))

    assert program.main(["starlette"]) == 2
    shown = capsys.readouterr().err
    assert "Nothing was judged: the sources of starlette 1.0 cannot be fetched (no network?)" in shown
    assert "no route" in shown
    assert "secret.example" not in shown


def test_a_package_without_a_source_distribution_is_told(folder, monkeypatch):
    """pip was content, but brought something else."""
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=0, stderr=""))

    with pytest.raises(sources.NoSource, match=r"no source distribution of the name starlette-1\.0\.tar\.gz"):
        sources.unpacked("starlette")


def pack(folder, test):
    """Put an archive there that has one file of tests."""
    inside = folder / "starlette-1.0" / "tests" / "middleware"
    inside.mkdir(parents=True)
    (inside / "test_session.py").write_text(test)
    (inside / "test_middleware.py").write_text("")
    with tarfile.open(folder / "starlette-1.0.tar.gz", "w:gz") as archive:
        archive.add(folder / "starlette-1.0", "starlette-1.0")


THEIR_TEST = """
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

def test_ours_is_in_place():
    def view(request):
        request.session["n"] = request.session.get("n", 0) + 1
        return PlainTextResponse(f"{request.session['n']} {type(request.session).__module__}")
    app = Starlette(routes=[Route("/", view)], middleware=[Middleware(SessionMiddleware, secret_key="weak")])
    client = TestClient(app)
    assert client.get("/").text.startswith("1 memsession")
    assert client.get("/").text.startswith("2 memsession")

def test_age():
    assert SessionMiddleware.__module__.startswith("starlette"), "Max-Age"

def test_broken():
    assert not SessionMiddleware

def test_nothing():
    pass
"""


@pytest.mark.parametrize(
    ("reason", "status", "said"),
    [
        (
            "The age is another one.",
            0,
            "starlette 1.0: 1 passed, 1 explained, 0 wrong; 1 use no session or were skipped, 1 fail with",
        ),
        (None, 1, "starlette 1.0: 1 passed, 0 explained, 1 wrong; 1 use no session or were skipped, 1 fail with"),
    ],
)
def test_their_tests_are_run_with_ours_in_place(folder, monkeypatch, tmp_path, capsys, reason, status, said):
    """From the unpacked archive, in a process of its own; the exit code tells whether all is as explained."""
    table = tmp_path / "deviations.toml"
    test = "tests/middleware/test_session.py::test_age"
    table.write_text(f'[[starlette]]\ntest = "{test}"\nerror = "Max-Age"\nreason = "{reason}"\n' if reason else "")
    monkeypatch.setattr(program, "TABLE", table)
    pack(folder, THEIR_TEST)

    assert program.main(["starlette"]) == status
    assert said in capsys.readouterr().out


def test_tests_that_do_not_run_are_no_success(folder, capsys):
    """A broken file of tests is neither passed nor explained."""
    pack(folder, "import nothing_of_that_name")

    assert program.main(["starlette"]) == 1
    assert "the tests of starlette did not run" in capsys.readouterr().err


def test_only_frameworks_that_are_known_are_run(capsys):
    """A mistyped name is told."""
    with pytest.raises(SystemExit):
        program.main(["starlet"])
    assert "there is starlette, flask" in capsys.readouterr().err
