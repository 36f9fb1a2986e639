"""Portable C refuses what it does not compute in one sentence that names operator and layer, and never breaks."""

import random
from collections.abc import Callable
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from reidfw_targets.portable_c.compiling import compile_to

from reidfw_core.api import DataError, ReidfwError

from .tflite_builder import LAYERS, OP, Graph, random_network


def written(folder: Path, content: bytes) -> Path:
    path = folder / "bad.tflite"
    path.write_bytes(content)
    return path


def image(graph: Graph, **changes) -> int:
    return graph.tensor(changes.pop("shape", (1, 6, 4, 3)), changes.pop("scale", 0.02), **changes)


def convolution(graph: Graph, x: int, *, weights_shape=(5, 1, 1, 3), kind="int8", weights_kind="int8") -> int:
    """A convolution named t3 (after image, weights, bias)."""
    numbers = np.ones(weights_shape)
    scale = 0.01 if weights_kind == "int8" else None
    weights = graph.tensor(weights_shape, scale, data=numbers, kind=weights_kind)
    bias_kind = "int32" if kind == "int8" else "float32"
    bias = graph.tensor((5,), 0.0002 if kind == "int8" else None, data=np.zeros(5), kind=bias_kind)
    made = graph.tensor((*graph.shape(x)[:3], 5), 0.05 if kind == "int8" else None, kind=kind)
    options = schema.Conv2DOptionsT()
    options.strideH = options.strideW = 1
    graph.operator(OP.CONV_2D, [x, weights, bias], [made], options)
    return made


def vector(graph: Graph, x: int) -> int:
    made = graph.tensor((1, graph.shape(x)[3]), 0.02)
    graph.operator(OP.MEAN, [x, graph.indices(1, 2)], [made], schema.ReducerOptionsT())
    return made


def float_model(graph: Graph) -> bytes:
    x = image(graph, scale=None, kind="float32")
    y = convolution(graph, x, kind="float32", weights_kind="float32")
    return graph.content([x], [y])


def hybrid_model(graph: Graph) -> bytes:
    x = image(graph, scale=None, kind="float32")
    return graph.content([x], [convolution(graph, x, kind="float32")])


def dynamic_shape(graph: Graph) -> bytes:
    x = image(graph)
    y = vector(graph, convolution(graph, x))
    graph.graph.tensors[x].shapeSignature = np.array([1, -1, 4, 3], np.int32)
    return graph.content([x], [y])


def five_dimensions(graph: Graph) -> bytes:
    x = image(graph)
    y = graph.tensor((1, 2, 3, 4, 3), 0.02)
    graph.operator(OP.RELU, [x], [y])
    return graph.content([x], [y])


def batch_of_four(graph: Graph) -> bytes:
    x = image(graph, shape=(4, 6, 4, 3))
    return graph.content([x], [convolution(graph, x)])


def two_inputs(graph: Graph) -> bytes:
    x, second = image(graph), image(graph)
    return graph.content([x, second], [vector(graph, convolution(graph, x))])


def two_outputs(graph: Graph) -> bytes:
    x = image(graph)
    y = convolution(graph, x)
    return graph.content([x], [vector(graph, y), vector(graph, y)])


def grouped(graph: Graph) -> bytes:
    x = image(graph, shape=(1, 6, 4, 6))
    return graph.content([x], [vector(graph, convolution(graph, x, weights_shape=(5, 1, 1, 3)))])


def depth_multiplier(graph: Graph) -> bytes:
    x = image(graph)
    weights = graph.constant((1, 1, 1, 6), 0.01)
    bias = graph.tensor((6,), 0.0002, kind="int32", data=np.zeros(6))
    y = graph.tensor((1, 6, 4, 6), 0.05)
    options = schema.DepthwiseConv2DOptionsT()
    options.depthMultiplier, options.strideH, options.strideW = 2, 1, 1
    graph.operator(OP.DEPTHWISE_CONV_2D, [x, weights, bias], [y], options)
    return graph.content([x], [vector(graph, y)])


def unknown_operator(graph: Graph) -> bytes:
    x = image(graph)
    y = graph.tensor((1, 6, 4, 3), 0.02)
    graph.operator(OP.SIN, [x], [y])
    return graph.content([x], [vector(graph, y)])


def float_in_the_middle(graph: Graph) -> bytes:
    x = image(graph)
    real = graph.tensor((1, 6, 4, 3), kind="float32")
    graph.operator(OP.DEQUANTIZE, [x], [real])
    y = graph.tensor((1, 6, 4, 3), 0.02)
    graph.operator(OP.QUANTIZE, [real], [y])
    return graph.content([x], [vector(graph, y)])


def softmax_of_another_scale(graph: Graph) -> bytes:
    x = image(graph)
    y = graph.tensor((1, 6, 4, 3), 0.02)
    graph.operator(OP.SOFTMAX, [x], [y], schema.SoftmaxOptionsT())
    return graph.content([x], [vector(graph, y)])


