"""The two halves of the converter's post-training quantization: ranges measured, and integers made from them.

The ranges are measured here and not by the converter. Its calibrator looks at the inputs of an operator after it ran,
when an addition or product has already been written over them: in OSNet, where gated streams are summed up, it takes
the sum for the range of each summand, up to 2.3 times the true one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from tensorflow.lite.python.convert import mlir_quantize
from tensorflow.lite.tools import flatbuffer_utils

from reidfw_core.api import DataError, native_stderr_to_log
from reidfw_quantizers._tflite.interpreting import keeping_interpreter
from reidfw_quantizers.clipping import Clipping, Extremes, Histogram, clipped_range
from reidfw_quantizers.params import Granularity, IoType

logger = logging.getLogger(__name__)

DTYPES = {"int8": tf.int8, "uint8": tf.uint8, "float": tf.float32}


def calibrate(
    content: bytes,
    images: Iterable[np.ndarray],
    clipping: Clipping,
    pixel_range: tuple[float, float] | None = None,
) -> bytes:
    """Writes the range of each activation into a float file, where :func:`make_integer` finds it.

    One pass over the images; memory does not depend on their number. The input gets the range of all pixels, or where
    that is not known the extremes of those seen, whatever the clipping.

    Args:
        content: a float TensorFlow Lite file of batch 1.
        images: (1, H, W, C) float32 each.
        clipping: how ranges follow from the values.
        pixel_range: see :class:`CalibrationSet`.

    Returns:
        The same file with ranges.

    Raises:
        DataError: an activation is not finite.
    """
    model = flatbuffer_utils.convert_bytearray_to_object(content)
    graph = model.subgraphs[0]
    source = int(graph.inputs[0])
    seen: dict[int, Extremes] = {
        int(index): Extremes() if clipping == "none" else Histogram()
        for operator in graph.operators
        for index in operator.outputs
        if graph.tensors[index].type == schema.TensorType.FLOAT32
    }
    seen[source] = Extremes()
    interpreter = keeping_interpreter(content)
    for image in images:
        interpreter.set_tensor(source, image)
        interpreter.invoke()
        for index, values in seen.items():
            values.add(interpreter.get_tensor(index))
    for index, values in seen.items():
        if not values.is_finite():
            raise DataError(f"The float model gives NaN or infinity in {graph.tensors[index].name.decode()}")
    ranges = {
        index: clipped_range(values, clipping) if isinstance(values, Histogram) else values.range()
        for index, values in seen.items()
    }
    set_ranges(model, ranges if pixel_range is None else {**ranges, source: pixel_range})
    return packed(model)


def set_ranges(model: Any, ranges: Mapping[int, tuple[float, float]]) -> None:
    """Writes ranges, by number of tensor, into an opened file."""
    for index, (low, high) in ranges.items():
        tensor = model.subgraphs[0].tensors[index]
        if tensor.quantization is None:
            tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.min, tensor.quantization.max = [low], [high]


def make_integer(calibrated: bytes, *, input_type: IoType, output_type: IoType, granularity: Granularity) -> bytes:
    """The integer file of a float file with ranges; takes a tenth of a second, so variants share a calibration."""
    # the converter's own second half; not a documented function, so the result is checked in check_integer
    with native_stderr_to_log(logger):
        return bytes(
            mlir_quantize(
                calibrated,
                disable_per_channel=granularity == "per_tensor",
                input_data_type=DTYPES[input_type],
                output_data_type=DTYPES[output_type],
            )
        )


def packed(model: Any) -> bytes:
    """The file of an opened model."""
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))
