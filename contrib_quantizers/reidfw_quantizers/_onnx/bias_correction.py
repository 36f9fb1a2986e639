"""Biases that make up for what rounding and clipping add to each channel on average, in QDQ models.

Source: M. Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019 (arXiv
1906.04721), section 4.2 and appendix D (empirical bias correction); 2021 white paper (arXiv 2106.08295), section 3.3.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from reidfw_quantizers._onnx.watching import watching_session

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]

_WEIGHTED = ("Conv", "Gemm")


@dataclass(slots=True)
class _Bias:
    """The bias of one layer of a QDQ model: its initializer, and the step of its integers (1 in float)."""

    output: str
    initializer: str
    values: np.ndarray
    step: np.ndarray

    def move(self, missing: Array) -> None:
        """Adds what is missing of each channel, (C,), as far as the bias can hold it."""
        wanted = self.values + missing / self.step
        if self.values.dtype.kind == "i":
            limits = np.iinfo(self.values.dtype)
            wanted = np.clip(np.rint(wanted), limits.min, limits.max)
        self.values = wanted.astype(self.values.dtype)


@dataclass(frozen=True, slots=True)
class _Part:
    """The nodes of one depth, with the names of what they read and what later ones, or the correction, read of them.

    Attributes:
        nodes: in order of execution, with those before them that make constants.
        inputs: made by parts before this one; the image among them.
        outputs: read by later parts, or those of layers with weights.
        last_read: inputs and outputs that no later part reads.
    """

    nodes: list[onnx.NodeProto]
    inputs: list[str]
    outputs: list[str]
    last_read: list[str]


def give_biases(model: onnx.ModelProto) -> None:
    """Adds zeros as bias to each layer without one, an own copy to layers that share theirs, and missing names."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    used: set[str] = set()
    for number, node in enumerate(model.graph.node):
        if node.op_type not in _WEIGHTED or node.input[1] not in weights:
            continue
        node.name = node.name or f"{node.op_type}_{number}"
        given = node.input[2] if len(node.input) > 2 else ""
        if given and (given not in used or given not in weights):
            used.add(given)
            continue
        if given:
            values = numpy_helper.to_array(weights[given])
        else:
            transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
            axis = 0 if node.op_type == "Conv" or transposed else 1
            values = np.zeros(weights[node.input[1]].dims[axis], np.float32)
        name = f"{node.input[1]}_bias_{number}"
        model.graph.initializer.append(numpy_helper.from_array(values, name))
        node.input[:] = [*node.input[:2], name]


def correct_biases(
    reference: onnx.ModelProto, quantized: onnx.ModelProto, feeds: Sequence[dict[str, np.ndarray]]
) -> None:
    """Changes the biases of a QDQ model so that each layer's outputs have the float means before activation.

    Each layer is corrected after those before it, with its inputs as the quantized model really has them. All images
    go from one depth to the next; what later nodes read is kept in memory meanwhile.

    Args:
        reference: the float model that was quantized.
        quantized: the QDQ model; changed in place.
        feeds: each holds the model's input under its name; a few dozen.
    """
    float_outputs = {node.name: node.output[0] for node in reference.graph.node if node.op_type in _WEIGHTED}
    parts = _parts(quantized)
    biases = {name: bias for name, bias in _biases(quantized, parts).items() if name in float_outputs}
    names = [float_outputs[name] for name in biases]
    session = watching_session(reference, names)
    by_image = [[_channel_mean(values) for values in session.run(names, feed)] for feed in feeds]
    wanted = {name: np.mean(means, axis=0) for name, *means in zip(biases, *by_image, strict=True)}
    values = [dict(feed) for feed in feeds]
    largest = 0.0
    for part in parts:
        group = {name: bias for name, bias in biases.items() if bias.output in part.outputs}
        part_session = _part_session(quantized, part, values[0], group.values())
        _run_part(part_session, part, values, part.outputs, group.values())
        for name, bias in group.items():
            missing = wanted[name] - np.mean([_channel_mean(known[bias.output]) for known in values], axis=0)
            bias.move(missing)
            largest = max(largest, float(np.abs(missing).max()))
        if group:  # again, since adding to the results would not round as the model does
            _run_part(part_session, part, values, [bias.output for bias in group.values()], group.values())
        for known in values:
            for name in part.last_read:
                del known[name]
    for tensor in quantized.graph.initializer:
        for bias in biases.values():
            if tensor.name == bias.initializer:
                tensor.CopyFrom(numpy_helper.from_array(bias.values, tensor.name))
    logger.info("Biases of %d layers corrected with %d images, by at most %.3g", len(biases), len(feeds), largest)
    weights = {tensor.name for tensor in reference.graph.initializer}
    left = [
        node.name for node in reference.graph.node if node.op_type == "MatMul" and not weights.isdisjoint(node.input)
    ]
    if left:
        logger.info(
            "bias_correction leaves dense layers alone that are a MatMul, which has no bias: %s", ", ".join(left)
        )


