"""Looking into an ONNX file: does it end in a classifier?"""

from __future__ import annotations

import onnx
from onnx.utils import Extractor

_SHAPING = frozenset(
    {"Identity", "Reshape", "Flatten", "Squeeze", "Dropout", "Cast", "QuantizeLinear", "DequantizeLinear"}
)
_MOVING = frozenset({"Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Dropout"})
"""Operators that leave values as they are."""

_PROBABILITIES = frozenset({"Softmax", "Sigmoid"})


def cut_classifier(model: onnx.ModelProto) -> tuple[onnx.ModelProto, tuple[str, ...]] | None:
    """Removes a classification head: Gemm, MatMul with Add or a convolution of one pixel, and its softmax or sigmoid.

    A last dense layer without softmax or sigmoid counts as an embedding layer and stays.

    Returns:
        The model up to the input of the head, and the operators that were removed; None without such a head.
    """
    graph = model.graph
    makers = {output: node for node in graph.node for output in node.output}
    constants = {tensor.name for tensor in graph.initializer}
    constants |= {node.output[0] for node in graph.node if node.op_type == "Constant"}
    given = [value.name for value in graph.input if value.name not in constants]
    if len(graph.output) != 1 or len(given) != 1:
        return None
    last = makers.get(_behind(makers, graph.output[0].name))
    if last is None or last.op_type not in _PROBABILITIES:
        return None
    dense = makers.get(_behind(makers, last.input[0]))
    if dense is not None and dense.op_type == "Add":
        data = [name for name in dense.input if _behind(makers, name) not in constants]
        dense = makers.get(_behind(makers, data[0])) if len(data) == 1 else None
    if dense is None or not _is_dense(dense, makers, constants, _shapes(model)):
        return None
    embedding = dense.input[0]
    cut = Extractor(onnx.shape_inference.infer_shapes(model)).extract_model(given, [embedding])
    kept = {node.output[0] for node in cut.graph.node}
    return cut, tuple(node.op_type for node in graph.node if node.output[0] not in kept)


def integer_after(model: onnx.ModelProto, name: str) -> onnx.NodeProto | None:
    """The QuantizeLinear that an image meets first; None where operators compute with it in float."""
    for _ in range(len(model.graph.node)):
        takers = [node for node in model.graph.node if name in node.input]
        if len(takers) != 1 or takers[0].op_type not in _MOVING | {"QuantizeLinear"}:
            return None
        if takers[0].op_type == "QuantizeLinear":
            return takers[0]
        name = takers[0].output[0]
    return None


def integer_before(model: onnx.ModelProto, name: str) -> onnx.NodeProto | None:
    """The DequantizeLinear that an embedding comes from; None where it comes from float."""
    makers = {output: node for node in model.graph.node for output in node.output}
    while name in makers and makers[name].op_type in _MOVING:
        name = makers.pop(name).input[0]
    maker = makers.get(name)
    return maker if maker is not None and maker.op_type == "DequantizeLinear" else None


def _behind(makers: dict[str, onnx.NodeProto], name: str) -> str:
    """The tensor from which ``name`` is made by reshaping and conversion alone."""
    while name in makers and makers[name].op_type in _SHAPING:
        name = makers[name].input[0]
    return name


def _is_dense(
    node: onnx.NodeProto, makers: dict[str, onnx.NodeProto], constants: set[str], shapes: dict[str, list[int]]
) -> bool:
    if len(node.input) < 2 or _behind(makers, node.input[1]) not in constants:
        return False
    if node.op_type in {"Gemm", "MatMul"}:
        return True
    return node.op_type == "Conv" and shapes.get(node.input[0], [])[2:] == [1, 1]


def _shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    inferred = onnx.shape_inference.infer_shapes(model).graph
    return {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*inferred.value_info, *inferred.output, *inferred.input)
    }
