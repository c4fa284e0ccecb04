"""Fitting: whether a stored value is what an annotation says, and nested dataclasses made of nested dicts.

Checked is what can be checked plainly: classes, lists, dicts, tuples, sets, unions, literals, dataclasses and
TypedDicts of these. Any other annotation lets everything pass. Messages name where a value stands and of what type it
is, and never the value.
"""

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Literal, Union

from memsession.errors import ConfigurationError, UnfitValue

_NUMBERS: Mapping[type, tuple[type, ...]] = {int: (int,), float: (float, int)}
"""Numbers: an int will do for a float (PEP 484, "The numeric tower"), a bool for neither."""


@lru_cache(maxsize=256)
def hints_of(model: type) -> dict[str, Any]:
    """The annotations of a dataclass or TypedDict, resolved.

    Raises:
        ConfigurationError: one names something that is not there at run time.
    """
    try:
        return typing.get_type_hints(model)
    except (NameError, AttributeError, TypeError, SyntaxError) as problem:
        raise ConfigurationError(
            f"as_({model.__name__}): an annotation cannot be resolved ({problem}): import the type at run time"
        ) from None


def is_typed_dict(model: object) -> bool:
    """Whether it was made by `TypedDict`, of `typing` or elsewhere."""
    return isinstance(model, type) and issubclass(model, dict) and hasattr(model, "__required_keys__")


def fit(hint: Any, value: Any, path: str) -> Any:
    """`value` as `hint` wants it: itself or a copy, with dicts made dataclasses where such are annotated.

    Raises:
        UnfitValue: it is something else.
    """
    hint = getattr(hint, "__supertype__", hint)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return _fit_one_of(arguments, value, path)
    if origin is Literal:
        if any(type(value) is type(one) and value == one for one in arguments):
            return value
        raise UnfitValue(path, f"is none of the {len(arguments)} values that its annotation lists")
    container = _CONTAINERS.get(origin or hint)
    if container is not None:
        kind, fill = container
        if type(value) is not kind:
            raise _misfit(path, value, kind.__name__)
        return fill(arguments, value, path) if arguments else value
    if hint is None or hint is type(None):
        if value is None:
            return value
        raise _misfit(path, value, "None")
    return _fit_class(hint, value, path) if isinstance(hint, type) else value


def _fit_class(hint: type, value: Any, path: str) -> Any:
    if is_typed_dict(hint):
        if not isinstance(value, dict):
            raise _misfit(path, value, hint.__name__)
        return fit_keys(hint, value, f"{path}.")
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise _misfit(path, value, hint.__name__)
        return make(hint, value, f"{path}.")
    try:
        fits = isinstance(value, _NUMBERS.get(hint, hint)) and (type(value) is not bool or hint not in _NUMBERS)
    except TypeError:
        return value  # Any, and protocols that are for type checkers only
    if not fits:
        raise _misfit(path, value, hint.__name__)
    return value


def fit_keys(model: type, values: Mapping[str, Any], prefix: str = "") -> Mapping[str, Any]:
    """`values`, whose keys named by a TypedDict are as annotated. Keys that are not there may come yet."""
    for name, hint in hints_of(model).items():
        if name in values:
            fit(hint, values[name], f"{prefix}{name}")
    return values


def make(model: Any, values: Mapping[str, Any], prefix: str = "") -> Any:
    """An instance of a dataclass, its fields taken from `values`; other keys are not looked at.

    Raises:
        UnfitValue: a field without default is missing, or a value does not fit.
        ConfigurationError: the dataclass cannot be made of its fields alone.
    """
    hints = hints_of(model)
    given: dict[str, Any] = {}
    late: dict[str, Any] = {}
    for field in dataclasses.fields(model):
        if field.name in values:
            fitted = fit(hints.get(field.name, Any), values[field.name], f"{prefix}{field.name}")
            (given if field.init else late)[field.name] = fitted
        elif field.init and field.default is field.default_factory is dataclasses.MISSING:
            raise UnfitValue(f"{prefix}{field.name}", f"is missing, and {model.__name__} has no default for it")
    try:
        made = model(**given)
    except TypeError as problem:
        raise ConfigurationError(f"as_({model.__name__}): it cannot be made of its fields: {problem}") from None
    for name, value in late.items():
        object.__setattr__(made, name, value)
    return made


def _fit_one_of(hints: tuple[Any, ...], value: Any, path: str) -> Any:
    problems = []
    for hint in hints:
        try:
            return fit(hint, value, path)
        except UnfitValue as problem:
            problems.append((hint, problem))
    # Of `Cart | None` the complaint of `Cart` tells more than that neither fits.
    others = [problem for hint, problem in problems if hint is not type(None)]
    if len(others) == 1 and value is not None:
        raise others[0]
    raise _misfit(path, value, " or ".join(getattr(hint, "__name__", str(hint)) for hint in hints))


def _fit_list(arguments: tuple[Any, ...], value: Any, path: str) -> Any:
    return type(value)(fit(arguments[0], item, f"{path}[{i}]") for i, item in enumerate(value))


def _fit_tuple(arguments: tuple[Any, ...], value: Any, path: str) -> Any:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return _fit_list(arguments, value, path)
    if len(arguments) != len(value):
        raise UnfitValue(path, f"is a tuple of {len(value)}, not of {len(arguments)}")
    return tuple(fit(hint, item, f"{path}[{i}]") for i, (hint, item) in enumerate(zip(arguments, value, strict=True)))


def _fit_dict(arguments: tuple[Any, ...], value: Any, path: str) -> Any:
    return {key: fit(arguments[1], item, f"{path}.{key}") for key, item in value.items()}


_CONTAINERS: dict[Any, tuple[type, Callable[[tuple[Any, ...], Any, str], Any]]] = {
    list: (list, _fit_list),
    set: (set, _fit_list),
    frozenset: (frozenset, _fit_list),
    tuple: (tuple, _fit_tuple),
    dict: (dict, _fit_dict),
}


def _misfit(path: str, value: object, wanted: str) -> UnfitValue:
    return UnfitValue(path, f"is of type {type(value).__name__}, not {wanted}")
