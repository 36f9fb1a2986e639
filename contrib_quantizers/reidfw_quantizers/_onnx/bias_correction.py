"""Biases that make up for what rounding and clipping add to each channel on average, in QDQ models.

Source: M. Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019 (arXiv
1906.04721), section 4.2 and appendix D (empirical bias correction); 2021 white paper (arXiv 2106.08295), section 3.3.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from reidfw_quantizers._onnx.watching import run_towards, watching_session

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]

_WEIGHTED = ("Conv", "Gemm")


@dataclass(slots=True)
class _Bias:
    """The bias of one layer of a QDQ model: its initializer, step of its integers (1 in float) and depth."""

    output: str
    initializer: str
    values: np.ndarray
    step: np.ndarray
    depth: int


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

    Each layer is corrected after those before it, with its inputs as the quantized model really has them.

    Args:
        reference: the float model that was quantized.
        quantized: the QDQ model; changed in place.
        feeds: each holds the model's input under its name; a few dozen.
    """
    float_outputs = {node.name: node.output[0] for node in reference.graph.node if node.op_type in _WEIGHTED}
    biases = {name: bias for name, bias in _biases(quantized).items() if name in float_outputs}
    names = [float_outputs[name] for name in biases]
    wanted = dict(zip(biases, _means(watching_session(reference, names), names, feeds), strict=True))
    session = watching_session(_fed(quantized, biases), [bias.output for bias in biases.values()])
    largest = 0.0
    for depth in sorted({bias.depth for bias in biases.values()}):
        group = {name: bias for name, bias in biases.items() if bias.depth == depth}
        fed = {bias.initializer: bias.values for bias in biases.values()}
        found = _means(session, [bias.output for bias in group.values()], [feed | fed for feed in feeds])
        for (name, bias), mean in zip(group.items(), found, strict=True):
            missing = (wanted[name] - mean) / bias.step
            if bias.values.dtype.kind == "i":
                limits = np.iinfo(bias.values.dtype)
                missing = np.rint(missing)
                bias.values = np.clip(bias.values + missing, limits.min, limits.max).astype(bias.values.dtype)
            else:
                bias.values = (bias.values + missing).astype(bias.values.dtype)
            largest = max(largest, float(np.abs(wanted[name] - mean).max()))
    for tensor in quantized.graph.initializer:
        for bias in biases.values():
            if tensor.name == bias.initializer:
                tensor.CopyFrom(numpy_helper.from_array(bias.values, tensor.name))
    logger.info("Biases of %d layers corrected with %d images, by at most %.3g", len(biases), len(feeds), largest)


def _means(session: Any, outputs: Sequence[str], feeds: Sequence[dict[str, np.ndarray]]) -> list[Array]:
    """Mean of each output over images and positions, (C,)."""
    sums: list[Array] = [np.zeros(())] * len(outputs)
    for feed in feeds:
        for place, values in enumerate(run_towards(session, outputs, feed)):
            sums[place] = sums[place] + values.mean((0, *range(2, values.ndim)), np.float64)
    return [total / len(feeds) for total in sums]


def _biases(model: onnx.ModelProto) -> dict[str, _Bias]:
    """The biases that no other layer shares, by the layer's name."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    makers = {node.output[0]: node for node in model.graph.node}
    depths: dict[str, int] = {}
    found: dict[str, _Bias] = {}
    for node in model.graph.node:
        depth = max((depths.get(name, 0) for name in node.input), default=0)
        weighted = node.op_type in _WEIGHTED
        depths.update((name, depth + weighted) for name in node.output)
        if not weighted or len(node.input) < 3:
            continue
        name, step = node.input[2], np.ones(())
        if name in makers and makers[name].op_type == "DequantizeLinear":
            step = numpy_helper.to_array(weights[makers[name].input[1]]).astype(np.float64)
            name = makers[name].input[0]
        if name in weights:
            values = numpy_helper.to_array(weights[name])
            found[node.name] = _Bias(node.output[0], name, values, step, depth)
    return found


def _fed(model: onnx.ModelProto, biases: dict[str, _Bias]) -> onnx.ModelProto:
    """The model with biases as inputs, so that one session serves all of their values."""
    fed = onnx.ModelProto()
    fed.CopyFrom(model)
    names = {bias.initializer for bias in biases.values()}
    kept = [tensor for tensor in fed.graph.initializer if tensor.name not in names]
    inputs = [tensor for tensor in fed.graph.initializer if tensor.name in names]
    fed.graph.input.extend(
        onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims) for tensor in inputs
    )
    del fed.graph.initializer[:]
    fed.graph.initializer.extend(kept)
    return fed
