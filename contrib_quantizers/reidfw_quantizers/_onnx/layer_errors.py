"""Error of each layer of a QDQ model against the float model that it was made from."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization.shape_inference import quant_pre_process

from reidfw_core.api import LayerError, prints_to_log
from reidfw_quantizers._onnx.quantization import arranged, image_inputs
from reidfw_quantizers._onnx.watching import watching_session
from reidfw_quantizers.noise import LayerNoise, worst_first

logger = logging.getLogger(__name__)


def onnx_layer_errors(
    model: onnx.ModelProto, quantized: Path, images: np.ndarray, workdir: Path
) -> tuple[LayerError, ...]:
    """Runs both models on the images and compares the activations that the quantized one rounds.

    An activation ``T`` of the float model is, in the QDQ model, DequantizeLinear of QuantizeLinear of ``T``.

    Args:
        model: the float model at the opset of the quantized one.
        quantized: the QDQ file.
        images: (N, H, W, C) float32, rescaled pixels.
        workdir: existing folder; a temporary folder is made there and removed.

    Returns:
        The errors, largest first.
    """
    reference = prepared_model(model, workdir)
    tested = onnx.load(quantized)
    made_by = {name: node.op_type for node in reference.graph.node for name in node.output}
    rounded = _rounded_activations(tested)
    shared = [name for name in made_by if name in rounded]
    noises = [LayerNoise(name, made_by[name], rounded[name][1]) for name in shared]
    wanted = watching_session(reference, shared)
    found = watching_session(tested, [rounded[name][0] for name in shared])
    logger.debug("%d of %d activations are compared", len(shared), len(made_by))
    image_input = image_inputs(reference)[0]
    for image in arranged(images, image_input):
        feed = {image_input.name: image[np.newaxis]}
        floats = wanted.run(shared, feed)
        integers = found.run([rounded[name][0] for name in shared], feed)
        for noise, one, other in zip(noises, floats, integers, strict=True):
            noise.add(one, other)
    return worst_first(noises)


def prepared_model(model: onnx.ModelProto, workdir: Path) -> onnx.ModelProto:
    """The float model as ONNX Runtime prepares it before quantizing, so that names are those of the QDQ model.

    Args:
        model: the float model at the opset of the quantized one.
        workdir: existing folder; a temporary folder is made there and removed.
    """
    with tempfile.TemporaryDirectory(prefix=".onnx.", dir=workdir) as folder, prints_to_log(logger):
        given, prepared = Path(folder, "float.onnx"), Path(folder, "prepared.onnx")
        onnx.save(model, given)
        quant_pre_process(given, prepared, skip_symbolic_shape=True)
        return onnx.load(prepared)


def _rounded_activations(model: onnx.ModelProto) -> dict[str, tuple[str, float | None]]:
    """By activation: the name of its de-quantized form, and its quantization step."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    quantized = {node.output[0]: node for node in model.graph.node if node.op_type == "QuantizeLinear"}
    found: dict[str, tuple[str, float | None]] = {}
    for node in model.graph.node:
        if node.op_type != "DequantizeLinear" or node.input[0] not in quantized:
            continue
        source = quantized[node.input[0]].input[0]
        scale = weights.get(node.input[1])
        step = None if scale is None else onnx.numpy_helper.to_array(scale)
        found.setdefault(source, (node.output[0], float(step) if step is not None and step.ndim == 0 else None))
    return found
