"""Quantizing a float model."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reidfw_core.artifacts import CalibrationData, FineTunedModel, QuantizedModel, RetrievalData
from reidfw_core.context import RunContext
from reidfw_core.imaging.decoding import image_batches
from reidfw_core.imaging.spec import ImageSpec, image_spec
from reidfw_core.services.sensitivity import Probe, SearchInput, keep_worst_layers
from reidfw_core.types import CalibrationSet, ModelFile

if TYPE_CHECKING:
    from reidfw_core.config.binding import BoundComponent
    from reidfw_core.config.sections import EvaluationSection, GeneralSection, PreprocessingSection, QuantizationSection

logger = logging.getLogger(__name__)

FEW_IMAGES = 8
"""With fewer calibration images a warning tells that the ranges rest on them alone."""

NOISE_IMAGES = 10
"""Random images where ``dataset.quantization_allow_random`` lets them take the place of a calibration set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeInput:
    """What quantization needs.

    Attributes:
        model: the float model.
        data: calibration images.
        preprocessing: the ``preprocessing`` section, the same as in evaluation.
        quantization: the ``quantization`` section.
        quantizer: the bound quantizer.
        fine_tuned: the quantization-aware training that the model comes from; None without one.
        evaluation, general: sections, for ``quantization.max_map_drop`` as are all others below.
        scored: what mAP is measured on; None where there are no such images.
        comparison_target: what runs float and quantized model; None where nothing does.
    """

    model: ModelFile
    data: CalibrationData
    preprocessing: PreprocessingSection
    quantization: QuantizationSection
    quantizer: BoundComponent
    evaluation: EvaluationSection
    general: GeneralSection
    fine_tuned: FineTunedModel | None = None
    scored: RetrievalData | None = None
    comparison_target: BoundComponent | None = None


def quantize(inp: QuantizeInput, ctx: RunContext) -> QuantizedModel:
    """Quantizes the model into ``quantization.export_dir`` of the run folder.

    Where ``quantization.max_map_drop`` would be broken, the layers that cost most are left at a higher precision.

    Raises:
        DataError: the model cannot be quantized, or calibration images cannot be decoded.
        StorageError: the result cannot be written.
    """
    model, spec = inspected(inp.model, inp.quantizer, inp.preprocessing, ctx)
    export_dir = ctx.run_dir / inp.quantization.export_dir
    export_dir.mkdir(parents=True, exist_ok=True)
    with calibration_set(inp.data, spec, ctx) as calibration:
        quantized: ModelFile = ctx.bus.ask(
            inp.quantizer.component,
            "quantize_model",
            model=model,
            calibration=calibration,
            workdir=ctx.run_dir,
            export_dir=export_dir,
        )
    given = inp.fine_tuned.given if inp.fine_tuned is not None else None
    pair = _within_limit(inp, QuantizedModel(model=quantized, source=model, fine_tuned_from=given), ctx)
    before, after = pair.original.size_bytes / 1024, pair.model.size_bytes / 1024
    logger.info("%s: %.1f KiB, was %.1f KiB", pair.model.path.name, after, before)
    ctx.bus.tell("artifact_saved", path=pair.model.path, description="quantized model")
    return pair


def _within_limit(inp: QuantizeInput, pair: QuantizedModel, ctx: RunContext) -> QuantizedModel:
    """The pair, with layers left at a higher precision where ``quantization.max_map_drop`` asks for it."""
    limit = inp.quantization.max_map_drop
    if limit is None:
        return pair
    assert inp.scored is not None  # the plan has seen to both
    assert inp.comparison_target is not None
    return keep_worst_layers(
        SearchInput(
            pair=pair,
            probe=Probe(
                quantizer=inp.quantizer,
                target=inp.comparison_target,
                preprocessing=inp.preprocessing,
                general=inp.general,
            ),
            data=inp.scored,
            samples=inp.data.samples,
            evaluation=inp.evaluation,
            max_map_drop=limit,
            keep_at=inp.quantization.keep_layers_at,
        ),
        ctx,
    )


def inspected(
    model: ModelFile, quantizer: BoundComponent, preprocessing: PreprocessingSection, ctx: RunContext
) -> tuple[ModelFile, ImageSpec]:
    """The model with its input shape, opened by the quantizer where that is not known yet, and how images become one.

    Raises:
        DataError: the quantizer cannot open it.
    """
    if model.input_shape is None:
        model = ctx.bus.ask(quantizer.component, "inspect_model", model=model)
    assert model.input_shape is not None
    return model, image_spec(preprocessing, model.input_shape)


@contextmanager
def calibration_set(data: CalibrationData, spec: ImageSpec, ctx: RunContext) -> Iterator[CalibrationSet]:
    """The images as quantizers get them; the progress of reading them is told."""
    total = len(data.samples) if data.noise_seed is None else NOISE_IMAGES
    logger.info("Calibrating with %s from %s", images_text(total), data.origin)
    if total < FEW_IMAGES:
        logger.warning(
            "All ranges of activations rest on %s; some dozens, of as many identities as there are, serve better",
            images_text(total),
        )
    with ctx.progress("Calibration", total, "images") as advance:

        def images() -> Iterator[np.ndarray]:
            for done, image in enumerate(_calibration_images(data, spec), start=1):
                yield image
                if done % 16 == 0 or done == total:
                    advance(done)

        black, white = spec.offset, 255 * spec.scale + spec.offset
        yield CalibrationSet(
            num_images=total,
            images=images,
            origin=data.origin,
            pixel_range=(min(black, white), max(black, white)),
        )


def images_text(count: int) -> str:
    """A number of images, for people."""
    return "1 image" if count == 1 else f"{count} images"


def _calibration_images(data: CalibrationData, spec: ImageSpec) -> Iterator[np.ndarray]:
    """The images of the set, or noise in their place: (1, H, W, C) float32, rescaled pixels."""
    if data.noise_seed is None:
        yield from image_batches(data.samples.paths, spec, 1)
        return
    rng = np.random.default_rng(data.noise_seed)
    for _ in range(NOISE_IMAGES):
        pixels = rng.integers(0, 256, (1, spec.height, spec.width, spec.channels))
        yield (pixels * spec.scale + spec.offset).astype(np.float32)
