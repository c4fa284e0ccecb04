"""Typed views: the session as an object of a class of the application's own, with the way back.

Each field of the class is a top-level key of the session. So changes that parallel requests make to different fields
are merged, as all changes of different keys are.

A view remembers its fields in plain form, as they were when it was made or last shown. Before a commit looks for
changes, the fields that differ from that are assigned to the session; the others are not, so what was assigned to the
session meanwhile stands. Of two changes of the same key in one request, one in the object and one in the session, the
object's stands. After `save()` the object shows what is stored now; a field that nobody else changed keeps its value,
the very object, so that references into it stay good. Where what is stored does not fit any more, the object loses
its fields: reading one raises AttributeError, and nobody goes on with what is over.
"""

import dataclasses
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, TypeVar

from memsession.errors import ConfigurationError, UnfitValue
from memsession.record import Plain, freeze, same, thaw
from memsession.session.fitting import fit_keys, is_typed_dict, make
from memsession.session.ledger import Ledger

M = TypeVar("M")

_GONE: Final = object()


def view_of(session: dict[str, Any], ledger: Ledger, model: type[M]) -> M:
    """The session as an instance of `model`, the same for the whole request; see `SessionDict.as_`."""
    if is_typed_dict(model):
        fit_keys(model, {key: dict.__getitem__(session, key) for key in dict.__iter__(session)})
        typed: Any = session
        return typed  # type: ignore[no-any-return]
    for known in ledger.views:
        if isinstance(known, _View) and known.model is model:
            known.write(session)
            known.show(session)
            return known.target  # type: ignore[no-any-return]
    view: _View
    if dataclasses.is_dataclass(model) and isinstance(model, type):
        view = _View(model, session)
    elif hasattr(model, "model_validate") and hasattr(model, "model_fields"):
        view = _PydanticView(model, session)
    else:
        name = getattr(model, "__name__", repr(model))
        raise ConfigurationError(f"as_({name}): give a dataclass, a TypedDict or a pydantic model")
    ledger.views = (*ledger.views, view)
    return view.target  # type: ignore[no-any-return]


class _View:
    """Of a dataclass."""

    def __init__(self, model: Any, session: Mapping[str, Any]) -> None:
        self.model = model
        self.target = self._make(session)
        self._shown = self._plain(self.target)
        self._there = frozenset(session)

    def write(self, session: dict[str, Any]) -> None:
        """Assign to the session what was changed in the object."""
        for name, plain in self._plain(self.target).items():
            if not same(plain, self._shown.get(name, _GONE)):
                self._shown[name] = plain
                session[name] = thaw(plain)

    def refresh(self, session: dict[str, Any]) -> None:
        """Show what the session holds now; if that does not fit, nothing."""
        try:
            self.show(session)
        except UnfitValue:
            for name in self._shown:
                with suppress(AttributeError):
                    object.__delattr__(self.target, name)
            # A default that the class itself shows may be left.
            self._shown = self._plain(self.target)

    def show(self, session: Mapping[str, Any]) -> None:
        """Show what the session holds now. Raises `UnfitValue`, and then nothing was touched."""
        fresh = self._make(session)
        there, self._there = self._there, frozenset(session)
        for name, plain in self._plain(fresh).items():
            shown = self._shown.get(name, _GONE)
            # A default is made once for a request: the next one may be another.
            is_default = name not in session and name not in there and shown is not _GONE
            if not is_default and not same(plain, shown):
                self._shown[name] = plain
                object.__setattr__(self.target, name, getattr(fresh, name))

    def _plain(self, target: Any) -> dict[str, Plain]:
        return {name: freeze(value, name) for name, value in self._fields(target)}

    def _make(self, session: Mapping[str, Any]) -> Any:
        names = [field.name for field in dataclasses.fields(self.model)]
        return make(self.model, _copied(session, names))

    def _fields(self, target: Any) -> list[tuple[str, Any]]:
        """Names and storable values of the fields that are set."""
        names = [field.name for field in dataclasses.fields(self.model)]
        return [(name, _storable(getattr(target, name))) for name in names if hasattr(target, name)]


class _PydanticView(_View):
    """Of a pydantic model. It is never imported here: whoever has such a model has imported it."""

    def _make(self, session: Mapping[str, Any]) -> Any:
        values = _copied(session, list(self.model.model_fields))
        try:
            return self.model.model_validate({_input_name(self.model, name): values[name] for name in values})
        except ValueError as problem:
            # Its text shows values; its list of problems can be had without.
            errors: Any = getattr(problem, "errors", None)
            if errors is None:
                raise
            first = errors(include_url=False, include_context=False, include_input=False)[0]
            path = ".".join(str(part) for part in first["loc"]) or self.model.__name__
            raise UnfitValue(path, f"does not fit {self.model.__name__} ({first['type']})") from None

    def _fields(self, target: Any) -> list[tuple[str, Any]]:
        values = target.model_dump(mode="python", by_alias=False, warnings=False)
        return [(name, values[name]) for name in self.model.model_fields if name in values]


def _input_name(model: Any, name: str) -> str:
    """The name by which a pydantic model takes a field in."""
    alias = model.model_fields[name].validation_alias
    return alias if isinstance(alias, str) else name


def _copied(session: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    """The values of these keys, copied: the object and the session never share a list or dict."""
    return {name: thaw(freeze(session[name], name)) for name in names if name in session}


def _storable(value: Any) -> Any:
    """The value with dicts in the place of dataclasses and models."""
    kind: Any = type(value)
    if kind in (list, tuple):
        return kind(_storable(item) for item in value)
    if kind is dict:
        return {key: _storable(item) for key, item in value.items()}
    if dataclasses.is_dataclass(kind):
        return {field.name: _storable(getattr(value, field.name)) for field in dataclasses.fields(kind)}
    if hasattr(kind, "model_dump") and hasattr(kind, "model_fields"):
        return value.model_dump(mode="python", by_alias=False, warnings=False)
    return value
