"""Variants of a QDQ model in which some nodes compute in float.

A QDQ model is the float model with pairs of QuantizeLinear and DequantizeLinear around each tensor. A kept node takes
its place from the float model, with float weights and with the activation (Relu, Clip) that ONNX Runtime folded into
the range of its output; what passes between two kept nodes is not rounded. Ranges stay those of the QDQ model, so that
nothing is calibrated again.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from reidfw_core.api import DataError, ModelFile, ModelFormat, QuantizedLayer, atomic_path
from reidfw_quantizers._onnx.quantization import float_layers, operator_counts

logger = logging.getLogger(__name__)

_CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear"})

_FOLDED = frozenset({"Clip", "Relu"})
"""Activations that vanish in the range of a quantized output."""

_ROUNDED_OUTPUT = "_QuantizeLinear_Input"
"""What ONNX Runtime appends to the name of the model's output where that is rounded."""

_KEPT = "_float"


@dataclass(frozen=True, slots=True)
class _Pair:
    """A node of the QDQ model, by its place, and what computes the same in the float model: nodes in their order."""

    layer: QuantizedLayer
    place: int
    originals: tuple[onnx.NodeProto, ...]


class OnnxVariants:
    """A QDQ file opened to keep nodes in float; see the contract of ``ModelVariants``.

    Args:
        quantized: the QDQ model.
        reference: the float model as it was before rounding was added.

    Raises:
        DataError: the models have no node in common.
    """

    precisions = ("float",)

    def __init__(self, quantized: ModelFile, reference: onnx.ModelProto) -> None:
        self._quantized = quantized
        self._model = onnx.load(quantized.path)
        self._weights = {tensor.name: tensor for tensor in reference.graph.initializer}
        self._pairs = _paired(self._model.graph, reference.graph)
        if not self._pairs:
            raise DataError(f"{quantized.path} shares no node with the float model that it should be made from")
        self.layers = tuple(pair.layer for pair in self._pairs)

    def write_variant(self, kept: Collection[str], precision: str, path: Path) -> ModelFile:
        """Writes a variant; see the contract."""
        if precision not in self.precisions:
            raise ValueError(f"precision must be {' or '.join(self.precisions)}, got {precision}")
        wanted = frozenset(kept)
        chosen = [pair for pair in self._pairs if pair.layer.name in wanted]
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        self._splice(model.graph, chosen)
        with atomic_path(path) as temporary:
            onnx.save(model, temporary)
        names = [pair.layer.name for pair in chosen]
        told = {
            "kept_at": precision,
            "kept_layers": names,
            "num_operators": len(model.graph.node),
            "operators": operator_counts(model),
            "float_layers": list(float_layers(model)),
        }
        return replace(
            self._quantized,
            path=path,
            format=ModelFormat("onnx", f"int8_{precision}") if names else self._quantized.format,
            details={**self._quantized.details, **(told if names else {})},
        )

    def _splice(self, graph: onnx.GraphProto, chosen: list[_Pair]) -> None:
        outputs = {value.name for value in graph.output}
        # what is not rounded on its way between kept nodes, by its name in the float model: its name here
        plain = {value.name: value.name for value in graph.input}
        for pair in chosen:
            name = pair.layer.name
            plain[name] = name if name in outputs else graph.node[pair.place].output[0]
        replaced: dict[int, list[onnx.NodeProto]] = {}
        for pair in chosen:
            first, last = pair.originals[0], pair.originals[-1]
            nodes = [_copy(node) for node in pair.originals]
            rounded = graph.node[pair.place].input
            nodes[0].input[:] = [
                name if name in self._weights or not name else plain.get(name, rounded[place])
                for place, name in enumerate(first.input)
            ]
            nodes[-1].output[0] = plain[last.output[0]]
            replaced[pair.place] = nodes
        written_plain = {pair.layer.name for pair in chosen} & outputs
        spliced = [
            one
            for place, node in enumerate(graph.node)
            if place in replaced or not written_plain & set(node.output)
            for one in replaced.get(place, [node])
        ]
        self._add_weights(graph, [node for nodes in replaced.values() for node in nodes])
        _without_unused(graph, spliced)

    def _add_weights(self, graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
        """Adds the float weights that nodes read, under names of their own: rounded ones may bear the same."""
        present = {tensor.name for tensor in graph.initializer}
        for node in nodes:
            for place, name in enumerate(node.input):
                if name not in self._weights or name in present:
                    continue
                node.input[place] = name + _KEPT
                if node.input[place] not in present:
                    present.add(node.input[place])
                    graph.initializer.add().CopyFrom(self._weights[name])
                    graph.initializer[-1].name = node.input[place]


def _without_unused(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    """Sets the nodes of a graph, leaving out those, and the weights, that its outputs do not depend on."""
    read = {value.name for value in graph.output}
    alive = []
    for node in reversed(nodes):
        if read & set(node.output):
            read |= set(node.input)
            alive.append(_copy(node))
    del graph.node[:]
    graph.node.extend(reversed(alive))
    weights = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(weights)
    del graph.value_info[:]


def _paired(graph: onnx.GraphProto, reference: onnx.GraphProto) -> tuple[_Pair, ...]:
    """The nodes that compute the same in both graphs, in the order of the QDQ graph."""
    makers = {name: node for node in reference.node for name in node.output}
    floats = {tensor.name: _size(tensor) for tensor in reference.initializer}
    sizes = {tensor.name: _size(tensor) for tensor in graph.initializer}
    behind = {node.output[0]: node.input for node in graph.node if node.op_type == "DequantizeLinear"}
    found = []
    for place, node in enumerate(graph.node):
        if node.op_type in _CONVERSIONS or len(node.output) != 1:
            continue
        name = node.output[0] if node.output[0] in makers else node.output[0].removesuffix(_ROUNDED_OUTPUT)
        originals = _originals(name, node, makers)
        if originals is None:
            continue
        constants = {one for name in node.input for one in behind.get(name, (name,))}
        layer = QuantizedLayer(
            name=name,
            operator=node.op_type,
            precisions=OnnxVariants.precisions,
            quantized_bytes=sum(sizes.get(one, 0) for one in constants),
            float_bytes=sum(floats.get(one, 0) for one in originals[0].input),
        )
        found.append(_Pair(layer, place, originals))
    return tuple(found)


def _originals(name: str, node: onnx.NodeProto, makers: dict[str, onnx.NodeProto]) -> tuple[onnx.NodeProto, ...] | None:
    """The node of the float model that gives a tensor, with the activation behind it; None where it is another one."""
    chain: list[onnx.NodeProto] = []
    maker = makers.get(name)
    while maker is not None and maker.op_type != node.op_type and maker.op_type in _FOLDED:
        chain.insert(0, maker)
        maker = makers.get(maker.input[0])
    if maker is None or maker.op_type != node.op_type or len(maker.input) != len(node.input):
        return None
    return (maker, *chain)


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    copied = onnx.NodeProto()
    copied.CopyFrom(node)
    return copied


def _size(tensor: onnx.TensorProto) -> int:
    return int(onnx.numpy_helper.to_array(tensor).nbytes)
