"""Scoring a model on query and gallery images."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reidfw_core.artifacts import RetrievalData, RetrievalReport
from reidfw_core.context import RunContext
from reidfw_core.errors import DataError
from reidfw_core.imaging.decoding import image_batches
from reidfw_core.imaging.spec import ImageSpec, image_spec
from reidfw_core.metrics import RetrievalScores, best_threshold, evaluate_retrieval
from reidfw_core.types import EmbeddingRunner, ModelFile, Samples

if TYPE_CHECKING:
    from reidfw_core.config.binding import BoundComponent
    from reidfw_core.config.sections import EvaluationSection, GeneralSection, PreprocessingSection

logger = logging.getLogger(__name__)

RANKS = (1, 5, 10)


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
    """Embeds query and gallery, scores the retrieval, draws the rank curve and the distance histogram.

    Raises:
        DataError: the model file is unusable or takes other images than the preprocessing gives; unusable images; a
            model that gives NaN; no query has a match.
    """
    runner: EmbeddingRunner = ctx.bus.ask(
        inp.target.component, "open_runner", model=inp.model, num_threads=inp.general.num_threads_tflite
    )
    try:
        spec = image_spec(inp.preprocessing, runner.input_shape)
        started = time.perf_counter()
        query = embed_samples(runner, inp.data.query, spec, inp.evaluation.batch_size, ctx)
        gallery = (
            query
            if inp.data.leave_one_out
            else embed_samples(runner, inp.data.gallery, spec, inp.evaluation.batch_size, ctx)
        )
        seconds = time.perf_counter() - started
        kernels, kind = runner.kernels, "int" if runner.format.is_integer else "float"
    finally:
        runner.close()
    scores = score_retrieval(inp.data, query, gallery, inp.evaluation.reid_distance_metric)
    count = len(inp.data.query) + (0 if inp.data.leave_one_out else len(inp.data.gallery))
    return _report(inp, ctx, scores, query, gallery, kind=kind, kernels=kernels, rate=count / seconds)


def embed_samples(
    runner: EmbeddingRunner, samples: Samples, spec: ImageSpec, batch_size: int, ctx: RunContext
) -> NDArray[np.float32]:
    """Embeddings of all images of a set, (N, D) float32; each image is decoded once.

    Raises:
        DataError: images that cannot be decoded.
    """
    embeddings = np.empty((len(samples), runner.embedding_dim), dtype=np.float32)
    done = 0
    with ctx.progress(f"Embedding {samples.role}", len(samples), "images") as advance:
        for images in image_batches(samples.paths, spec, batch_size):
            embeddings[done : done + len(images)] = runner.embed(images)
            done += len(images)
            advance(done)
    return embeddings


def score_retrieval(
    data: RetrievalData, query: NDArray[np.float32], gallery: NDArray[np.float32], metric: str
) -> RetrievalScores:
    """Retrieval scores of two sets of embeddings; an image is never compared with itself.

    Where the reader knows the cameras of both sets, images of the query's identity from the query's camera are left
    out, as the protocol of Market-1501 has it.

    Raises:
        DataError: no query identity has an image in the gallery.
    """
    query_cameras, gallery_cameras = data.query.cameras, data.gallery.cameras
    if data.leave_one_out:  # each image as its own camera: the protocol then leaves out the image itself
        query_cameras = gallery_cameras = tuple(str(index) for index in range(len(query)))
    known = query_cameras is not None and gallery_cameras is not None
    scores = evaluate_retrieval(
        query,
        gallery,
        data.query.identities,
        data.gallery.identities,
        metric=metric,
        query_cameras=query_cameras if known else None,
        gallery_cameras=gallery_cameras if known else None,
        protocol="market1501" if known else "all",
    )
    if len(scores.queries_without_match) == scores.num_queries:
        raise DataError(
            f"None of the {scores.num_queries} query images has an image of its identity in the gallery",
            hint=f"Query: {data.query.root}; gallery: {data.gallery.root}. Their file names must share identities.",
        )
    return scores


def log_report(report: RetrievalReport) -> None:
    """The log block that each evaluation leaves: rank-1, rank-5, rank-10 and mAP in percent."""
    title = "Quantized model" if report.kind == "int" else "Float model"
    logger.info("%s %s (%s, %s)", title, report.data_name, report.model.path.name, report.kernels)
    for rank in RANKS:
        logger.info("Rank-%d accuracy: %.2f %%", rank, 100 * report.rank_accuracy[rank])
    logger.info("mAP: %.2f %%", 100 * report.mean_average_precision)
    if report.queries_without_match:
        logger.warning(
            "%d of %d queries have no image of their identity in the gallery; they count in no score",
            report.queries_without_match,
            report.num_queries,
        )


def retrieval_metrics(report: RetrievalReport) -> Mapping[str, float]:
    """The numbers that trackers get, in percent: ``float_acc_rank1_test_set``, ..., ``int_mAP_test_set``."""
    names = {f"acc_rank{rank}": value for rank, value in report.rank_accuracy.items()}
    names |= {"mAP": report.mean_average_precision, "mINP": report.mean_inverse_negative_penalty}
    return {f"{report.kind}_{name}_{report.data_name}": round(100 * value, 4) for name, value in names.items()}


def _report(
    inp: EvaluateInput,
    ctx: RunContext,
    scores: RetrievalScores,
    query: NDArray[np.float32],
    gallery: NDArray[np.float32],
    *,
    kind: str,
    kernels: str,
    rate: float,
) -> RetrievalReport:
    from reidfw_core.figures import draw_distance_histogram, draw_rank_curve

    title = f"{inp.model.name}, {'quantized' if kind == 'int' else 'float'} model, {inp.data.name.replace('_', ' ')}"
    stem = inp.model.name if kind == "float" or "quant" in inp.model.name else f"{inp.model.name}_quantized"
    curve = ctx.run_dir / f"{stem}_reid_rank_curve.png"
    draw_rank_curve(scores, title, curve)
    figures: tuple[Path, ...] = (curve,)
    ctx.bus.tell("artifact_saved", path=curve, description="CMC curve")
    verification = None
    if not inp.data.leave_one_out:
        verification = best_threshold(
            query, gallery, inp.data.query.identities, inp.data.gallery.identities, metric=scores.metric
        )
        histogram = ctx.run_dir / f"{stem}_reid_distance_histogram.png"
        draw_distance_histogram(verification, title, histogram)
        figures += (histogram,)
        ctx.bus.tell("artifact_saved", path=histogram, description="distance histogram")
    report = RetrievalReport(
        model=inp.model,
        kind=kind,
        data_name=inp.data.name,
        rank_accuracy={rank: scores.rank(rank) for rank in RANKS},
        mean_average_precision=scores.mean_average_precision,
        mean_inverse_negative_penalty=scores.mean_inverse_negative_penalty,
        num_queries=scores.num_queries,
        num_gallery=scores.num_gallery,
        queries_without_match=len(scores.queries_without_match),
        metric=scores.metric,
        threshold=None if verification is None else verification.threshold,
        kernels=kernels,
        images_per_second=rate,
        figures=figures,
    )
    log_report(report)
    return report
