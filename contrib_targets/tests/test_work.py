"""How the runners share out their work, and how they name what does it."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from reidfw_targets.host import Host

from .conftest import SHAPE, as_model, save_onnx
from .test_open_errors import converted


class Stand:
    """Stands in for an interpreter: its embedding is the mean of each channel."""

    def __init__(self, wait_for: threading.Event | None = None) -> None:
        self.images = 0
        self.done = threading.Event()
        self.wanted = 0
        self._wait_for = wait_for
        self._image = np.zeros((1, *SHAPE), np.float32)

    def get_input_details(self):
        return [{"index": 0, "name": "image", "shape": np.array([1, *SHAPE]), "dtype": np.float32, **self.float_()}]

    def get_output_details(self):
        return [{"index": 1, "name": "embedding", "shape": np.array([1, 3]), "dtype": np.float32, **self.float_()}]

    @staticmethod
    def float_():
        return {"quantization": (0.0, 0)}

    def _get_ops_details(self):
        return [{"op_name": "MEAN", "inputs": [0], "outputs": [1]}]

    def tensor(self, index):
        assert index == 0
        return lambda: self._image

    def invoke(self):
        if self._wait_for is not None:
            assert self._wait_for.wait(30), "the other interpreter left images to this one"
        self.images += 1
        if self.images == self.wanted:
            self.done.set()

    def get_tensor(self, index):
        assert index == 1
        return self._image.mean((1, 2))


def test_an_interpreter_that_is_held_up_holds_up_no_image() -> None:
    from reidfw_targets._tflite.runner import TfliteRunner

    free = Stand()
    held = Stand(wait_for=free.done)
    free.wanted = 9  # all images but the one that the other holds
    runner = TfliteRunner([held, free], "float32", "stand")
    images = np.random.default_rng(0).uniform(-1, 1, (10, *SHAPE)).astype(np.float32)
    embeddings = runner.embed(images)
    runner.close()
    assert (held.images, free.images) == (1, 9)
    np.testing.assert_allclose(embeddings, images.mean((1, 2)), rtol=1e-6)


def test_an_error_in_a_thread_is_the_callers() -> None:
    from reidfw_targets._tflite.runner import TfliteRunner

    class Broken(Stand):
        def invoke(self):
            raise RuntimeError("no memory for tensor 3")

    runner = TfliteRunner([Stand(), Broken()], "float32", "stand")
    with pytest.raises(RuntimeError, match="tensor 3"):
        for _ in range(50):  # until the broken one gets an image
            runner.embed(np.zeros((20, *SHAPE), np.float32))
    runner.close()


def operator(name: str, inputs: list[int], outputs: list[int]) -> dict[str, object]:
    return {"op_name": name, "inputs": inputs, "outputs": outputs}


@pytest.mark.parametrize(
    ("delegates", "left"),
    [
        ([], ["CONV_2D", "TOPK_V2", "ADD", "MEAN"]),
        ([operator("DELEGATE", [0, 9], [4])], []),
        ([operator("DELEGATE", [0, 9], [1]), operator("DELEGATE", [1, 2], [4])], ["TOPK_V2"]),
        ([operator("DELEGATE", [1, 2], [4])], ["CONV_2D", "TOPK_V2"]),
    ],
    ids=["no delegate", "all", "two parts", "the end"],
)
def test_operators_outside_of_delegates_are_told(delegates, left) -> None:
    from reidfw_targets._tflite.runner import operators_left

    own = [
        operator("CONV_2D", [0, 9], [1]),
        operator("TOPK_V2", [1], [2]),
        operator("ADD", [1, 2], [3]),
        operator("MEAN", [3], [4]),
    ]
    assert [one["op_name"] for one in operators_left(own + delegates)] == left


@pytest.mark.slow
def test_kernels_are_named_with_what_they_leave_to_others(network, int8_file, tmp_path) -> None:
    import tensorflow as tf

    host = Host()
    runner = host.open_runner(model=int8_file, num_threads=1)
    assert runner.kernels.startswith("XNNPACK (LiteRT ")
    runner.close()
    path = converted(lambda x: network(tf.cumsum(x, axis=1)), tmp_path / "cumsum.tflite")
    runner = host.open_runner(model=as_model(path), num_threads=1)
    assert runner.kernels.startswith("XNNPACK for ")
    assert "built-in kernels for CUMSUM (LiteRT" in runner.kernels
    runner.close()
    path = converted(lambda x: tf.cumsum(x, axis=1)[:, -1, -1], tmp_path / "alone.tflite")
    runner = host.open_runner(model=as_model(path), num_threads=1)
    assert "CUMSUM" in runner.kernels
    runner.close()


@pytest.mark.slow
def test_onnx_kernels_name_the_provider(network, tmp_path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model = save_onnx(network, tmp_path / "m.onnx", batch=None, channels_first=True)
    runner = Host().open_runner(model=model, num_threads=1)
    assert runner.kernels == f"ONNX Runtime {onnxruntime.__version__} (CPUExecutionProvider)"
    runner.close()
