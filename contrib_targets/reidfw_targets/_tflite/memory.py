"""What a TensorFlow Lite file takes on a microcontroller."""

from __future__ import annotations

import math
from pathlib import Path

from ai_edge_litert import schema_py_generated as schema

from reidfw_core.api import MemoryEstimate
from reidfw_targets._tflite.graph import read_model
from reidfw_targets.liveness import peak_bytes

_BYTES = {"FLOAT32": 4, "FLOAT16": 2, "INT64": 8, "INT32": 4, "INT16": 2, "INT8": 1, "UINT8": 1, "BOOL": 1}


def estimate_tflite(path: Path) -> MemoryEstimate:
    """Bytes of constants, and of activations with the operations in the file's order.

    Raises:
        DataError: the file is damaged.
    """
    model = read_model(path)
    graph = model.subgraphs[0]
    names = {value: name for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
    constants: dict[int, int] = {}
    sizes: dict[int, int] = {}
    for index, tensor in enumerate(graph.tensors):
        data = model.buffers[tensor.buffer].data
        if data is not None and len(data):
            constants[int(tensor.buffer)] = len(data)  # a buffer that several tensors share counts once
        else:
            shape = [max(1, int(size)) for size in (tensor.shape if tensor.shape is not None else ())]
            sizes[index] = math.prod(shape) * _BYTES.get(names.get(tensor.type, ""), 4)
    operations = [
        ([int(tensor) for tensor in operator.inputs], [int(tensor) for tensor in operator.outputs])
        for operator in graph.operators
    ]
    return MemoryEstimate(
        weights_bytes=sum(constants.values()),
        activations_bytes=peak_bytes(
            operations, sizes, [int(tensor) for tensor in graph.inputs], [int(tensor) for tensor in graph.outputs]
        ),
        method="constants and live tensors of the file, operation by operation, input included",
    )
