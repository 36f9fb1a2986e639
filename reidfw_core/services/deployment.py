"""Benchmarking a model on a board, and deploying it there: the work is the target component's."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from reidfw_core.context import RunContext
from reidfw_core.services.thresholds import find_threshold, read_threshold
from reidfw_core.types import ApplicationSettings, BenchmarkReport, DeploymentReport, ModelFile

if TYPE_CHECKING:
    from reidfw_core.config.binding import BoundComponent
    from reidfw_core.config.sections import AppSection, PreprocessingSection

logger = logging.getLogger(__name__)

GENERATED_DIR = "generated"
"""Folder inside the run folder for what a deployment makes."""

UNMEASURED_THRESHOLD = 0.5
"""Threshold of an application where nobody measured one; the STM32 model zoo services' default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkInput:
    """What benchmarking needs: a model and a board."""

    model: ModelFile
    target: BoundComponent


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployInput:
    """What a deployment needs.

    Attributes:
        model: the model to deploy.
        target: the board.
        app: the ``app`` section.
        preprocessing: the ``preprocessing`` section.
    """

    model: ModelFile
    target: BoundComponent
    app: AppSection
    preprocessing: PreprocessingSection


def benchmark(inp: BenchmarkInput, ctx: RunContext) -> BenchmarkReport:
    """Measures memory and time of the model on the board; logs go to ``stm32ai_files`` of the run folder."""
    workdir = ctx.board_files_dir
    workdir.mkdir(exist_ok=True)
    report: BenchmarkReport = ctx.bus.ask(
        inp.target.component, "benchmark_model", model=inp.model, workdir=workdir, progress=ctx.progress
    )
    logger.info("Benchmarking board: %s, measured by %s", inp.target.name, report.tool)
    for name, value in benchmark_metrics(report).items():
        logger.info("%s: %s", name, value)
    if not ctx.bus.supports(inp.target.component, "published_figures"):
        return report
    published = list(ctx.bus.ask(inp.target.component, "published_figures", model=inp.model))
    for line in published:
        logger.info("For comparison, not measured: %s", line)
    in_table = any(one.published is not None for one in report.table)
    return replace(report, details={**report.details, "published": published}) if published and not in_table else report


def deploy(inp: DeployInput, ctx: RunContext) -> DeploymentReport:
    """Builds the application with the model and writes it to the board; all files go to ``generated``.

    Raises:
        DataError: the threshold file of ``app.score_threshold`` is unusable or belongs to another model.
    """
    app = application_settings(inp.app, inp.preprocessing, inp.model)
    logger.info("Threshold in the application: cosine distance %.4f (%s)", app.score_threshold, app.threshold_origin)
    workdir = ctx.run_dir / GENERATED_DIR
    workdir.mkdir(exist_ok=True)
    report: DeploymentReport = ctx.bus.ask(
        inp.target.component, "deploy_model", model=inp.model, workdir=workdir, app=app, progress=ctx.progress
    )
    for step in report.next_steps:
        logger.info("Next: %s", step)
    return report


def application_settings(app: AppSection, preprocessing: PreprocessingSection, model: ModelFile) -> ApplicationSettings:
    """What is compiled into the application: the ``app`` section, the threshold resolved.

    A threshold that is not given is that of an evaluation of this very file, where one lies in its run folder; else
    :data:`UNMEASURED_THRESHOLD`, with a warning.

    Raises:
        DataError: the threshold file is unusable or belongs to another model.
    """
    given, rescaling = app.score_threshold, preprocessing.rescaling
    if isinstance(given, Path):
        threshold, origin = read_threshold(given, "cosine", model.path), str(given)
        assert threshold is not None
    elif given is not None:
        threshold, origin = float(given), "app.score_threshold"
    elif (found := find_threshold(model.path)) is not None:
        threshold, origin = found[0], str(found[1])
    else:
        threshold, origin = UNMEASURED_THRESHOLD, "default, not measured"
        logger.warning(
            "app.score_threshold is not given, and no evaluation of %s lies in its run folder: %g is compiled in, "
            "which nobody measured. Evaluate the model and give its ..._reid_threshold.json",
            model.path.name,
            threshold,
        )
    return ApplicationSettings(
        max_object_detect=app.max_object_detect,
        max_object_tracking=app.max_object_tracking,
        score_threshold=threshold,
        threshold_origin=origin,
        lost_time_in_ms=app.lost_time_in_ms,
        start_tracking_conf_threshold=app.start_tracking_conf_threshold,
        aspect_ratio=preprocessing.resizing.aspect_ratio,
        color_mode=preprocessing.color_mode,
        rescaling=None if rescaling is None else (rescaling.scale, rescaling.offset),
    )


def benchmark_metrics(report: BenchmarkReport) -> Mapping[str, float]:
    """The numbers that trackers get; values that were not measured are left out.

    The names are those of the STM32 model zoo services, so that runs of both stand in one table.
    """
    values = {
        "RAM Activations KiB": report.activations_ram_kib,
        "RAM Runtime KiB": report.runtime_ram_kib,
        "Total RAM KiB": report.total_ram_kib,
        "Internal RAM usage": report.internal_ram_kib,
        "External RAM usage": report.external_ram_kib,
        "Flash weights KiB": report.weights_flash_kib,
        "Estimated Flash Code KiB": report.code_flash_kib,
        "Total Flash KiB": report.total_flash_kib,
        "Internal Flash usage": report.internal_flash_kib,
        "External Flash usage": report.external_flash_kib,
        "MACCs M": None if report.macs is None else report.macs / 1e6,
        "cycles": None if report.cycles is None else report.cycles / 1e6,
        "inference_time ms": report.inference_ms,
        **report.further_metrics,
    }
    return {name: round(float(value), 3) for name, value in values.items() if value is not None}


def benchmark_labels(report: BenchmarkReport) -> Mapping[str, str]:
    """The texts that trackers get beside the numbers."""
    return report.labels
