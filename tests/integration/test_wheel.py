"""The demo out of the built wheel, in an environment that has nothing but the wheel and what its extra asks for."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PROJECT = Path(__file__).parents[2]
PATIENCE_S = 180


def inherited() -> dict[str, str]:
    """The environment, without what would lead Python to the sources."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV_", "COVERAGE_"))}


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**inherited(), **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def closure(requirements: list[str]) -> dict[str, Distribution]:
    """The installed distributions that these requirements bring, by name."""
    found: dict[str, Distribution] = {}
    waiting = [(Requirement(text), "") for text in requirements]
    while waiting:
        wanted, extra = waiting.pop()
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": extra}):
            continue
        name = re.sub(r"[-_.]+", "-", wanted.name).lower()
        known = name in found
        found[name] = distribution(name)
        if not known or wanted.extras:
            waiting += [
                (Requirement(text), extra) for text in found[name].requires or () for extra in (wanted.extras or {""})
            ]
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, as it is published."""
    folder = tmp_path_factory.mktemp("dist")
    built = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=PROJECT)
    assert built.returncode == 0, built.stdout + built.stderr
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def environment(tmp_path_factory, wheel) -> Path:
    """A virtual environment in which the wheel with its extra `demo` is all that is installed.

    No network: what the extra asks for is linked from where the tests run, and nothing else is.
    """
    root = tmp_path_factory.mktemp("environment")
    venv.create(root, with_pip=False)
    packages = Path(sysconfig.get_path("purelib", "venv", vars={"base": str(root), "platbase": str(root)}))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    (metadata,) = packages.glob("memsession-*.dist-info")
    asked = Distribution.at(metadata).requires or []
    for text in asked:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": "demo"}):
            continue
        requirement.marker = None
        for found in closure([str(requirement)]).values():
            for top in {file.parts[0] for file in found.files or () if file.parts[0] != ".."}:
                place = packages / top
                if top != "__pycache__" and not place.exists():
                    place.symlink_to(Path(str(found.locate_file(top))))
    script = root / "bin" / "memsession"
    script.write_text(
        f"#!{root / 'bin' / 'python'}\nimport sys\nfrom memsession.command import main\nsys.exit(main())\n"
    )
    script.chmod(0o755)
    return root


def test_what_is_shipped(wheel):
    """The wheel holds everything that belongs to the package, pages and settings included, and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())

    files = {path for path in (PROJECT / "memsession").rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert {name for name in names if ".dist-info/" not in name} == {str(path.relative_to(PROJECT)) for path in files}
    assert {"memsession/py.typed", "memsession/demo/haproxy.cfg", "memsession/demo/counter.py"} <= names
    assert {name.rpartition(".")[2] for name in names if name.startswith("memsession/demo/static/")} >= {"css", "js"}


def test_the_command_is_declared(wheel):
    """Installers make a program `memsession` of it."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))

        assert "memsession = memsession.command:main" in archive.read(name).decode()


def test_the_environment_is_empty_otherwise(environment, tmp_path):
    """The package comes from the wheel, and what only the tests need is not there."""
    asked = (
        "import json, sys, memsession, importlib.util as u; print(json.dumps([memsession.__file__, "
        "[name for name in ('httpx', 'pytest', 'flask', 'fastapi') if u.find_spec(name)]]))"
    )
    told = run(environment / "bin" / "python", "-c", asked, cwd=tmp_path)

    file, others = json.loads(told.stdout)
    assert Path(file).is_relative_to(environment)
    assert others == []


@pytest.mark.parametrize("stand_ins", [True, False], ids=["stand-ins", "as installed"])
def test_the_demo_checks_itself(environment, tmp_path, stand_ins):
    """`memsession demo --check` finds every figure right, from an empty folder, on stand-ins and on what is there."""
    folder = tmp_path / "empty"
    folder.mkdir()
    options = ["--stand-ins"] if stand_ins else []

    told = run(
        *(environment / "bin" / "memsession", "demo", "--check", "--quick", *options),
        cwd=folder,
        TMPDIR=str(tmp_path),
        XDG_RUNTIME_DIR=str(tmp_path),
    )

    assert told.returncode == 0, told.stdout + told.stderr
    assert ("Fake nodes stand in for memcached" in told.stdout) is stand_ins
    assert "All figures are what they must be" in told.stdout
    assert told.stderr == ""
    assert list(folder.iterdir()) == []
    assert list(tmp_path.iterdir()) == [folder]


def test_nothing_is_written_beside_the_code(environment, tmp_path):
    """A demo that runs leaves its note in the user's own folder, and can be told what to do from another terminal."""
    command = [environment / "bin" / "memsession", "demo"]
    before = {path for path in environment.rglob("*") if path.suffix != ".pyc" and path.name != "__pycache__"}
    places = {"TMPDIR": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    with subprocess.Popen(
        [*map(str, command), "--stand-ins"],
        cwd=tmp_path,
        env={**inherited(), **places},
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            assert running.stdout is not None
            said = ""
            for line in running.stdout:
                said += line
                if "Ctrl-C" in line:
                    break
            port = re.search(r"http://127\.0\.0\.1:(\d+)/pool", said)
            assert port is not None, said
            told = run(*command, "stop", "a", "--port", port[1], cwd=tmp_path, **places)
            listed = run(*command, "servers", cwd=tmp_path, **places)
        finally:
            running.terminate()
            running.communicate(timeout=PATIENCE_S)

    after = {path for path in environment.rglob("*") if path.suffix != ".pyc" and path.name != "__pycache__"}
    assert (told.stdout, told.stderr) == ("ok: a has ended\n", "")
    assert {server["name"]: server["state"] for server in json.loads(listed.stdout)} == {
        "a": "ended",
        **dict.fromkeys(("b", "web-1", "web-2", "proxy"), "runs"),
    }
    assert f"{environment / 'bin' / 'memsession'} demo stop a" in said
    assert after == before
    assert running.returncode == 0


def test_without_the_web_framework(environment, tmp_path):
    """Where only the command was installed, the demo says in one line what is missing and how to get it."""
    (tmp_path / "only_command.py").write_text(
        "import sys\nfrom importlib import util\nfound = util.find_spec\n"
        "util.find_spec = lambda name, *more: None if name == 'uvicorn' else found(name, *more)\n"
        "from memsession.command import main\nsys.argv = ['memsession', 'demo']\nmain()\n"
    )
    told = run(environment / "bin" / "python", tmp_path / "only_command.py", cwd=tmp_path)

    assert told.returncode == 1
    assert told.stderr == 'The demo cannot go on: uvicorn not installed: pip install "memsession[demo]"\n'
