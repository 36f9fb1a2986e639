"""Small networks and calibration images, shared by the tests of the quantizers."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from reidfw_core.api import CalibrationSet, ModelFile, ModelFormat

HEIGHT, WIDTH = 32, 16


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    """Camera-like images: rescaled 8-bit pixels, smooth, each with its own colours; (12, 32, 16, 3) float32."""
    rng = np.random.default_rng(5)
    coarse = rng.uniform(0, 255, (12, 4, 2, 3))
    pixels = coarse.repeat(8, axis=1).repeat(8, axis=2) + rng.normal(0, 10, (12, HEIGHT, WIDTH, 3))
    pixels = np.rint(pixels).clip(0, 255)
    pixels[:, 0, 0], pixels[:, 0, 1] = 0, 255  # every image uses the full range
    return (pixels / 127.5 - 1).astype(np.float32)


@pytest.fixture(scope="session")
def calibration(images: np.ndarray) -> CalibrationSet:
    return calibration_of(images)


def calibration_of(images: np.ndarray) -> CalibrationSet:
    def one_by_one() -> Iterator[np.ndarray]:
        for image in images:
            yield image[np.newaxis]

    return CalibrationSet(num_images=len(images), images=one_by_one, origin="the test's images")


def convolutional(activation: Callable | None = None):
    """Convolution, depthwise and pointwise convolution with BatchNorm and ReLU6, pooled: D = 24."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(3)
    image = x = keras.Input((HEIGHT, WIDTH, 3), name="camera")
    for width in (12, 24):
        x = layers.Conv2D(width, 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU(6.0)(x)
        x = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU(6.0)(x)
    if activation is not None:
        x = activation(x)
    model = keras.Model(image, layers.GlobalAveragePooling2D()(x), name="tiny")
    randomise_statistics(model)
    return model


def randomise_statistics(model) -> None:
    """Gives the BatchNorm layers statistics as training would, so that folding them matters."""
    rng = np.random.default_rng(11)
    for weight in model.weights:
        if weight.path.endswith(("gamma", "moving_variance")):
            weight.assign(rng.uniform(0.3, 1.0, weight.shape))
        elif weight.path.endswith(("beta", "moving_mean")):
            weight.assign(rng.uniform(0.0, 0.3, weight.shape))


@pytest.fixture(scope="session")
def tiny_model():
    return convolutional()


@pytest.fixture(scope="session")
def tiny_file(tiny_model, tmp_path_factory) -> ModelFile:
    return save(tiny_model, tmp_path_factory.mktemp("tiny") / "tiny.keras")


@pytest.fixture(scope="session")
def mobilenet_model():
    """A thin MobileNet: strided and padded depthwise blocks, a residual, ReLU6; D = 48."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(7)

    def block(x, width: int, strides: int):
        y = layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False)(x)
        y = layers.ReLU(6.0)(layers.BatchNormalization()(y))
        y = layers.BatchNormalization()(layers.Conv2D(width, 1, use_bias=False)(y))
        return layers.ReLU(6.0)(y)

    image = x = keras.Input((HEIGHT, WIDTH, 3))
    x = layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
    x = layers.Conv2D(8, 3, strides=2, padding="valid", use_bias=False)(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = block(x, 24, 2)
    x = layers.Add()([x, block(x, 24, 1)])
    x = block(x, 48, 1)
    model = keras.Model(image, layers.GlobalAveragePooling2D()(x), name="thin_mobilenet")
    randomise_statistics(model)
    return model


@pytest.fixture(scope="session")
def mobilenet_file(mobilenet_model, tmp_path_factory) -> ModelFile:
    return save(mobilenet_model, tmp_path_factory.mktemp("mobilenet") / "thin_mobilenet.keras")


def save(model, path: Path) -> ModelFile:
    model.save(path)
    return ModelFile(path=path, format=ModelFormat.parse("keras/float32"), name=model.name)


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine similarity of corresponding rows."""
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
