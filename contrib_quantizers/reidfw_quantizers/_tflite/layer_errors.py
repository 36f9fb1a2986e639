"""Error of each layer of an integer TensorFlow Lite model against the float model that it was made from."""

from __future__ import annotations

import logging
from typing import Any

import keras
import numpy as np

from reidfw_core.api import LayerError
from reidfw_quantizers._tflite.conversion import convert_to_float
from reidfw_quantizers._tflite.interpreting import keeping_interpreter, real_values, run_image
from reidfw_quantizers.noise import LayerNoise, worst_first

logger = logging.getLogger(__name__)

_CONVERSIONS = {"QUANTIZE", "DEQUANTIZE", "DELEGATE"}


def tflite_layer_errors(model: keras.Model, quantized: bytes, images: np.ndarray) -> tuple[LayerError, ...]:
    """Runs both models on the images and compares the outputs of the operators that bear the same name.

    The converter gives an output the names of all layers that it fused into it, the same in the float and in the
    integer file.

    Args:
        model: the float model.
        quantized: content of the integer file made from it.
        images: (N, H, W, C) float32, rescaled pixels.

    Returns:
        The errors, largest first.
    """
    reference, tested = (keeping_interpreter(content) for content in (convert_to_float(model), quantized))
    wanted = {output_key(name): (index, operator) for index, name, operator in _outputs(reference)}
    details = {tensor["index"]: tensor for tensor in tested.get_tensor_details()}
    pairs: list[tuple[int, int, LayerNoise]] = []
    for index, name, operator in _outputs(tested):
        match = wanted.get(output_key(name))
        if match is None or list(details[index]["shape"]) != list(reference.get_tensor(match[0]).shape):
            continue
        scales = details[index]["quantization_parameters"]["scales"]
        scale = float(scales[0]) if len(scales) == 1 else None
        pairs.append((match[0], index, LayerNoise(readable_name(name), operator, scale)))
    logger.debug("%d of %d layers are compared", len(pairs), len(wanted))
    for image in images:
        for interpreter in (reference, tested):
            run_image(interpreter, image[np.newaxis])
        for float_index, index, noise in pairs:
            found = real_values(tested.get_tensor(index), details[index])
            noise.add(reference.get_tensor(float_index), found)
    return worst_first([noise for _, _, noise in pairs])


def _outputs(interpreter: Any) -> list[tuple[int, str, str]]:
    """(tensor index, name, operator) of the first output of each operator, in the order of the network."""
    names = {tensor["index"]: tensor["name"] for tensor in interpreter.get_tensor_details()}
    # private, and the only way to tell which operator gives a tensor without reading the file anew
    operators = interpreter._get_ops_details()
    return [
        (int(operator["outputs"][0]), names[int(operator["outputs"][0])], operator["op_name"])
        for operator in operators
        if operator["op_name"] not in _CONVERSIONS and len(operator["outputs"])
    ]


def output_key(name: str) -> str:
    """The name by which outputs are paired; the network's output gets a number where a conversion follows it."""
    first = name.partition(";")[0]
    return "Identity" if first in ("Identity", "Identity1") else first


def readable_name(name: str) -> str:
    """``conv1_relu_1`` of ``embedding_network_1/conv1_relu_1/Relu6;embedding_network_1/...``."""
    if output_key(name) == "Identity":
        return "embedding"
    parts = name.partition(";")[0].split("/")
    return "/".join(parts[1:-1]) if len(parts) > 2 else name.partition(";")[0]