def extremum_of_different_scales(graph: Graph) -> bytes:
    x = image(graph)
    y = graph.tensor((1, 6, 4, 3), 0.03)
    graph.operator(OP.MINIMUM, [x, graph.constant((3,), 0.02)], [y], schema.MaximumMinimumOptionsT())
    return graph.content([x], [vector(graph, y)])


def map_as_output(graph: Graph) -> bytes:
    x = image(graph)
    return graph.content([x], [convolution(graph, x)])


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (float_model, r"computes in float: 1 operators, the first CONV_2D in layer 't3'.*takes int8 models"),
        (hybrid_model, r"is hybrid \(int8 weights, float arithmetic\).*CONV_2D in layer 't3'"),
        (dynamic_shape, r"tensor 't0' has a dynamic shape \(1, -1, 4, 3\)"),
        (five_dimensions, r"tensor 't1' has 5 dimensions; at most 4 are supported \(in RELU, layer 't1'\)"),
        (batch_of_four, r"tensor 't0' has batch 4; only batch 1"),
        (two_inputs, "it has 2 inputs"),
        (two_outputs, "it has 2 outputs"),
        (grouped, "CONV_2D in layer 't3' is grouped: its filters see 3 of 6 channels"),
        (depth_multiplier, "DEPTHWISE_CONV_2D in layer 't3' has the depth multiplier 2; only 1"),
        (unknown_operator, "SIN in layer 't1' is not among the operators"),
        (float_in_the_middle, "DEQUANTIZE in layer 't1' goes on in float"),
        (softmax_of_another_scale, "SOFTMAX in layer 't1' has an output that is not int8 with the scale 1/256"),
        (extremum_of_different_scales, "MINIMUM in layer 't1' changes the scale"),
        (map_as_output, r"its output has the shape \(6, 4, 5\), not that of one embedding"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_bad_models_are_refused_in_one_sentence(model: Callable[[Graph], bytes], words: str, tmp_path):
    with pytest.raises(DataError, match=words) as refused:
        compile_to(written(tmp_path, model(Graph())), tmp_path / "c")
    assert "\n" not in refused.value.message
    assert refused.value.exit_code == 2
    assert not (tmp_path / "c").exists()


def damaged_bytes(choose: random.Random, content: bytes) -> bytes:
    broken = bytearray(content)
    for _ in range(choose.choice([1, 2, 4, 16])):
        broken[choose.randrange(len(broken))] = choose.choice([0, 1, 127, 128, 255])
    return bytes(broken[: choose.randrange(len(broken))] if choose.random() < 0.1 else broken)


def damaged_fields(choose: random.Random, content: bytes) -> bytes:
    """A well-formed file that contradicts itself."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    graph = model.subgraphs[0]
    value = choose.choice([-1, 0, 1, 2, 3, 7, 100, 255, 70000, 2**31 - 1])
    tensor, operator = choose.choice(graph.tensors), choose.choice(graph.operators)
    what = choose.choice(["shape", "rank", "type", "buffer", "scale", "zero point", "input", "output", "options"])
    if what == "shape":
        tensor.shape = np.array([*tensor.shape[:-1], value], np.int32)
    elif what == "rank":
        tensor.shape = tensor.shape[1:]
    elif what == "type":
        tensor.type = choose.choice([0, 1, 2, 3, 4, 9, 17])
    elif what == "buffer":
        tensor.buffer = choose.randrange(len(model.buffers))
    elif what == "scale":
        tensor.quantization.scale = np.array([choose.choice([0, 1e-30, 1e30, np.nan, -1])], np.float32)
    elif what == "zero point":
        tensor.quantization.zeroPoint = np.array([value], np.int64)
    elif what == "input":
        changed = choose.randrange(-1, len(graph.tensors))
        operator.inputs = np.array([changed, *operator.inputs[choose.choice([1, 2]) :]], np.int32)
    elif what == "output":
        operator.outputs = np.array([choose.randrange(len(graph.tensors))], np.int32)
    elif operator.builtinOptions is not None and vars(operator.builtinOptions):
        option = choose.choice(sorted(vars(operator.builtinOptions)))
        is_switch = isinstance(getattr(operator.builtinOptions, option), bool)
        setattr(operator.builtinOptions, option, value > 0 if is_switch else value % 128)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.mark.slow
@settings(
    max_examples=100,
    deadline=None,
    phases=[Phase.reuse, Phase.generate],  # making a failing file smaller takes minutes and tells little
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    choose=st.randoms(use_true_random=False),
    kinds=st.lists(st.sampled_from(sorted(LAYERS)), min_size=2, max_size=8),
    damage=st.sampled_from([damaged_bytes, damaged_fields]),
)
def test_damaged_files_are_refused_or_read(choose, kinds, damage, tmp_path):
    content = damage(choose, random_network(choose, kinds, seed=0))
    try:
        compile_to(written(tmp_path, content), tmp_path / "c")
    except ReidfwError as refused:
        assert refused.exit_code in (2, 3)  # noqa: PT017 (both outcomes are right)
