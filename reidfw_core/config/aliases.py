"""Every spelling on which the user's document contradicts itself, and what it is taken for: one table.

Names of components need no row: the catalog ignores case and takes ``-`` for ``_``, so ``onnx_quantizer``,
``Onnx_quantizer``, ``TFlite_converter`` and ``TFLite_converter`` are found as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reidfw_core.config.sources import SourceMap, TreePath, dotted
from reidfw_core.errors import Problem


@dataclass(frozen=True, slots=True)
class Alias:
    """Another spelling of an attribute.

    Attributes:
        spelling: path of the attribute as it may be written.
        meaning: path of the attribute that it stands for.
        outdated: whether the user is told to write the other one.
    """

    spelling: TreePath
    meaning: TreePath
    outdated: bool


@dataclass(frozen=True, slots=True)
class ValueAlias:
    """Another spelling of a value.

    Attributes:
        attribute: path of the attribute.
        spelling: the value as it may be written; text is compared without case.
        meaning: the attribute that the value belongs to.
        value: what it stands for.
        outdated: whether the user is told to write the other one.
    """

    attribute: TreePath
    spelling: Any
    meaning: TreePath
    value: Any
    outdated: bool


ATTRIBUTES: tuple[Alias, ...] = (
    Alias(("deploy",), ("deployment",), outdated=True),
    Alias(("general", "model_path"), ("model", "model_path"), outdated=True),
    Alias(("model", "name"), ("model", "model_name"), outdated=True),
    Alias(("training", "dropout_rate"), ("training", "dropout"), outdated=True),
    Alias(
        ("quantization", "onnx_extra_options", "calib_moving_average"),
        ("quantization", "onnx_extra_options", "CalibMovingAverage"),
        outdated=True,
    ),
)
"""Spellings of attributes (sections 2.2, 2.6, 2.7, 2.8 and 2.10 of the document)."""

_PRETRAINED_WEIGHTS: TreePath = ("model", "pretrained_weights")
_PRETRAINED: TreePath = ("model", "pretrained")
_EXTRA_OPTIONS: TreePath = ("quantization", "onnx_extra_options")

VALUES: tuple[ValueAlias, ...] = (
    ValueAlias(("operation_mode",), "deploy", ("operation_mode",), "deployment", outdated=True),
    ValueAlias(_EXTRA_OPTIONS, "calib_moving_average", _EXTRA_OPTIONS, {"CalibMovingAverage": True}, outdated=True),
    ValueAlias(_EXTRA_OPTIONS, "CalibMovingAverage", _EXTRA_OPTIONS, {"CalibMovingAverage": True}, outdated=True),
    # `pretrained` asks for ImageNet weights, `pretrained_weights` names the file of another ReID model.
    ValueAlias(_PRETRAINED, "imagenet", _PRETRAINED, True, outdated=False),
    ValueAlias(_PRETRAINED_WEIGHTS, True, _PRETRAINED, True, outdated=True),
    ValueAlias(_PRETRAINED_WEIGHTS, False, _PRETRAINED, False, outdated=True),
    ValueAlias(_PRETRAINED_WEIGHTS, "imagenet", _PRETRAINED, True, outdated=True),
)
"""Spellings of values (sections 2.6, 2.8 and 2.10 of the document)."""


@dataclass(frozen=True, slots=True)
class Respelled:
    """A configuration in one spelling.

    Attributes:
        values: the values.
        sources: their places, moved with them.
        warnings: one line for each outdated spelling that was met.
        problems: one for each attribute that is given twice, differently.
    """

    values: dict[str, Any]
    sources: SourceMap
    warnings: tuple[str, ...]
    problems: tuple[Problem, ...]


def resolve_aliases(values: Mapping[str, Any], sources: SourceMap) -> Respelled:
    """Puts every attribute under the one name that the rest of the program knows.

    Where two spellings are given, the command line wins over the file; two different values of the same origin are a
    problem. An outdated spelling without a value is dropped.
    """
    table = _Table(_copied(values), sources, [], [])
    for alias in ATTRIBUTES:
        table.move(alias.spelling, alias.meaning, outdated=alias.outdated)
    for value in VALUES:
        table.replace(value)
    return Respelled(table.values, table.sources, tuple(table.warnings), tuple(table.problems))


def has(values: Any, part: str | int) -> bool:
    """Whether a mapping has an attribute, or a list an item."""
    if isinstance(values, Mapping):
        return part in values
    return isinstance(values, list | tuple) and isinstance(part, int) and 0 <= part < len(values)


def lookup(values: Any, path: TreePath) -> tuple[bool, Any]:
    """Whether a tree has something at a path, and what."""
    for part in path:
        if not has(values, part):
            return False, None
        values = values[part]
    return True, values


@dataclass(slots=True)
class _Table:
    values: dict[str, Any]
    sources: SourceMap
    warnings: list[str]
    problems: list[Problem]

    def move(self, old: TreePath, new: TreePath, *, outdated: bool) -> None:
        present, value = lookup(self.values, old)
        if not present:
            return
        if outdated:
            self._warn(old, f"'{dotted(old)}' is outdated, write '{dotted(new)}'")
        parent = lookup(self.values, old[:-1])[1]
        del parent[old[-1]]
        if value is not None:
            self._put(old, new, value)

    def replace(self, alias: ValueAlias) -> None:
        present, value = lookup(self.values, alias.attribute)
        if not present or not _same(value, alias.spelling):
            return
        if alias.outdated:
            written, wanted = f"{dotted(alias.attribute)}: {value}", f"{dotted(alias.meaning)}: {_shown(alias.value)}"
            self._warn(alias.attribute, f"'{written}' is outdated, write '{wanted}'")
        parent = lookup(self.values, alias.attribute[:-1])[1]
        del parent[alias.attribute[-1]]
        self._put(alias.attribute, alias.meaning, alias.value)
        place = self.sources.places.get(alias.meaning)
        if place is not None:
            text = alias.value if isinstance(alias.value, str) else None
            self.sources = self.sources.replaced({alias.meaning: type(place)(place.file, place.line, text)})

    def _put(self, old: TreePath, new: TreePath, value: Any) -> None:
        parent: Any = self.values
        for part in new[:-1]:
            if not isinstance(parent.get(part), dict):
                if parent.get(part) is not None:
                    return  # the section is no mapping, which is reported when it is checked
                parent[part] = {}
            parent = parent[part]
        there = parent.get(new[-1])
        if isinstance(there, dict) and isinstance(value, dict):
            for key, item in value.items():
                self._put((*old, key), (*new, key), item)
            return
        old_place, new_place = self.sources.place(old), self.sources.place(new)
        if there is None or (old_place.is_command_line and not new_place.is_command_line):
            parent[new[-1]] = value
            self.sources = self.sources.replaced({new: old_place}) if old != new else self.sources
            self.sources = self.sources.moved(old, new)
        elif not _same(there, value) and (new_place.is_command_line or not old_place.is_command_line):
            if new_place.is_command_line and not old_place.is_command_line:
                return
            other = f"line {new_place.line}" if new_place.line else new_place.file
            self.problems.append(
                self.sources.problem(old, f"is {value}, but '{dotted(new)}' ({other}) is {there}; they mean the same")
            )

    def _warn(self, path: TreePath, message: str) -> None:
        place = self.sources.place(path)
        where = place.file if place.line is None else f"{place.file}:{place.line}"
        self.warnings.append(f"{where}: {message}")


def _same(value: Any, other: Any) -> bool:
    if isinstance(value, str) and isinstance(other, str):
        return value.lower() == other.lower()
    return type(value) is type(other) and bool(value == other)


def _shown(value: Any) -> str:
    return (
        "{" + ", ".join(f"{key}: {item}" for key, item in value.items()) + "}"
        if isinstance(value, dict)
        else str(value)
    )


def _copied(values: Any) -> Any:
    if isinstance(values, Mapping):
        return {key: _copied(value) for key, value in values.items()}
    return [_copied(value) for value in values] if isinstance(values, list) else values
