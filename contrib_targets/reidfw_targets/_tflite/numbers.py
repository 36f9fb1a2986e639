"""Number formats of TensorFlow Lite models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from ai_edge_litert import schema_py_generated as schema


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
