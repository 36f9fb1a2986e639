"""What an ONNX file takes on a microcontroller."""

from __future__ import annotations

import math
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from reidfw_core.api import DataError, MemoryEstimate
from reidfw_targets.liveness import peak_bytes


def estimate_onnx(path: Path) -> MemoryEstimate:
    """Bytes of constants, and of activations with the nodes in the file's order.

    In a QDQ file a tensor counts with the type in which it is stored: what goes into QuantizeLinear, or comes out of
    DequantizeLinear, is fused into its neighbour and takes no memory of its own.

    Raises:
        DataError: the file is damaged.
    """
    try:
        model = onnx.shape_inference.infer_shapes(onnx.load(path))
    except (DecodeError, ValueError) as cause:
        raise DataError(f"{path} cannot be opened as an ONNX model: {cause}") from cause
    graph = model.graph
    constants = {tensor.name: len(onnx.numpy_helper.to_array(tensor).tobytes()) for tensor in graph.initializer}
    fused = {name for node in graph.node if node.op_type == "QuantizeLinear" for name in node.input[:1]}
    fused |= {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    sizes: dict[str, int] = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        if value.name in constants or value.name in fused or not kind.elem_type:
            continue
        width = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize
        sizes[value.name] = width * math.prod(max(1, size.dim_value) for size in kind.shape.dim)
    inputs = [value.name for value in graph.input if value.name not in constants]
    operations = [(list(node.input), list(node.output)) for node in graph.node]
    return MemoryEstimate(
        weights_bytes=sum(constants.values()),
        activations_bytes=peak_bytes(operations, sizes, inputs, [value.name for value in graph.output]),
        method="constants and live tensors of the file, node by node, input included",
    )
