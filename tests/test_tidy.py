"""The house rules, read from the files themselves: floors and wings, sizes, names, versions, pinned versions."""

import ast
import importlib
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
HOUSE = PROJECT / "memsession"
FILE_LINES_MAX = 300
FUNCTION_LINES_MAX = 40
FORBIDDEN = {"base", "common", "helper", "helpers", "manager", "misc", "util", "utils"}

GROUND = {
    *("errors", "commands", "identity", "secret", "seal", "cookies", "lifetime"),
    *("pool", "addresses", "placement", "record", "exclusive", "paths", "spelling", "zones"),
}
FIRST = {"wire", "greeting", "health", "events", "clock", "resolver", "plans", "surroundings", "vault"}
WEST = {"aio", "blocking", "discovery", "inspection", "memory"}
EAST = {"session", "lifecycle", "upkeep"}
ROOF = {"asgi", "calls", "caretaker", "fastapi", "flask", "metrics", "service", "testing", "wsgi"}
TERRACE = {"__main__", "command", "demo"}
"""Programs for people, which use the rest as anybody else would."""
FLOORS = {
    **dict.fromkeys(GROUND, 0),
    **dict.fromkeys(FIRST, 1),
    **dict.fromkeys(WEST | EAST, 2),
    **dict.fromkeys(ROOF, 3),
    **dict.fromkeys(TERRACE, 4),
}
DOOR = "__init__"
DOOR_OPENS = GROUND | EAST
"""What `import memsession` may load: nothing that talks to the world, no adapter."""

ADAPTERS = {
    "starlette": {"asgi", "demo"},
    "fastapi": {"fastapi"},
    "flask": {"flask"},
    "django": {"django"},
    "typer": {"command"},
    "rich": {"command"},
    "prometheus_client": {"metrics"},
    "opentelemetry": {"metrics"},
}
"""Frameworks, and the rooms that may import them."""

PROGRAM = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))


def _name(path: Path) -> str:
    return str(path.relative_to(PROJECT))


def _room(path: Path) -> str:
    return path.relative_to(HOUSE).parts[0].removesuffix(".py")


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def _files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (PROJECT / folder).rglob("*.py"))


HOUSE_FILES = _files("memsession")
SIZED_FILES = _files("memsession", "example_app")
ROOMS = sorted({_room(path) for path in HOUSE_FILES} - {DOOR})


def imported_modules(path: Path) -> Iterator[str]:
    """Full names of the modules that a file imports, wherever in it, whether for use or for types only."""
    package = path.relative_to(PROJECT).with_suffix("").parts[:-1]
    for node in ast.walk(_tree(path)):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                above = [*package[: len(package) - level + 1]] if level else []
                start = [*above, module] if module else above
                full = ".".join(start)
                yield full
                # `from memsession import pool` names a room as well.
                yield from (f"{full}.{alias.name}" for alias in names if full == "memsession")


def rooms_imported_by(room: str) -> set[str]:
    """The other rooms that a room imports."""
    rooms = set()
    for path in (path for path in HOUSE_FILES if _room(path) == room):
        for module in imported_modules(path):
            _, _, inside = module.partition("memsession.")
            if module.startswith("memsession.") and inside.split(".")[0] in FLOORS:
                rooms.add(inside.split(".")[0])
    return rooms - {room}


def test_every_room_has_its_floor():
    """The table of floors names every room of the house, and no other."""
    assert set(FLOORS) == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_down(room):
    """A room imports from its own floor and those below, never from above."""
    above = {other for other in rooms_imported_by(room) if FLOORS[other] > FLOORS[room]}

    assert above == set()


@pytest.mark.parametrize("room", sorted(WEST | EAST))
def test_the_wings_do_not_know_each_other(room):
    """What runs plans knows no sessions, and sessions do not know how plans are run."""
    other_wing = EAST if room in WEST else WEST

    assert rooms_imported_by(room) & other_wing == set()


