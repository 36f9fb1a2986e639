"""Portable C computes every operator as LiteRT's reference kernels do, on random networks."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from reidfw_targets.portable_c.compiling import check_on_host, compile_to

from .tflite_builder import LAYERS, OP, Graph, random_network

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not any(shutil.which(name) for name in ("cc", "gcc", "clang")), reason="no C compiler on this computer"
    ),
]


def differences(content: bytes, mode: str) -> tuple[str, ...]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "random.tflite").write_bytes(content)
        compiled = compile_to(folder / "random.tflite", folder / "c", input_mode=mode)
        return check_on_host(compiled, folder, 2).different


@settings(max_examples=10, deadline=None, phases=[Phase.reuse, Phase.generate])
@given(
    choose=st.randoms(use_true_random=False),
    kinds=st.permutations(sorted(LAYERS)),
    seed=st.integers(0, 1 << 30),
    mode=st.sampled_from(["resident", "rows"]),
    image_kind=st.sampled_from(["int8", "uint8"]),
    float_io=st.booleans(),
)
def test_every_operator_is_exact(choose, kinds, seed, mode, image_kind, float_io):
    content = random_network(choose, kinds, seed=seed, image_kind=image_kind, float_io=float_io)
    assert differences(content, mode) == ()


@pytest.mark.parametrize("scales", [1, 3000], ids=["per tensor", "per channel"])
def test_fully_connected_layers_round_once(scales):
    """Rounded twice, as convolutions are, one of some 2000 results would differ by 1."""
    graph = Graph(5)
    image = graph.tensor((1, 4, 3, 5), 0.031, -9)
    factors = graph.numbers.uniform(0.004, 0.02, scales).astype(np.float32)
    weights = graph.tensor((3000, 60), factors, data=graph.numbers.integers(-127, 128, (3000, 60)))
    bias = graph.numbers.integers(-5000, 5000, 3000)
    biases = graph.tensor((3000,), np.float32(0.031) * factors, kind="int32", data=bias)
    made = graph.tensor((1, 3000), 0.31, 5)
    graph.operator(OP.FULLY_CONNECTED, [image, weights, biases], [made], schema.FullyConnectedOptionsT())
    assert differences(graph.content([image], [made]), "resident") == ()
