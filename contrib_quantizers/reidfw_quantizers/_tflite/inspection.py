"""What a TensorFlow Lite file holds: its operators and the number formats of their tensors.

Read from the flatbuffer itself, so that nothing a delegate does at run time can hide a float operator.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ai_edge_litert import schema_py_generated as schema

_FLOAT_TYPES = frozenset({"FLOAT16", "FLOAT32", "FLOAT64", "BFLOAT16"})


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphTensor:
    """One tensor of the graph.

    Attributes:
        name: its name in the file.
        shape: its dimensions.
        dtype: its number format in lower case: ``int8``, ``float32`` ...
        scales, zero_points: its quantization; one value, or one a channel; empty for a float tensor.
        is_constant: it holds weights.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    is_constant: bool

    def quantization(self) -> dict[str, Any]:
        """Number format, scale and zero point of a tensor with at most one scale, JSON-able."""
        return {
            "dtype": "float" if self.dtype == "float32" else self.dtype,
            "scale": self.scales[0] if self.scales else None,
            "zero_point": self.zero_points[0] if self.zero_points else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphOperator:
    """One operator: its kind (``CONV_2D``) and the numbers of the tensors that it reads and writes."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """The main graph of a TensorFlow Lite file; operators stand in order of execution."""

    tensors: tuple[GraphTensor, ...]
    operators: tuple[GraphOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def operator_counts(self) -> Mapping[str, int]:
        """How often each kind of operator occurs, sorted by kind."""
        return dict(sorted(Counter(operator.kind for operator in self.operators).items()))

    def float_operators(self) -> tuple[str, ...]:
        """The operators that compute in floating point, as ``KIND (output tensor)``.

        A QUANTIZE that reads the graph's input and a DEQUANTIZE that writes its output are not counted: they are
        what float input and output mean.
        """
        return tuple(
            f"{operator.kind} ({', '.join(self.tensors[i].name for i in operator.outputs)})"
            for operator in self.operators
            if self._touches_float(operator) and not self._is_io_conversion(operator)
        )

    def per_channel_tensors(self) -> tuple[str, ...]:
        """Names of the tensors with more than one scale."""
        return tuple(tensor.name for tensor in self.tensors if len(tensor.scales) > 1)

    def _touches_float(self, operator: GraphOperator) -> bool:
        return any(self.tensors[i].dtype.upper() in _FLOAT_TYPES for i in (*operator.inputs, *operator.outputs))

    def _is_io_conversion(self, operator: GraphOperator) -> bool:
        if operator.kind == "QUANTIZE":
            return set(operator.inputs) <= set(self.inputs)
        return operator.kind == "DEQUANTIZE" and set(operator.outputs) <= set(self.outputs)


def read_graph(content: bytes) -> Graph:
    """Reads the main graph of a TensorFlow Lite file.

    Args:
        content: the whole file, as the converter gave it (it is trusted: a damaged one fails somehow).
    """
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    kinds = names_by_value(schema.BuiltinOperator)
    dtypes = names_by_value(schema.TensorType)

    def tensor(raw: Any) -> GraphTensor:
        quantization = raw.quantization
        data = model.buffers[raw.buffer].data
        return GraphTensor(
            name=_text(raw.name),
            shape=tuple(int(size) for size in _items(raw.shape)),
            dtype=dtypes[raw.type].lower(),
            scales=tuple(float(scale) for scale in _items(quantization and quantization.scale)),
            zero_points=tuple(int(zero) for zero in _items(quantization and quantization.zeroPoint)),
            is_constant=data is not None and len(data) > 0,
        )

    def operator(raw: Any) -> GraphOperator:
        code = model.operatorCodes[raw.opcodeIndex]
        kind = kinds[max(code.builtinCode, code.deprecatedBuiltinCode)]
        return GraphOperator(
            kind=_text(code.customCode) if kind == "CUSTOM" else kind,
            inputs=tuple(int(i) for i in _items(raw.inputs) if i >= 0),  # -1 stands for an absent optional input
            outputs=tuple(int(i) for i in _items(raw.outputs)),
        )

    return Graph(
        tensors=tuple(tensor(raw) for raw in graph.tensors),
        operators=tuple(operator(raw) for raw in graph.operators),
        inputs=tuple(int(i) for i in graph.inputs),
        outputs=tuple(int(i) for i in graph.outputs),
    )


def names_by_value(enumeration: type) -> dict[int, str]:
    """The names of a schema's enumeration by their numbers."""
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}


def _items(values: Any) -> Any:
    return () if values is None else values


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
