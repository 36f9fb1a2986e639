"""Benchmarking a model on a board, and deploying it there: the work is the target component's."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reidfw_core.context import RunContext
from reidfw_core.types import BenchmarkReport, DeploymentReport, ModelFile

if TYPE_CHECKING:
    from reidfw_core.config.binding import BoundComponent

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardInput:
    """What benchmarking and deployment need: a model and a board."""

    model: ModelFile
    target: BoundComponent


def benchmark(inp: BoardInput, ctx: RunContext) -> BenchmarkReport:
    """Measures memory and time of the model on the board; logs go to ``stm32ai_files`` of the run folder."""
    workdir = ctx.run_dir / "stm32ai_files"
    workdir.mkdir(exist_ok=True)
    report: BenchmarkReport = ctx.bus.ask(inp.target.component, "benchmark_model", model=inp.model, workdir=workdir)
    logger.info("Benchmarking board: %s, measured by %s", inp.target.name, report.tool)
    for name, value in benchmark_metrics(report).items():
        logger.info("%s: %s", name, value)
    return report


def deploy(inp: BoardInput, ctx: RunContext) -> DeploymentReport:
    """Builds the application with the model and writes it to the board."""
    workdir = ctx.run_dir / "generated"
    workdir.mkdir(exist_ok=True)
    report: DeploymentReport = ctx.bus.ask(inp.target.component, "deploy_model", model=inp.model, workdir=workdir)
    for step in report.next_steps:
        logger.info("Next: %s", step)
    return report


def benchmark_metrics(report: BenchmarkReport) -> Mapping[str, float]:
    """The numbers that trackers get; values that were not measured are left out."""
    values = {
        "RAM Activations KiB": report.activations_ram_kib,
        "Total RAM KiB": report.total_ram_kib,
        "Flash weights KiB": report.weights_flash_kib,
        "Total Flash KiB": report.total_flash_kib,
        "MACCs M": None if report.macs is None else report.macs / 1e6,
        "cycles": None if report.cycles is None else report.cycles / 1e6,
        "inference_time ms": report.inference_ms,
    }
    return {name: round(float(value), 3) for name, value in values.items() if value is not None}