def _run_part(
    session: Any, part: _Part, values: Sequence[dict[str, np.ndarray]], outputs: list[str], biases: Iterable[_Bias]
) -> None:
    """Adds these results of a part to the values of each image."""
    fed = {bias.initializer: bias.values for bias in biases}
    for known in values:
        given = {name: known[name] for name in part.inputs}
        known.update(zip(outputs, session.run(outputs, given | fed), strict=True))


def _channel_mean(values: np.ndarray) -> Array:
    """Mean of one layer's output over batch and positions, (C,)."""
    return np.asarray(values.mean((0, *range(2, values.ndim)), np.float64))


def _parts(model: onnx.ModelProto) -> list[_Part]:
    """The nodes of a model by depth: how many layers with weights lie on the longest way from the image to them."""
    constants = {tensor.name for tensor in model.graph.initializer}
    makers: list[onnx.NodeProto] = []
    depths: dict[str, int] = {}
    nodes: dict[int, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        read = [name for name in node.input if name]
        if all(name in constants for name in read):
            constants.update(node.output)
            makers.append(node)
            continue
        depth = max(depths.get(name, 0) for name in read)
        depths.update((name, depth + (node.op_type in _WEIGHTED)) for name in node.output)
        nodes.setdefault(depth, []).append(node)
    parts, seen = [], {value.name for value in model.graph.output}
    for depth in sorted(nodes, reverse=True):
        made = {name for node in nodes[depth] for name in node.output if name}
        read = {name for node in nodes[depth] for name in node.input if name} - constants
        inputs = read - made
        layers = {node.output[0] for node in nodes[depth] if node.op_type in _WEIGHTED}
        outputs = made & (seen | layers)
        last_read = (inputs - seen) | (outputs - seen)
        if not outputs:  # nobody reads what these nodes give
            continue
        parts.append(_Part(nodes[depth], sorted(inputs), sorted(outputs), sorted(last_read)))
        seen |= inputs
    parts.reverse()
    for part in parts:
        needed = {name for node in part.nodes for name in node.input}
        for node in reversed(makers):
            if not needed.isdisjoint(node.output):
                part.nodes.insert(0, node)
                needed.update(node.input)
    return parts


def _part_session(
    model: onnx.ModelProto, part: _Part, values: Mapping[str, np.ndarray], biases: Iterable[_Bias]
) -> Any:
    """A session that computes a part of a model from what it reads of the parts before it, and from its biases."""
    used = {name for node in part.nodes for name in node.input}
    opened = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    opened.graph.name = "part"
    opened.graph.node.extend(part.nodes)
    fed = {name: values[name] for name in part.inputs} | {bias.initializer: bias.values for bias in biases}
    opened.graph.initializer.extend(
        tensor for tensor in model.graph.initializer if tensor.name in used and tensor.name not in fed
    )
    opened.graph.input.extend(
        onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(given.dtype), None)
        for name, given in fed.items()
    )
    return watching_session(opened, part.outputs)


def _biases(model: onnx.ModelProto, parts: Sequence[_Part]) -> dict[str, _Bias]:
    """The biases of the layers with weights, by the layer's name."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    makers = {node.output[0]: node for node in model.graph.node}
    found: dict[str, _Bias] = {}
    for node in (node for part in parts for node in part.nodes):
        if node.op_type not in _WEIGHTED or len(node.input) < 3:
            continue
        name, step = node.input[2], np.ones(())
        if name in makers and makers[name].op_type == "DequantizeLinear":
            step = numpy_helper.to_array(weights[makers[name].input[1]]).astype(np.float64)
            name = makers[name].input[0]
        if name in weights:
            found[node.name] = _Bias(node.output[0], name, numpy_helper.to_array(weights[name]), step)
    return found
