"""Variants of an integer TensorFlow Lite file in which some operators compute with more bits.

The float file that the integer one was made from has the same operators under the same names. A kept operator takes
its place from there (``float``), or has its activations widened (``int16``: 16-bit activations, 8-bit weights, as in
the TensorFlow Lite 16x8 scheme); the ranges of activations stay those of the integer file, so that nothing is
calibrated again. Between neighbours of different formats stand QUANTIZE and DEQUANTIZE operators. All other operators
stay bit for bit as they are.
"""

from __future__ import annotations

import copy
import logging
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from reidfw_core.api import DataError, ModelFile, ModelFormat, QuantizedLayer, atomic_path
from reidfw_quantizers._tflite.inspection import names_by_value, read_graph
from reidfw_quantizers._tflite.layer_errors import output_key, readable_name

logger = logging.getLogger(__name__)

PRECISIONS = ("int16", "float")

_CONVERSIONS = frozenset({"QUANTIZE", "DEQUANTIZE"})

_INT16_KINDS = frozenset(
    {
        "ADD",
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "FULLY_CONNECTED",
        "LOGISTIC",
        "MEAN",
        "MUL",
        "RELU",
        "SUB",
    }
)
"""Operators with kernels for 16-bit activations that take any scale."""

_WEIGHTED = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"})
"""Operators whose second input, the weights, keeps 8 bits beside 16-bit activations; the third is the bias."""

_LARGEST_INT16 = 32767

_LOGISTIC_SCALE = 1 / 32768
"""The only output scale that the 16-bit kernel of the sigmoid knows."""

_KINDS = names_by_value(schema.BuiltinOperator)

_DTYPES = {
    schema.TensorType.INT8: np.dtype(np.int8),
    schema.TensorType.INT16: np.dtype(np.int16),
    schema.TensorType.INT32: np.dtype(np.int32),
    schema.TensorType.INT64: np.dtype(np.int64),
}


@dataclass(frozen=True, slots=True)
class _Pair:
    """An operator of the integer graph and the same one of the float graph, by their places."""

    layer: QuantizedLayer
    place: int
    float_place: int


class TfliteVariants:
    """An integer file opened to keep operators at a higher precision; see the contract of ``ModelVariants``.

    Args:
        quantized: the integer model.
        reference: the float file that it was made from.

    Raises:
        DataError: the files have no operator in common.
    """

    precisions = PRECISIONS

    def __init__(self, quantized: ModelFile, reference: bytes) -> None:
        self._quantized = quantized
        self._content = quantized.path.read_bytes()
        self._reference = _read(reference)
        self._pairs = _paired(_read(self._content), self._reference)
        if not self._pairs:
            raise DataError(f"{quantized.path} shares no operator with the float model that it should be made from")
        self.layers = tuple(pair.layer for pair in self._pairs)

    def write_variant(self, kept: Collection[str], precision: str, path: Path) -> ModelFile:
        """Writes a variant; see the contract."""
        if precision not in self.precisions:
            raise ValueError(f"precision must be one of {', '.join(self.precisions)}, got {precision}")
        wanted = frozenset(kept)
        chosen = {
            pair.place: pair.float_place
            for pair in self._pairs
            if pair.layer.name in wanted and precision in pair.layer.precisions
        }
        splice = _Splice(_read(self._content), self._reference, precision)
        content = splice.keep(chosen)
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
        names = [pair.layer.name for pair in self._pairs if pair.place in chosen]
        graph = read_graph(content)
        told = {
            "kept_at": precision,
            "kept_layers": names,
            "num_operators": len(graph.operators),
            "operators": dict(graph.operator_counts()),
        }
        return replace(
            self._quantized,
            path=path,
            format=ModelFormat("tflite", f"int8_{precision}") if names else self._quantized.format,
            details={**self._quantized.details, **(told if names else {})},
        )


