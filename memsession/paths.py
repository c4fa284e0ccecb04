"""Paths of an application, as settings name them: each stands for itself and all that lies below it."""

from collections.abc import Collection
from typing import TypeAlias

from memsession.errors import ConfigurationError

Roots: TypeAlias = tuple[str, ...]


def roots(setting: str, paths: object) -> Roots:
    """The paths, ready to be compared with. `setting` as the user writes it, with {} for the value.

    Raises:
        ConfigurationError: it is no list of paths.
    """
    if isinstance(paths, Collection) and not isinstance(paths, str | bytes):
        given = tuple(paths)
        if all(isinstance(path, str) and path.startswith("/") for path in given):
            return tuple(path.rstrip("/") for path in given)
    raise ConfigurationError(
        f"{setting.format(repr(paths))}: give a list of paths that begin with /, for instance ['/static']"
    )


def is_below(path: str, places: Roots) -> bool:
    """Whether a request's path is one of the places, or lies below one."""
    return any(path == place or path.startswith(f"{place}/") for place in places)
