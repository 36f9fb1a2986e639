"""Preparing the user's model for quantization-aware training."""

from __future__ import annotations

import logging
from pathlib import Path

import keras

from reidfw_core.api import CalibrationSet, load_embedding_model
from reidfw_quantizers._keras.equalisation import equalise
from reidfw_quantizers._keras.fake_quantization import (
    is_fake_quantized,
    trained_granularity,
    trained_ranges,
    with_fake_quantization,
    without_fake_quantization,
)
from reidfw_quantizers.params import QuantizationParams
from reidfw_quantizers.ranges import ActivationRanges

logger = logging.getLogger(__name__)


def prepare_keras(path: Path, calibration: CalibrationSet, params: QuantizationParams) -> keras.Model:
    """The trainable model that computes as the integer form of a file will, equalised first where that is asked for.

    Raises:
        DataError: the file is no model from one image to one vector, there are no or unfit calibration images, or the
            model has no weights that can be rounded.
    """
    model = load_embedding_model(path)
    if is_fake_quantized(model):
        model = without_fake_quantization(model)
    if params.wants_equalisation():
        model, _ = equalise(model)
    prepared = with_fake_quantization(model, calibration, params.granularity)
    logger.info(
        "Weights (%s) and the activations of %d layers are rounded to 8 bits in training",
        params.granularity,
        len(trained_ranges(prepared).layers),
    )
    return prepared


def open_trained(
    path: Path, params: QuantizationParams, *, keep_ranges: bool = False
) -> tuple[keras.Model, ActivationRanges | None]:
    """The float model of a file, and the ranges of a quantization-aware training, None where it had none.

    Args:
        path: a Keras file.
        params: tell the granularity wanted; another one than that of the training is warned of.
        keep_ranges: whether the model still rounds its activations.

    Raises:
        DataError: the file is no model from one image to one vector.
    """
    model = load_embedding_model(path)
    if not is_fake_quantized(model):
        return model, None
    if (trained := trained_granularity(model)) != params.granularity:
        logger.warning(
            "%s was trained with %s weights; with %s ones it loses more", path.name, trained, params.granularity
        )
    return without_fake_quantization(model, keep_ranges=keep_ranges), trained_ranges(model)