class _Splice:
    """One rewriting of an integer graph; used once.

    Args:
        model: the integer model, which is changed.
        reference: the float model, which is only read.
        precision: what kept operators compute in.
    """

    def __init__(self, model: Any, reference: Any, precision: str) -> None:
        self._model, self._graph = model, model.subgraphs[0]
        self._reference, self._float_graph = reference, reference.subgraphs[0]
        self._is_float = precision == "float"
        self._wide_type = schema.TensorType.FLOAT32 if self._is_float else schema.TensorType.INT16
        self._twins: dict[int, int] = {}  # integer activation: the same at the higher precision
        self._operators: list[Any] = []

    def keep(self, chosen: dict[int, int]) -> bytes:
        """Keeps operators, given as place in the integer graph: place in the float graph; returns the file."""
        operators = list(self._graph.operators)
        written = {int(output) for place in chosen for output in operators[place].outputs}
        endings = [  # conversions of the output to float, which read the higher precision themselves
            place
            for place, operator in enumerate(operators)
            if _kind(self._model, operator) == "DEQUANTIZE" and int(operator.inputs[0]) in written
        ]
        narrow = {int(index) for index in self._graph.outputs}
        for place, operator in enumerate(operators):
            if place not in chosen and place not in endings:
                narrow |= {int(index) for index in operator.inputs}
        if self._is_float:
            self._twins = {int(operators[place].inputs[0]): int(operators[place].outputs[0]) for place in endings}
        for place, operator in enumerate(operators):
            if place in chosen:
                self._operators.append(self._kept(operator, self._float_graph.operators[chosen[place]]))
                for output in (int(index) for index in operator.outputs):
                    if output in narrow:
                        self._tensor(output).name += b"_int8"
                        self._convert(self._twins[output], output)
            elif place not in endings:
                self._operators.append(operator)
            elif not self._is_float:
                self._convert(self._twins[int(operator.inputs[0])], int(operator.outputs[0]))
        self._graph.operators = self._operators
        return _packed(self._model)

    def _kept(self, operator: Any, twin: Any) -> Any:
        kind = _kind(self._model, operator)
        kept = copy.copy(twin if self._is_float else operator)
        if self._is_float:
            kept.inputs = [
                self._float_input(int(index), int(other))
                for index, other in zip(operator.inputs, twin.inputs, strict=True)
            ]
            code = self._reference.operatorCodes[twin.opcodeIndex]
            kept.opcodeIndex = self._code(max(code.builtinCode, code.deprecatedBuiltinCode), code.version)
        else:
            kept.inputs = [self._int16_input(kind, operator, place) for place in range(len(operator.inputs))]
            kept.builtinOptions = _with_int16_options(operator.builtinOptions)
        scale = _LOGISTIC_SCALE if kind == "LOGISTIC" else None
        kept.outputs = [self._output(int(index), scale) for index in operator.outputs]
        return kept

    def _float_input(self, index: int, other: int) -> int:
        if index < 0:
            return index
        tensor = self._float_graph.tensors[other]
        if not _is_constant(self._reference, tensor):
            return self._wide(index)
        return self._add(copy.copy(tensor), self._reference.buffers[tensor.buffer].data)

    def _int16_input(self, kind: str, operator: Any, place: int) -> int:
        index = int(operator.inputs[place])
        if index < 0:
            return index
        tensor = self._tensor(index)
        if not _is_constant(self._model, tensor):
            return self._wide(index) if tensor.type == schema.TensorType.INT8 else index
        if kind in _WEIGHTED and place == 2:
            return self._bias(operator)
        if (kind in _WEIGHTED and place == 1) or tensor.type != schema.TensorType.INT8:
            return index
        widened = self._widened(tensor)
        real = _scale(tensor) * (_values(self._model, tensor).astype(np.float64) - _zero_point(tensor))
        return self._add(widened, np.rint(real / _scale(widened)).astype(np.int16))

    def _bias(self, operator: Any) -> int:
        """The bias at the step of the products of 16-bit activations and weights, which is finer: 64 bits."""
        source, bias = int(operator.inputs[0]), copy.copy(self._tensor(int(operator.inputs[2])))
        values = _values(self._model, bias).astype(np.float64)
        finer = _scale(self._tensor(self._wide(source))) / _scale(self._tensor(source))
        bias.type = schema.TensorType.INT64
        bias.quantization = copy.copy(bias.quantization)
        bias.quantization.scale = (np.asarray(bias.quantization.scale) * finer).astype(np.float32)
        return self._add(bias, np.rint(values / finer).astype(np.int64))

    def _wide(self, index: int) -> int:
        """An activation at the higher precision; a conversion makes it where it does not come in it."""
        if index not in self._twins:
            tensor = self._widened(self._tensor(index))
            tensor.name += b"_float" if self._is_float else b"_int16"
            self._twins[index] = self._add(tensor, None)
            self._convert(index, self._twins[index])
        return self._twins[index]

    def _output(self, index: int, scale: float | None) -> int:
        if index not in self._twins:
            tensor = self._widened(self._tensor(index))
            if scale is not None and not self._is_float:
                tensor.quantization.scale = np.array([scale], np.float32)
            self._twins[index] = self._add(tensor, None)
        return self._twins[index]

    def _widened(self, tensor: Any) -> Any:
        """The same tensor at the higher precision, with the range that it has in 8 bits."""
        wide = copy.copy(tensor)
        wide.type = self._wide_type
        wide.quantization = schema.QuantizationParametersT()
        if not self._is_float:
            largest = max(abs(limit - _zero_point(tensor)) for limit in (-128, 127)) * _scale(tensor)
            wide.quantization.scale = np.array([largest / _LARGEST_INT16], np.float32)
            wide.quantization.zeroPoint = np.zeros(1, np.int64)
        return wide

    def _convert(self, source: int, result: int) -> None:
        operator = schema.OperatorT()
        to_float = self._tensor(result).type == schema.TensorType.FLOAT32
        if to_float:
            version = 3 if self._tensor(source).type == schema.TensorType.INT16 else 2
            operator.opcodeIndex = self._code(schema.BuiltinOperator.DEQUANTIZE, version)
        else:
            operator.opcodeIndex = self._code(schema.BuiltinOperator.QUANTIZE, 2)
        operator.inputs, operator.outputs = [source], [result]
        self._operators.append(operator)

    def _code(self, builtin: int, version: int) -> int:
        for place, code in enumerate(self._model.operatorCodes):
            if (max(code.builtinCode, code.deprecatedBuiltinCode), code.version) == (builtin, version):
                return place
        code = schema.OperatorCodeT()
        code.builtinCode, code.version = builtin, version
        code.deprecatedBuiltinCode = min(builtin, 127)
        self._model.operatorCodes.append(code)
        return len(self._model.operatorCodes) - 1

    def _tensor(self, index: int) -> Any:
        return self._graph.tensors[index]

    def _add(self, tensor: Any, data: np.ndarray | None) -> int:
        buffer = schema.BufferT()
        buffer.data = None if data is None else np.frombuffer(np.asarray(data).tobytes(), np.uint8)
        self._model.buffers.append(buffer)
        tensor.buffer = len(self._model.buffers) - 1
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1


