"""The board tool ``stedgeai``: what a model takes on a board, from ST Edge AI Core on this computer."""

from __future__ import annotations

import logging
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import Field

from reidfw_core.api import BenchmarkReport, ComponentParams, ModelFile, ToolFailed, ToolNotFound
from reidfw_targets.board_tools import BoardTool
from reidfw_targets.facts import BoardFacts
from reidfw_targets.processes import run_logged
from reidfw_targets.stedgeai.command import benchmark_arguments, uses_neural_art
from reidfw_targets.stedgeai.executable import StEdgeAiInstallation, find_executable, probe
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

    def benchmark(self, board: BoardFacts, model: ModelFile, workdir: Path) -> BenchmarkReport:
        """Generates C code for the board and reads the reports; see :meth:`BoardTool.benchmark`."""
        installation = self._installation()
        if installation.warning:
            logger.warning(installation.warning)
        for suffix in SUFFIXES.values():  # of an earlier run: never to be taken for this one's
            for old in workdir.glob(f"*{suffix}"):
                old.unlink()
        arguments = benchmark_arguments(board, model.path, workdir, self.settings.optimization, installation.version)
        logger.info("%s: %s for %s, log in %s", installation.label, model.path.name, board.name, workdir / LOG_NAME)
        done = run_logged(
            [installation.executable, *arguments],
            timeout_s=self.params.timeout_s,
            log=workdir / LOG_NAME,
            environment={"STATS_TYPE": statistics_tag(model)},
            on_line=logger.debug,
        )
        try:
            cost = read_folder(workdir)
        except ReportError as cause:
            raise ToolFailed(
                f"{installation.label} ended without error, but {cause}. Its last lines:\n{done.last_lines}",
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
        return report_of(cost, f"{installation.label}, local", origin)

    def _installation(self) -> StEdgeAiInstallation:
        executable, found_by = find_executable(self.settings.path_to_stedgeai)
        return probe(executable, found_by)


def statistics_tag(model: ModelFile) -> str:
    """The name under which ST counts uses of its tool: model and its height (``stmai_modelzoo_<model>_<H>_reidfw``)."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", model.name).strip("_")
    height = f"_{model.input_shape[0]}" if model.input_shape else ""
    return f"stmai_modelzoo_{name}{height}_reidfw"


def report_of(cost: NetworkCost, tool: str, details: dict[str, Any]) -> BenchmarkReport:
    """A benchmark report from what the reports of the tool say.

    Args:
        cost: the reports.
        tool: what measured, with its version.
        details: what else to tell; layers and the split of memory are added.
    """
    split = {
        f"{name}_kib": round(bytes_ / 1024, 2)
        for name in ("internal_ram", "external_ram", "internal_flash", "external_flash")
        if (bytes_ := getattr(cost.split, name)) is not None
    }
    runtime = {
        f"runtime_{memory}_kib": round(bytes_ / 1024, 2)
        for memory, bytes_ in (("ram", cost.runtime_ram_bytes), ("flash", cost.runtime_flash_bytes))
        if bytes_ is not None
    }
    return BenchmarkReport(
        inference_ms=cost.duration_ms,
        cycles=cost.cycles,
        macs=cost.macs,
        activations_ram_kib=cost.activations_bytes / 1024,
        total_ram_kib=_kib(cost.total_ram_bytes),
        weights_flash_kib=cost.weights_bytes / 1024,
        total_flash_kib=_kib(cost.total_flash_bytes),
        tool=tool,
        details={
            **details,
            **split,
            **runtime,
            "report_schemas": dict(cost.schemas or {}),
            "layers": [_layer_row(layer) for layer in cost.layers],
        },
    )


def _layer_row(layer: LayerCost) -> dict[str, Any]:
    return {name: value for name, value in asdict(layer).items() if value is not None}


def _kib(value: int | None) -> float | None:
    return None if value is None else value / 1024
