"""Biases that make up for what rounding and clipping add to each channel on average.

Rounded weights, and clipped or rounded inputs, shift the mean of a channel's outputs; the shift grows from layer to
layer. Each layer is corrected after those before it, with its inputs as the integer model really has them.

Source: M. Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019 (arXiv
1906.04721), section 4.2 and appendix D (empirical bias correction); 2021 white paper (arXiv 2106.08295), section 3.3.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray
from tensorflow.lite.tools import flatbuffer_utils

from reidfw_quantizers._tflite.calibration import packed
from reidfw_quantizers._tflite.interpreting import keeping_interpreter, real_values, run_image

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]

_CONVOLUTION = schema.BuiltinOperator.CONV_2D
_DEPTHWISE = schema.BuiltinOperator.DEPTHWISE_CONV_2D
_DENSE = schema.BuiltinOperator.FULLY_CONNECTED
_NUMPY_TYPES = {
    schema.TensorType.FLOAT32: np.dtype(np.float32),
    schema.TensorType.INT8: np.dtype(np.int8),
    schema.TensorType.INT32: np.dtype(np.int32),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """A layer with weights in one file.

    Attributes:
        kind: its operator.
        operator: as the file has it.
        weights: real values, (out, h, w, in / groups), (1, h, w, out) or (out, in).
        depth: the largest number of layers with weights on a way to it.
    """

    kind: int
    operator: Any
    weights: Array
    depth: int

    def windows(self, values: np.ndarray) -> Array:
        """What each weight meets on average over all output positions: (h, w, in) of an input (1, H, W, in).

        Zeros around the image are counted in, so that nothing is an approximation.
        """
        if self.kind == _DENSE:
            return np.asarray(values, np.float64).reshape(-1, self.weights.shape[1]).mean(0)
        picture = values[0]
        options, kernel = self.operator.builtinOptions, self.weights.shape[1:3]
        spans = []
        for axis, (size, stride, dilation) in enumerate(
            zip(
                kernel,
                (options.strideH, options.strideW),
                (options.dilationHFactor, options.dilationWFactor),
                strict=True,
            )
        ):
            length, reach = picture.shape[axis], (size - 1) * dilation + 1
            if options.padding == schema.Padding.SAME:
                steps = -(-length // stride)
                missing = max((steps - 1) * stride + reach - length, 0)
                pads = [(0, 0)] * 3
                pads[axis] = (missing // 2, missing - missing // 2)
                picture = np.pad(picture, pads)
            else:
                steps = (length - reach) // stride + 1
            spans.append([slice(k * dilation, k * dilation + (steps - 1) * stride + 1, stride) for k in range(size)])
        rows, columns = spans
        return np.array([[picture[row, column].mean((0, 1), np.float64) for column in columns] for row in rows])

    def response(self, windows: Array) -> Array:
        """The mean of the weighted sums, (out,), without bias."""
        if self.kind == _DENSE:
            return np.asarray(self.weights @ windows)
        if self.kind == _DEPTHWISE:
            multiplier = self.weights.shape[-1] // windows.shape[-1]
            return np.asarray((self.weights[0] * windows.repeat(multiplier, -1)).sum((0, 1)))
        _, height, width, depth = self.weights.shape
        groups = windows.shape[-1] // depth
        weights = self.weights.reshape(groups, -1, height, width, depth)
        return np.asarray(np.einsum("gohwc,hwgc->go", weights, windows.reshape(height, width, groups, depth)).ravel())


def correct_biases(calibrated: bytes, quantize: Callable[[bytes], bytes], images: Sequence[np.ndarray]) -> bytes:
    """Changes the biases of a float file so that the integer file made from it has the float means.

    Args:
        calibrated: a float file with ranges.
        quantize: makes an integer file of it.
        images: (1, H, W, C) float32 each, a few dozen.

    Returns:
        The float file with ranges and corrected biases.
    """
    reference = flatbuffer_utils.convert_bytearray_to_object(calibrated)
    _own_biases(reference)
    layers = _layers(reference)
    tested = flatbuffer_utils.convert_bytearray_to_object(quantize(packed(reference)))
    _own_biases(tested)
    rounded = _layers(tested)
    if len(rounded) != len(layers):
        raise RuntimeError(f"the integer file has {len(rounded)} layers with weights, the float file {len(layers)}")
    integer = bytearray(packed(tested))
    wanted = [
        layer.response(windows)
        for layer, windows in zip(layers, _mean_windows(packed(reference), layers, images), strict=True)
    ]
    largest = 0.0
    for depth in range(1 + max((layer.depth for layer in layers), default=-1)):
        places = [place for place, layer in enumerate(layers) if layer.depth == depth]
        group = [rounded[place] for place in places]
        for place, layer, windows in zip(places, group, _mean_windows(integer, group, images), strict=True):
            missing = wanted[place] - layer.response(windows)
            bias = _bias(reference, layers[place])
            bias += missing.astype(np.float32)
            _write_bias(integer, tested, layer, bias)
            largest = max(largest, float(np.abs(missing).max()))
    logger.info("Biases of %d layers corrected with %d images, by at most %.3g", len(layers), len(images), largest)
    return packed(reference)


def _mean_windows(content: bytes | bytearray, layers: Sequence[_Layer], images: Sequence[np.ndarray]) -> list[Array]:
    """For each layer the mean of its windows over the images."""
    interpreter = keeping_interpreter(content)
    details = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    sources = [int(layer.operator.inputs[0]) for layer in layers]
    sums: list[Array] = [np.zeros(())] * len(layers)
    for image in images:
        run_image(interpreter, image)
        for place, (layer, source) in enumerate(zip(layers, sources, strict=True)):
            values = real_values(interpreter.get_tensor(source), details[source])
            sums[place] = sums[place] + layer.windows(values)
    return [total / len(images) for total in sums]


def _layers(model: Any) -> list[_Layer]:
    """The layers with weights in the order of execution."""
    depths: dict[int, int] = {}
    found: list[_Layer] = []
    for operator in model.subgraphs[0].operators:
        depth = max((depths.get(int(index), 0) for index in operator.inputs), default=0)
        kind = _kind(model, operator)
        weighted = kind in (_CONVOLUTION, _DEPTHWISE, _DENSE) and _is_constant(model, operator.inputs[1])
        if weighted:
            found.append(
                _Layer(kind=kind, operator=operator, weights=_real_weights(model, operator.inputs[1]), depth=depth)
            )
        depths.update((int(index), depth + weighted) for index in operator.outputs)
    return found


def _kind(model: Any, operator: Any) -> int:
    code = model.operatorCodes[operator.opcodeIndex]
    return int(max(code.builtinCode, code.deprecatedBuiltinCode))


def _is_constant(model: Any, index: int) -> bool:
    data = model.buffers[model.subgraphs[0].tensors[index].buffer].data
    return data is not None and len(data) > 0


def _array(model: Any, index: int) -> np.ndarray:
    """A constant tensor, as a view of the file's data."""
    tensor = model.subgraphs[0].tensors[index]
    data = np.asarray(model.buffers[tensor.buffer].data, np.uint8)
    return data.view(_NUMPY_TYPES[tensor.type]).reshape(tensor.shape)


