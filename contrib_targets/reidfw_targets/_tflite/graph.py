"""Looking into a TensorFlow Lite file before it is run: is it whole, and does it end in a classifier?"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from reidfw_core.api import DataError

_IDENTIFIER = b"TFL3"
"""Bytes 4 to 7 of a TensorFlow Lite file."""

_OP = schema.BuiltinOperator
_CONVERSIONS = frozenset({_OP.QUANTIZE, _OP.DEQUANTIZE})
_SHAPING = _CONVERSIONS | {_OP.RESHAPE, _OP.SQUEEZE}
_PROBABILITIES = frozenset({_OP.SOFTMAX, _OP.LOGISTIC})


def read_model(path: Path) -> Any:
    """The file as a ``ModelT`` tree; reading all of it shows whether it is whole.

    Raises:
        DataError: it is no TensorFlow Lite file, or it is cut off or damaged.
    """
    content = path.read_bytes()
    if content[4:8] != _IDENTIFIER:
        raise DataError(f"{path} is not a TensorFlow Lite file")
    try:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
        _check_indices(model)
    except (struct.error, IndexError, TypeError, ValueError, AttributeError, MemoryError) as cause:
        raise DataError(
            f"{path} cannot be opened as a TensorFlow Lite model: its structure is damaged",
            hint="The file may be cut off; copy or make it again.",
        ) from cause
    return model


def cut_classifier(model: Any) -> tuple[bytes, tuple[str, ...]] | None:
    """Removes a classification head: fully connected (or a convolution of one pixel), then softmax or sigmoid.

    A last fully connected layer without softmax or sigmoid counts as an embedding layer and stays.

    Args:
        model: a ``ModelT``; it is changed where it has such a head.

    Returns:
        The file's new content and the names of the removed operators, first one first; None without such a head.
    """
    graph = model.subgraphs[0]
    makers = {int(output): operator for operator in graph.operators for output in operator.outputs}
    if len(graph.outputs) != 1:
        return None
    tensor = _behind(model, makers, int(graph.outputs[0]), _CONVERSIONS)
    last = makers.get(tensor)
    if last is None or _code(model, last) not in _PROBABILITIES:
        return None
    tensor = _behind(model, makers, int(last.inputs[0]), _SHAPING)
    dense = makers.get(tensor)
    if dense is None or not _is_dense(model, dense):
        return None
    embedding = int(dense.inputs[0])
    needed = _needed(makers, embedding)
    removed = [operator for operator in graph.operators if id(operator) not in needed]
    graph.operators = [operator for operator in graph.operators if id(operator) in needed]
    graph.outputs = np.array([embedding], dtype=np.int32)
    model.signatureDefs = None  # they name the old output
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), _IDENTIFIER)
    names = {value: name for name, value in vars(_OP).items() if isinstance(value, int)}
    return bytes(builder.Output()), tuple(names.get(_code(model, operator), "?") for operator in removed)


def integer_after(model: Any, tensor: int) -> int | None:
    """The integer tensor that an image is, or becomes at once; None where operators compute with it in float."""
    graph = model.subgraphs[0]
    for _ in range(len(graph.operators) + 1):
        if graph.tensors[tensor].type != schema.TensorType.FLOAT32:
            return tensor
        takers = [operator for operator in graph.operators if tensor in operator.inputs]
        if len(takers) != 1 or _code(model, takers[0]) not in _SHAPING:
            return None
        tensor = int(takers[0].outputs[0])
    return None  # a circle: a damaged file


def integer_before(model: Any, tensor: int) -> int | None:
    """The integer tensor that an embedding is, or is made from by conversion alone; None where it comes from float."""
    graph = model.subgraphs[0]
    makers = {int(output): operator for operator in graph.operators for output in operator.outputs}
    for _ in range(len(graph.operators) + 1):
        if graph.tensors[tensor].type != schema.TensorType.FLOAT32:
            return tensor
        maker = makers.get(tensor)
        if maker is None or _code(model, maker) not in _SHAPING:
            return None
        tensor = int(maker.inputs[0])
    return None


def _check_indices(model: Any) -> None:
    """Raises IndexError, TypeError or ValueError where an operator or a graph refers to what is not there."""
    for graph in model.subgraphs:
        count = len(graph.tensors)
        if any(not 0 <= int(index) < count for index in (*graph.inputs, *graph.outputs)):
            raise IndexError("the graph names a tensor that is not there")
        for operator in graph.operators:
            model.operatorCodes[operator.opcodeIndex]
            if operator.inputs is None:
                operator.inputs = np.empty(0, np.int32)
            if any(not -1 <= int(index) < count for index in (*operator.inputs, *operator.outputs)):
                raise IndexError("an operator names a tensor that is not there")
        for tensor in graph.tensors:
            model.buffers[tensor.buffer]
            if tensor.name is not None:
                tensor.name.decode()
    model.subgraphs[0]


def _code(model: Any, operator: Any) -> int:
    code = model.operatorCodes[operator.opcodeIndex]
    return max(int(code.builtinCode), int(code.deprecatedBuiltinCode))


def _behind(model: Any, makers: dict[int, Any], tensor: int, passed: frozenset[int]) -> int:
    """The tensor from which ``tensor`` is made by operators of the kinds ``passed`` alone."""
    seen = {tensor}
    while tensor in makers and _code(model, makers[tensor]) in passed:
        tensor = int(makers[tensor].inputs[0])
        if tensor in seen:  # a damaged file; the interpreter will refuse it
            break
        seen.add(tensor)
    return tensor


def _is_dense(model: Any, operator: Any) -> bool:
    code = _code(model, operator)
    if code == _OP.FULLY_CONNECTED:
        return True
    shape = model.subgraphs[0].tensors[int(operator.inputs[0])].shape
    return code == _OP.CONV_2D and shape is not None and len(shape) == 4 and int(shape[1]) == int(shape[2]) == 1


def _needed(makers: dict[int, Any], tensor: int) -> set[int]:
    """Identities of the operators that ``tensor`` depends on."""
    found: set[int] = set()
    waiting = [tensor]
    while waiting:
        operator = makers.get(waiting.pop())
        if operator is not None and id(operator) not in found:
            found.add(id(operator))
            waiting += [int(index) for index in operator.inputs if int(index) >= 0]
    return found
