"""Plans of portable C: the same every time, and smaller where tensors are made twice."""

import logging
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from reidfw_targets.portable_c._tflite.reader import read_network
from reidfw_targets.portable_c.compiling import Compiled, check_on_host, compile_to
from reidfw_targets.portable_c.emitter import write_program
from reidfw_targets.portable_c.packing import PACKINGS
from reidfw_targets.portable_c.planner import plan_memory
from reidfw_targets.portable_c.recomputation import recomputations, recomputed

from reidfw_core.api import DoesNotFit

from .tflite_builder import LAYERS, OP, Graph, pointwise, random_network

needs_compiler = pytest.mark.skipif(
    not any(shutil.which(name) for name in ("cc", "gcc", "clang")), reason="no C compiler on this computer"
)
CHANNELS = 32


def gated_block(graph: Graph, x: int) -> int:
    """A wide residual around a gate that needs the whole image, as OSNet has them; 32 channels in and out."""
    narrow = pointwise(graph, x, 4)
    gate = graph.tensor((1, 1, 1, 4), 0.05)
    options = schema.ReducerOptionsT()
    options.keepDims = True
    graph.operator(OP.MEAN, [narrow, graph.indices(1, 2)], [gate], options)
    scaled = graph.tensor(graph.shape(narrow), 0.1)
    graph.operator(OP.MUL, [narrow, gate], [scaled], schema.MulOptionsT())
    wide = pointwise(graph, scaled, CHANNELS)
    joined = graph.tensor(graph.shape(x), graph.scale(x) + graph.scale(wide))
    graph.operator(OP.ADD, [wide, x], [joined], schema.AddOptionsT())
    return joined


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    graph = Graph(3)
    image = graph.tensor((1, 32, 16, 2), 0.02, -10)
    x = gated_block(graph, pointwise(graph, image, CHANNELS))
    path = tmp_path_factory.mktemp("planning") / "gated.tflite"
    path.write_bytes(graph.content([image], [LAYERS["MEAN"](graph, x)]))
    return path


@needs_compiler
@pytest.mark.slow
def test_a_limit_makes_tensors_twice_and_changes_no_number(model, tmp_path, caplog):
    kept = compile_to(model, tmp_path / "kept").plan
    caplog.set_level(logging.INFO)
    twice = compile_to(model, tmp_path / "twice", ram_limit_kib=kept.arena_bytes / 1024 - 8)
    assert twice.plan.arena_bytes <= kept.arena_bytes - 8 * 1024
    told = [record.message for record in caplog.records if record.levelno == logging.INFO]
    assert [line for line in told if "KiB too many; looking for tensors to make twice" in line] == told
    assert len(told) == 1
    more = twice.network.macs - kept.network.macs
    assert more == 32 * 16 * 2 * CHANNELS  # the first convolution, once more
    assert f"{more / 1e6:.1f} million more MACs" in twice.network.notes[-1]
    assert check_on_host(twice, tmp_path, 2).different == ()


@needs_compiler
@pytest.mark.slow
@settings(max_examples=6, deadline=None, phases=[Phase.reuse, Phase.generate])
@given(
    choose=st.randoms(use_true_random=False),
    kinds=st.permutations(sorted(LAYERS)),
    mode=st.sampled_from(["resident", "rows"]),
)
def test_whatever_is_made_twice_changes_no_number(choose, kinds, mode):
    """All tensors of a random network that can be made again are."""
    content = random_network(choose, kinds, seed=7)
    network = network_of(content)
    macs = network.macs
    for name in [tensor.name for tensor in network.tensors]:
        tensor = next(number for number, tensor in enumerate(network.tensors) if tensor.name == name)
        ways = list(recomputations(network, tensor))
        if ways:
            way = choose.choice(ways)
            assert way.kept_bytes < network.tensors[tensor].num_bytes
            network = recomputed(network, way)
            macs += way.macs
    assert network.macs == macs
    packing = PACKINGS["plain"]
    plan = plan_memory(network, mode, packing.scratch_bytes)
    with tempfile.TemporaryDirectory() as folder:
        generated = write_program(plan, packing, content, Path(folder))
        compiled = Compiled(plan=plan, generated=generated, content=content)
        assert check_on_host(compiled, Path(folder), 1).different == ()


def test_a_limit_that_nothing_keeps_tells_all_figures(model, tmp_path):
    words = r"KiB with input resident; .* with input rows; .* where tensors are made twice; the limit is 1 KiB"
    with pytest.raises(DoesNotFit, match=words):
        compile_to(model, tmp_path / "c", ram_limit_kib=1)


def test_rows_that_nobody_reads_are_known():
    graph = Graph(1)
    image = graph.tensor((1, 8, 4, 2), 0.02)
    y = graph.like(image, (1, 2, 4, 2))
    options = schema.Pool2DOptionsT()
    options.padding = schema.Padding.VALID
    options.strideH, options.strideW, options.filterHeight, options.filterWidth = 4, 1, 2, 1
    graph.operator(OP.MAX_POOL_2D, [image], [y], options)
    content = graph.content([image], [LAYERS["MEAN"](graph, y)])
    assert network_of(content).rows_needed == (6, 2, 1)


def network_of(content: bytes):
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "model.tflite"
        path.write_bytes(content)
        return read_network(path)[0]


COMPILE = """
import sys
import tempfile
from pathlib import Path
from reidfw_targets.portable_c.compiling import compile_to
compile_to(Path(sys.argv[1]), Path(sys.argv[2]), ram_limit_kib=float(sys.argv[3]))
"""


@pytest.mark.slow
def test_the_same_file_gives_the_same_code(model, tmp_path):
    limit = compile_to(model, tmp_path / "kept").plan.arena_bytes / 1024 - 8
    for seed in ("1", "2"):
        subprocess.run(
            [sys.executable, "-c", COMPILE, str(model), str(tmp_path / seed), str(limit)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
        )
    first, second = (sorted((tmp_path / seed).iterdir()) for seed in ("1", "2"))
    assert [file.name for file in first] == [file.name for file in second]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(first, second, strict=True))
