"""The board tool ``stedgeai``: what a model takes on a board, from ST Edge AI Core on this computer."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import Field

from reidfw_core.api import BenchmarkReport, CommandLine, ComponentParams, ModelFile, ToolFailed, ToolNotFound
from reidfw_targets.board_tools import BoardTool
from reidfw_targets.commands import Command, run_command
from reidfw_targets.facts import BoardFacts
from reidfw_targets.model_io import image_shape
from reidfw_targets.processes import last_words
from reidfw_targets.stedgeai.command import benchmark_arguments, uses_neural_art, version_arguments
from reidfw_targets.stedgeai.executable import RECENT, StEdgeAiInstallation, find_executable, probe
from reidfw_targets.stedgeai.neural_art import write_settings
from reidfw_targets.stedgeai.reports import SUFFIXES, LayerCost, NetworkCost, ReportError, read_folder

logger = logging.getLogger(__name__)

LOG_NAME = "stedgeai.log"
"""File of the work folder with all that the tool printed."""


class StEdgeAi(BoardTool):
    """ST Edge AI Core on this computer: memory, operations and layers of a model; no time, for that needs a board."""

    name = "stedgeai"

    class Params(ComponentParams):
        """Options."""

        timeout_s: float = Field(3600.0, gt=0, description="Seconds after which the tool is stopped")

    def find(self, board: BoardFacts) -> str:
        """Finds the executable and asks its version; see :meth:`BoardTool.find`."""
        if board.linux:
            raise ToolNotFound(
                f"{board.name} runs Linux; only ST's developer cloud measures it",
                hint="Set tools.stedgeai.on_cloud: True.",
            )
        found = self._installation()
        warning = f" (warning: {found.warning})" if found.warning else ""
        return f"{found.label}, {found.executable}{warning}"

    def list_commands(self, board: BoardFacts, model: ModelFile, workdir: Path) -> Sequence[CommandLine]:
        """The one command line, and what asks for the version before; see :meth:`BoardTool.list_commands`."""
        executable, _ = find_executable(self.settings.path_to_stedgeai)
        arguments = benchmark_arguments(board, model.path, workdir, self.settings.optimization, RECENT)
        return (
            CommandLine(title="Ask the version", argv=(str(executable), *version_arguments())),
            CommandLine(title=_title(board), argv=(str(executable), *arguments)),
        )

    def benchmark(self, board: BoardFacts, model: ModelFile, workdir: Path) -> BenchmarkReport:
        """Generates C code for the board and reads the reports; see :meth:`BoardTool.benchmark`."""
        installation = self._installation()
        if installation.warning:
            logger.warning(installation.warning)
        for suffix in SUFFIXES.values():  # of an earlier run: never to be taken for this one's
            for old in workdir.glob(f"*{suffix}"):
                old.unlink()
        if uses_neural_art(board):
            write_settings(board, workdir)
        arguments = benchmark_arguments(board, model.path, workdir, self.settings.optimization, installation.version)
        logger.info("%s: %s for %s, log in %s", installation.label, model.path.name, board.name, workdir / LOG_NAME)
        command = Command(
            title=_title(board),
            argv=(str(installation.executable), *arguments),
            timeout_s=self.params.timeout_s,
            environment={"STATS_TYPE": statistics_tag(model)},
        )
        done = run_command(command, workdir / LOG_NAME, progress=self.progress)
        try:
            cost = read_folder(workdir)
        except ReportError as cause:
            raise ToolFailed(
                f"{installation.label} ended without error, but {cause}. {last_words(done.output.splitlines())}",
                argv=done.argv,
                code=0,
            ) from cause
        origin: dict[str, Any] = {
            "command": list(done.argv),
            "executable": str(installation.executable),
            "neural_art": uses_neural_art(board),
        }
        if installation.warning:
            origin["warning"] = installation.warning
        return report_of(cost, f"{installation.label}, local", str(installation.version), origin)

    def _installation(self) -> StEdgeAiInstallation:
        executable, found_by = find_executable(self.settings.path_to_stedgeai)
        return probe(executable, found_by)


def _title(board: BoardFacts) -> str:
    return f"Compile for {board.name}"


def statistics_tag(model: ModelFile) -> str:
    """The name under which ST counts uses of its tool: model and its height (``stmai_modelzoo_<model>_<H>_reidfw``)."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", model.name).strip("_")
    shape = image_shape(model)
    height = f"_{shape[0]}" if shape else ""
    return f"stmai_modelzoo_{name}{height}_reidfw"


def report_of(cost: NetworkCost, tool: str, version: str, details: dict[str, Any]) -> BenchmarkReport:
    """A benchmark report from what the reports of the tool say.

    Args:
        cost: the reports.
        tool: what measured, for people.
        version: version of ST Edge AI Core.
        details: what else to tell; the layers are added.
    """
    return BenchmarkReport(
        inference_ms=cost.duration_ms,
        cycles=cost.cycles,
        macs=cost.macs,
        activations_ram_kib=cost.activations_bytes / 1024,
        total_ram_kib=_kib(cost.total_ram_bytes),
        weights_flash_kib=cost.weights_bytes / 1024,
        total_flash_kib=_kib(cost.total_flash_bytes),
        runtime_ram_kib=_kib(cost.runtime_ram_bytes),
        code_flash_kib=_kib(cost.runtime_flash_bytes),
        internal_ram_kib=_kib(cost.split.internal_ram),
        external_ram_kib=_kib(cost.split.external_ram),
        internal_flash_kib=_kib(cost.split.internal_flash),
        external_flash_kib=_kib(cost.split.external_flash),
        tool=tool,
        labels={"stm32ai_version": version},
        details={
            **details,
            "report_schemas": dict(cost.schemas or {}),
            "layers": [_layer_row(layer) for layer in cost.layers],
        },
    )


def _layer_row(layer: LayerCost) -> dict[str, Any]:
    return {name: value for name, value in asdict(layer).items() if value is not None}


def _kib(value: int | None) -> float | None:
    return None if value is None else value / 1024
