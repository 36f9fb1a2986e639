"""Error of each layer of an integer TensorFlow Lite model against the float model that it was made from."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import keras
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from reidfw_core.api import LayerError, native_stderr_to_log
from reidfw_quantizers._tflite.conversion import convert_to_float
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
    with native_stderr_to_log(logger):
        reference, tested = (_interpreter(content) for content in (convert_to_float(model), quantized))
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
            _run(interpreter, image[np.newaxis])
        for float_index, index, noise in pairs:
            found = _real(tested.get_tensor(index), details[index])
            noise.add(reference.get_tensor(float_index), found)
    return worst_first([noise for _, _, noise in pairs])


def _interpreter(content: bytes) -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*preserve_all_tensors")  # its memory is what we want to look at
        interpreter = Interpreter(model_content=content, experimental_preserve_all_tensors=True, num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


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


def _run(interpreter: Any, image: np.ndarray) -> None:
    details = interpreter.get_input_details()[0]
    scale, zero_point = details["quantization"]
    dtype = np.dtype(details["dtype"])
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        # halves go up, as in the evaluation's runner: all 256 pixel values stay apart
        image = np.clip(np.floor(image / scale + zero_point + 0.51), limits.min, limits.max)
    interpreter.set_tensor(details["index"], image.astype(dtype))
    interpreter.invoke()


def _real(values: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    """What the integers stand for; float values as they are."""
    parameters = details["quantization_parameters"]
    if values.dtype.kind not in "iu" or not len(parameters["scales"]):
        return values
    return (values.astype(np.float32) - np.float32(parameters["zero_points"][0])) * np.float32(parameters["scales"][0])
