"""Checking plain values against a pydantic model, with complaints that people can act on."""

from __future__ import annotations

import re
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, RootModel, ValidationError
from pydantic_core import ErrorDetails

from reidfw_core.config.aliases import has
from reidfw_core.config.sections.base import AsWritten, NamesFile
from reidfw_core.config.sources import SourceMap, TreePath, dotted
from reidfw_core.errors import Problem

ModelT = TypeVar("ModelT", bound=BaseModel)

_PLACEHOLDER = re.compile(r"\s*<[^<>]+>\s*")


@dataclass(frozen=True, slots=True)
class Checked(Generic[ModelT]):
    """The outcome of a check.

    Attributes:
        value: the model, None where there are problems.
        problems: what is wrong.
        placeholders: paths of attributes that hold a placeholder such as ``<path-to-model>``, with its text; they
            count as not given.
    """

    value: ModelT | None
    problems: tuple[Problem, ...]
    placeholders: Mapping[TreePath, str]


def check(
    model: type[ModelT],
    values: Any,
    path: TreePath,
    sources: SourceMap,
    *,
    also_known: Iterable[str] = (),
) -> Checked[ModelT]:
    """Checks a block of the configuration.

    Before pydantic sees the values, three rules of the YAML are applied, led by the types of the fields:

    * an attribute without a value counts as not given, unless None is among its values;
    * what YAML or an expression read as something else (``project_name: 2024``) is text again where text is wanted;
    * a file name that is a placeholder (``<path-to-model>``) counts as not given.

    Args:
        model: what the block must be.
        values: the block.
        path: where it stands.
        sources: places and texts.
        also_known: names that are legal in this block too, for the nearest match of an unknown one.
    """
    preparation = _Preparation(sources)
    prepared = preparation.prepare(model, values, path)
    if not isinstance(prepared, Mapping):
        message = f"attributes are expected below it, got {values!r}"
        return Checked(None, (sources.problem(path, message),), preparation.placeholders)
    try:
        return Checked(model.model_validate(prepared), (), preparation.placeholders)
    except ValidationError as error:
        translation = _Translation(model, prepared, path, sources, preparation, tuple(also_known))
        problems = [_with_placeholders(problem, preparation.placeholders) for problem in translation.problems(error)]
        return Checked(None, tuple(problems), preparation.placeholders)


def surplus_attributes(model: BaseModel, path: TreePath, sources: SourceMap) -> list[Problem]:
    """What an open section holds beyond the core's attributes, where there is no component to take it."""
    known = sorted(field_names(type(model)))
    return [_unknown((*path, name), known, sources) for name in model.model_extra or ()]


def unknown_attributes(model: type[BaseModel], values: Any, path: TreePath, sources: SourceMap) -> list[Problem]:
    """Attributes that a model and the models in it do not know; their values are not looked at."""
    if not isinstance(values, Mapping) or issubclass(model, RootModel):
        return []
    found: list[Problem] = []
    for key, value in values.items():
        known = model.model_fields.get(key)
        if known is None:
            if model.model_config.get("extra") == "forbid":
                found.append(_unknown((*path, key), list(model.model_fields), sources))
            continue
        inner = _model_in(known.annotation)
        rewritten = any(isinstance(mark, BeforeValidator) for mark in known.metadata)  # stands otherwise in the file
        if inner is not None and not rewritten:
            found += unknown_attributes(inner, value, (*path, key), sources)
    return found


def field_names(model: type[BaseModel]) -> frozenset[str]:
    """The names under which the fields of a model are written."""
    return frozenset(
        str(name)
        for key, info in model.model_fields.items()
        for name in {key, info.alias, info.validation_alias}
        if name
    )


# --- before pydantic --------------------------------------------------------------------------------------------