def test_no_room_imports_itself_by_a_detour():
    """Rooms of one floor may know each other, but not in a circle."""
    known = {room: rooms_imported_by(room) for room in ROOMS}
    while leaves := [room for room, others in known.items() if not others & known.keys()]:
        for room in leaves:
            del known[room]

    assert known == {}


def test_the_door_opens_no_adapter():
    """`import memsession` loads no client and no adapter."""
    assert rooms_imported_by(DOOR) <= DOOR_OPENS


@pytest.mark.parametrize("path", HOUSE_FILES, ids=_name)
def test_frameworks_are_imported_by_their_adapter_only(path):
    """Only the standard library and declared dependencies are imported, and by an adapter its framework."""
    declared = {re.split(r"[^\w-]", text)[0].replace("-", "_") for text in PROGRAM["project"]["dependencies"]}
    foreign = {module.split(".")[0] for module in imported_modules(path)}
    foreign -= {*sys.stdlib_module_names, *declared, "memsession"}

    assert {name for name in foreign if _room(path) not in ADAPTERS.get(name, set())} == set()


@pytest.mark.parametrize("path", HOUSE_FILES, ids=_name)
def test_nothing_reads_what_could_run(path):
    """No pickle, no marshal, no shelve: what is stored is data."""
    assert {module.split(".")[0] for module in imported_modules(path)} & {
        "pickle",
        "marshal",
        "shelve",
        "dill",
    } == set()


@pytest.mark.parametrize("path", SIZED_FILES, ids=_name)
def test_files_and_functions_are_short(path):
    """A file fits in one's head and a function on a screen."""
    functions = [node for node in ast.walk(_tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    sizes = [(node.name, (node.end_lineno or node.lineno) - node.lineno + 1) for node in functions]

    assert len(path.read_text(encoding="utf-8").splitlines()) <= FILE_LINES_MAX
    assert [(name, size) for name, size in sizes if size > FUNCTION_LINES_MAX] == []


@pytest.mark.parametrize("path", SIZED_FILES, ids=_name)
def test_files_are_named_by_what_they_hold(path):
    """No file or folder is a drawer for everything."""
    assert {part.removesuffix(".py") for part in path.relative_to(PROJECT).parts} & FORBIDDEN == set()


@pytest.mark.parametrize("path", SIZED_FILES, ids=_name)
def test_every_file_says_what_it_is_for(path):
    """Each module begins with a docstring."""
    assert ast.get_docstring(_tree(path))


@pytest.mark.parametrize("path", [path for path in HOUSE_FILES if "__all__" in path.read_text("utf-8")], ids=_name)
def test_public_names_are_sorted_and_there(path):
    """`__all__` lists constants, then classes, then functions, each by the alphabet, and nothing that is missing."""
    module = importlib.import_module(
        ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__")
    )

    assert module.__all__ == sorted(
        module.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name)
    )
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_the_changelog_begins_with_this_version():
    """The newest entry of the changelog is the version that is packed."""
    changelog = (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## \[(.+?)\]", changelog, re.MULTILINE)

    assert newest is not None
    assert newest[1] == PROGRAM["project"]["version"]


def test_types_are_published():
    """Type checkers of those who use the package read its annotations."""
    assert (HOUSE / "py.typed").is_file()


@pytest.mark.parametrize(("group", "file"), [("test", "test.txt"), ("lint", "lint.txt"), ("docs", "docs.txt")])
def test_what_is_used_is_pinned(group, file):
    """Every name that a group or the package itself asks for stands in the requirements, in one exact version."""
    text = (PROJECT / "requirements" / file).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith(("#", "-r "))]
    pinned = [re.fullmatch(r"([\w.-]+)==[\w.]+", line) for line in lines]
    names = {_normal(match[1]) for match in pinned if match}
    asked = [*PROGRAM["dependency-groups"][group], *(PROGRAM["project"]["dependencies"] if group == "test" else ())]

    assert all(pinned)
    assert {_normal(re.split(r"[^\w-]", text)[0]) for text in asked} <= names


def _normal(name: str) -> str:
    return name.lower().replace("_", "-")
