"""TensorFlow Lite files written operator by operator, with numbers of the test's choice; no converter is needed."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

OP = schema.BuiltinOperator
TYPE = schema.TensorType
ACTIVATION = schema.ActivationFunctionType
_KINDS = {"int8": TYPE.INT8, "uint8": TYPE.UINT8, "int32": TYPE.INT32, "float32": TYPE.FLOAT32}
_OPTIONS = {value: name for name, value in vars(schema.BuiltinOptions).items() if isinstance(value, int)}


class Graph:
    """A model under construction.

    Args:
        seed: of all weights.
        choose: makes all other choices; hypothesis gives one that it can shrink.
    """

    def __init__(self, seed: int = 0, choose: random.Random | None = None) -> None:
        self.numbers = np.random.default_rng(seed)
        self.choose = choose or random.Random(seed)
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.buffers = [schema.BufferT()]
        self.model.operatorCodes = []
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.model.subgraphs = [self.graph]

    def tensor(
        self,
        shape: Sequence[int],
        scale: float | Sequence[float] | None = None,
        zero_point: int = 0,
        *,
        kind: str = "int8",
        data: np.ndarray | None = None,
        axis: int = 0,
    ) -> int:
        """Adds a tensor; with ``data`` a constant one. Several scales belong to the dimension ``axis``."""
        tensor = schema.TensorT()
        tensor.shape = np.array(shape, np.int32)
        tensor.type = _KINDS[kind]
        tensor.name = f"t{len(self.graph.tensors)}".encode()
        tensor.buffer = 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data, kind).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            tensor.buffer = len(self.model.buffers) - 1
        tensor.quantization = schema.QuantizationParametersT()
        if scale is not None:
            scales = np.atleast_1d(np.asarray(scale, np.float32))
            tensor.quantization.scale = scales
            tensor.quantization.zeroPoint = np.full(len(scales), zero_point, np.int64)
            tensor.quantization.quantizedDimension = axis
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def operator(self, code: int, inputs: Sequence[int], outputs: Sequence[int], options: Any = None) -> None:
        """Adds an operator."""
        codes = [one.builtinCode for one in self.model.operatorCodes]
        if code not in codes:
            one = schema.OperatorCodeT()
            one.builtinCode, one.deprecatedBuiltinCode, one.version = code, min(code, 127), 1
            self.model.operatorCodes.append(one)
            codes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex = codes.index(code)
        operator.inputs, operator.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
        if options is not None:
            operator.builtinOptions = options
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        self.graph.operators.append(operator)

    def content(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """The file."""
        self.graph.inputs, self.graph.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    # facts on tensors

    def shape(self, tensor: int) -> tuple[int, ...]:
        return tuple(int(size) for size in self.graph.tensors[tensor].shape)

    def scale(self, tensor: int) -> float:
        return float(self.graph.tensors[tensor].quantization.scale[0])

    def zero_point(self, tensor: int) -> int:
        return int(self.graph.tensors[tensor].quantization.zeroPoint[0])

    # random pieces

    def activations(self, shape: Sequence[int], scale: float, *, zero_point: int | None = None) -> int:
        """A computed tensor; its scale is near the given one, its zero point any."""
        zero = self.choose.randint(-128, 127) if zero_point is None else zero_point
        return self.tensor(shape, scale * self.choose.uniform(0.7, 1.3), zero)

    def like(self, tensor: int, shape: Sequence[int] | None = None) -> int:
        """A computed tensor with the scale and zero point of another one."""
        return self.tensor(shape or self.shape(tensor), self.scale(tensor), self.zero_point(tensor))

    def constant(self, shape: Sequence[int], scale: float, zero_point: int = 0) -> int:
        """A constant of random int8 numbers."""
        return self.tensor(shape, scale, zero_point, data=self.numbers.integers(-127, 128, shape))

    def indices(self, *values: Any) -> int:
        """A constant of int32 numbers."""
        data = np.array(values, np.int32)
        return self.tensor(data.shape, kind="int32", data=data)


def _weights(graph: Graph, x: int, shape: Sequence[int], axis: int, depth: int) -> tuple[list[int], float]:
    """Weights and bias of a convolution that reads ``x``, and a fitting scale of its output."""
    channels, base = shape[axis], 0.01
    spread = graph.numbers.uniform(0.5, 2.0, channels if graph.choose.random() < 0.7 else 1)
    scales = (base * spread).astype(np.float32)
    weights = graph.tensor(shape, scales, data=graph.numbers.integers(-127, 128, shape), axis=axis)
    bias = graph.numbers.integers(-3000, 3000, channels)
    biases = graph.tensor((channels,), graph.scale(x) * scales, kind="int32", data=bias)
    return [weights, biases], graph.scale(x) * base * 74 * 74 * depth**0.5 / 50


def _activation(graph: Graph) -> int:
    return graph.choose.choice([ACTIVATION.NONE, ACTIVATION.RELU, ACTIVATION.RELU6, ACTIVATION.RELU_N1_TO_1])


def _windowed(graph: Graph, x: int, options: Any, *, dilated: bool = True) -> tuple[tuple[int, int], tuple[int, int]]:
    """A random kernel that fits, with its options set, and the output's height and width."""
    size = graph.shape(x)[1:3]
    kernel = [graph.choose.randint(1, min(4, length)) for length in size]
    dilation = [1, 1]
    if dilated and graph.choose.random() < 0.3:
        dilation = [
            graph.choose.randint(1, min(3, max(1, (length - 1) // max(k - 1, 1))))
            for k, length in zip(kernel, size, strict=True)
        ]
    stride = [1, 1] if max(dilation) > 1 else [graph.choose.randint(1, 2) for _ in size]
    same = graph.choose.random() < 0.6
    spread = [(k - 1) * step + 1 for k, step in zip(kernel, dilation, strict=True)]
    made = [
        -(-length // step) if same else (length - k) // step + 1
        for length, k, step in zip(size, spread, stride, strict=True)
    ]
    options.padding = schema.Padding.SAME if same else schema.Padding.VALID
    options.strideH, options.strideW = stride
    if dilated:
        options.dilationHFactor, options.dilationWFactor = dilation
    options.fusedActivationFunction = _activation(graph)
    return (kernel[0], kernel[1]), (made[0], made[1])


def convolution(graph: Graph, x: int) -> int:
    options = schema.Conv2DOptionsT()
    kernel, size = _windowed(graph, x, options)
    channels = graph.shape(x)[3]
    filters = graph.choose.randint(1, 9)
    inputs, scale = _weights(graph, x, (filters, *kernel, channels), 0, kernel[0] * kernel[1] * channels)
    made = graph.activations((1, *size, filters), scale)
    graph.operator(OP.CONV_2D, [x, *inputs], [made], options)
    return made


def depthwise(graph: Graph, x: int) -> int:
    options = schema.DepthwiseConv2DOptionsT()
    options.depthMultiplier = 1
    kernel, size = _windowed(graph, x, options)
    channels = graph.shape(x)[3]
    inputs, scale = _weights(graph, x, (1, *kernel, channels), 3, kernel[0] * kernel[1])
    made = graph.activations((1, *size, channels), scale)
    graph.operator(OP.DEPTHWISE_CONV_2D, [x, *inputs], [made], options)
    return made


def pointwise(graph: Graph, x: int, filters: int) -> int:
    """A convolution of one pixel."""
    options = schema.Conv2DOptionsT()
    options.strideH = options.strideW = 1
    channels = graph.shape(x)[3]
    inputs, scale = _weights(graph, x, (filters, 1, 1, channels), 0, channels)
    made = graph.activations((*graph.shape(x)[:3], filters), scale)
    graph.operator(OP.CONV_2D, [x, *inputs], [made], options)
    return made


def pool(code: int) -> Callable[[Graph, int], int]:
    def layer(graph: Graph, x: int) -> int:
        options = schema.Pool2DOptionsT()
        kernel, size = _windowed(graph, x, options, dilated=False)
        options.filterHeight, options.filterWidth = kernel
        made = graph.like(x, (1, *size, graph.shape(x)[3]))
        graph.operator(code, [x], [made], options)
        return made

    return layer


def _other_side(graph: Graph, x: int, *, same_scale: bool) -> tuple[int, float]:
    """A constant or computed tensor that can be repeated to the shape of ``x``, and its scale."""
    shape = graph.shape(x)
    scale = graph.scale(x) if same_scale else graph.scale(x) * graph.choose.uniform(0.3, 3)
    zero = graph.zero_point(x) if same_scale else graph.choose.randint(-128, 127)
    which = graph.choose.choice(["scalar", "channels", "pixels", "one", "mean", "same"])
    if which == "mean":
        made = graph.tensor((1, 1, 1, shape[3]), scale, zero)
        options = schema.ReducerOptionsT()
        options.keepDims = True
        graph.operator(OP.MEAN, [x, graph.indices(1, 2)], [made], options)
        return made, scale
    if which == "same":
        made = graph.tensor(shape, scale, zero)
        graph.operator(OP.QUANTIZE, [x], [made])
        return made, scale
    smaller = {"scalar": (), "channels": (shape[3],), "pixels": (1, *shape[1:3], 1), "one": shape}[which]
    return graph.constant(smaller, scale, zero), scale


def elementwise(code: int, options_type: type) -> Callable[[Graph, int], int]:
    def layer(graph: Graph, x: int) -> int:
        extremum = code in (OP.MINIMUM, OP.MAXIMUM)
        other, scale = _other_side(graph, x, same_scale=extremum)
        options = options_type()
        if extremum:
            made = graph.like(x)
        else:
            options.fusedActivationFunction = _activation(graph)
            made = graph.activations(
                graph.shape(x), 60 * graph.scale(x) * scale if code == OP.MUL else 0.8 * (graph.scale(x) + scale)
            )
        sides = [x, other] if graph.choose.random() < 0.6 else [other, x]
        graph.operator(code, sides, [made], options)
        return made

    return layer


def function(code: int, scale: float | None = None, zero_point: int | None = None) -> Callable[[Graph, int], int]:
    """An operator of one element; with a scale its output has that one."""

    def layer(graph: Graph, x: int) -> int:
        made = (
            graph.activations(graph.shape(x), graph.scale(x))
            if scale is None
            else graph.tensor(graph.shape(x), scale, zero_point or 0)
        )
        graph.operator(code, [x], [made], schema.SoftmaxOptionsT() if code == OP.SOFTMAX else None)
        if code == OP.SOFTMAX:
            graph.graph.operators[-1].builtinOptions.beta = graph.choose.choice([1.0, 0.25, 3.0])
        return made

    return layer


def padding(code: int) -> Callable[[Graph, int], int]:
    def layer(graph: Graph, x: int) -> int:
        _, height, width, channels = graph.shape(x)
        frame = [[0, 0], *([graph.choose.randint(0, 2) for _ in range(2)] for _ in range(2)), [0, 0]]
        made = graph.like(x, (1, height + sum(frame[1]), width + sum(frame[2]), channels))
        inputs = [x, graph.indices(*frame)]
        if code == OP.PADV2:
            value = np.array([graph.choose.randint(-128, 127)])
            inputs.append(graph.tensor((1,), graph.scale(x), graph.zero_point(x), data=value))
        graph.operator(code, inputs, [made], schema.PadOptionsT() if code == OP.PAD else schema.PadV2OptionsT())
        return made

    return layer


def concatenation(graph: Graph, x: int) -> int:
    axis = graph.choose.randint(1, 3)
    other = graph.like(x)
    graph.operator(OP.RELU, [x], [other])
    options = schema.ConcatenationOptionsT()
    options.axis = axis if graph.choose.random() < 0.5 else axis - 4
    shape = list(graph.shape(x))
    shape[axis] *= 2
    made = graph.like(x, shape)
    graph.operator(OP.CONCATENATION, [x, other], [made], options)
    return made


def part(graph: Graph, x: int) -> int:
    shape = graph.shape(x)
    starts = [0, *(graph.choose.randint(0, length - 1) for length in shape[1:])]
    ends = [1, *(graph.choose.randint(first + 1, length) for first, length in zip(starts[1:], shape[1:], strict=True))]
    made = graph.like(x, [end - first for first, end in zip(starts, ends, strict=True)])
    inputs = [x, graph.indices(*starts), graph.indices(*ends), graph.indices(1, 1, 1, 1)]
    graph.operator(OP.STRIDED_SLICE, inputs, [made], schema.StridedSliceOptionsT())
    return made


def reshaped(graph: Graph, x: int) -> int:
    _, height, width, channels = graph.shape(x)
    shape = graph.choose.choice([(1, height, 1, width * channels), (1, 1, height * width, channels)])
    made = graph.like(x, shape)
    graph.operator(OP.RESHAPE, [x, graph.indices(*shape)], [made], schema.ReshapeOptionsT())
    return made


def requantized(graph: Graph, x: int) -> int:
    made = graph.activations(graph.shape(x), graph.scale(x))
    graph.operator(OP.QUANTIZE, [x], [made])
    return made


def over_image(code: int) -> Callable[[Graph, int], int]:
    def layer(graph: Graph, x: int) -> int:
        shape = (1, 1, 1, graph.shape(x)[3])
        made = graph.like(x, shape) if code == OP.REDUCE_MAX else graph.activations(shape, graph.scale(x))
        options = schema.ReducerOptionsT()
        options.keepDims = True
        graph.operator(code, [x, graph.indices(1, 2)], [made], options)
        return made

    return layer


def dense(graph: Graph, x: int) -> int:
    """A fully connected layer on all elements."""
    depth = int(np.prod(graph.shape(x)))
    outputs = graph.choose.randint(1, 9)
    inputs, scale = _weights(graph, x, (outputs, depth), 0, depth)
    made = graph.activations((1, outputs), scale)
    options = schema.FullyConnectedOptionsT()
    options.fusedActivationFunction = _activation(graph)
    graph.operator(OP.FULLY_CONNECTED, [x, *inputs], [made], options)
    shaped = graph.like(made, (1, 1, 1, outputs))
    graph.operator(OP.RESHAPE, [made, graph.indices(1, 1, 1, outputs)], [shaped], schema.ReshapeOptionsT())
    return shaped


LAYERS: dict[str, Callable[[Graph, int], int]] = {
    "CONV_2D": convolution,
    "DEPTHWISE_CONV_2D": depthwise,
    "FULLY_CONNECTED": dense,
    "AVERAGE_POOL_2D": pool(OP.AVERAGE_POOL_2D),
    "MAX_POOL_2D": pool(OP.MAX_POOL_2D),
    "MEAN": over_image(OP.MEAN),
    "REDUCE_MAX": over_image(OP.REDUCE_MAX),
    "ADD": elementwise(OP.ADD, schema.AddOptionsT),
    "SUB": elementwise(OP.SUB, schema.SubOptionsT),
    "MUL": elementwise(OP.MUL, schema.MulOptionsT),
    "MINIMUM": elementwise(OP.MINIMUM, schema.MaximumMinimumOptionsT),
    "MAXIMUM": elementwise(OP.MAXIMUM, schema.MaximumMinimumOptionsT),
    "LOGISTIC": function(OP.LOGISTIC, 1 / 256, -128),
    "TANH": function(OP.TANH, 1 / 128, 0),
    "EXP": function(OP.EXP, 0.05, -100),
    "LOG": function(OP.LOG, 0.03, 11),
    "HARD_SWISH": function(OP.HARD_SWISH),
    "RELU": function(OP.RELU),
    "RELU6": function(OP.RELU6),
    "RELU_N1_TO_1": function(OP.RELU_N1_TO_1),
    "SOFTMAX": function(OP.SOFTMAX, 1 / 256, -128),
    "L2_NORMALIZATION": function(OP.L2_NORMALIZATION, 1 / 128, 0),
    "PAD": padding(OP.PAD),
    "PADV2": padding(OP.PADV2),
    "CONCATENATION": concatenation,
    "STRIDED_SLICE": part,
    "RESHAPE": reshaped,
    "QUANTIZE": requantized,
}
"""A layer of random size for each operator, by the operator's name."""


def random_network(
    choose: random.Random, kinds: Sequence[str], *, seed: int, image_kind: str = "int8", float_io: bool = False
) -> bytes:
    """A network with a layer of each of these kinds, joined at the end to one embedding.

    Each layer reads the image or what a layer before it made, so that paths of all lengths occur.
    """
    graph = Graph(seed, choose)
    shape = (1, choose.randint(3, 12), choose.randint(3, 9), choose.randint(1, 6))
    scale = choose.choice([0.02, 0.05, 1 / 255])
    x = graph.tensor(shape, scale, choose.randint(-100, 100))
    if float_io:
        image = graph.tensor(shape, kind="float32")
        graph.operator(OP.QUANTIZE, [image], [x])
    elif image_kind == "uint8":
        image = graph.tensor(shape, scale, graph.zero_point(x) + 128, kind="uint8")
        graph.operator(OP.QUANTIZE, [image], [x])
    else:
        image = x
    made = [x]
    unread = {x}
    for kind in kinds:
        source = choose.choice(made[-4:])
        result = LAYERS[kind](graph, source)
        unread = (unread - {source}) | {result}
        if kind not in ("MEAN", "REDUCE_MAX", "SOFTMAX", "FULLY_CONNECTED", "EXP", "LOG", "STRIDED_SLICE"):
            made.append(result)
    joined = []
    for tensor in sorted(unread):
        vector = graph.tensor((1, 1, 1, graph.shape(tensor)[3]), 0.02, 3)
        options = schema.ReducerOptionsT()
        options.keepDims = True
        graph.operator(OP.MEAN, [tensor, graph.indices(1, 2)], [vector], options)
        joined.append(vector)
    embedding = graph.tensor((1, 1, 1, sum(graph.shape(one)[3] for one in joined)), 0.02, 3)
    options = schema.ConcatenationOptionsT()
    options.axis = 3
    graph.operator(OP.CONCATENATION, joined, [embedding], options)
    if float_io:
        real = graph.tensor(graph.shape(embedding), kind="float32")
        graph.operator(OP.DEQUANTIZE, [embedding], [real])
        embedding = real
    return graph.content([image], [embedding])