def _read(content: bytes) -> Any:
    return schema.ModelT.InitFromPackedBuf(content, 0)


def _packed(model: Any) -> bytes:
    """The file, without the tensors and the weights that nothing reads any more."""
    graph = model.subgraphs[0]
    used = {int(index) for index in (*graph.inputs, *graph.outputs)}
    for operator in graph.operators:
        used |= {int(index) for index in (*operator.inputs, *operator.outputs) if index >= 0}
    order = sorted(used)
    moved = {index: place for place, index in enumerate(order)} | {-1: -1}
    graph.tensors = [graph.tensors[index] for index in order]
    graph.inputs = [moved[int(index)] for index in graph.inputs]
    graph.outputs = [moved[int(index)] for index in graph.outputs]
    graph.operators = [copy.copy(operator) for operator in graph.operators]
    for operator in graph.operators:
        operator.inputs = [moved[int(index)] for index in operator.inputs]
        operator.outputs = [moved[int(index)] for index in operator.outputs]
    for signature in model.signatureDefs or []:
        for tensor in (*(signature.inputs or []), *(signature.outputs or [])):
            tensor.tensorIndex = moved[tensor.tensorIndex]
    needed = {tensor.buffer for tensor in graph.tensors} | {entry.buffer for entry in model.metadata or []}
    for place, buffer in enumerate(model.buffers):
        if place not in needed:
            buffer.data = None
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _paired(model: Any, reference: Any) -> tuple[_Pair, ...]:
    """The operators that both graphs have, with equal kinds of inputs, in the order of the network."""
    floats = _by_output(reference)
    found: list[tuple[str, int, int]] = []
    for key, place in _by_output(model).items():
        if key in floats and _match(model, place, reference, floats[key]):
            found.append((_output_name(model, place), place, floats[key]))
    names = Counter(readable_name(name) for name, _, _ in found)
    return tuple(
        _Pair(
            layer=QuantizedLayer(
                name=readable_name(name) if names[readable_name(name)] == 1 else name,
                operator=_kind(model, model.subgraphs[0].operators[place]),
                precisions=PRECISIONS if _has_int16_kernel(model, place) else PRECISIONS[1:],
                quantized_bytes=_constant_bytes(model, place),
                float_bytes=_constant_bytes(reference, float_place),
            ),
            place=place,
            float_place=float_place,
        )
        for name, place, float_place in sorted(found, key=lambda one: one[1])
    )


