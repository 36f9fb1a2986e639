"""Scoring a model on query and gallery images."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reidfw_core.artifacts import RetrievalData, RetrievalReport
from reidfw_core.context import RunContext
from reidfw_core.errors import DataError
from reidfw_core.imaging.spec import image_spec
from reidfw_core.metrics import breakdown, rank_resolution
from reidfw_core.services.embedding import embed_samples, opened_format, runner_threads
from reidfw_core.services.evaluation_files import Opened, write_evaluation_files
from reidfw_core.services.scoring import score_retrieval
from reidfw_core.types import EmbeddingRunner, ModelFile, Samples

if TYPE_CHECKING:
    from reidfw_core.config.binding import BoundComponent
    from reidfw_core.config.sections import EvaluationSection, GeneralSection, PreprocessingSection

logger = logging.getLogger(__name__)

RANKS = (1, 5, 10)

WORST_QUERIES = 20
"""Queries that the report names."""

NAMED = 10
"""File names that a message lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateInput:
    """What an evaluation needs.

    Attributes:
        model: the model to score.
        data: query and gallery.
        preprocessing: the ``preprocessing`` section.
        evaluation: the ``evaluation`` section.
        general: the ``general`` section.
        target: what runs the model.
    """

    model: ModelFile
    data: RetrievalData
    preprocessing: PreprocessingSection
    evaluation: EvaluationSection
    general: GeneralSection
    target: BoundComponent


def evaluate(inp: EvaluateInput, ctx: RunContext) -> RetrievalReport:
    """Embeds query and gallery, scores retrieval and verification, draws the pictures, writes tables and threshold.

    Raises:
        DataError: the model file is unusable or takes other images than the preprocessing gives; unusable images; a
            model that gives NaN; no query has a match; a protocol without the cameras that it needs.
        StorageError: a file cannot be written.
    """
    opened, query, gallery = _embed(inp, ctx)
    scored = score_retrieval(inp.data, query, gallery, inp.evaluation, ctx.seed_for("evaluation"))
    figures = write_evaluation_files(opened, inp.data, scored, gallery, inp.evaluation, ctx)
    scores = scored.scores
    cameras = scored.queries.cameras
    report = RetrievalReport(
        model=opened.model,
        kind=opened.kind,
        data_name=inp.data.name,
        rank_accuracy={rank: scores.rank(rank) for rank in RANKS},
        mean_average_precision=scores.mean_average_precision,
        mean_inverse_negative_penalty=scores.mean_inverse_negative_penalty,
        cmc=tuple(float(value) for value in scores.cmc[: scores.num_gallery]),
        intervals=scored.intervals,
        confidence=inp.evaluation.confidence if scored.intervals else None,
        num_queries=scores.num_queries,
        num_gallery=scores.num_gallery,
        queries_without_match=len(scores.queries_without_match),
        unmatched=tuple(scored.queries.paths[query] for query in scores.queries_without_match),
        per_identity=breakdown(scores, scored.queries.identities),
        per_camera=() if cameras is None else breakdown(scores, cameras),
        worst=tuple(scored.query_result(query) for query in scored.ranked_queries()[:WORST_QUERIES]),
        metric=scores.metric,
        protocol=scores.protocol,
        options=_options(inp.evaluation),
        verification=scored.verification,
        kernels=opened.kernels,
        images_per_second=opened.images_per_second,
        figures=figures,
    )
    log_report(report)
    return report


def log_report(report: RetrievalReport) -> None:
    """The log block that each evaluation leaves: rank-1, rank-5, rank-10 and mAP in percent, then what to know."""
    title = "Quantized model" if report.kind == "int" else "Float model"
    logger.info("%s %s (%s, %s)", title, report.data_name, report.model.path.name, report.kernels)
    for rank in RANKS:
        logger.info("Rank-%d accuracy: %.2f %%", rank, 100 * report.rank_accuracy[rank])
    logger.info("mAP: %.2f %%%s", 100 * report.mean_average_precision, _interval(report, "mAP"))
    if report.threshold is not None:
        logger.info("Best threshold: %s distance %.4f", report.metric, report.threshold)
    matched = report.num_queries - report.queries_without_match
    points = 100 * rank_resolution(matched)
    if points >= 0.5:
        logger.info("One of the %d queries is %.1f points of rank-k: smaller differences say nothing", matched, points)
    if not report.intervals and report.num_queries > report.queries_without_match:
        logger.info("No confidence intervals: not asked for, or too few identities have a match")
    if report.queries_without_match:
        names = ", ".join(path.name for path in report.unmatched[:NAMED])
        logger.warning(
            "%d of %d queries have no image of their identity in the gallery; they count in no score: %s%s",
            report.queries_without_match,
            report.num_queries,
            names,
            ", ..." if report.queries_without_match > NAMED else "",
        )


