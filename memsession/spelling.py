"""Misspelt settings: an error that suggests the right name, for classes and for functions that take options."""

import difflib
from collections.abc import Collection
from functools import wraps
from inspect import signature
from typing import Any, Final, TypeVar

from memsession.errors import ConfigurationError

T = TypeVar("T")

_LIKENESS: Final = 0.75
"""How much a name has to be like another one to be suggested; from 0 to 1."""


def check_names(given: Collection[str], known: Collection[str], what: str = "unknown option {}") -> None:
    """Refuse names that are not known.

    Raises:
        ConfigurationError: the message suggests a name that is, or lists all of them.
    """
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=_LIKENESS)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known))}"
            raise ConfigurationError(f"{what.format(name)}: {hint}")


def spelled(cls: type[T]) -> type[T]:
    """Let a settings class refuse a misspelt keyword as it refuses a bad value."""
    original: Any = cls.__init__
    known = [name for name in signature(original).parameters if name not in ("self", "nodes")]

    @wraps(original)
    def checked(self: T, *args: Any, **kwargs: Any) -> None:
        check_names(kwargs, known, f"{cls.__name__}({{}}=...) is no setting")
        original(self, *args, **kwargs)

    setattr(cls, "__init__", checked)  # noqa: B010 - for the type checker it is as it was
    return cls
