"""Inputs and outputs of ONNX files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from reidfw_core.api import DataError, ModelFormat
from reidfw_targets._onnx.graph import cut_classifier, integer_after, integer_before
from reidfw_targets._onnx.runner import number_format
from reidfw_targets.images import embedding_dim, image_input, single
from reidfw_targets.model_io import ModelIo, classifier_error
from reidfw_targets.numbers import TensorNumbers

_FLOAT = TensorNumbers(np.dtype(np.float32), 0.0, 0)


def read_onnx_io(path: Path) -> ModelIo:
    """Reads inputs and outputs of an ``.onnx`` file; both are float32. Raises DataError."""
    try:
        model = onnx.load(path)
        cut = cut_classifier(model)
    except Exception as cause:  # protobuf's and ONNX's own errors, which share no base class
        raise DataError(f"{path} cannot be opened as an ONNX model: {cause}") from cause
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    single(inputs, "input", str(path))
    single(list(model.graph.output), "output", str(path))
    taken, given = inputs[0], model.graph.output[0]
    for value in (taken, given):
        if value.type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
            raise DataError(f"{path}: '{value.name}' is not float32")
    if cut is not None:
        raise classifier_error(path, cut[1])
    return ModelIo(
        format=ModelFormat("onnx", number_format(model)),
        image=image_input(_sizes(taken), str(path), prefer="NCHW"),
        input_numbers=_FLOAT,
        embedding_dim=embedding_dim(_sizes(given), str(path)),
        output_numbers=_FLOAT,
        image_integers=_numbers(model, integer_after(model, taken.name)),
        embedding_integers=_numbers(model, integer_before(model, given.name)),
    )


def _numbers(model: onnx.ModelProto, node: onnx.NodeProto | None) -> TensorNumbers | None:
    """The integers of a QuantizeLinear or DequantizeLinear; None where its scale is no constant number."""
    if node is None:
        return None
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    scale = constants.get(node.input[1])
    zero_point = constants.get(node.input[2]) if len(node.input) > 2 else np.zeros((), np.uint8)
    if scale is None or zero_point is None or scale.size != 1 or zero_point.size != 1:
        return None
    return TensorNumbers(zero_point.dtype, float(scale.reshape(())), int(zero_point.reshape(())))


def _sizes(value: onnx.ValueInfoProto) -> list[int | str | None]:
    return [size.dim_value or None for size in value.type.tensor_type.shape.dim]
