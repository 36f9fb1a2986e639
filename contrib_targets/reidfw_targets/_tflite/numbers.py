"""Number formats of TensorFlow Lite models, and what their integers stand for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

_TIE_TOLERANCE = 1e-2


@dataclass(frozen=True, slots=True)
class TensorNumbers:
    """Number format of an input or output: ``real = scale * (integer - zero_point)``, or float.

    Attributes:
        dtype: type of the tensor.
        scale: its scale, 0 for a float tensor.
        zero_point: its zero point.
    """

    dtype: np.dtype
    scale: float
    zero_point: int

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Real numbers (float32, any shape) as the tensor wants them; see :meth:`encode_into`."""
        encoded = np.empty(values.shape, self.dtype)
        self.encode_into(encoded, values, np.empty(values.shape, np.float32))
        return encoded

    def encode_into(self, out: np.ndarray, values: np.ndarray, workspace: np.ndarray) -> None:
        """Writes real numbers as the tensor wants them: rounded to the nearest integer and clipped to its type.

        Halves go up, also those that float arithmetic missed by a hair. With pixels rescaled to [-1, 1] and the
        scale 2/255 every pixel value lies half-way between two integers; going up keeps all 256 values apart, as
        they are in the camera bytes that a board reads, while rounding to even would merge them in pairs.

        Args:
            out: array of the tensor's type for the result.
            values: float32, same shape.
            workspace: float32, same shape; it is overwritten unless the tensor is a float one. Large temporaries, made
                anew for each image, would let threads wait for each other's memory.
        """
        if self.scale == 0:
            np.copyto(out, values, casting="same_kind")
            return
        limits = np.iinfo(self.dtype)
        integers = np.divide(values, np.float32(self.scale), out=workspace)
        integers += np.float32(self.zero_point + 0.5 + _TIE_TOLERANCE)
        if limits.min < 0:  # from what is not negative the cast below takes the floor by itself
            np.floor(integers, out=integers)
        np.clip(integers, limits.min, limits.max, out=integers)
        np.copyto(out, integers, casting="unsafe")

    def decode(self, values: np.ndarray) -> np.ndarray:
        """The real numbers that a tensor's values stand for, float32, same shape."""
        if self.scale == 0:
            return values.astype(np.float32, copy=False)
        return (values.astype(np.float32) - np.float32(self.zero_point)) * np.float32(self.scale)


def number_format(content: bytes) -> str:
    """The number format in which a TensorFlow Lite file computes: that of most of its operators' results.

    Conversions at input and output do not count, so an int8 model with float input and output is ``int8``.

    Args:
        content: the whole file; it must be a sound one (an interpreter has opened it).

    Returns:
        ``int8``, ``uint8``, ``int16`` or ``float32``; for a model that computes in float32 but stores its weights
        smaller ``dynamic_range`` (int8 weights) or ``float16``.
    """
    model = schema.Model.GetRootAs(content, 0)
    graph = model.Subgraphs(0)
    conversions = {schema.BuiltinOperator.QUANTIZE, schema.BuiltinOperator.DEQUANTIZE}
    results: Counter[int] = Counter()
    for number in range(graph.OperatorsLength()):
        operator = graph.Operators(number)
        code = model.OperatorCodes(operator.OpcodeIndex())
        if max(code.BuiltinCode(), code.DeprecatedBuiltinCode()) in conversions:
            continue
        results.update(graph.Tensors(operator.Outputs(i)).Type() for i in range(operator.OutputsLength()))
    counted = {name: results[code] for code, name in _COMPUTING_TYPES.items() if results[code]}
    activations = max(counted, key=lambda name: counted[name], default="float32")
    if activations != "float32":
        return activations
    weights = {tensor.Type() for tensor in _weight_tensors(model, graph)}
    if schema.TensorType.INT8 in weights:
        return "dynamic_range"
    return "float16" if schema.TensorType.FLOAT16 in weights else "float32"


_COMPUTING_TYPES = {
    schema.TensorType.FLOAT32: "float32",
    schema.TensorType.INT8: "int8",
    schema.TensorType.UINT8: "uint8",
    schema.TensorType.INT16: "int16",
}


def _weight_tensors(model: Any, graph: Any) -> Iterator[Any]:
    """The constants with at least two dimensions; shapes and biases have one."""
    for number in range(graph.TensorsLength()):
        tensor = graph.Tensors(number)
        if tensor.ShapeLength() > 1 and model.Buffers(tensor.Buffer()).DataLength() > 0:
            yield tensor
