"""Float against quantized model: how far the embeddings moved, and which layers moved them."""

from __future__ import annotations

import csv
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reidfw_core.artifacts import (
    CalibrationData,
    FidelityReport,
    Figure,
    LayerCost,
    LayerRow,
    QuantizedModel,
    RetrievalData,
)
from reidfw_core.context import RunContext
from reidfw_core.files import atomic_path
from reidfw_core.imaging.decoding import image_batches
from reidfw_core.imaging.spec import ImageSpec, image_spec
from reidfw_core.metrics import FidelityScores, embedding_fidelity
from reidfw_core.sampling.splits import choose_calibration
from reidfw_core.services.embedding import embed_samples, opened_format
from reidfw_core.services.quantization import images_text
from reidfw_core.services.sensitivity import Probe, log_costs, measure_costs
from reidfw_core.types import LayerError, ModelFile, Samples

if TYPE_CHECKING:
    from reidfw_core.config.binding import BoundComponent
    from reidfw_core.config.sections import GeneralSection, PreprocessingSection, QuantizationSection

logger = logging.getLogger(__name__)

LAYER_IMAGES = 8
"""Images for the errors layer by layer: every tensor of the network is kept for each of them."""

WORST_SHOWN = 3

LAYER_COLUMNS = (
    "layer",
    "operator",
    "snr_db",
    "cosine",
    "mean_absolute_error",
    "embedding_error_percent",
    "quantized_bytes",
    "float_bytes",
    "kept_at",
)
"""Columns of the table of layers."""


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
    probe = Probe(quantizer=inp.quantizer, target=inp.target, preprocessing=inp.preprocessing, general=inp.general)
    reference, spec, source = _embed(probe, ctx, inp.pair.source, samples)
    other, _, model = _embed(probe, ctx, inp.pair.model, samples)
    scores = embedding_fidelity(reference, other, names=[path.name for path in samples.paths])
    layers = _layer_errors(inp, ctx, samples, spec)
    costs = _layer_costs(inp, probe, ctx)
    report = FidelityReport(
        source=source,
        fine_tuned_from=inp.pair.fine_tuned_from,
        model=model,
        num_images=len(samples),
        origin=origin,
        scores=scores,
        layers=layers,
        costs=costs,
        search=inp.pair.search,
        figures=_draw(inp.pair, scores, layers, ctx),
    )
    _write_layers(report.by_layer(), ctx.run_dir / f"{inp.pair.model.name}_layers.csv", ctx)
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
    return everything, f"{images_text(len(everything))} of {origin}"


def _embed(
    probe: Probe, ctx: RunContext, model: ModelFile, samples: Samples
) -> tuple[NDArray[np.float32], ImageSpec, ModelFile]:
    """Embeddings, how the images were prepared, and the model with the number format that its file has."""
    with probe.opened(model, ctx) as runner:
        spec = image_spec(probe.preprocessing, runner.input_shape)
        return (
            embed_samples(runner, samples, spec, ctx.progress),
            spec,
            replace(model, format=opened_format(model, runner)),
        )


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


def _layer_costs(inp: CompareInput, probe: Probe, ctx: RunContext) -> tuple[LayerCost, ...]:
    """What the search for ``max_map_drop`` has measured; else measured now, where ``layer_costs`` asks for it."""
    if inp.pair.search is not None and inp.pair.search.costs:
        return inp.pair.search.costs
    if not inp.quantization.layer_costs:
        return ()
    if not ctx.bus.supports(inp.quantizer.component, "open_variants"):
        logger.warning("quantization.layer_costs: %s cannot tell what single layers cost", inp.quantizer.name)
        return ()
    costs = measure_costs(inp.pair, probe.variants(inp.pair, ctx), inp.calibration.samples, probe, ctx)
    log_costs(costs)
    return costs


def _write_layers(rows: Sequence[LayerRow], path: Path, ctx: RunContext) -> None:
    """A line for each layer; what was not measured is empty. No file where no layer is known."""
    if not rows:
        return
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(LAYER_COLUMNS)
        for name, operator, error, cost in rows:
            measured = (error.signal_to_noise_db, error.cosine, error.mean_absolute_error) if error else (None,) * 3
            values = [None if value is None else f"{value:.6g}" for value in measured]
            if cost is not None:
                layer = cost.layer
                percent = f"{100 * cost.embedding_error:.6g}"
                values += [percent, str(layer.quantized_bytes), str(layer.float_bytes), cost.kept_at]
            table.writerow((name, operator, *values, *(None,) * (len(LAYER_COLUMNS) - 2 - len(values))))
    ctx.bus.tell("artifact_saved", path=path, description="what each layer loses")


def _draw(
    pair: QuantizedModel, scores: FidelityScores, layers: tuple[LayerError, ...], ctx: RunContext
) -> tuple[Figure, ...]:
    from reidfw_core.figures import draw_fidelity, draw_layer_errors

    stem = pair.model.name
    what = f"{_reference(pair.fine_tuned_from).lower()} against quantized embeddings"
    title = f"{stem}: {what}"
    cosines = ctx.figure(f"{stem}_fidelity.png", what)
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


def _reference(fine_tuned_from: ModelFile | None) -> str:
    """Whose embeddings the quantized ones are compared with, for people."""
    return "Float" if fine_tuned_from is None else "Fine-tuned"


def _snr_text(value: float) -> str:
    """A signal-to-noise ratio in dB, for people."""
    return "no difference" if value == np.inf else f"SNR {value:.1f} dB"


def _log(report: FidelityReport) -> None:
    scores = report.scores
    logger.info(
        "%s against quantized embeddings (%s): cosine %.4f on average, %.4f at worst; %s",
        _reference(report.fine_tuned_from),
        report.origin,
        scores.mean_cosine,
        scores.min_cosine,
        _snr_text(scores.signal_to_noise_db),
    )
    for k, share in scores.neighbour_overlap.items():
        logger.info("Neighbour overlap@%d: %.1f %%", k, 100 * share)
    if report.layers and report.fine_tuned_from is not None:
        logger.info("Layers are compared with the fine-tuned network without its rounding")
    for layer in report.layers[:WORST_SHOWN]:
        logger.info("Largest error: %s (%s), %s", layer.name, layer.operator, _snr_text(layer.signal_to_noise_db))