@dataclass
class _Preparation:
    sources: SourceMap
    without_value: set[TreePath] = field(default_factory=set)
    placeholders: dict[TreePath, str] = field(default_factory=dict)

    def prepare(self, annotation: Any, value: Any, path: TreePath) -> Any:
        annotation, marks = _unwrapped(annotation)
        if any(isinstance(mark, AsWritten) for mark in marks):
            text = self.sources.text(path)
            return text if text is not None and isinstance(value, int | float | tuple) else value
        options = [_unwrapped(option) for option in _options(annotation)]
        marks = (*marks, *(mark for _, inner in options for mark in inner))
        kinds = [kind for kind, _ in options]
        if self._is_placeholder(value, kinds, marks):
            self.placeholders[path] = str(value).strip()
            return None
        if isinstance(value, Mapping):
            return self._mapping(kinds, value, path)
        if isinstance(value, list):
            inner = next((kind for kind in kinds if get_origin(kind) in (list, tuple, set, frozenset)), None)
            item_types = _item_types(inner, len(value))
            return [
                self.prepare(kind, item, (*path, at))
                for at, (kind, item) in enumerate(zip(item_types, value, strict=True))
            ]
        return self._scalar(kinds, value, path)

    def _mapping(self, kinds: list[Any], value: Mapping[Any, Any], path: TreePath) -> Any:
        model = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        if model is not None and issubclass(model, RootModel):
            return self.prepare(model.model_fields["root"].annotation, value, path)
        if model is not None:
            return self._fields(model, value, path)
        mapping = next((kind for kind in kinds if get_origin(kind) in (dict, Mapping)), None)
        item_type = get_args(mapping)[1] if mapping is not None else Any
        return {key: self.prepare(item_type, item, (*path, str(key))) for key, item in value.items()}

    def _fields(self, model: type[BaseModel], value: Mapping[Any, Any], path: TreePath) -> dict[Any, Any]:
        by_name = {
            str(name): info
            for key, info in model.model_fields.items()
            for name in {key, info.alias, info.validation_alias}
            if name
        }
        prepared: dict[Any, Any] = {}
        for key, item in value.items():
            info = by_name.get(str(key))
            if info is None:
                prepared[key] = item
                continue
            annotation: Any = info.annotation
            for mark in info.metadata:
                annotation = Annotated[annotation, mark]
            ready = self.prepare(annotation, item, (*path, str(key)))
            if ready is None and not _takes_none(annotation):
                self.without_value.add((*path, str(key)))
            else:
                prepared[key] = ready
        return prepared

    def _scalar(self, kinds: list[Any], value: Any, path: TreePath) -> Any:
        if value is None or isinstance(value, str) or _fits(value, kinds):
            return None if value == "" and any(_is_path(kind) for kind in kinds) else value
        if not any(_is_text(kind) for kind in kinds):
            return value
        text = self.sources.text(path)
        return str(value) if text is None else text

    def _is_placeholder(self, value: Any, kinds: list[Any], marks: Iterable[Any]) -> bool:
        names_file = any(_is_path(kind) for kind in kinds) or any(isinstance(mark, NamesFile) for mark in marks)
        return names_file and isinstance(value, str) and bool(_PLACEHOLDER.fullmatch(value))


