"""Contract of quantizers (entry point group ``reidfw.quantizers``)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reidfw_core.markers import hookspec
from reidfw_core.types import CalibrationSet, LayerError, ModelFile, ModelVariants

if TYPE_CHECKING:
    import keras
    import numpy as np


@hookspec(firstresult=True)
def quantize_model(model: ModelFile, calibration: CalibrationSet, workdir: Path, export_dir: Path) -> ModelFile | None:
    """Quantizes a float model.

    Args:
        model: the float model, in one of the formats that the component ``consumes``; or the trained form of what
            ``prepare_training`` gave.
        calibration: images to measure activations with.
        workdir: existing folder for intermediate files (the run folder).
        export_dir: existing folder for the result (``quantization.export_dir`` inside the run folder).

    Returns:
        The quantized model, in the format that the component ``produces``.

    Raises:
        DataError: the model cannot be quantized, and why.
    """


@hookspec(firstresult=True)
def prepare_training(model: ModelFile, calibration: CalibrationSet) -> keras.Model | None:
    """Optional: gives the model in a form that can be trained and that computes as its quantized form will.

    This is what ``quantization_type: QAT`` asks for; a quantizer without this hook is refused by the plan. The core
    trains what it gets with the losses of the configuration, saves it as a ``.keras`` file, and hands that to
    ``quantize_model``, which must recognise it and give a model with the weights and ranges of the training.

    Args:
        model: the float model, in one of the formats that the component ``consumes``.
        calibration: images that ranges of activations may begin with.

    Returns:
        A ``keras.Model`` from (B, H, W, C) to (B, D) with trainable weights. It can be saved and loaded; its custom
        layers are registered with Keras.

    Raises:
        DataError: the model cannot be trained so, or parameters of the component forbid it, and why.
    """


@hookspec(firstresult=True)
def inspect_model(model: ModelFile) -> ModelFile | None:
    """Opens a model that the component ``consumes`` and tells what it takes and gives.

    Args:
        model: a file given by the user; its ``input_shape`` is not known yet.

    Returns:
        The same model with ``input_shape``, ``embedding_dim`` and the number format filled in.

    Raises:
        DataError: the file is not a model, has several inputs or outputs, or is quantized already.
    """


@hookspec(firstresult=True)
def layer_errors(
    float_model: ModelFile, quantized_model: ModelFile, images: np.ndarray
) -> tuple[LayerError, ...] | None:
    """Optional: tells layer by layer how far the quantized model is from the float one.

    Args:
        float_model: the model that was given to ``quantize_model``.
        quantized_model: what it returned.
        images: (N, H, W, C) float32, rescaled pixels.

    Returns:
        One entry for each layer that both models have, the largest error (lowest signal-to-noise ratio) first.
    """


@hookspec(firstresult=True)
def open_variants(float_model: ModelFile, quantized_model: ModelFile, workdir: Path) -> ModelVariants | None:
    """Optional: opens a quantized model, so that some of its layers can be left at a higher precision.

    The search for the layers that cost most (``quantization.max_map_drop``) needs it. It writes many variants, so
    that each must be cheap: the ranges of activations are those of the quantized model, nothing is calibrated again.

    Args:
        float_model: the model that was given to ``quantize_model``.
        quantized_model: what it returned.
        workdir: existing folder for intermediate files.

    Returns:
        The opened model.

    Raises:
        DataError: the model holds no layer that can be kept, and why.
    """