def retrieval_metrics(report: RetrievalReport) -> Mapping[str, float]:
    """The numbers that trackers get, in percent: ``float_acc_rank1_test_set``, ..., ``int_mAP_test_set``."""
    names = {f"acc_rank{rank}": 100 * value for rank, value in report.rank_accuracy.items()}
    names |= {"mAP": 100 * report.mean_average_precision, "mINP": 100 * report.mean_inverse_negative_penalty}
    checked = report.verification
    if checked.equal_error_rate is not None:
        names["EER"] = 100 * checked.equal_error_rate
    names |= {f"TPR_at_FPR_{rate:g}": 100 * share for rate, share in checked.true_positive_rate_at_fpr.items()}
    if checked.threshold is not None:
        names["threshold"] = checked.threshold
    return {f"{report.kind}_{name}_{report.data_name}": round(value, 6) for name, value in names.items()}


def _embed(inp: EvaluateInput, ctx: RunContext) -> tuple[Opened, NDArray[np.float32], NDArray[np.float32]]:
    runner: EmbeddingRunner = ctx.bus.ask(
        inp.target.component,
        "open_runner",
        model=inp.model,
        num_threads=runner_threads(inp.general.num_threads_tflite),
        workdir=ctx.board_files_dir,
        progress=ctx.progress,
    )
    section = inp.evaluation
    try:
        spec = image_spec(inp.preprocessing, runner.input_shape)
        started = time.perf_counter()

        def embed(samples: Samples) -> NDArray[np.float32]:
            found = embed_samples(runner, samples, spec, ctx.progress, batch_size=section.batch_size, flip=section.flip)
            return _checked(found, samples, inp.model)

        query = embed(inp.data.query)
        gallery = query if inp.data.leave_one_out else embed(inp.data.gallery)
        seconds = time.perf_counter() - started
        found = opened_format(inp.model, runner)
        opened = Opened(
            model=replace(inp.model, format=found),
            kind="int" if found.is_integer else "float",
            kernels=runner.kernels,
            images_per_second=(len(query) + (0 if gallery is query else len(gallery))) / seconds,
        )
    finally:
        runner.close()
    return opened, query, gallery


def _checked(embeddings: NDArray[np.float32], samples: Samples, model: ModelFile) -> NDArray[np.float32]:
    """The embeddings; a warning where the model gives zeros, which are alike for everybody."""
    bad = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
    if bad.size:
        names = ", ".join(samples.paths[index].name for index in bad[:NAMED])
        raise DataError(
            f"{model.path.name} gives NaN or infinite values for {bad.size} of {len(samples)} images of the "
            f"{samples.role} set: {names}{', ...' if bad.size > NAMED else ''}",
            hint="The training diverged or the model file is damaged; check the training loss.",
        )
    zeros = np.flatnonzero(~embeddings.any(axis=1))
    if zeros.size:
        logger.warning(
            "%s gives nothing but zeros for %d of %d images of the %s set, for example %s",
            model.path.name,
            zeros.size,
            len(samples),
            samples.role,
            samples.paths[zeros[0]].name,
        )
    return embeddings


def _options(section: EvaluationSection) -> Mapping[str, Any]:
    return {
        "flip": section.flip,
        "multi_query": section.multi_query,
        "rerank": None if section.rerank is None else section.rerank.model_dump(),
    }


def _interval(report: RetrievalReport, name: str) -> str:
    if name not in report.intervals or report.confidence is None:
        return ""
    low, high = report.intervals[name]
    return f" ({100 * report.confidence:g} % interval {100 * low:.2f} to {100 * high:.2f})"
