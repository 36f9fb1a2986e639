"""The ``tools`` section."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from reidfw_core.config.sections.base import AnyCase, Section


class StEdgeAiTool(Section):
    """ST Edge AI Core, or its cloud service."""

    optimization: Annotated[Literal["balanced", "time", "ram"], AnyCase] = "balanced"
    """What the generated C code is optimised for. Defaults to ``balanced``."""
    on_cloud: bool = False
    """Use the developer cloud instead of an installed tool. Defaults to False."""
    path_to_stedgeai: Path | None = None
    """The ``stedgeai`` executable, or the folder of its installation. By default it is looked for."""
    version: str | None = None
    """Version that the developer cloud shall use, by default its latest; an installed tool tells its own."""


class ToolsSection(Section):
    """External tools.

    Source: the user's document, sections 2.9 and 2.10.
    """

    stedgeai: StEdgeAiTool = Field(default_factory=StEdgeAiTool)
    """ST Edge AI."""
    path_to_cubeIDE: Path | None = None  # noqa: N815 (the YAML's name)
    """The STM32CubeIDE executable, for deployment."""
