"""Reading operators and number formats from a TensorFlow Lite file, against LiteRT's own view of it."""

import numpy as np
import pytest

from .conftest import convolutional


@pytest.fixture(scope="module")
def float_content() -> bytes:
    import tensorflow as tf

    model = convolutional()
    serve = tf.function(model, input_signature=[tf.TensorSpec((1, 32, 16, 3))])
    return tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()], None).convert()


def test_a_float_model_is_seen_as_float(float_content):
    from reidfw_quantizers._tflite.inspection import read_graph

    graph = read_graph(float_content)
    assert len(graph.float_operators()) == len(graph.operators) == 5
    assert graph.float_operators()[-1].startswith("MEAN")
    assert graph.per_channel_tensors() == ()


def test_tensors_are_those_that_the_interpreter_sees(float_content):
    from ai_edge_litert.interpreter import Interpreter
    from reidfw_quantizers._tflite.inspection import read_graph

    graph = read_graph(float_content)
    interpreter = Interpreter(model_content=float_content)
    seen = {tensor["name"]: tensor for tensor in interpreter.get_tensor_details() if tensor["name"]}
    for tensor in graph.tensors:
        assert tensor.dtype == np.dtype(seen[tensor.name]["dtype"]).name
        assert tensor.shape == tuple(seen[tensor.name]["shape"])
    assert graph.inputs[0] == interpreter.get_input_details()[0]["index"]
    assert graph.outputs[0] == interpreter.get_output_details()[0]["index"]