def _real_weights(model: Any, index: int) -> Array:
    """Weights as numbers; those of integer files are symmetric, one scale a tensor or a slice."""
    values = _array(model, index).astype(np.float64)
    quantization = model.subgraphs[0].tensors[index].quantization
    scales = None if quantization is None else quantization.scale
    if scales is None or not len(scales):
        return values
    axis = [1] * values.ndim
    axis[quantization.quantizedDimension] = len(scales)
    return np.asarray(values * np.asarray(scales, np.float64).reshape(axis if len(scales) > 1 else 1))


def _bias(model: Any, layer: _Layer) -> np.ndarray:
    """The bias of a layer, (out,), writable."""
    return _array(model, layer.operator.inputs[2])


def _own_biases(model: Any) -> None:
    """Gives each layer a bias of its own: the converter shares equal ones, as zeros are, and leaves some out."""
    graph = model.subgraphs[0]
    for operator in graph.operators:
        kind = _kind(model, operator)
        if kind not in (_CONVOLUTION, _DEPTHWISE, _DENSE):
            continue
        if len(operator.inputs) < 3 or operator.inputs[2] < 0:
            weights = graph.tensors[operator.inputs[1]]
            size = int(weights.shape[-1 if kind == _DEPTHWISE else 0])
            own = schema.TensorT()
            own.shape, own.name, own.type = [size], weights.name + b"/bias", schema.TensorType.FLOAT32
            data = np.zeros(4 * size, np.uint8)
        else:
            own = copy(graph.tensors[operator.inputs[2]])
            data = np.array(model.buffers[own.buffer].data, np.uint8)
        buffer = schema.BufferT()
        buffer.data = data
        model.buffers.append(buffer)
        own.buffer = len(model.buffers) - 1
        graph.tensors.append(own)
        operator.inputs = [*operator.inputs[:2], len(graph.tensors) - 1]


def _write_bias(content: bytearray, model: Any, layer: _Layer, bias: np.ndarray) -> None:
    """Writes a bias into a packed file, as integers where the file holds integers."""
    tensor = model.subgraphs[0].tensors[layer.operator.inputs[2]]
    place = schema.Model.GetRootAs(content, 0).Buffers(tensor.buffer).DataAsNumpy()
    dtype = _NUMPY_TYPES[tensor.type]
    if dtype == np.int32:
        limits = np.iinfo(np.int32)
        bias = np.clip(np.rint(bias / np.asarray(tensor.quantization.scale)), limits.min, limits.max)
    place[:] = np.ascontiguousarray(bias, dtype).view(np.uint8)