def _unwrapped(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    marks: tuple[Any, ...] = ()
    while get_origin(annotation) is Annotated:
        annotation, *inner = get_args(annotation)
        marks = (*inner, *marks)
    return annotation, marks


def _options(annotation: Any) -> list[Any]:
    if get_origin(annotation) in (Union, types.UnionType):
        return [inner for option in get_args(annotation) for inner in _options(_unwrapped(option)[0])] + [
            option for option in get_args(annotation) if get_origin(option) is Annotated
        ]
    return [annotation]


def _item_types(sequence: Any, length: int) -> list[Any]:
    arguments = get_args(sequence) if sequence is not None else ()
    if not arguments:
        return [Any] * length
    if get_origin(sequence) is tuple and arguments[-1] is not Ellipsis:
        return [*arguments, *[Any] * length][:length]
    return [arguments[0]] * length


def _is_path(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Path)


def _is_text(kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return any(isinstance(option, str) for option in get_args(kind))
    return isinstance(kind, type) and issubclass(kind, str | Path)


def _fits(value: Any, kinds: list[Any]) -> bool:
    """Whether a value that is no text is welcome as it is."""
    for kind in kinds:
        if kind is Any or kind is object:
            return True
        if get_origin(kind) is Literal and any(
            type(value) is type(option) and value == option for option in get_args(kind)
        ):
            return True
        origin = get_origin(kind) or kind
        if isinstance(origin, type) and (isinstance(value, origin) and isinstance(value, bool) == (origin is bool)):
            return True
        if origin is float and isinstance(value, int) and not isinstance(value, bool):
            return True
    return False


def _takes_none(annotation: Any) -> bool:
    annotation, _ = _unwrapped(annotation)
    if annotation is Any or annotation is None or annotation is type(None):
        return True
    return any(option is type(None) or option is Any for option in _options(annotation))


def _model_in(annotation: Any) -> type[BaseModel] | None:
    for option in _options(_unwrapped(annotation)[0]):
        kind = _unwrapped(option)[0]
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


# --- after pydantic ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Translation:
    model: type[BaseModel]
    values: Mapping[Any, Any]
    path: TreePath
    sources: SourceMap
    preparation: _Preparation
    also_known: tuple[str, ...]

    def problems(self, error: ValidationError) -> list[Problem]:
        """One problem an attribute; several complaints of a union's members become one."""
        merged: dict[str, Problem] = {}
        for details in error.errors(include_url=False):
            problem = self._problem(details)
            known = merged.get(problem.where)
            if known is None:
                merged[problem.where] = problem
            elif problem.message not in known.message:
                merged[problem.where] = Problem(
                    where=known.where,
                    message=f"{known.message}; or {problem.message}",
                    allowed=known.allowed or problem.allowed,
                    nearest=known.nearest or problem.nearest,
                    file=known.file,
                    line=known.line,
                )
        return list(merged.values())

    def _problem(self, details: ErrorDetails) -> Problem:
        path = (*self.path, *self._real_steps(details["loc"], details["type"]))
        given, kind = details["input"], details["type"]
        if kind == "missing":
            if path in self.preparation.placeholders:
                message = f"is still the placeholder {self.preparation.placeholders[path]}; give the real value"
            elif path in self.preparation.without_value:
                message = "is required and needs a value"
            else:
                message = "is required and missing"
            return self.sources.problem(path, message)
        if kind == "extra_forbidden":
            known = [*self._names_at(details["loc"][:-1]), *self.also_known]
            return _unknown(path, known, self.sources)
        if kind in ("literal_error", "enum"):
            allowed = re.findall(r"'([^']*)'", str(details.get("ctx", {}).get("expected", "")))
            return self.sources.problem(path, f"'{given}' is not allowed", allowed=allowed, given=str(given))
        message = details["msg"]
        for prefix in ("Value error, ", "Assertion failed, "):
            if message.startswith(prefix):
                return self.sources.problem(path, message.removeprefix(prefix))
        return self.sources.problem(path, f"{message[0].lower()}{message[1:]}, got {_shown(given)}")

    def _real_steps(self, location: tuple[int | str, ...], kind: str) -> TreePath:
        """The steps of a location that are attributes; pydantic adds the members of unions and the like."""
        steps: list[int | str] = []
        at: Any = self.values
        for position, step in enumerate(location):
            if has(at, step):
                at = at[step]
                steps.append(step)
            elif position == len(location) - 1 and (kind == "missing" or self._names_field(location, position)):
                steps.append(step)
        return tuple(steps)

    def _names_field(self, location: tuple[int | str, ...], position: int) -> bool:
        return location[position] in self._names_at(location[:position])

    def _names_at(self, location: tuple[int | str, ...]) -> list[str]:
        model: type[BaseModel] = self.model
        for step in location:
            info = model.model_fields.get(str(step))
            inner = _model_in(info.annotation) if info is not None else None
            if inner is None and info is not None:
                item = next(
                    (get_args(option) for option in _options(_unwrapped(info.annotation)[0]) if get_args(option)), ()
                )
                inner = next((found for found in map(_model_in, item) if found is not None), None)
            model = inner or model
        return sorted(field_names(model))


def _with_placeholders(problem: Problem, placeholders: Mapping[TreePath, str]) -> Problem:
    """Tells why something is missing that seems to be there."""
    if "is required" not in problem.message or "placeholder" in problem.message or not placeholders:
        return problem
    shown = ", ".join(f"{dotted(path)} is still the placeholder {text}" for path, text in placeholders.items())
    return replace(problem, message=f"{problem.message} ({shown})")


def _unknown(path: TreePath, known: list[str], sources: SourceMap) -> Problem:
    return sources.problem(path, "is no attribute of this section", allowed=sorted(set(known)), given=str(path[-1]))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
