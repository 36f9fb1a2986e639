"""Portable C computes every operator as LiteRT's reference kernels do, on random networks."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reidfw_targets.portable_c.compiling import check_on_host, compile_to

from .tflite_builder import LAYERS, random_network

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


@settings(max_examples=15, deadline=None)
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
