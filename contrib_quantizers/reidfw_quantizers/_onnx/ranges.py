"""Ranges that a training has found, on their way through an ONNX conversion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx

_ROUNDING = ("QuantizeLinear", "DequantizeLinear")

_MOVING = ("Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
"""Operators that leave values as they are: ONNX Runtime gives their output the grid of their input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The 8-bit integers of an activation: ``value = scale * (integer - zero_point)``, integers from 0 to 255."""

    scale: float
    zero_point: int


def take_grids(model: onnx.ModelProto) -> dict[str, Grid]:
    """Removes QuantizeLinear and DequantizeLinear, which rounded activations have become.

    The conversion moves them across operators that only move values, so that they do not come in pairs always.

    Args:
        model: as converted; it is a float model afterwards.

    Returns:
        By the name of an activation: the grid that it was rounded to.
    """
    graph = model.graph
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    rounding = [node for node in graph.node if node.op_type in _ROUNDING]
    renamed = {node.output[0]: node.input[0] for node in rounding}
    for name in {value.name for value in graph.output} & set(renamed):  # a result keeps its name: its maker gives it
        maker = _followed(name, renamed)
        del renamed[name]
        renamed[maker] = name
    grids = {
        _followed(node.input[0], renamed): Grid(
            scale=float(weights[node.input[1]]), zero_point=int(weights[node.input[2]])
        )
        for node in rounding
        if node.op_type == "QuantizeLinear"
    }
    kept = [node for node in graph.node if node.op_type not in _ROUNDING]
    for node in kept:
        node.input[:] = [_followed(name, renamed) for name in node.input]
        node.output[:] = [_followed(name, renamed) for name in node.output]
    for node in reversed(kept):
        if node.op_type in _MOVING and node.output[0] in grids:
            grids.setdefault(node.input[0], grids[node.output[0]])
    del graph.node[:]
    graph.node.extend(kept)
    used = {name for node in kept for name in node.input}
    left = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(left)
    return grids


def only_moved(model: onnx.ModelProto, name: str) -> set[str]:
    """An activation, and those that hold the same values in another order or shape."""
    found = {name}
    for node in model.graph.node:  # makers come before takers
        if node.op_type in _MOVING and node.input[0] in found:
            found.add(node.output[0])
    return found


def _followed(name: str, renamed: Mapping[str, str]) -> str:
    while name in renamed:
        name = renamed[name]
    return name
