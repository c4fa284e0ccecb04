"""What is simulated: the shipped modules, or a throw-away copy of them with a patch (a mutant)."""

import importlib
import sys
from collections.abc import Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import NamedTuple

COPIED = (
    *("memsession.plans", "memsession.record", "memsession.clock", "memsession.lifetime", "memsession.pool"),
    *("memsession.upkeep", "memsession.events"),
)


class Patch(NamedTuple):
    """`old` stands exactly once in the module's source, and is replaced by `new`."""

    module: str
    old: str
    new: str


class Subject(NamedTuple):
    """The modules under test."""

    plans: ModuleType
    record: ModuleType
    clock: ModuleType
    lifetime: ModuleType
    pool: ModuleType
    upkeep: ModuleType
    events: ModuleType


def shipped() -> Subject:
    """The modules as every application imports them."""
    return Subject(*(importlib.import_module(name) for name in COPIED))


def patched(patches: Sequence[Patch]) -> Subject:
    """A copy of the modules with `patches` in their source; the shipped ones are untouched."""
    root = importlib.import_module("memsession")
    shipped()
    kept = {name: module for name, module in sys.modules.items() if name.startswith(COPIED)}
    for name in kept:
        del sys.modules[name]
    finder = _Finder(patches)
    sys.meta_path.insert(0, finder)
    try:
        subject = Subject(*(importlib.import_module(name) for name in COPIED))
        finder.check()
        return subject
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.startswith(COPIED)]:
            del sys.modules[name]
        sys.modules.update(kept)
        for name in COPIED:
            setattr(root, name.rpartition(".")[2], kept[name])


class _Finder:
    def __init__(self, patches: Sequence[Patch]) -> None:
        self._patches = patches
        self._seen: set[str] = set()

    def find_spec(self, name: str, path: Sequence[str] | None, target: object = None) -> ModuleSpec | None:
        mine = [patch for patch in self._patches if patch.module == name]
        if not mine:
            return None
        self._seen.add(name)
        spec = PathFinder.find_spec(name, path)
        assert spec is not None
        assert spec.origin is not None
        spec.loader = _Loader(name, spec.origin, mine)
        return spec

    def check(self) -> None:
        missed = {patch.module for patch in self._patches} - self._seen
        assert not missed, f"patched modules were not imported: {sorted(missed)}"


class _Loader(SourceFileLoader):
    def __init__(self, name: str, path: str, patches: Sequence[Patch]) -> None:
        super().__init__(name, path)
        self._patches = patches

    def get_code(self, fullname: str) -> CodeType:
        source = self.get_data(self.path).decode()
        for patch in self._patches:
            count = source.count(patch.old)
            assert count == 1, f"{fullname}: the patched text stands {count} times: {patch.old!r}"
            source = source.replace(patch.old, patch.new)
        return compile(source, f"<mutant of {fullname}>", "exec")


@contextmanager
def nothing_changed():
    """Asserts that the shipped modules are the same objects before and after the block."""
    before = {name: importlib.import_module(name) for name in COPIED}
    yield
    assert before == {name: sys.modules.get(name) for name in COPIED}
