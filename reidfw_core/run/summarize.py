"""From the typed results of a run's steps to its ``summary.json``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

import reidfw_core
from reidfw_core.artifacts import (
    FidelityReport,
    Figure,
    LayerRow,
    PrecisionSearch,
    PrecisionTrial,
    PredictionReport,
    RetrievalReport,
    TrainedModel,
)
from reidfw_core.files import file_digest
from reidfw_core.metrics import ThresholdScores, rank_resolution
from reidfw_core.report import summary as parts
from reidfw_core.run.directory import environment, jsonable
from reidfw_core.types import BenchmarkReport, BoardQuantity, DeploymentReport, ModelFile, TargetInfo

if TYPE_CHECKING:
    from reidfw_core.config import Configuration
    from reidfw_core.metrics import GroupScores
    from reidfw_core.run.runner import StepResult

PRIVATE_SECTIONS = ("mlflow",)
"""Sections that may hold a password."""


def summarize(
    done: Sequence[StepResult],
    configuration: Configuration,
    run_dir: Path,
    *,
    status: Any,
    started: datetime,
    boards: Mapping[str, TargetInfo],
) -> parts.Summary:
    """All numbers of the finished steps.

    Args:
        done: the finished steps.
        configuration: what was run.
        run_dir: the run folder.
        status: how the run ended.
        started: when it began, with its time zone.
        boards: facts on the boards of benchmarks, by the key of the step.
    """
    metrics: dict[str, float | None] = {}
    for step in done:
        metrics.update({k: _finite(v) for k, v in step.planned.step.metrics_of(step.result).items()})
    config = configuration.config
    results = [(step.planned.key, step.result) for step in done]
    resolved = {name: value for name, value in configuration.resolved.items() if name not in PRIVATE_SECTIONS}
    return parts.Summary(
        reidfw=reidfw_core.__version__,
        run=parts.RunFacts(
            name=run_dir.name,
            folder=str(run_dir),
            project=config.general.project_name,
            operation_mode=config.operation_mode,
            dataset=config.dataset.dataset_name,
            status=status,
            started=started.astimezone(UTC).isoformat(timespec="seconds"),
            seconds=round((datetime.now(UTC) - started).total_seconds(), 3),
        ),
        metrics=metrics,
        steps=[
            parts.StepSummary(
                key=step.planned.key,
                title=step.planned.step.title,
                component=step.planned.component.name if step.planned.component else None,
                seconds=round(step.seconds, 3),
            )
            for step in done
        ],
        training=next((_training(r) for _, r in results if isinstance(r, TrainedModel)), None),
        evaluations=[_evaluation(key, r, run_dir) for key, r in results if isinstance(r, RetrievalReport)],
        fidelity=[_fidelity(key, r, run_dir) for key, r in results if isinstance(r, FidelityReport)],
        benchmarks=[
            _benchmark(step, run_dir, boards.get(step.planned.key, TargetInfo()))
            for step in done
            if isinstance(step.result, BenchmarkReport)
        ],
        deployments=[_deployment(step, run_dir) for step in done if isinstance(step.result, DeploymentReport)],
        prediction=next((_prediction(r, run_dir) for _, r in results if isinstance(r, PredictionReport)), None),
        figures=[_figure(figure, key, run_dir) for key, r in results for figure in _figures(r)],
        environment=jsonable(environment(configuration)),
        config=jsonable(resolved),
    )


def _figures(result: Any) -> Sequence[Figure]:
    found: Sequence[Figure] = getattr(result, "figures", ())
    return found


def _figure(figure: Figure, step: str, run_dir: Path) -> parts.FigureSummary:
    return parts.FigureSummary(
        file=_relative(figure.path, run_dir),
        title=figure.title,
        svg=None if figure.svg is None else _relative(figure.svg, run_dir),
        step=step,
    )


def _model(model: ModelFile, run_dir: Path) -> parts.ModelSummary:
    return parts.ModelSummary(
        name=model.name,
        file=_relative(model.path, run_dir),
        format=str(model.format),
        size_bytes=model.size_bytes,
        sha256=file_digest(model.path),
    )


def _training(result: TrainedModel) -> parts.TrainingSummary:
    history = {name: [_finite(value) for value in values] for name, values in result.history.items()}
    return parts.TrainingSummary(
        epochs=max((len(values) for values in history.values()), default=0),
        best_epoch=result.best_epoch,
        seconds=round(result.seconds, 3),
        num_identities=result.num_identities,
        history=history,
    )


def _evaluation(key: str, report: RetrievalReport, run_dir: Path) -> parts.EvaluationSummary:
    values = {
        "mAP": report.mean_average_precision,
        "mINP": report.mean_inverse_negative_penalty,
        **{f"rank{rank}": share for rank, share in report.rank_accuracy.items()},
    }
    nothing = (math.nan, math.nan)
    matched = report.num_queries - report.queries_without_match
    return parts.EvaluationSummary(
        step=key,
        model=_model(report.model, run_dir),
        kind="int" if report.kind == "int" else "float",
        data=report.data_name,
        protocol=report.protocol,
        distance=report.metric,
        options=jsonable(report.options),
        num_queries=report.num_queries,
        num_gallery=report.num_gallery,
        queries_without_match=[str(path) for path in report.unmatched],
        percent_per_query=_percent(rank_resolution(matched)) if matched else None,
        confidence=report.confidence,
        scores={
            name: parts.Score(
                value=_percent(value),
                low=_percent(report.intervals.get(name, nothing)[0]),
                high=_percent(report.intervals.get(name, nothing)[1]),
            )
            for name, value in values.items()
        },
        cmc=[round(100 * value, 4) for value in report.cmc],
        per_identity=[_group(group) for group in report.per_identity],
        per_camera=[_group(group) for group in report.per_camera],
        verification=_verification(report.verification),
        worst_queries=[
            parts.QuerySummary(
                image=str(query.image),
                identity=query.identity,
                camera=query.camera,
                average_precision=_percent(query.average_precision),
                first_match_rank=query.first_match_rank or None,
            )
            for query in report.worst
        ],
        kernels=report.kernels,
        images_per_second=round(report.images_per_second, 2),
    )


def _group(group: GroupScores) -> parts.GroupSummary:
    return parts.GroupSummary(
        name=group.name,
        num_queries=group.num_queries,
        num_matched=group.num_matched,
        mAP=_percent(group.mean_average_precision),
        rank1=_percent(group.rank1),
    )


def _verification(scores: ThresholdScores) -> parts.VerificationSummary:
    roc = None
    if scores.area_under_roc is not None:
        roc = parts.Roc(
            false_positive_rates=_floats(scores.roc_false_positive_rates),
            true_positive_rates=_floats(scores.roc_true_positive_rates),
            thresholds=[_finite(value) for value in _floats(scores.roc_thresholds)],
            area=scores.area_under_roc,
        )
    return parts.VerificationSummary(
        threshold=scores.threshold,
        balanced_accuracy=_percent(scores.balanced_accuracy),
        equal_error_rate=_percent(scores.equal_error_rate),
        true_positive_rate_at={
            f"{rate:g}": round(100 * share, 4) for rate, share in scores.true_positive_rate_at_fpr.items()
        },
        num_genuine=scores.num_genuine,
        num_impostor=scores.num_impostor,
        roc=roc,
        histogram=parts.Histogram(
            edges=_floats(scores.histogram.edges),
            genuine=[int(count) for count in scores.histogram.genuine],
            impostor=[int(count) for count in scores.histogram.impostor],
        ),
    )


def _fidelity(key: str, report: FidelityReport, run_dir: Path) -> parts.FidelitySummary:
    scores = report.scores
    return parts.FidelitySummary(
        step=key,
        float_model=_model(report.source, run_dir),
        fine_tuned_from=None if report.fine_tuned_from is None else _model(report.fine_tuned_from, run_dir),
        quantized_model=_model(report.model, run_dir),
        num_images=report.num_images,
        images=report.origin,
        mean_cosine=_finite(scores.mean_cosine),
        min_cosine=_finite(scores.min_cosine),
        signal_to_noise_db=_finite(scores.signal_to_noise_db),
        mean_pearson=_finite(scores.pearson_correlation),
        neighbour_overlap={str(k): round(100 * share, 4) for k, share in scores.neighbour_overlap.items()},
        layers=[_layer(row) for row in report.by_layer()],
        size_ratio=round(report.size_ratio, 4),
        search=None if report.search is None else _search(report.search),
    )


def _layer(row: LayerRow) -> parts.LayerSummary:
    error, cost = row.error, row.cost
    return parts.LayerSummary(
        name=row.name,
        operator=row.operator,
        signal_to_noise_db=_finite(error.signal_to_noise_db) if error else None,
        cosine=_finite(error.cosine) if error else None,
        mean_absolute_error=_finite(error.mean_absolute_error) if error else None,
        embedding_error=_percent(cost.embedding_error) if cost else None,
        quantized_bytes=cost.layer.quantized_bytes if cost else None,
        float_bytes=cost.layer.float_bytes if cost else None,
        kept_at=cost.kept_at if cost else None,
    )


def _search(search: PrecisionSearch) -> parts.SearchSummary:
    return parts.SearchSummary(
        max_map_drop=search.max_map_drop,
        reached=search.reached,
        data=search.data_name,
        float_mAP=_percent(search.float_map),
        chosen=_trial(search.chosen),
        trials=[_trial(trial) for trial in search.trials],
    )


def _trial(trial: PrecisionTrial) -> parts.TrialSummary:
    return parts.TrialSummary(
        num_kept=trial.num_kept,
        precision=trial.precision,
        mAP=_percent(trial.mean_average_precision),
        drop=round(trial.drop, 4),
    )


def _benchmark(step: StepResult, run_dir: Path, board: TargetInfo) -> parts.BenchmarkSummary:
    report: BenchmarkReport = step.result
    assert step.planned.component is not None
    assert step.model is not None
    return parts.BenchmarkSummary(
        board=step.planned.component.name,
        model=_model(step.model, run_dir),
        tool=report.tool,
        inference_ms=report.inference_ms,
        macs=report.macs,
        activations_ram_kib=report.activations_ram_kib,
        total_ram_kib=report.total_ram_kib,
        weights_flash_kib=report.weights_flash_kib,
        total_flash_kib=report.total_flash_kib,
        internal_ram_kib=report.internal_ram_kib,
        external_ram_kib=report.external_ram_kib,
        internal_flash_kib=report.internal_flash_kib,
        external_flash_kib=report.external_flash_kib,
        board_ram_kib=board.ram_kib,
        board_flash_kib=board.flash_kib,
        quantities=[_quantity(one) for one in report.table],
        origins=dict(report.origins),
        layers=[
            parts.LayerInstructionsSummary(
                name=one.name, operator=one.operator, macs=one.macs, instructions=one.instructions
            )
            for one in report.layers
        ],
        board_external_ram_kib=board.external_ram_kib,
        board_external_flash_kib=board.external_flash_kib,
        details=jsonable(report.details),
    )


def _quantity(quantity: BoardQuantity) -> parts.QuantitySummary:
    low, high = quantity.modelled or (None, None)
    return parts.QuantitySummary(
        name=quantity.name,
        unit=quantity.unit,
        measured=quantity.measured,
        modelled_low=low,
        modelled_high=high,
        published=quantity.published,
    )


def _deployment(step: StepResult, run_dir: Path) -> parts.DeploymentSummary:
    report: DeploymentReport = step.result
    assert step.planned.component is not None
    assert step.model is not None
    return parts.DeploymentSummary(
        board=step.planned.component.name,
        model=_model(step.model, run_dir),
        firmware=None if report.firmware is None else str(report.firmware),
        next_steps=list(report.next_steps),
        details=jsonable(report.details),
    )


def _prediction(report: PredictionReport, run_dir: Path) -> parts.PredictionSummary:
    accepted = None if report.threshold is None else sum(bool(one.accepted) for one in report.predictions)
    return parts.PredictionSummary(
        num_queries=len(report.predictions),
        num_gallery=report.num_gallery,
        distance=report.metric,
        threshold=report.threshold,
        num_accepted=accepted,
        folder=_relative(report.folder, run_dir),
    )


def _relative(path: Path, run_dir: Path) -> str:
    return path.relative_to(run_dir).as_posix() if path.is_relative_to(run_dir) else str(path)


def _floats(values: ArrayLike) -> list[float]:
    return [float(f"{value:.7g}") for value in np.asarray(values, dtype=np.float64)]


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _percent(value: float | None) -> float | None:
    finite = _finite(value)
    return None if finite is None else round(100 * finite, 4)
