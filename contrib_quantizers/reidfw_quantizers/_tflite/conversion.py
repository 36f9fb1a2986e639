"""Full-integer post-training quantization with TensorFlow's converter."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from reidfw_core.api import CalibrationSet, DataError, ReidfwError, native_stderr_to_log
from reidfw_quantizers._tflite.bias_correction import correct_biases
from reidfw_quantizers._tflite.calibration import calibrate, make_integer
from reidfw_quantizers._tflite.inspection import Graph, read_graph
from reidfw_quantizers._tflite.ranges import with_trained_ranges
from reidfw_quantizers.calibration import CORRECTION_IMAGES, checked_images
from reidfw_quantizers.clipping import Clipping
from reidfw_quantizers.params import Granularity, IoType
from reidfw_quantizers.ranges import ActivationRanges

logger = logging.getLogger(__name__)


def convert_to_integer(
    model: keras.Model,
    calibration: CalibrationSet,
    *,
    input_type: IoType,
    output_type: IoType,
    granularity: Granularity,
    clipping: Clipping = "none",
    bias_correction: bool = False,
    ranges: ActivationRanges | None = None,
) -> tuple[bytes, int]:
    """Converts a model to an integer TensorFlow Lite file of batch 1.

    Weights become symmetric int8, activations asymmetric int8, biases int32.

    Args:
        model: (B, H, W, C) to (B, D).
        calibration: images to measure the ranges of activations with.
        input_type, output_type: number format of input and output; ``float`` adds a conversion inside the model.
        granularity: one weight scale a channel, or one a layer.
        clipping: how the range of an activation follows from its values.
        bias_correction: whether biases make up for what rounding adds to each channel on average.
        ranges: ranges of activations that take the place of measured ones.

    Returns:
        The file's content, and the number of calibration images used.

    Raises:
        DataError: no or unfit calibration images, or the converter refuses the model.

    Source: B. Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
        Inference, 2018; R. Krishnamoorthi, Quantizing deep convolutional networks for efficient inference, 2018.
    """
    input_shape = tuple(model.inputs[0].shape[1:])
    images = _WatchedImages(calibration, input_shape, keep=CORRECTION_IMAGES if bias_correction else 0)
    next(iter(images))  # an empty or unfit set is known before the converter's first second
    float_file = convert_to_float(model)

    def quantize(calibrated: bytes) -> bytes:
        with _refusals_told(model.name):
            return make_integer(calibrated, input_type=input_type, output_type=output_type, granularity=granularity)

    with _refusals_told(model.name):
        calibrated = calibrate(float_file, images, clipping, calibration.pixel_range)
    if ranges is not None:
        calibrated = with_trained_ranges(calibrated, ranges)
    if bias_correction:
        calibrated = correct_biases(calibrated, quantize, images.first)
    return quantize(calibrated), images.count


def convert_to_float(model: keras.Model) -> bytes:
    """Converts a model to a float TensorFlow Lite file of batch 1, with the operators that quantization begins from.

    Raises:
        DataError: the converter refuses the model.
    """
    with _refusals_told(model.name), native_stderr_to_log(logger), _quiet_python():
        function = _batch_of_one(model, tuple(model.inputs[0].shape[1:]))
        content: bytes = tf.lite.TFLiteConverter.from_concrete_functions([function], None).convert()
    return content


def check_integer(content: bytes, *, input_type: IoType, output_type: IoType, granularity: Granularity) -> Graph:
    """Checks that a converted file is what was asked for.

    The converter leaves an operator without integer kernel in float without a word, between a de-quantization and
    a quantization; on a microcontroller that part is slow or does not run at all.

    Returns:
        The graph of the file.

    Raises:
        DataError: operators compute in float, or number formats or granularity are not those asked for.
    """
    graph = read_graph(content)
    if floats := graph.float_operators():
        raise DataError(
            f"The model cannot be made fully integer: these operators stay in float: {', '.join(floats)}",
            hint="Replace these operations in the backbone, for example by ReLU, ReLU6, sigmoid or hard swish.",
        )
    for role, index, asked in (("input", graph.inputs[0], input_type), ("output", graph.outputs[0], output_type)):
        found = graph.tensors[index].quantization()["dtype"]
        if found != asked:
            raise DataError(f"The converter made the model's {role} {found} instead of {asked}")
    if granularity == "per_tensor" and (kept := graph.per_channel_tensors()):
        raise DataError(
            f"The converter kept one scale a channel in {', '.join(kept)} although per_tensor was asked for"
        )
    return graph


class _WatchedImages:
    """Calibration images that can be gone through again: how many the last pass gave, and its first ones."""

    def __init__(self, calibration: CalibrationSet, input_shape: tuple[int, int, int], keep: int) -> None:
        self._calibration = calibration
        self._input_shape = input_shape
        self._keep = keep
        self.count = 0
        self.first: list[np.ndarray] = []

    def __iter__(self) -> Iterator[np.ndarray]:
        self.count = 0
        self.first.clear()
        for image in checked_images(self._calibration, self._input_shape):
            self.count += 1
            if self.count <= self._keep:
                self.first.append(image)
            yield image


def _batch_of_one(model: keras.Model, input_shape: tuple[int, int, int]) -> Any:
    """The model as a graph of the fixed batch 1 that microcontroller tools expect.

    A graph converts about six times faster than a SavedModel, whose variables are written, read and frozen first.
    """
    image = tf.TensorSpec((1, *input_shape), tf.float32, name="image")
    serve = tf.function(lambda image: model(image, training=False), input_signature=[image], autograph=False)
    return serve.get_concrete_function()


@contextmanager
def _quiet_python() -> Iterator[None]:
    """Hides a warning of the converter that says nothing about the model."""
    absl = logging.getLogger("absl")

    def is_wanted(record: logging.LogRecord) -> bool:
        return "trackable_obj" not in record.getMessage()  # advice for models with state, which this graph has not

    absl.addFilter(is_wanted)
    try:
        yield
    finally:
        absl.removeFilter(is_wanted)


@contextmanager
def _refusals_told(name: str) -> Iterator[None]:
    """Turns errors of TensorFlow and LiteRT, which share no base class, into one that names the model."""
    try:
        yield
    except (ReidfwError, MemoryError, OSError):
        raise
    except Exception as cause:
        raise DataError(_refusal(name, str(cause))) from cause


def _refusal(name: str, converter_says: str) -> str:
    unknown = sorted(set(re.findall(r"'tf\.(\w+)' op is neither", converter_says)))
    if unknown:
        return f"{name} cannot be converted: TensorFlow Lite has no operator for {', '.join(unknown)}"
    lines = [line.strip() for line in converter_says.splitlines() if line.strip()]
    return f"{name} cannot be converted to TensorFlow Lite: {lines[0] if lines else 'the converter gave no reason'}"
