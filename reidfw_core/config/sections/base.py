"""What all section models share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class Section(BaseModel):
    """A section of the YAML whose attributes all belong to the core: unknown ones are refused."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        validate_default=True,
        protected_namespaces=(),
    )


class OpenSection(Section):
    """A section that the core shares with a component: :attr:`extras` holds what the core does not know."""

    model_config = ConfigDict(extra="allow")

    @property
    def extras(self) -> dict[str, Any]:
        """Attributes beyond the core's, for the component that the section selects."""
        return dict(self.model_extra or {})


@dataclass(frozen=True, slots=True)
class AsWritten:
    """Marks a field that is read from the text in the file, before YAML or an expression gave it another meaning."""


@dataclass(frozen=True, slots=True)
class NamesFile:
    """Marks a text field that names a file or folder, so that a placeholder ``<...>`` counts as not given."""


def _folded(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _not_a_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a number is expected, not True or False")
    return value


AnyCase = BeforeValidator(_folded)
"""Lets the words of an enumeration be written in any case."""

Number = Annotated[float, BeforeValidator(_not_a_bool), Field(allow_inf_nan=False)]
"""A finite number."""

Integer = Annotated[int, BeforeValidator(_not_a_bool)]
"""An integer."""

PositiveInt = Annotated[Integer, Field(ge=1)]

FileOrUrl = Annotated[str, NamesFile()]
"""A path, or an http(s) address."""

Address = Annotated[str, Field(pattern=r"^[hH][tT][tT][pP][sS]?://")]
"""An http(s) address; beside it in a union, everything else is a path."""

DistanceMetric = Annotated[Literal["cosine", "euclidean"], AnyCase]


def _inside(value: str) -> str:
    path = Path(value)
    if not value.strip() or path.is_absolute() or ".." in path.parts:
        raise ValueError("a folder name inside the run directory is expected")
    return value


def in_run_dir() -> Callable[[str], str]:
    """Validator of folder names that are taken inside the run directory."""
    return _inside
