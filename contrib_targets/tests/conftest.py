"""A small network in all the formats that ``host`` runs, made once."""

import os
import signal

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from pathlib import Path

import numpy as np
import pytest

from reidfw_core.api import ModelFile, ModelFormat

SHAPE = (32, 16, 3)


def as_model(path: Path) -> ModelFile:
    return ModelFile(path=path, format=ModelFormat.of_file(path), name=path.stem)


@pytest.fixture
def ctrl_c():
    """Ctrl-C reaches the test: background jobs of a shell ignore it, and their children inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    """Rescaled 8-bit pixels, (9, 32, 16, 3) float32 in [-1, 1]."""
    pixels = np.random.default_rng(2).integers(0, 256, (9, *SHAPE))
    pixels[0, 0, 0], pixels[0, 0, 1] = 0, 255
    return (pixels / 127.5 - 1).astype(np.float32)


@pytest.fixture(scope="session")
def network():
    """Convolution, BatchNorm, ReLU6, depthwise convolution and convolution, pooled: D = 20."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(4)
    image = x = keras.Input(SHAPE, name="camera")
    x = layers.Conv2D(10, 3, strides=2, padding="same", use_bias=False)(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.DepthwiseConv2D(3, padding="same")(x)
    x = layers.ReLU(6.0)(layers.Conv2D(20, 3)(x))
    return keras.Model(image, layers.GlobalAveragePooling2D()(x), name="tiny")


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def keras_file(network, folder) -> ModelFile:
    network.save(folder / "tiny.keras")
    return as_model(folder / "tiny.keras")


def convert(network, images=None, input_type="float32", output_type="float32", batch=1, optimize=True) -> bytes:
    """A TensorFlow Lite file straight from TensorFlow's converter; integer where images are given."""
    import tensorflow as tf

    serve = tf.function(network, input_signature=[tf.TensorSpec((batch, *SHAPE), tf.float32, name="image")])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()], None)
    if optimize:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if images is not None:
        converter.representative_dataset = lambda: ([image[np.newaxis]] for image in images)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.as_dtype(input_type)
        converter.inference_output_type = tf.as_dtype(output_type)
    return converter.convert()


@pytest.fixture(scope="session")
def int8_file(network, images, folder) -> ModelFile:
    (folder / "int8.tflite").write_bytes(convert(network, images, "uint8", "int8"))
    return as_model(folder / "int8.tflite")


def save_onnx(network, path: Path, *, batch: int | None, channels_first: bool) -> ModelFile:
    tf = pytest.importorskip("tensorflow")
    tf2onnx = pytest.importorskip("tf2onnx")
    image = tf.TensorSpec((batch, *SHAPE), tf.float32, name="image")
    tf2onnx.convert.from_function(
        tf.function(lambda image: network(image), input_signature=[image]),  # noqa: PLW0108 (the name is wanted)
        input_signature=[image],
        opset=17,
        inputs_as_nchw=["image"] if channels_first else None,
        output_path=str(path),
    )
    return as_model(path)


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine similarity of corresponding rows."""
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.fixture
def wide_file(tmp_path):
    """An int8 model whose largest tensors, kept as a whole, need more RAM than small boards have."""
    from .tflite_builder import LAYERS, Graph, pointwise

    graph = Graph(2)
    image = graph.tensor((1, 128, 64, 3), 0.02, -10)
    path = tmp_path / "wide.tflite"
    path.write_bytes(graph.content([image], [LAYERS["MEAN"](graph, pointwise(graph, image, 32))]))
    return ModelFile(path=path, format=ModelFormat.of_file(path), name="wide")
