"""Inputs and outputs of TensorFlow Lite files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from reidfw_core.api import DataError, ModelFormat
from reidfw_targets._tflite.graph import cut_classifier, integer_after, integer_before, read_model
from reidfw_targets._tflite.numbers import number_format
from reidfw_targets.images import embedding_dim, image_input, single
from reidfw_targets.model_io import ModelIo, classifier_error
from reidfw_targets.numbers import TensorNumbers

_DTYPES: dict[int, np.dtype] = {
    schema.TensorType.FLOAT32: np.dtype(np.float32),
    schema.TensorType.INT8: np.dtype(np.int8),
    schema.TensorType.UINT8: np.dtype(np.uint8),
    schema.TensorType.INT16: np.dtype(np.int16),
}


def read_tflite_io(path: Path) -> ModelIo:
    """Reads inputs and outputs of a ``.tflite`` file. Raises DataError."""
    model = read_model(path)
    graph, name = model.subgraphs[0], str(path)
    single(list(graph.inputs), "input", name)
    single(list(graph.outputs), "output", name)
    taken, given = graph.tensors[int(graph.inputs[0])], graph.tensors[int(graph.outputs[0])]
    first, last = integer_after(model, int(graph.inputs[0])), integer_before(model, int(graph.outputs[0]))
    io = ModelIo(
        format=ModelFormat("tflite", number_format(path.read_bytes())),
        image=image_input(_sizes(taken), name, prefer="NHWC"),
        input_numbers=_numbers(taken, name),
        embedding_dim=embedding_dim(_sizes(given), name),
        output_numbers=_numbers(given, name),
        image_integers=None if first is None else _numbers(graph.tensors[first], name),
        embedding_integers=None if last is None else _numbers(graph.tensors[last], name),
    )
    cut = cut_classifier(model)
    if cut is not None:
        raise classifier_error(path, cut[1])
    return io


def _sizes(tensor: Any) -> list[int | str | None]:
    return [] if tensor.shape is None else [int(size) for size in tensor.shape]


def _numbers(tensor: Any, name: str) -> TensorNumbers:
    dtype = _DTYPES.get(tensor.type)
    if dtype is None:
        raise DataError(f"{name}: an input or output is neither float32 nor int8, uint8 or int16")
    if dtype.kind == "f":
        return TensorNumbers(dtype, 0.0, 0)
    quantization = tensor.quantization
    if quantization is None or quantization.scale is None or len(quantization.scale) != 1:
        raise DataError(f"{name}: an input or output is {dtype} without a scale, so it stands for no real numbers")
    return TensorNumbers(dtype, float(quantization.scale[0]), int(quantization.zeroPoint[0]))
