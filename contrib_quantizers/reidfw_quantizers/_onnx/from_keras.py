"""Float ONNX models made from Keras models."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import keras
import onnx
import tensorflow as tf
import tf2onnx

from reidfw_core.api import DataError, native_stderr_to_log

logger = logging.getLogger(__name__)

_NEWEST_FROM_KERAS = 17
"""Newest operator set that tf2onnx writes well: at 18 it turns global average pooling into a transposed mean."""


def convert_keras(model: keras.Model, target_opset: int) -> onnx.ModelProto:
    """Converts a Keras model to ONNX.

    Args:
        model: (B, H, W, C) to (B, D).
        target_opset: operator set wanted; the way to a newer one than 17 is left to the caller.

    Returns:
        A model of operator set ``min(target_opset, 17)`` with the float32 input ``image`` (batch, C, H, W) and the
        output ``embedding`` (batch, D).

    Raises:
        DataError: tf2onnx cannot convert the model.
    """
    image = tf.TensorSpec((None, *model.inputs[0].shape[1:]), tf.float32, name="image")
    serve = tf.function(lambda image: {"embedding": model(image, training=False)}, input_signature=[image])
    try:
        with native_stderr_to_log(logger), _parts_in_one_graph():
            converted, _ = tf2onnx.convert.from_function(
                serve,
                input_signature=[image],
                opset=min(target_opset, _NEWEST_FROM_KERAS),
                inputs_as_nchw=["image"],
            )
    except (MemoryError, OSError):
        raise
    except Exception as cause:
        raise DataError(
            f"{model.name} cannot be converted to ONNX: {str(cause).strip() or type(cause).__name__}"
        ) from cause
    for value in (*converted.graph.input, *converted.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    name_by_position(converted.graph)
    return converted


@contextmanager
def _parts_in_one_graph() -> Iterator[None]:
    """Keeps Keras from compiling parts of a model by themselves.

    It does so with convolutions in groups: they become calls of functions, which ONNX cannot express.
    """
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)  # a function inside of one that is traced becomes a part of it
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


def name_by_position(graph: onnx.GraphProto) -> None:
    """Names nodes ``Conv_0``, ``Conv_1`` ..., their results ``Conv_0_output`` and their weights ``Conv_0_input_1``.

    tf2onnx counts through all models of a process, so its names differ from run to run; these can be written into a
    configuration (``nodes_to_exclude``). Inputs and outputs of the graph keep their names.
    """
    kept = {value.name for value in (*graph.input, *graph.output)}
    weights = {tensor.name for tensor in graph.initializer}
    renamed: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for node in graph.node:
        node.name = f"{node.op_type}_{counts[node.op_type]}"
        counts[node.op_type] += 1
        for place, name in enumerate(node.input):
            if name in weights - kept:
                renamed.setdefault(name, f"{node.name}_input_{place}")
        for place, name in enumerate(node.output):
            if name and name not in kept:
                renamed[name] = f"{node.name}_output" + (f"_{place}" if place else "")
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    for tensor in graph.initializer:
        tensor.name = renamed.get(tensor.name, tensor.name)
    ordered = sorted(graph.initializer, key=lambda tensor: tensor.name)
    del graph.initializer[:]
    graph.initializer.extend(ordered)
    del graph.value_info[:]  # inferred again where they are needed
    graph.doc_string = ""
