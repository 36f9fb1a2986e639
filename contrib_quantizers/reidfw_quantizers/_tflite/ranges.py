"""Ranges that a training has found, in a calibrated TensorFlow Lite file."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from typing import Any

from tensorflow.lite.tools import flatbuffer_utils

from reidfw_quantizers.ranges import ActivationRanges, Range

logger = logging.getLogger(__name__)


def with_trained_ranges(calibrated: bytes, ranges: ActivationRanges) -> bytes:
    """Puts ranges in the place of measured ones, between calibration and quantization.

    Activations of which the training knows nothing (inside of layers that the converter takes apart) keep the range
    that calibration measured.

    Args:
        calibrated: what the converter gives where it only calibrates: a float file with ranges.
        ranges: the ranges to put in.

    Returns:
        The same file with these ranges.
    """
    model = flatbuffer_utils.convert_bytearray_to_object(calibrated)
    graph = model.subgraphs[0]
    _set_range(graph.tensors[graph.inputs[0]], ranges.image)
    outputs = {operator.outputs[0]: graph.tensors[operator.outputs[0]] for operator in graph.operators}
    result = graph.outputs[0]
    if ranges.output is not None:
        _set_range(outputs[result], ranges.output)
    by_layer = {_layer_of(tensor): tensor for index, tensor in outputs.items() if index != result}
    suffix = _common_suffix(by_layer, ranges.layers)
    unknown = [name for name in ranges.layers if name + suffix not in by_layer]
    for name, found in ranges.layers.items():
        if name not in unknown:
            _set_range(by_layer[name + suffix], found)
    if unknown:
        logger.warning("The converter joined these layers with others; their ranges are measured: %s", unknown)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _set_range(tensor: Any, found: Range) -> None:
    tensor.quantization.min, tensor.quantization.max = ([limit] for limit in found)


def _layer_of(tensor: Any) -> str:
    """``conv1_relu_1`` of ``model_1/conv1_relu_1/Relu6;model_1/conv1_1/BiasAdd``: the last of the joined layers."""
    return "/".join(tensor.name.decode().partition(";")[0].split("/")[1:-1])


def _common_suffix(names: Collection[str], layers: Collection[str]) -> str:
    """The number that TensorFlow put behind the names of all layers, as it does where a model is called again."""
    numbers = {match.group() for name in names if (match := re.search(r"_\d+$", name))}
    return max(sorted({"", *numbers}), key=lambda suffix: sum(layer + suffix in names for layer in layers))