def _by_output(model: Any) -> dict[str, int]:
    """Place of each computing operator by the name of its first output; names that several share are left out."""
    places: dict[str, list[int]] = {}
    for place, operator in enumerate(model.subgraphs[0].operators):
        if _kind(model, operator) not in _CONVERSIONS and len(operator.outputs):
            places.setdefault(output_key(_output_name(model, place)), []).append(place)
    return {name: found[0] for name, found in places.items() if len(found) == 1}


def _match(model: Any, place: int, reference: Any, float_place: int) -> bool:
    one, other = model.subgraphs[0].operators[place], reference.subgraphs[0].operators[float_place]
    if _kind(model, one) != _kind(reference, other) or len(one.inputs) != len(other.inputs):
        return False
    tensors, floats = model.subgraphs[0].tensors, reference.subgraphs[0].tensors
    if any(tensors[int(index)].type != schema.TensorType.INT8 for index in one.outputs):
        return False
    return all(
        (i < 0) == (f < 0)
        and (i < 0 or (_shape(tensors[i]) == _shape(floats[f]) and _same_role(model, tensors[i], reference, floats[f])))
        for i, f in zip((int(index) for index in one.inputs), (int(index) for index in other.inputs), strict=True)
    )


def _same_role(model: Any, tensor: Any, reference: Any, other: Any) -> bool:
    """Weights stand for weights, and what is computed for what is computed."""
    constant = _is_constant(model, tensor)
    computed = tensor.type == schema.TensorType.INT8
    return constant == _is_constant(reference, other) and (constant or computed)


def _has_int16_kernel(model: Any, place: int) -> bool:
    operator = model.subgraphs[0].operators[place]
    kind = _kind(model, operator)
    if kind not in _INT16_KINDS:
        return False
    if kind not in _WEIGHTED:
        return True
    tensors = [model.subgraphs[0].tensors[int(index)] for index in operator.inputs if index >= 0]
    return tensors[1].type == schema.TensorType.INT8 and all(_is_constant(model, tensor) for tensor in tensors[1:])


def _with_int16_options(options: Any) -> Any:
    changed = copy.copy(options)
    if hasattr(changed, "potScaleInt16"):
        changed.potScaleInt16 = False  # scales are any number here, not powers of two
    if hasattr(changed, "quantizedBiasType"):
        changed.quantizedBiasType = schema.TensorType.INT64
    return changed


def _kind(model: Any, operator: Any) -> str:
    code = model.operatorCodes[operator.opcodeIndex]
    return _KINDS[max(code.builtinCode, code.deprecatedBuiltinCode)]


def _output_name(model: Any, place: int) -> str:
    graph = model.subgraphs[0]
    name: bytes = graph.tensors[int(graph.operators[place].outputs[0])].name
    return name.decode()


def _constant_bytes(model: Any, place: int) -> int:
    graph = model.subgraphs[0]
    tensors = [graph.tensors[int(index)] for index in graph.operators[place].inputs if index >= 0]
    return sum(len(model.buffers[tensor.buffer].data) for tensor in tensors if _is_constant(model, tensor))


def _is_constant(model: Any, tensor: Any) -> bool:
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def _shape(tensor: Any) -> list[int]:
    return [] if tensor.shape is None else [int(size) for size in tensor.shape]


def _values(model: Any, tensor: Any) -> np.ndarray:
    return np.frombuffer(np.asarray(model.buffers[tensor.buffer].data).tobytes(), _DTYPES[tensor.type])


def _scale(tensor: Any) -> float:
    return float(tensor.quantization.scale[0])


def _zero_point(tensor: Any) -> int:
    return int(tensor.quantization.zeroPoint[0])
