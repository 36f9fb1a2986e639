"""What stands behind ``benchmarking.tool``: the programs and services that measure a model for a board.

A tool is a class named in the entry point group ``reidfw.board_tools``, of this distribution or of anyone's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import ValidationError

from reidfw_core.api import (
    BenchmarkReport,
    CommandLine,
    ComponentParams,
    MemoryEstimate,
    ModelFile,
    Progress,
    ToolNotFound,
    nearest_match,
    no_progress,
)
from reidfw_targets.facts import BoardFacts

GROUP = "reidfw.board_tools"
"""Entry point group of the tools."""

AUTO = "auto"
"""The tool's name that lets :func:`automatic_tool` choose."""

Optimization = Literal["balanced", "time", "ram"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSettings:
    """What the section ``tools`` says; a tool takes from it what concerns it.

    Attributes:
        optimization: what generated C code is optimised for.
        on_cloud: the developer cloud is wanted.
        path_to_stedgeai: the executable of ST Edge AI Core, or a folder of its installation.
        version: version of ST Edge AI Core that the cloud shall use; None takes its newest.
    """

    optimization: Optimization = "balanced"
    on_cloud: bool = False
    path_to_stedgeai: Path | None = None
    version: str | None = None


class BoardTool(ABC):
    """Base of all tools.

    Args:
        settings: the section ``tools``.
        params: ``benchmarking.tool_options``, checked by the class's ``Params``; None takes the defaults.
        progress: told of long work.
    """

    name: ClassVar[str]
    """The name of its entry point."""

    class Params(ComponentParams):
        """No options."""

    def __init__(
        self,
        settings: ToolSettings | None = None,
        params: ComponentParams | None = None,
        progress: Progress = no_progress,
    ) -> None:
        self.settings = settings or ToolSettings()
        self.progress = progress
        self.params: Any = params if params is not None else self.Params()

    @abstractmethod
    def find(self, board: BoardFacts) -> str:
        """Checks, within seconds and without changing anything, that the tool can measure for a board here and now.

        Returns:
            One line on what was found, for example a path and a version.

        Raises:
            ToolNotFound, ServiceError, BoardNotFound: it cannot, and what to do.
        """

    def estimate(self, board: BoardFacts, model: ModelFile) -> MemoryEstimate | None:  # noqa: ARG002
        """What the tool would need for a model on a board, planned from the file within seconds.

        Returns:
            None where the tool does not tell in advance, as most do, or does not take the model.
        """
        return None

    def list_commands(self, board: BoardFacts, model: ModelFile, workdir: Path) -> Sequence[CommandLine]:  # noqa: ARG002
        """What :meth:`benchmark` would start or send, for ``reidfw run --dry-run``; does none of it.

        Args:
            board, model, workdir: as for :meth:`benchmark`; neither model nor folder need exist yet.

        Returns:
            Nothing, unless a tool says otherwise; what only the run itself can know stands in angle brackets.
        """
        return ()

    @abstractmethod
    def benchmark(self, board: BoardFacts, model: ModelFile, workdir: Path) -> BenchmarkReport:
        """Measures a model for a board.

        Args:
            board: the board.
            model: a model whose format the board accepts.
            workdir: existing folder for logs, reports and generated files.

        Raises:
            ToolNotFound, ToolFailed, ServiceError, BoardNotFound, DoesNotFit: the surroundings, with the cause.
            DataError: the model is not one that the tool can measure.
        """


def tool_entries() -> dict[str, EntryPoint]:
    """The installed tools by name, none of them imported."""
    return {entry.name: entry for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name)}


def load_tool(name: str) -> type[BoardTool]:
    """Imports one tool.

    Raises:
        ToolNotFound: no installed distribution brings it, or it cannot be imported.
    """
    known = tool_entries()
    if name not in known:
        near = nearest_match(name, [AUTO, *known])
        raise ToolNotFound(
            f"There is no board tool '{name}'" + (f" (did you mean '{near}'?)" if near else ""),
            hint=f"Installed: {', '.join([AUTO, *known])}",
        )
    try:
        tool = known[name].load()
    except (Exception, SystemExit) as cause:  # somebody else's module
        raise ToolNotFound(f"The board tool '{name}' cannot be imported: {type(cause).__name__}: {cause}") from cause
    if not (isinstance(tool, type) and issubclass(tool, BoardTool)):
        raise ToolNotFound(f"The board tool '{name}' is no subclass of reidfw_targets.api.BoardTool")
    return tool


def make_tool(
    name: str, settings: ToolSettings, options: Mapping[str, Any], progress: Progress = no_progress
) -> BoardTool:
    """A tool with its options; ``progress`` is told of its long work.

    Raises:
        ToolNotFound: see :func:`load_tool`.
        ValueError: an option that the tool does not take.
    """
    tool = load_tool(name)
    try:
        return tool(settings, tool.Params(**options), progress)
    except ValidationError as cause:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in cause.errors())
        raise ValueError(f"tool_options of '{name}': {faults}") from cause


def automatic_tool(board: BoardFacts, settings: ToolSettings) -> tuple[str, str]:
    """The tool for ``tool: auto``, and why. What the user names and is unusable is an error, never another tool.

    Raises:
        ToolNotFound: there is none, with what to do.
    """
    from reidfw_targets.stedgeai.executable import find_executable, is_named

    if settings.on_cloud:
        return "stedgeai_cloud", "tools.stedgeai.on_cloud: True"
    if board.linux:
        raise ToolNotFound(
            f"{board.name} runs Linux; only ST's developer cloud measures it",
            hint="Set tools.stedgeai.on_cloud: True.",
        )
    try:
        executable, found_by = find_executable(settings.path_to_stedgeai)
    except ToolNotFound:
        if is_named(settings.path_to_stedgeai) or "portable_c" not in tool_entries():
            raise
        return "portable_c", "no ST Edge AI Core here, and on_cloud is not True"
    return "stedgeai", f"{executable.name} found by {found_by}"
