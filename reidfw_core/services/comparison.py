"""Float against quantized model: how far the embeddings moved, and which layers moved them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reidfw_core.artifacts import CalibrationData, FidelityReport, Figure, QuantizedModel, RetrievalData
from reidfw_core.context import RunContext
from reidfw_core.imaging.decoding import image_batches
from reidfw_core.imaging.spec import ImageSpec, image_spec
from reidfw_core.metrics import FidelityScores, embedding_fidelity
from reidfw_core.sampling.splits import choose_calibration
from reidfw_core.services.embedding import embed_samples, runner_threads
from reidfw_core.types import EmbeddingRunner, LayerError, ModelFile, Samples

if TYPE_CHECKING:
    from reidfw_core.config.binding import BoundComponent
    from reidfw_core.config.sections import GeneralSection, PreprocessingSection, QuantizationSection

logger = logging.getLogger(__name__)

LAYER_IMAGES = 8
"""Images for the errors layer by layer: every tensor of the network is kept for each of them."""

WORST_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareInput:
    """What a comparison needs.

    Attributes:
        pair: the quantized model and the float one behind it.
        calibration: the images that calibrated it; compared on where there are no test images.
        data: test images; None where there are none.
        preprocessing, quantization, general: sections.
        quantizer: asked for the errors layer by layer.
        target: what runs both models.
    """

    pair: QuantizedModel
    calibration: CalibrationData
    data: RetrievalData | None = None
    preprocessing: PreprocessingSection
    quantization: QuantizationSection
    general: GeneralSection
    quantizer: BoundComponent
    target: BoundComponent


def compare(inp: CompareInput, ctx: RunContext) -> FidelityReport:
    """Embeds the same images with both models and compares the embeddings one by one; asks for errors of layers.

    Raises:
        DataError: a model that cannot be run, unusable images, embeddings that are not finite.
        StorageError: a picture cannot be written.
    """
    samples, origin = _images(inp, ctx)
    reference, spec, source = _embed(inp, ctx, inp.pair.source, samples)
    other, _, model = _embed(inp, ctx, inp.pair.model, samples)
    scores = embedding_fidelity(reference, other, names=[path.name for path in samples.paths])
    layers = _layer_errors(inp, ctx, samples, spec)
    report = FidelityReport(
        source=source,
        model=model,
        num_images=len(samples),
        origin=origin,
        scores=scores,
        layers=layers,
        figures=_draw(inp.pair, scores, layers, ctx),
    )
    _log(report)
    return report


def fidelity_metrics(report: FidelityReport) -> Mapping[str, float]:
    """The numbers that trackers get."""
    scores = report.scores
    values = {
        "fidelity_mean_cosine": scores.mean_cosine,
        "fidelity_min_cosine": scores.min_cosine,
        "fidelity_snr_db": scores.signal_to_noise_db,
    }
    values |= {f"fidelity_overlap_at_{k}": 100 * share for k, share in scores.neighbour_overlap.items()}
    return {name: round(float(value), 6) for name, value in values.items() if np.isfinite(value)}


def _images(inp: CompareInput, ctx: RunContext) -> tuple[Samples, str]:
    """At most ``quantization.compare_images`` images, drawn with a seed: of the test set where there is one."""
    if inp.data is not None and inp.data.name == "test_set":
        query, gallery = inp.data.query, inp.data.gallery
        everything = Samples(
            role="test_gallery",
            root=gallery.root,
            paths=query.paths + gallery.paths,
            identities=query.identities + gallery.identities,
        )
        origin = "test query and gallery"
    else:
        everything, origin = inp.calibration.samples, inp.calibration.origin
    wanted = inp.quantization.compare_images
    if len(everything) > wanted:
        everything = choose_calibration(everything, wanted / len(everything), ctx.seed_for("comparison"))
    return everything, f"{len(everything)} images of {origin}"


def _embed(
    inp: CompareInput, ctx: RunContext, model: ModelFile, samples: Samples
) -> tuple[NDArray[np.float32], ImageSpec, ModelFile]:
    """Embeddings, how the images were prepared, and the model with the number format that its file has."""
    runner: EmbeddingRunner = ctx.bus.ask(
        inp.target.component,
        "open_runner",
        model=model,
        num_threads=runner_threads(inp.general.num_threads_tflite),
        workdir=ctx.board_files_dir,
        progress=ctx.progress,
    )
    try:
        spec = image_spec(inp.preprocessing, runner.input_shape)
        return embed_samples(runner, samples, spec, ctx.progress), spec, replace(model, format=runner.format)
    finally:
        runner.close()


def _layer_errors(inp: CompareInput, ctx: RunContext, samples: Samples, spec: ImageSpec) -> tuple[LayerError, ...]:
    if not ctx.bus.supports(inp.quantizer.component, "layer_errors"):
        return ()
    few = samples.paths[:LAYER_IMAGES]
    images = np.concatenate(list(image_batches(few, spec, LAYER_IMAGES)))
    found: tuple[LayerError, ...] = ctx.bus.ask(
        inp.quantizer.component,
        "layer_errors",
        float_model=inp.pair.source,
        quantized_model=inp.pair.model,
        images=images,
    )
    return found


def _draw(
    pair: QuantizedModel, scores: FidelityScores, layers: tuple[LayerError, ...], ctx: RunContext
) -> tuple[Figure, ...]:
    from reidfw_core.figures import draw_fidelity, draw_layer_errors

    stem = pair.model.name
    title = f"{stem}: float against quantized embeddings"
    cosines = ctx.figure(f"{stem}_fidelity.png", "float against quantized embeddings")
    draw_fidelity(scores.cosines, title, cosines.path, svg_path=cosines.svg)
    figures = [cosines]
    if layers:
        bars = ctx.figure(f"{stem}_layer_errors.png", "quantization error layer by layer")
        rows = [(layer.name, layer.operator, layer.signal_to_noise_db) for layer in layers]
        draw_layer_errors(rows, f"{stem}: layers with the largest error", bars.path, svg_path=bars.svg)
        figures.append(bars)
    for figure in figures:
        ctx.bus.tell("artifact_saved", path=figure.path, description=figure.title)
    return tuple(figures)


def _log(report: FidelityReport) -> None:
    scores = report.scores
    logger.info(
        "Float against quantized embeddings (%s): cosine %.4f on average, %.4f at worst; SNR %.1f dB",
        report.origin,
        scores.mean_cosine,
        scores.min_cosine,
        scores.signal_to_noise_db,
    )
    for k, share in scores.neighbour_overlap.items():
        logger.info("Neighbour overlap@%d: %.1f %%", k, 100 * share)
    for layer in report.layers[:WORST_SHOWN]:
        logger.info("Largest error: %s (%s), SNR %.1f dB", layer.name, layer.operator, layer.signal_to_noise_db)
