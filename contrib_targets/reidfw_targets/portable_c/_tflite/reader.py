"""From a TensorFlow Lite file to a :class:`~reidfw_targets.portable_c.network.Network`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from reidfw_core.api import DataError
from reidfw_targets._tflite.graph import cut_classifier, read_model
from reidfw_targets.portable_c import fixed_point as fp
from reidfw_targets.portable_c.network import (
    Concatenation,
    Convolution,
    Dense,
    Depthwise,
    Elementwise,
    ImageMaximum,
    L2Normalization,
    Mean,
    Network,
    Operand,
    Operator,
    Pad,
    Pool,
    Read,
    Requantization,
    Reshape,
    Slice,
    Softmax,
    Table,
    Tensor,
    Window,
)
from reidfw_targets.portable_c.rewriting import simplified

_OP = schema.BuiltinOperator
_TYPE = schema.TensorType
_ACTIVATION = schema.ActivationFunctionType
_OPERATOR_NAMES = {value: name for name, value in vars(_OP).items() if isinstance(value, int)}
_TYPE_NAMES = {value: name for name, value in vars(_TYPE).items() if isinstance(value, int)}
_MOST_ROWS = 1 << 15
_MOST_ELEMENTS = 1 << 26
_MOST_KERNEL = 255
_MOST_SOFTMAX_CHANNELS = 511  # the sum of the exponentials keeps within 32 bits


def read_network(path: Path) -> tuple[Network, bytes]:
    """Reads a file; a classification head is cut off first, as everywhere in reidfw.

    Returns:
        The network, and the content of the file that it stands for (without such a head).

    Raises:
        DataError: it is no sound TensorFlow Lite file, or holds what the engine does not compute; the message names
            the operator and the layer.
    """
    model = read_model(path)
    cut = cut_classifier(model)
    content = path.read_bytes() if cut is None else cut[0]
    notes = () if cut is None else (f"a classifier: embedding taken before {', '.join(cut[1])}",)
    reader = _Reader(model, path.name)
    try:
        network = reader.network(path.stem)
    except (AttributeError, LookupError, TypeError, ValueError, OverflowError, ZeroDivisionError) as cause:
        raise DataError(
            f"{path.name}: its structure is damaged{reader.place} ({cause})", hint="Copy or make the file again."
        ) from cause
    return replace(network, notes=notes + network.notes), content


@dataclass(frozen=True, slots=True)
class _Numbers:
    """Scale and zero point of a tensor with one of each."""

    scale: float
    zero_point: int


class _Reader:
    """Walks through the operators of one model.

    Args:
        model: a ``ModelT`` that :func:`read_model` found sound.
        name: what messages call the file.
    """

    def __init__(self, model: Any, name: str) -> None:
        self._model = model
        self._name = name
        self._graph = model.subgraphs[0]
        self._tensors: list[Tensor] = []
        self._numbers: dict[int, int] = {}  # number in the file -> number in the network
        self._operators: list[Operator] = []
        self._notes: list[str] = []
        self.place = ""
        """Where it is in the file, for messages."""

    def network(self, name: str) -> Network:
        graph = self._graph
        if len(self._model.subgraphs) != 1:
            self._refuse(f"it has {len(self._model.subgraphs)} subgraphs; control flow is not supported")
        if len(graph.inputs) != 1:
            self._refuse(f"it has {len(graph.inputs)} inputs; a network from one image to one embedding is needed")
        if len(graph.outputs) != 1:
            self._refuse(f"it has {len(graph.outputs)} outputs; a network from one image to one embedding is needed")
        self._check_integer()
        self._image(int(graph.inputs[0]))
        for operator in graph.operators:
            self.place = f" in {self._kind(operator)}, layer '{self._layer(operator)}'"
            self._read(operator)
        self.place = ""
        output = int(graph.outputs[0])
        if output not in self._numbers:
            self._refuse("its output is not computed")
        embedding = self._numbers[output]
        shape = self._tensors[embedding].shape
        if shape[:2] != (1, 1):
            self._refuse(f"its output has the shape {shape}, not that of one embedding")
        network = Network(
            name=name,
            tensors=tuple(self._tensors),
            operators=tuple(self._operators),
            image=self._numbers[int(graph.inputs[0])],
            embedding=embedding,
            notes=tuple(self._notes),
        )
        return simplified(network)

    # what is refused, and how

    def _refuse(self, why: str) -> None:
        place = f" ({self.place.strip()})" if self.place else ""
        raise DataError(f"{self._name}: {why}{place}")

    def _refuse_operator(self, operator: Any, why: str) -> None:
        raise DataError(f"{self._name}: {self._kind(operator)} in layer '{self._layer(operator)}' {why}")

    def _check_integer(self) -> None:
        """A float or hybrid model gets one clear message, not one on its first layer."""
        graph = self._graph
        passed = (_OP.QUANTIZE, _OP.DEQUANTIZE)
        floats = [
            operator
            for operator in graph.operators
            if self._code(operator) not in passed
            and any(graph.tensors[int(index)].type in (_TYPE.FLOAT32, _TYPE.FLOAT16) for index in operator.outputs)
        ]
        if not floats:
            return
        first = f"{self._kind(floats[0])} in layer '{self._layer(floats[0])}'"
        integer_weights = any(
            graph.tensors[int(index)].type == _TYPE.INT8 and self._constant(int(index)) is not None
            for operator in floats
            for index in operator.inputs
            if int(index) >= 0
        )
        what = "is hybrid (int8 weights, float arithmetic)" if integer_weights else "computes in float"
        raise DataError(
            f"{self._name} {what}: {len(floats)} operators, the first {first}; portable C takes int8 models",
            hint="Quantize it fully: operation_mode chain_qb, or the TFlite_converter with calibration images.",
        )

    def _check_same_numbers(self, operator: Any, given: Tensor | _Numbers, made: Tensor) -> None:
        if (given.scale, given.zero_point) != (made.scale, made.zero_point):
            self._refuse_operator(operator, "changes the scale")

    # the file's parts

    def _code(self, operator: Any) -> int:
        code = self._model.operatorCodes[operator.opcodeIndex]
        return max(int(code.builtinCode), int(code.deprecatedBuiltinCode))

    def _kind(self, operator: Any) -> str:
        code = self._code(operator)
        if code == _OP.CUSTOM:
            custom = self._model.operatorCodes[operator.opcodeIndex].customCode
            return f"custom operator {custom.decode(errors='replace') if custom else ''}".strip()
        return str(_OPERATOR_NAMES.get(code, f"operator {code}"))

    def _layer(self, operator: Any) -> str:
        return self._tensor_name(int(operator.outputs[0])) if len(operator.outputs) else "without output"

    def _tensor_name(self, index: int) -> str:
        name = self._graph.tensors[index].name
        text: str = name.decode(errors="replace") if name else f"tensor {index}"
        return text if len(text) <= 80 else f"...{text[-77:]}"

    def _dimensions(self, index: int) -> tuple[int, ...]:
        tensor = self._graph.tensors[index]
        shape = () if tensor.shape is None else tuple(int(size) for size in tensor.shape)
        signature = () if tensor.shapeSignature is None else tuple(int(size) for size in tensor.shapeSignature)
        if any(size < 0 for size in signature[1:]) or any(size < 1 for size in shape):
            self._refuse(f"tensor '{self._tensor_name(index)}' has a dynamic shape {signature or shape}")
        if math.prod(shape) > _MOST_ELEMENTS:
            self._refuse(f"tensor '{self._tensor_name(index)}' has {math.prod(shape)} elements")
        return shape

    def _shape(self, index: int) -> tuple[int, int, int]:
        """Height, width, channels."""
        shape = self._dimensions(index)
        if len(shape) > 1 and shape[0] != 1:
            self._refuse(f"tensor '{self._tensor_name(index)}' has batch {shape[0]}; only batch 1 is supported")
        if len(shape) > 4:
            self._refuse(f"tensor '{self._tensor_name(index)}' has {len(shape)} dimensions; at most 4 are supported")
        inner = shape[1:] if len(shape) > 1 else shape
        height, width, channels = (1, 1, 1, *inner)[-3:]
        if height > _MOST_ROWS or width > _MOST_ROWS or channels > _MOST_ROWS:
            self._refuse(f"tensor '{self._tensor_name(index)}' has a dimension above {_MOST_ROWS}")
        return height, width, channels

    def _scales(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        parameters = self._graph.tensors[index].quantization
        if parameters is None or parameters.scale is None or len(parameters.scale) == 0:
            self._refuse(f"tensor '{self._tensor_name(index)}' has no scale; the file is not quantized")
        scales = np.asarray(parameters.scale, np.float32)
        if not (np.isfinite(scales).all() and (scales > 0).all()):
            self._refuse(f"tensor '{self._tensor_name(index)}' has a scale that is not positive")
        zeros = parameters.zeroPoint
        zeros = np.zeros(len(scales), np.int64) if zeros is None or len(zeros) == 0 else np.asarray(zeros, np.int64)
        return scales, zeros

    def _single(self, index: int) -> _Numbers:
        scales, zeros = self._scales(index)
        if len(scales) != 1:
            self._refuse(f"tensor '{self._tensor_name(index)}' has {len(scales)} scales; one was expected")
        low, high = (0, 255) if self._graph.tensors[index].type == _TYPE.UINT8 else (-128, 127)
        if not low <= int(zeros[0]) <= high:
            self._refuse(f"tensor '{self._tensor_name(index)}' has the zero point {int(zeros[0])}")
        return _Numbers(float(scales[0]), int(zeros[0]))

    def _constant(self, index: int) -> bytes | None:
        """The content of a constant tensor."""
        buffer = self._model.buffers[self._graph.tensors[index].buffer]
        if buffer.data is not None and len(buffer.data):
            return bytes(np.asarray(buffer.data, np.uint8))
        return None

    def _integers(self, index: int, dtype: type[np.int8] | type[np.int32]) -> np.ndarray:
        """A constant tensor of the type ``dtype`` in its shape."""
        wanted = _TYPE.INT8 if dtype is np.int8 else _TYPE.INT32
        tensor = self._graph.tensors[index]
        content = self._constant(index)
        name = self._tensor_name(index)
        if tensor.type != wanted:
            self._refuse(f"'{name}' is {_TYPE_NAMES.get(tensor.type, '?')}; {_TYPE_NAMES[wanted]} was expected")
        if content is None:
            self._refuse(f"'{name}' is computed; a constant was expected")
            raise AssertionError
        shape = self._dimensions(index)
        if len(content) != math.prod(shape) * np.dtype(dtype).itemsize:
            self._refuse(f"'{name}' has {len(content)} bytes, which is not what its shape {shape} needs")
        return np.frombuffer(content, np.dtype(dtype).newbyteorder("<")).astype(dtype).reshape(shape)

    # tensors of the network

    def _image(self, index: int) -> None:
        shape = self._dimensions(index)
        if len(shape) != 4:
            self._refuse(f"its input has {len(shape)} dimensions; an image (1, height, width, channels) is needed")
        if self._graph.tensors[index].type == _TYPE.FLOAT32:
            return  # the QUANTIZE behind it makes the image
        self._add_tensor(index)

    def _add_tensor(self, index: int, *, unsigned_allowed: bool = True) -> int:
        kind = self._graph.tensors[index].type
        if kind not in (_TYPE.INT8, _TYPE.UINT8) or (kind == _TYPE.UINT8 and not unsigned_allowed):
            self._refuse(
                f"tensor '{self._tensor_name(index)}' is {_TYPE_NAMES.get(kind, '?')}; int8 was expected "
                "(uint8 only as input or output)"
            )
        numbers = self._single(index)
        self._tensors.append(
            Tensor(
                name=self._tensor_name(index),
                file_index=index,
                shape=self._shape(index),
                unsigned=kind == _TYPE.UINT8,
                scale=numbers.scale,
                zero_point=numbers.zero_point,
            )
        )
        self._numbers[index] = len(self._tensors) - 1
        return len(self._tensors) - 1

    def _computed(self, operator: Any, position: int) -> tuple[int, Tensor]:
        """The number and the tensor of an input that must be computed."""
        if position >= len(operator.inputs) or int(operator.inputs[position]) not in self._numbers:
            self._refuse_operator(operator, f"has no computed input {position}")
        number = self._numbers[int(operator.inputs[position])]
        if self._tensors[number].unsigned and self._code(operator) != _OP.QUANTIZE:
            self._refuse_operator(operator, "computes in uint8; only int8 is supported (uint8 as input or output)")
        return number, self._tensors[number]

    def _output(self, operator: Any) -> tuple[int, Tensor]:
        if len(operator.outputs) != 1:
            self._refuse_operator(operator, f"has {len(operator.outputs)} outputs")
        if int(operator.outputs[0]) in self._numbers:
            self._refuse_operator(operator, "writes a tensor that is there already")
        number = self._add_tensor(int(operator.outputs[0]), unsigned_allowed=self._code(operator) == _OP.QUANTIZE)
        return number, self._tensors[number]

    # operators

    def _read(self, operator: Any) -> None:
        reader = _READERS.get(self._code(operator))
        if reader is None:
            known = ", ".join(sorted(_OPERATOR_NAMES[code] for code in _READERS))
            raise DataError(
                f"{self._name}: {self._kind(operator)} in layer '{self._layer(operator)}' is not among the operators "
                "that portable C computes",
                hint=f"It computes {known}.",
            )
        reader(self, operator)

    def _options(self, operator: Any, kind: type) -> Any:
        options = operator.builtinOptions
        if options is None:
            return kind()  # the schema's defaults
        if not isinstance(options, kind):
            self._refuse_operator(operator, "has options of another operator")
        return options

    def _limits(self, operator: Any, activation: int, out: Tensor) -> tuple[int, int]:
        """Range of the output that a fused activation leaves."""

        def quantized(real: float) -> int:
            return out.zero_point + fp.round_half_away(float(np.float32(real) / np.float32(out.scale)))

        if activation == _ACTIVATION.NONE:
            return -128, 127
        if activation == _ACTIVATION.RELU:
            return max(-128, out.zero_point), 127
        if activation == _ACTIVATION.RELU6:
            return max(-128, out.zero_point), min(127, quantized(6.0))
        if activation == _ACTIVATION.RELU_N1_TO_1:
            return max(-128, quantized(-1.0)), min(127, quantized(1.0))
        self._refuse_operator(operator, "has a fused activation other than ReLU and ReLU6")
        raise AssertionError

    def _window(self, operator: Any, options: Any, kernel: tuple[int, int], given: Tensor, made: Tensor) -> Window:
        stride = int(options.strideH), int(options.strideW)
        if min(stride) < 1 or max(stride) > _MOST_KERNEL or min(kernel) < 1 or max(kernel) > _MOST_KERNEL:
            self._refuse_operator(operator, f"has the window {kernel[0]}x{kernel[1]} with strides {stride}")
        pads = []
        for size_in, size_out, length, step in zip(given.shape, made.shape, kernel, stride, strict=False):
            same = options.padding == schema.Padding.SAME
            expected = -(-size_in // step) if same else (size_in - length) // step + 1
            if expected != size_out or expected < 1:
                self._refuse_operator(operator, f"makes {made.shape} from {given.shape}, which its window does not")
            pads.append(max((expected - 1) * step + length - size_in, 0) // 2 if same else 0)
        return Window(kernel=kernel, stride=stride, pad_top=pads[0], pad_left=pads[1])

    def _undilated(self, operator: Any, options: Any, weights: np.ndarray) -> np.ndarray:
        """Weights (n, height, width, m) with the zeros of a dilated window written out."""
        dilation = int(options.dilationHFactor), int(options.dilationWFactor)
        if dilation == (1, 1):
            return weights
        if min(dilation) < 1:
            self._refuse_operator(operator, f"is dilated by {dilation[0]}x{dilation[1]}")
        first, height, width, last = weights.shape
        spread = [(length - 1) * step + 1 for length, step in zip((height, width), dilation, strict=True)]
        if max(spread) > _MOST_KERNEL:
            self._refuse_operator(operator, f"is dilated to a window of {spread[0]}x{spread[1]}")
        wide = np.zeros((first, *spread, last), np.int8)
        wide[:, :: dilation[0], :: dilation[1]] = weights
        self._notes.append(f"dilated window of layer '{self._layer(operator)}': its gaps are stored as zeros")
        return wide

    def _requantization(
        self, operator: Any, weights: int, channels: int, given: Tensor, made: Tensor, activation: int, *, dense: bool
    ) -> Requantization:
        scales, zeros = self._scales(weights)
        if len(scales) not in (1, channels):
            self._refuse_operator(operator, f"has {len(scales)} weight scales for {channels} channels")
        if np.any(zeros != 0):
            self._refuse_operator(operator, "has weights with a zero point; symmetric int8 weights were expected")
        if dense and len(scales) == 1:  # the reference multiplies these two in float32
            product = float(np.float32(given.scale) * scales[0])
            reals = np.array([product / float(np.float32(made.scale))])
        else:
            reals = float(np.float32(given.scale)) * scales.astype(np.float64) / float(np.float32(made.scale))
        multipliers, shifts = fp.quantize_multipliers(reals)
        if len(scales) == 1:
            multipliers, shifts = np.repeat(multipliers, channels), np.repeat(shifts, channels)
        low, high = self._limits(operator, activation, made)
        return Requantization(multipliers=multipliers, shifts=shifts, zero_point=made.zero_point, low=low, high=high)

    def _bias(self, operator: Any, channels: int) -> np.ndarray:
        if len(operator.inputs) < 3 or int(operator.inputs[2]) < 0:
            return np.zeros(channels, np.int32)
        bias = self._integers(int(operator.inputs[2]), np.int32).reshape(-1)
        if len(bias) != channels:
            self._refuse_operator(operator, f"has {len(bias)} biases for {channels} channels")
        return bias

    def _facts(self, operator: Any, made: int, reads: tuple[Read, ...], **others: Any) -> dict[str, Any]:
        return {
            "kind": self._kind(operator),
            "layer": self._tensors[made].name,
            "reads": reads,
            "output": made,
            "steps": self._tensors[made].height,
            **others,
        }

    def _convolution(self, operator: Any) -> None:
        options = self._options(operator, schema.Conv2DOptionsT)
        source, given = self._computed(operator, 0)
        weights = self._integers(int(operator.inputs[1]), np.int8)
        if weights.ndim != 4:
            self._refuse_operator(operator, f"has weights of the shape {weights.shape}")
        if weights.shape[3] != given.shape[2]:
            self._refuse_operator(
                operator,
                f"is grouped: its filters see {weights.shape[3]} of {given.shape[2]} channels; only ungrouped ones "
                "are supported",
            )
        weights = self._undilated(operator, options, weights)
        target, made = self._output(operator)
        window = self._window(operator, options, (weights.shape[1], weights.shape[2]), given, made)
        if made.shape[2] != weights.shape[0]:
            self._refuse_operator(operator, f"makes {made.shape[2]} channels with {weights.shape[0]} filters")
        self._operators.append(
            Convolution(
                **self._facts(operator, target, (Read(source, window.stride[0], window.kernel[0], window.pad_top),)),
                macs=made.shape[0] * made.shape[1] * weights.size,
                window=window,
                weights=weights,
                bias=self._bias(operator, weights.shape[0]),
                requantization=self._requantization(
                    operator,
                    int(operator.inputs[1]),
                    weights.shape[0],
                    given,
                    made,
                    options.fusedActivationFunction,
                    dense=False,
                ),
            )
        )

    def _depthwise(self, operator: Any) -> None:
        options = self._options(operator, schema.DepthwiseConv2DOptionsT)
        source, given = self._computed(operator, 0)
        weights = self._integers(int(operator.inputs[1]), np.int8)
        target, made = self._output(operator)
        channels = given.shape[2]
        if made.shape[2] != channels:
            self._refuse_operator(
                operator, f"has the depth multiplier {made.shape[2] / channels:g}; only 1 is supported"
            )
        if weights.ndim != 4 or weights.shape[0] != 1 or weights.shape[3] != channels:
            self._refuse_operator(operator, f"has weights of the shape {weights.shape}")
        weights = self._undilated(operator, options, weights)
        window = self._window(operator, options, (weights.shape[1], weights.shape[2]), given, made)
        self._operators.append(
            Depthwise(
                **self._facts(operator, target, (Read(source, window.stride[0], window.kernel[0], window.pad_top),)),
                macs=made.shape[0] * made.shape[1] * weights.size,
                window=window,
                weights=weights[0],
                bias=self._bias(operator, channels),
                requantization=self._requantization(
                    operator,
                    int(operator.inputs[1]),
                    channels,
                    given,
                    made,
                    options.fusedActivationFunction,
                    dense=False,
                ),
            )
        )

    def _fully_connected(self, operator: Any) -> None:
        options = self._options(operator, schema.FullyConnectedOptionsT)
        source, given = self._computed(operator, 0)
        if options.weightsFormat != schema.FullyConnectedOptionsWeightsFormat.DEFAULT:
            self._refuse_operator(operator, "has shuffled weights")
        weights = self._integers(int(operator.inputs[1]), np.int8)
        target, made = self._output(operator)
        if weights.ndim != 2 or weights.shape[1] != math.prod(given.shape) or made.shape != (1, 1, weights.shape[0]):
            self._refuse_operator(
                operator, f"makes {made.shape} from {given.shape} with weights of the shape {weights.shape}"
            )
        if given.shape[:2] != (1, 1):
            source = self._flattened(source, given)
        self._operators.append(
            Dense(
                **self._facts(operator, target, (Read(source),)),
                macs=weights.size,
                weights=weights,
                bias=self._bias(operator, weights.shape[0]),
                requantization=self._requantization(
                    operator,
                    int(operator.inputs[1]),
                    weights.shape[0],
                    given,
                    made,
                    options.fusedActivationFunction,
                    dense=True,
                ),
            )
        )

    def _flattened(self, source: int, given: Tensor) -> int:
        """A tensor of one pixel with all elements of ``given``."""
        self._tensors.append(replace(given, file_index=None, shape=(1, 1, math.prod(given.shape))))
        number = len(self._tensors) - 1
        self._operators.append(
            Reshape(kind="RESHAPE", layer=given.name, reads=(Read(source),), output=number, steps=given.height)
        )
        return number

    def _pool(self, operator: Any) -> None:
        options = self._options(operator, schema.Pool2DOptionsT)
        source, given = self._computed(operator, 0)
        target, made = self._output(operator)
        kernel = int(options.filterHeight), int(options.filterWidth)
        window = self._window(operator, options, kernel, given, made)
        if made.shape[2] != given.shape[2] or (made.scale, made.zero_point) != (given.scale, given.zero_point):
            self._refuse_operator(operator, "changes channels or scale")
        low, high = self._limits(operator, options.fusedActivationFunction, made)
        self._operators.append(
            Pool(
                **self._facts(operator, target, (Read(source, window.stride[0], window.kernel[0], window.pad_top),)),
                window=window,
                average=self._code(operator) == _OP.AVERAGE_POOL_2D,
                low=low,
                high=high,
            )
        )

    def _over_image(self, operator: Any) -> tuple[Tensor, Tensor, dict[str, Any]]:
        """Input, output and facts of an operator that makes one number of each channel of an image."""
        source, given = self._computed(operator, 0)
        rank = len(self._dimensions(int(operator.inputs[0])))
        axes = {int(axis) % rank for axis in self._integers(int(operator.inputs[1]), np.int32).reshape(-1)}
        if rank != 4 or axes != {1, 2}:
            self._refuse_operator(operator, f"is taken over the axes {sorted(axes)}; height and width are supported")
        target, made = self._output(operator)
        if made.shape != (1, 1, given.shape[2]):
            self._refuse_operator(operator, f"makes {made.shape} from {given.shape}")
        return given, made, {**self._facts(operator, target, (Read(source),)), "steps": given.height}

    def _image_maximum(self, operator: Any) -> None:
        given, made, facts = self._over_image(operator)
        self._check_same_numbers(operator, given, made)
        self._operators.append(ImageMaximum(**facts))

    def _mean(self, operator: Any) -> None:
        given, made, facts = self._over_image(operator)
        multiplier, shift = fp.quantize_multiplier(float(np.float32(given.scale)) / float(np.float32(made.scale)))
        count = given.shape[0] * given.shape[1]
        room = min(count.bit_length() - 1, 32, 31 + shift)  # the division becomes a part of the factor
        multiplier = (multiplier << room) // count
        self._operators.append(
            Mean(
                **facts,
                requantization=Requantization(
                    multipliers=np.array([multiplier], np.int32),
                    shifts=np.array([shift - room], np.int32),
                    zero_point=made.zero_point,
                    low=-128,
                    high=127,
                ),
            )
        )

    def _elementwise(self, operator: Any) -> None:
        function, kind = {
            _OP.ADD: ("add", schema.AddOptionsT),
            _OP.SUB: ("subtract", schema.SubOptionsT),
            _OP.MUL: ("multiply", schema.MulOptionsT),
            _OP.MINIMUM: ("minimum", schema.MaximumMinimumOptionsT),
            _OP.MAXIMUM: ("maximum", schema.MaximumMinimumOptionsT),
        }[self._code(operator)]
        options = self._options(operator, kind)
        extremum = function in ("minimum", "maximum")
        if len(operator.inputs) != 2:
            self._refuse_operator(operator, f"has {len(operator.inputs)} inputs")
        reads: list[Read] = []
        sides = []
        for index in (int(index) for index in operator.inputs):
            constant = None if index in self._numbers else self._constant_image(index)
            shape = self._shape(index)
            numbers = self._single(index)
            read = None
            if constant is None:
                number = self._computed(operator, list(operator.inputs).index(index))[0]
                read = len(reads)
                reads.append(Read(number, stride=0 if shape[0] == 1 else 1))
            sides.append((read, constant, shape, numbers))
        target, made = self._output(operator)
        for _, _, shape, _ in sides:
            if any(size not in (1, full) for size, full in zip(shape, made.shape, strict=True)):
                self._refuse_operator(operator, f"makes {made.shape} from {sides[0][2]} and {sides[1][2]}")
        if not reads:
            self._refuse_operator(operator, "has two constant inputs")
        first, second = (float(np.float32(side[3].scale)) for side in sides)
        out_scale = float(np.float32(made.scale))
        factors: list[tuple[int, int]] = [(0, 0), (0, 0)]
        if extremum:
            for _, _, _, numbers in sides:
                self._check_same_numbers(operator, numbers, made)
            result = 0, 0
        elif function == "multiply":
            product = np.float32(first) * np.float32(second) / np.float32(out_scale)
            result = fp.quantize_multiplier(float(product))
        else:
            twice = 2 * max(first, second)
            factors = [fp.quantize_multiplier(first / twice), fp.quantize_multiplier(second / twice)]
            result = fp.quantize_multiplier(twice / ((1 << 20) * out_scale))
        activation = _ACTIVATION.NONE if extremum else options.fusedActivationFunction
        low, high = self._limits(operator, activation, made)
        operands = tuple(
            Operand(
                read=read,
                constant=constant,
                shape=shape,
                zero_point=numbers.zero_point,
                multiplier=factor[0],
                shift=factor[1],
            )
            for (read, constant, shape, numbers), factor in zip(sides, factors, strict=True)
        )
        facts = self._facts(operator, target, tuple(reads))
        facts["reads"] = tuple(
            replace(read, stride=0) if self._tensors[read.tensor].height == 1 else read for read in reads
        )
        self._operators.append(
            Elementwise(
                **facts,
                function=function,  # type: ignore[arg-type]
                operands=(operands[0], operands[1]),
                requantization=Requantization(
                    multipliers=np.array([result[0]], np.int32),
                    shifts=np.array([result[1]], np.int32),
                    zero_point=made.zero_point,
                    low=low,
                    high=high,
                ),
            )
        )

    def _constant_image(self, index: int) -> np.ndarray:
        return self._integers(index, np.int8).reshape(self._shape(index))

    def _table(self, operator: Any, function: Callable[[int], int], source: int, target: int) -> None:
        self._operators.append(
            Table(
                **self._facts(operator, target, (Read(source),)),
                values=fp.table_of(function, unsigned=self._tensors[source].unsigned),
            )
        )

    def _unary(self, operator: Any) -> None:
        code = self._code(operator)
        source, given = self._computed(operator, 0)
        target, made = self._output(operator)
        if made.shape != given.shape:
            self._refuse_operator(operator, f"makes {made.shape} from {given.shape}")
        scales = given.scale, given.zero_point, made.scale, made.zero_point
        if code in _REAL_FUNCTIONS:
            function = fp.from_real(_REAL_FUNCTIONS[code], *scales)
        elif code == _OP.HARD_SWISH:
            function = fp.hard_swish(*scales)
        else:
            fused = {
                _OP.RELU: _ACTIVATION.RELU,
                _OP.RELU6: _ACTIVATION.RELU6,
                _OP.RELU_N1_TO_1: _ACTIVATION.RELU_N1_TO_1,
            }
            low, high = self._limits(operator, fused[code], made)
            ratio = float(np.float32(given.scale) / np.float32(made.scale))
            function = fp.requantized(ratio, given.zero_point, made.zero_point, low, high)
        self._table(operator, function, source, target)

    def _quantize(self, operator: Any) -> None:
        given_index, made_index = int(operator.inputs[0]), int(operator.outputs[0])
        if self._graph.tensors[given_index].type == _TYPE.FLOAT32:
            if given_index != int(self._graph.inputs[0]):
                self._refuse_operator(operator, "quantizes a tensor in the middle of the network")
            if self._tensors:
                self._refuse_operator(operator, "quantizes the image a second time")
            self._numbers[given_index] = self._add_tensor(made_index)
            self._notes.append("float input: the application quantizes the image (MODEL_INPUT_SCALE, _ZERO_POINT)")
            return
        source, given = self._computed(operator, 0)
        target, made = self._output(operator)
        if made.shape != given.shape:
            self._refuse_operator(operator, f"makes {made.shape} from {given.shape}")
        low, high = (0, 255) if made.unsigned else (-128, 127)
        ratio = float(np.float32(given.scale)) / float(np.float32(made.scale))
        function = fp.requantized(ratio, given.zero_point, made.zero_point, low, high)
        wrapped = (lambda value: function(value) - 256 * (function(value) > 127)) if made.unsigned else function
        self._table(operator, wrapped, source, target)

    def _dequantize(self, operator: Any) -> None:
        made, outputs = int(operator.outputs[0]), self._graph.outputs
        if made != int(outputs[0]):
            self._refuse_operator(operator, "goes on in float; only the output may be de-quantized")
        source, _ = self._computed(operator, 0)
        self._numbers[made] = source
        self._notes.append("float output: the application de-quantizes the embedding (MODEL_OUTPUT_SCALE, _ZERO_POINT)")

    def _pad(self, operator: Any) -> None:
        source, given = self._computed(operator, 0)
        frame = self._integers(int(operator.inputs[1]), np.int32)
        if frame.shape != (4, 2) or frame.min() < 0 or frame[0].any() or frame[3].any():
            self._refuse_operator(operator, "pads other than height and width")
        target, made = self._output(operator)
        if made.shape != (given.height + int(frame[1].sum()), given.shape[1] + int(frame[2].sum()), given.shape[2]):
            self._refuse_operator(operator, f"makes {made.shape} from {given.shape}")
        self._check_same_numbers(operator, given, made)
        value = made.zero_point
        if len(operator.inputs) > 2 and int(operator.inputs[2]) >= 0:
            value = int(self._integers(int(operator.inputs[2]), np.int8).reshape(-1)[0])
        top, left = int(frame[1][0]), int(frame[2][0])
        if max(top, left) > _MOST_KERNEL:
            self._refuse_operator(operator, f"pads by {max(top, left)}")
        self._operators.append(
            Pad(
                **self._facts(operator, target, (Read(source, pad=top),)),
                top=top,
                left=left,
                value=value,
            )
        )

    def _concatenation(self, operator: Any) -> None:
        options = self._options(operator, schema.ConcatenationOptionsT)
        target, made = self._output(operator)
        rank = len(self._dimensions(int(operator.outputs[0])))
        axis = int(options.axis) % rank - rank  # counted from the end
        if axis < -3 or -axis >= max(rank, 2):
            self._refuse_operator(operator, "joins a batch")
        if options.fusedActivationFunction != _ACTIVATION.NONE:
            self._refuse_operator(operator, "has a fused activation")
        reads = []
        joined = 0
        for position in range(len(operator.inputs)):
            number, given = self._computed(operator, position)
            same = [size for place, size in enumerate(given.shape) if place != 3 + axis]
            if same != [size for place, size in enumerate(made.shape) if place != 3 + axis]:
                self._refuse_operator(operator, f"joins {given.shape} to {made.shape}")
            if (given.scale, given.zero_point) != (made.scale, made.zero_point):
                self._refuse_operator(operator, "joins tensors of different scales")
            reads.append(Read(number, pad=joined if axis == -3 else 0))
            joined += given.shape[3 + axis]
        if joined != made.shape[3 + axis]:
            self._refuse_operator(operator, f"joins {joined} to {made.shape}")
        chunks = made.shape[1] if axis == -1 else 1
        self._operators.append(Concatenation(**self._facts(operator, target, tuple(reads)), chunks=chunks))

    def _slice(self, operator: Any) -> None:
        options = self._options(operator, schema.StridedSliceOptionsT)
        source, given = self._computed(operator, 0)
        dimensions = self._dimensions(int(operator.inputs[0]))
        begin, end, strides = (
            self._integers(int(index), np.int32).reshape(-1).tolist() for index in operator.inputs[1:4]
        )
        if not len(begin) == len(end) == len(strides) == len(dimensions):
            self._refuse_operator(operator, "does not cut along all dimensions")
        if any(step != 1 for step in strides) or options.ellipsisMask or options.newAxisMask:
            self._refuse_operator(operator, "skips elements or adds dimensions")
        starts = []
        for axis, size in enumerate(dimensions):
            first = 0 if options.beginMask >> axis & 1 else begin[axis] + size * (begin[axis] < 0)
            last = size if options.endMask >> axis & 1 else end[axis] + size * (end[axis] < 0)
            if options.shrinkAxisMask >> axis & 1:
                last = first + 1
            if not 0 <= first < last <= size:
                self._refuse_operator(operator, f"cuts {first}:{last} out of {size}")
            starts.append((first, last - first))
        target, made = self._output(operator)
        (top, height), (left, width), (channel, channels) = ([(0, 1)] * 3 + starts[1:])[-3:]
        if (
            len(dimensions) < 2
            or made.shape[0] not in (1, height)
            or math.prod(made.shape) != height * width * channels
        ):
            self._refuse_operator(operator, f"makes {made.shape} from {given.shape}")
        if made.height != height:
            self._refuse_operator(operator, "drops the dimension of rows")
        self._check_same_numbers(operator, given, made)
        self._operators.append(
            Slice(
                **self._facts(operator, target, (Read(source, pad=-top),)),
                top=top,
                left=left,
                channel=channel,
                width=width,
                channels=channels,
            )
        )

    def _reshape(self, operator: Any) -> None:
        source, given = self._computed(operator, 0)
        target, made = self._output(operator)
        if math.prod(given.shape) != math.prod(made.shape):
            self._refuse_operator(operator, f"makes {made.shape} from {given.shape}")
        self._check_same_numbers(operator, given, made)
        facts = self._facts(operator, target, (Read(source),))
        if given.height == made.height:
            pass  # each row stays a row
        elif made.height == 1:
            facts["steps"] = given.height
        elif given.height == 1:
            facts["reads"] = (Read(source, stride=0),)
        else:
            self._refuse_operator(operator, f"makes {made.shape} from {given.shape}; one of the two must be one row")
        self._operators.append(Reshape(**facts))

    def _softmax(self, operator: Any) -> None:
        options = self._options(operator, schema.SoftmaxOptionsT)
        source, given = self._computed(operator, 0)
        target, made = self._output(operator)
        if made.shape != given.shape or made.scale != 1 / 256 or made.zero_point != -128:
            self._refuse_operator(operator, "has an output that is not int8 with the scale 1/256")
        if given.shape[2] > _MOST_SOFTMAX_CHANNELS:
            self._refuse_operator(operator, f"has {given.shape[2]} channels; at most {_MOST_SOFTMAX_CHANNELS} work")
        if not (math.isfinite(options.beta) and options.beta > 0):
            self._refuse_operator(operator, f"has the exponent's factor {options.beta}")
        exponentials = fp.softmax_exponentials(given.scale, options.beta)
        self._operators.append(Softmax(**self._facts(operator, target, (Read(source),)), exponentials=exponentials))

    def _l2_normalization(self, operator: Any) -> None:
        source, given = self._computed(operator, 0)
        target, made = self._output(operator)
        if made.shape != given.shape or made.scale != 1 / 128 or made.zero_point != 0:
            self._refuse_operator(operator, "has an output that is not int8 with the scale 1/128")
        self._operators.append(
            L2Normalization(**self._facts(operator, target, (Read(source),)), zero_point=given.zero_point)
        )


_REAL_FUNCTIONS: dict[int, Callable[[Any], Any]] = {
    _OP.EXP: np.exp,
    _OP.LOG: np.log,
    _OP.LOGISTIC: lambda x: np.float32(1) / (np.float32(1) + np.exp(-x)),
    _OP.TANH: np.tanh,
}
_READERS: dict[int, Callable[[_Reader, Any], None]] = {
    _OP.CONV_2D: _Reader._convolution,
    _OP.DEPTHWISE_CONV_2D: _Reader._depthwise,
    _OP.FULLY_CONNECTED: _Reader._fully_connected,
    _OP.AVERAGE_POOL_2D: _Reader._pool,
    _OP.MAX_POOL_2D: _Reader._pool,
    _OP.MEAN: _Reader._mean,
    _OP.ADD: _Reader._elementwise,
    _OP.SUB: _Reader._elementwise,
    _OP.MUL: _Reader._elementwise,
    _OP.MINIMUM: _Reader._elementwise,
    _OP.MAXIMUM: _Reader._elementwise,
    _OP.REDUCE_MAX: _Reader._image_maximum,
    _OP.SOFTMAX: _Reader._softmax,
    _OP.EXP: _Reader._unary,
    _OP.LOG: _Reader._unary,
    _OP.LOGISTIC: _Reader._unary,
    _OP.TANH: _Reader._unary,
    _OP.HARD_SWISH: _Reader._unary,
    _OP.RELU: _Reader._unary,
    _OP.RELU6: _Reader._unary,
    _OP.RELU_N1_TO_1: _Reader._unary,
    _OP.QUANTIZE: _Reader._quantize,
    _OP.DEQUANTIZE: _Reader._dequantize,
    _OP.PAD: _Reader._pad,
    _OP.PADV2: _Reader._pad,
    _OP.CONCATENATION: _Reader._concatenation,
    _OP.STRIDED_SLICE: _Reader._slice,
    _OP.RESHAPE: _Reader._reshape,
    _OP.SQUEEZE: _Reader._reshape,
    _OP.EXPAND_DIMS: _Reader._reshape,
    _OP.L2_NORMALIZATION: _Reader._l2_normalization,
}
